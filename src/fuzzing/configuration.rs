//! `config.toml`, read strictly (this generation's) and leniently (another one's).

use super::shown;
use crate::config::settings::Settings;
use crate::config::{check, lenient, rule, strict};

const PATH: &str = "/etc/autodeploy/config.toml";

/// A complaint quotes at most a few names; a long one is cut before.
const LONGEST_COMPLAINT: usize = 2_000;

/// Laws: what is accepted strictly is accepted leniently, with the same settings and without a
/// word; what is not is named, in lines of the file; what is accepted is in range.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let checked = check(text, PATH, "box");
    let lenient = lenient(text, "box");
    match &checked {
        Ok(settings) => {
            assert_eq!(strict(text, PATH, "box").as_ref(), Ok(settings));
            assert_eq!(lenient, Ok((settings.clone(), Vec::new())));
            in_range(settings);
        }
        Err(failures) => {
            assert!(!failures.is_empty());
            let first = strict(text, PATH, "box").unwrap_err();
            assert!(first.message.starts_with(&failures[0].message));
            for failure in failures {
                shown(&failure.message, LONGEST_COMPLAINT);
                shown(failure.hint.as_deref().unwrap_or_default(), LONGEST_COMPLAINT);
                let rest = failure.message.strip_prefix(&format!("`{PATH}`")).unwrap();
                in_the_file(rest.trim_start(), text);
            }
        }
    }
    match lenient {
        Ok((settings, passed_over)) => {
            assert_eq!(passed_over.is_empty(), checked.is_ok());
            passed_over.iter().for_each(|line| in_the_file(line, text));
            assert!(settings.health.settle < settings.health.window || checked.is_err());
        }
        Err(failure) => in_the_file(&failure.message, text),
    }
}

/// A problem that names a line names one that is there.
fn in_the_file(problem: &str, text: &str) {
    let Some(rest) = problem.strip_prefix("line ") else { return };
    let (number, _) = rest.split_once(':').unwrap();
    let last = 1 + text.bytes().filter(|byte| *byte == b'\n').count();
    assert!((1..=last).contains(&number.parse().unwrap()), "line {number} of {last}");
}

fn in_range(settings: &Settings) {
    assert_eq!(rule::host(&settings.host), Ok(()));
    assert_eq!(rule::remote(&settings.source.url), Ok(()));
    assert_eq!(rule::branch(&settings.source.branch), Ok(()));
    assert!(settings.health.settle < settings.health.window);
    assert!(settings.source.poll_interval <= settings.source.stale_after);
    let paths = &settings.paths;
    for path in [&paths.state_dir, &paths.activator_state_dir, &paths.runtime_dir] {
        assert!(path.is_absolute());
    }
    shown(&settings.build.attribute, 4_096);
    settings.warnings.iter().for_each(|warning| shown(warning, LONGEST_COMPLAINT));
}
