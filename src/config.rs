//! `config.toml`: from text to validated settings.
//!
//! This is the only place with defaults and ranges. It reads no file itself: callers bring the
//! text, and get back [`settings::Settings`], or what is wrong with line numbers and hints.
//!
//! | file | what |
//! |---|---|
//! | [`keys`] | the table of keys: what each takes, its default, its meaning |
//! | [`document`] | TOML to known keys with their lines; unknown ones end here |
//! | [`reading`] | one value at a time |
//! | [`checks`], [`whole`] | what belongs together, the rules between keys, the warnings |
//! | [`rule`], [`span`], [`size`] | what a single text may be |
//! | [`problem`] | what is wrong, where, and what to write instead |

pub mod checks;
pub mod document;
pub mod keys;
pub mod problem;
pub mod reading;
pub mod rule;
pub mod settings;
pub mod size;
pub mod span;
pub mod whole;

use crate::model::failure::{Failure, Reason};
use problem::Problem;
use settings::Settings;

/// Where the configuration lies unless `--config` says otherwise.
pub const PATH: &str = "/etc/autodeploy/config.toml";

/// The exit code for a bad configuration (`EX_CONFIG`); the unit does not restart after it.
pub const EXIT_BAD_CONFIGURATION: u8 = 78;

/// Reads this generation's own configuration; `host_name` stands in for `host` where that is not
/// set, and `path` is only for the words of a failure.
///
/// # Errors
/// Anything at all is wrong with it: the first thing, and how many there are besides.
pub fn strict(text: &str, path: &str, host_name: &str) -> Result<Settings, Failure> {
    check(text, path, host_name).map_err(|failures| {
        let more = failures.len().saturating_sub(1);
        let first = failures.into_iter().next().unwrap_or_else(|| {
            Failure::new(Reason::INTERNAL, "a configuration was refused for no reason")
        });
        match more {
            0 => first,
            _ => Failure { message: format!("{} (and {more} more)", first.message), ..first },
        }
    })
}

/// Like [`strict`], with everything that is wrong, in the order of the lines.
///
/// # Errors
/// Anything at all is wrong with it; the list is not empty.
pub fn check(text: &str, path: &str, host_name: &str) -> Result<Settings, Vec<Failure>> {
    match read(text, host_name) {
        Ok((settings, problems)) if problems.is_empty() => Ok(settings),
        Ok((_, problems)) => Err(problems.into_iter().map(|one| one.into_failure(path)).collect()),
        Err(problem) => Err(vec![problem.into_failure(path)]),
    }
}

/// Reads another generation's configuration, which a newer or older release may have written.
///
/// What this release does not understand is passed over and listed: an unknown key, a value that
/// is out of range (its default stands in), a check of an unknown kind
/// ([`settings::Probe::Unknown`], wanted). Whether that generation's own agent accepts its
/// configuration is shown by its lifeline, not here.
///
/// # Errors
/// It is not TOML.
pub fn lenient(text: &str, host_name: &str) -> Result<(Settings, Vec<String>), Failure> {
    match read(text, host_name) {
        Ok((settings, problems)) => {
            Ok((settings, problems.into_iter().map(Problem::into_line).collect()))
        }
        Err(problem) => Err(Failure::new(Reason::NO_CONFIGURATION, problem.into_line())
            .hint("`autodeployctl check-config FILE` says what is wrong with a file")),
    }
}

/// Reads the host that another generation's configuration is for; `hostname` stands in where it
/// names none, and nothing does where it names what cannot be a host.
///
/// # Errors
/// It is not TOML.
pub fn host_of(text: &str, hostname: &str) -> Result<String, Failure> {
    let misread = |line: &String| line.contains("`host` ");
    let (settings, passed_over) = lenient(text, hostname)?;
    Ok(if passed_over.iter().any(misread) { String::new() } else { settings.host })
}

/// Reads all that can be read, and lists the rest in the order of the lines.
fn read(text: &str, host_name: &str) -> Result<(Settings, Vec<Problem>), Problem> {
    let (settings, mut problems) = whole::read(document::parse(text)?, host_name);
    problems.sort_by_key(|problem| problem.line);
    problems.dedup();
    Ok((settings, problems))
}

#[cfg(test)]
mod tests;
