//! What Nix printed, and what it is asked.

use std::path::Path;
use std::time::Duration;

use super::{cut_at, lines, shown};
use crate::config::settings::{Build, BuildMode, CollectGarbage};
use crate::effects::nix::installable::Installable;
use crate::effects::nix::{missing, read_resolved, told};
use crate::model::commit::CommitId;
use crate::model::store_path::StorePath;

/// Laws: whatever Nix prints, what is shown of it is one line with an end, and a derivation that is
/// named to a person is one.
pub fn told(bytes: &[u8]) {
    shown(&told::cause_of_evaluation(bytes), cut_at(400));
    shown(&told::cause_of_build(bytes), cut_at(400));
    if let Some(derivation) = told::failed_derivation(bytes) {
        assert!(derivation.name().ends_with(".drv"));
    }
    match read_resolved(bytes, "could not evaluate it") {
        Ok(resolved) => assert!(resolved.drv.as_str().starts_with("/nix/store/")),
        Err(failure) => shown(&failure.message, cut_at(500)),
    }
    if let Err(said) = told::json::<Option<told::Missing>>(bytes) {
        shown(&said, cut_at(500));
    }
    let asked: StorePath =
        "/nix/store/1hw0jncx9jdaxiggzs4mif6sq75qchzz-good".parse().expect("it is one");
    if let Err(said) = told::is_valid(bytes, &asked) {
        shown(&said, cut_at(200));
    }
    if let Err(said) = told::one_path(bytes) {
        shown(&said, cut_at(400));
    }
    let _ = missing::read(&String::from_utf8_lossy(bytes));
}

/// Laws: whatever the attribute and the folder are, the reference is one plain URL, and nothing of
/// them gets out of its quotes into the expression that is evaluated.
pub fn asked(bytes: &[u8]) {
    let Some([repository, subdirectory, attribute]) = lines(bytes) else { return };
    let commit: CommitId = "a".repeat(40).parse().unwrap();
    let named = |repository: &str, subdirectory: &str, attribute: &str| {
        Installable::new(Path::new(repository), &commit, &build(subdirectory, attribute))
    };
    let wanted = named(repository, subdirectory, attribute);
    let reference = wanted.reference();
    assert!(reference.bytes().all(|byte| byte.is_ascii_graphic()), "{reference}");
    assert_eq!(reference.matches('#').count(), 1, "{reference}");
    assert!(reference.starts_with("git+file://"), "{reference}");

    let (code, strings) = apart(&wanted.missing_part());
    let (plain, _) = apart(&named("/r", "", "a").missing_part());
    let parts = strings - 4;
    assert_eq!(code.replacen(&"\"\" ".repeat(parts), "\"\" ", 1), plain);
}

/// Returns a Nix expression with its strings emptied, and how many there are; by the lexer of Nix
/// and not by ours.
fn apart(expression: &str) -> (String, usize) {
    let (mut code, mut strings) = (String::new(), 0);
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        code.push(c);
        if c != '"' {
            continue;
        }
        strings += 1;
        loop {
            match rest.next().expect("a string ends") {
                '"' => break,
                '\\' => drop(rest.next()),
                '$' => {
                    assert_ne!(rest.peek(), Some(&'{'), "it is evaluated: {expression}");
                    // `$$` and `$\` hide what follows as well.
                    if let Some('\\') = rest.next_if(|next| *next == '$' || *next == '\\') {
                        rest.next();
                    }
                }
                _ => {}
            }
        }
        code.push('"');
    }
    (code, strings)
}

fn build(subdirectory: &str, attribute: &str) -> Build {
    Build {
        mode: BuildMode::Evaluate,
        attribute: attribute.to_owned(),
        subdirectory: subdirectory.to_owned(),
        submodules: false,
        substitute_only: false,
        evaluation_timeout: Duration::from_secs(1),
        build_timeout: Duration::from_secs(1),
        reserve: 0,
        evaluation_memory: 8 << 30,
        collect_garbage: CollectGarbage::Never,
    }
}
