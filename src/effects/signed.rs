//! Whether a closure carries the signatures that it has to, asked of `nix store verify`.
//!
//! Nix does the arithmetic and reads what came with the paths; its exit code alone decides. What
//! it must not do is believe this machine: `--sigs-needed 1` takes away that what was built here
//! counts as trusted (`ultimate`), and an empty `secret-key-files` that a key of this machine does,
//! with which its daemon would sign whatever an unprivileged user builds. What is left is a path
//! that is named by its own contents: Nix needs no signature for it, and `verify.cc` says so up to
//! 2.26. For what a system needs that is right, because the signed path that refers to it pins
//! those contents by the name. For the system itself it says nothing about who made it, so Nix is
//! asked about that one without any key, and has to say no.

use std::path::Path;
use std::time::Duration;

use crate::effects::process::{Program, Status};
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// The limit on one question: Nix reads a row of its database for each path, and no contents.
const LIMIT: Duration = Duration::from_secs(100);

/// Nix names each path without a signature, in a line of its own; so many bytes of that are kept.
const ERRORS_KEPT: usize = 1 << 20;

/// How many paths are named.
const NAMED: usize = 3;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The path alone.
    Itself,
    /// With everything that it needs.
    All,
}

/// What Nix said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// Every path carries a signature of a key that was named.
    Trusted,
    /// Not every path; its words.
    Untrusted(String),
}

/// Refuses a closure that is not signed: the system itself by one of `keys`, what it needs by one
/// of `keys` or of those that `nix.conf` trusts.
///
/// # Errors
/// It is not, or Nix could not say.
pub fn check(nix_bin: &Path, toplevel: &StorePath, keys: &[String]) -> Result<(), Failure> {
    if keys.is_empty() {
        let message = "no key is pinned, so that no closure may be tried";
        return Err(Failure::new(Reason::CLOSURE_NOT_SIGNED, message)
            .hint("`autodeployctl check-config` says what is wrong with `trust.closure_keys`"));
    }
    let ask = |of: Of, option: &str, keys: &str| ask(nix_bin, toplevel, (of, option, keys));
    let ours = keys.join(" ");
    if ask(Of::Itself, "trusted-public-keys", &ours)? != Said::Trusted {
        let message = format!("`{toplevel}` is not signed by a key in `trust.closure_keys`");
        return Err(refused(message, toplevel));
    }
    if ask(Of::Itself, "trusted-public-keys", "")? == Said::Trusted {
        let message = format!(
            "Nix trusts `{toplevel}` without any key, as it does what is named by its contents: \
             nobody can be told to have signed it"
        );
        return Err(refused(message, toplevel));
    }
    match ask(Of::All, "extra-trusted-public-keys", &ours)? {
        Said::Trusted => Ok(()),
        Said::Untrusted(words) => {
            let named = named(&words);
            let message = format!(
                "{} of what `{}` needs is signed neither by a key in `trust.closure_keys` nor by \
                 one that Nix trusts: {}",
                if named.len() == 1 { "a part" } else { "some" },
                toplevel.name(),
                shown(&named)
            );
            Err(refused(message, toplevel))
        }
    }
}

fn refused(message: String, toplevel: &StorePath) -> Failure {
    Failure::new(Reason::CLOSURE_NOT_SIGNED, message).hint(format!(
        "what this machine built itself is signed by nobody: see `build.substitute_only`; \
         `nix store copy-sigs --recursive --substituter CACHE {toplevel}` fetches signatures that \
         came later, and `autodeployctl run-now` tries again"
    ))
}

fn ask(
    nix_bin: &Path,
    toplevel: &StorePath,
    (of, option, keys): (Of, &str, &str),
) -> Result<Said, Failure> {
    let program = Program::new(nix_bin.join("nix"), LIMIT)
        .env("HOME", "/root")
        .env("PATH", nix_bin)
        .keep_stderr(ERRORS_KEPT)
        .args(["--extra-experimental-features", "nix-command", "store", "verify", "--quiet"])
        .args(["--no-contents", "--sigs-needed", "1", "--option", "secret-key-files", ""])
        .args(["--option", option, keys])
        .args((of == Of::All).then_some("--recursive"))
        .arg(toplevel.as_str());
    let unanswered = |why: String| {
        let message = format!("could not ask Nix who signed `{toplevel}`: {why}");
        Failure::new(Reason::NIX_UNREACHABLE, message)
            .hint(format!("`nix store verify --no-contents --sigs-needed 1 {toplevel}`"))
    };
    let ended = program.run().map_err(|error| unanswered(format!("{error:#}")))?;
    let words = String::from_utf8_lossy(&ended.stderr);
    match ended.status {
        Status::Code(0) => Ok(Said::Trusted),
        // 2: untrusted; 4 beside it: and something could not be looked at.
        Status::Code(2 | 6) => Ok(Said::Untrusted(words.into_owned())),
        Status::Code(_) | Status::Signal(_) | Status::TimedOut | Status::Stopped => {
            Err(unanswered(format!("{:?}: {}", ended.status, escaped(words.trim(), 500))))
        }
    }
}

/// The paths that Nix named; for people, nothing is decided by them.
fn named(words: &str) -> Vec<StorePath> {
    let mut named: Vec<StorePath> = words
        .lines()
        .filter(|line| line.contains("untrusted"))
        .filter_map(|line| line.split('\'').nth(1)?.parse().ok())
        .collect();
    named.sort();
    named
}

fn shown(named: &[StorePath]) -> String {
    let mut shown: Vec<_> = named.iter().take(NAMED).map(|path| format!("`{path}`")).collect();
    match named.len().saturating_sub(NAMED) {
        0 if shown.is_empty() => "Nix did not say which".to_owned(),
        0 => shown.join(", "),
        more => {
            shown.push(format!("and {more} more"));
            shown.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const KEY: &str = "ci-1:pCKqu0PXXl721uOEbrg+BpsZB6HokY9PMrgbgGw5Zrc=";

    fn path(letter: char) -> StorePath {
        format!("/nix/store/{}-{letter}", letter.to_string().repeat(32)).parse().unwrap()
    }

    /// Answers as a `nix` does that is this script.
    fn answered(script: &str, keys: &[String]) -> (Result<(), Failure>, String) {
        let directory = tempfile::tempdir().unwrap();
        let (program, log) = (directory.path().join("nix"), directory.path().join("log"));
        let line = format!("#!/bin/sh\necho \"$*\" >> {}\n{script}\n", log.display());
        std::fs::write(&program, line).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let answer = check(directory.path(), &path('a'), keys);
        (answer, std::fs::read_to_string(log).unwrap_or_default())
    }

    /// What the real one says of a signed system: no without a key, yes otherwise.
    const SIGNED: &str = r#"case "$*" in *"trusted-public-keys  /nix"*) exit 2;; esac"#;

    #[track_caller]
    fn refuses(script: &str, reason: &Reason, says: &str) {
        let failure = answered(script, &[KEY.to_owned()]).0.unwrap_err();
        assert_eq!(failure.reason, *reason, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
        assert!(failure.hint.unwrap().contains('`'));
    }

    #[test]
    fn the_system_is_asked_about_with_our_keys_and_without_any_and_the_rest_with_all() {
        let keys = [KEY.to_owned(), "ci-2:x".to_owned()];
        let (answer, asked) = answered(SIGNED, &keys);
        assert_eq!(answer, Ok(()));
        let start = "--extra-experimental-features nix-command store verify --quiet --no-contents \
                     --sigs-needed 1 --option secret-key-files  --option";
        let (own, all) = (path('a'), keys.join(" "));
        let lines: Vec<_> = asked.lines().collect();
        assert_eq!(
            lines,
            [
                format!("{start} trusted-public-keys {all} {own}"),
                format!("{start} trusted-public-keys  {own}"),
                format!("{start} extra-trusted-public-keys {all} --recursive {own}"),
            ]
        );
    }

    #[test]
    fn what_nix_does_not_answer_with_yes_is_refused() {
        let unsigned = &Reason::CLOSURE_NOT_SIGNED;
        refuses("exit 2", unsigned, "is not signed by a key in `trust.closure_keys`");
        refuses("exit 0", unsigned, "without any key");
        let recursive = |code: u8, words: &str| {
            format!("case \"$*\" in *--recursive*) {words} exit {code};; esac; {SIGNED}")
        };
        let line = |path: &StorePath| format!("echo \"path '{path}' is untrusted\" >&2;");
        let one = recursive(2, &line(&path('b')));
        refuses(&one, unsigned, "a part of what `a` needs is signed neither by a key");
        refuses(&one, unsigned, &format!(": `{}`", path('b')));
        let many = ['b', 'c', 'd', 'f', 'g'].map(|letter| line(&path(letter))).concat();
        refuses(&recursive(6, &many), unsigned, &format!("`{}`, and 2 more", path('d')));
        refuses(&recursive(2, ""), unsigned, "Nix did not say which");
        for code in [1, 3, 4, 127] {
            refuses(&format!("exit {code}"), &Reason::NIX_UNREACHABLE, "could not ask Nix");
            refuses(&recursive(code, ""), &Reason::NIX_UNREACHABLE, "could not ask Nix");
        }
    }

    #[test]
    fn without_a_key_nothing_is_tried_and_nix_is_not_asked() {
        let (answer, asked) = answered("exit 0", &[]);
        assert_eq!(answer.unwrap_err().reason, Reason::CLOSURE_NOT_SIGNED);
        assert_eq!(asked, "");
    }
}
