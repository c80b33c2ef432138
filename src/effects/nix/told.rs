//! PURE: reading what Nix printed, and how it ended.
//!
//! Decisions rest on exit codes and on answers to questions that we asked; standard error is only
//! shown to people.

use serde::Deserialize;

use crate::effects::process::Status;
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// What of an error is shown, in characters.
const SHOWN: usize = 400;

/// The answer to [`crate::effects::nix::installable::BOTH_PATHS`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Evaluated {
    /// A derivation, not yet looked at closely.
    Both {
        /// Its path.
        drv: String,
        /// What it makes.
        out: String,
    },
    /// Something else.
    Instead {
        /// Its type in Nix.
        instead: String,
    },
}

/// The answer to [`crate::effects::nix::installable::Installable::missing_part`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Missing {
    /// The first part of the attribute's path that is not there.
    pub missing: String,
    /// What is there instead.
    pub there: Vec<String>,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildEnd {
    /// It is there.
    Done,
    /// Nix itself ended it, by `timeout` or `max-silent-time` of its configuration.
    TimedOut,
    /// A download was not what its hash says.
    HashMismatch,
    /// A builder failed.
    Failed,
    /// Nix says only that it did not work. Through the daemon (Nix 2.26) it says this for every
    /// cause: only who builds without one gets the codes above.
    Unsaid,
}

/// Reads the exit code of `nix-store --realise` (nix-store-realise(1)): 100 + bits, OR-ed.
pub fn build_end(code: i32) -> BuildEnd {
    const ANY: i32 = 0b110_0000;
    const TIMED_OUT: i32 = 0b1;
    const HASH_MISMATCH: i32 = 0b10;
    match code {
        0 => BuildEnd::Done,
        code if code & !0b1111 != ANY => BuildEnd::Unsaid,
        code if code & TIMED_OUT != 0 => BuildEnd::TimedOut,
        code if code & HASH_MISMATCH != 0 => BuildEnd::HashMismatch,
        _ => BuildEnd::Failed,
    }
}

/// Reads one JSON value.
///
/// # Errors
/// What the value is not.
pub fn json<T: serde::de::DeserializeOwned>(stdout: &[u8]) -> Result<T, String> {
    serde_json::from_slice(stdout).map_err(|error| {
        let shown = escaped(&String::from_utf8_lossy(stdout), 100);
        // It quotes a string that it did not expect, with all that is in it.
        let error = escaped(&error.to_string(), 200);
        format!("the answer `{shown}` cannot be read: {error}")
    })
}

/// Reads the answer of `nix-store --check-validity --print-invalid PATH`: it prints what is not
/// valid.
///
/// # Errors
/// It printed something else.
pub fn is_valid(stdout: &[u8], path: &StorePath) -> Result<bool, String> {
    match stdout.trim_ascii() {
        b"" => Ok(true),
        printed if printed == path.as_str().as_bytes() => Ok(false),
        printed => Err(escaped(&String::from_utf8_lossy(printed), 200)),
    }
}

/// Reads the one store path that a command printed.
///
/// # Errors
/// It printed something else.
pub fn one_path(stdout: &[u8]) -> Result<StorePath, String> {
    String::from_utf8_lossy(stdout).trim().parse::<StorePath>().map_err(|error| error.to_string())
}

/// Returns the line of an evaluation's errors that names the cause: the last `error:` and what
/// follows it, in one escaped line. The trace before it is left to `nix` itself.
pub fn cause_of_evaluation(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let start = text.rmatch_indices("error:").map(|(at, _)| at).find(|at| begins_line(&text, *at));
    one_line(&text[start.unwrap_or(0)..])
}

/// Returns the first `error:` of a build with its last lines of output, in one escaped line: what
/// follows only says what else could not be built because of it.
pub fn cause_of_build(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut errors =
        text.match_indices("error:").map(|(at, _)| at).filter(|at| begins_line(&text, *at));
    let start = errors.next().unwrap_or(0);
    let end = errors.next().unwrap_or(text.len());
    let block = &text[start..end];
    one_line(&block[..block.find("For full logs, run").unwrap_or(block.len())])
}

/// Returns the first derivation that is named in a build's errors, for a hint.
pub fn failed_derivation(stderr: &[u8]) -> Option<StorePath> {
    let text = String::from_utf8_lossy(stderr);
    let start =
        text.match_indices("error:").map(|(at, _)| at).find(|at| begins_line(&text, *at))?;
    let mut words = text[start..].split(|c: char| "'`\"^ \n".contains(c));
    let is_derivation = |word: &&str| word.starts_with("/nix/store/") && word.ends_with(".drv");
    words.find(is_derivation)?.parse().ok()
}

fn begins_line(text: &str, at: usize) -> bool {
    text[..at].bytes().rev().find(|byte| *byte != b' ').is_none_or(|byte| byte == b'\n')
}

/// Joins lines, takes Nix's own word for "error" off, escapes, and cuts.
fn one_line(text: &str) -> String {
    let text = text.trim_start().strip_prefix("error:").unwrap_or(text);
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match words.collect::<Vec<_>>().join(" ") {
        line if line.is_empty() => "Nix said nothing".to_owned(),
        line => escaped(line.trim_end_matches(['.', ';']), SHOWN),
    }
}

/// Says how a program ended that did not end well by itself.
pub fn how(status: Status) -> String {
    match status {
        Status::Code(code) => format!("ended with {code}"),
        Status::Signal(signal) => format!("was ended by signal {signal}"),
        Status::TimedOut => "was ended at its limit".to_owned(),
        Status::Stopped => "was ended early".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nix 2.26, `throw` in a module.
    const THROWS: &[u8] = b"error:
       \xe2\x80\xa6 while calling the 'throw' builtin
         at /nix/store/i1423qvkxwwsa9c4b8yrichswr1r29fh-source/flake.nix:9:40:
            8|     nixosConfigurations.deep = host (error: x);
            9|     nixosConfigurations.throws = host (throw \"the operator made a mistake\");

       error: the operator made a mistake\x1b[0m
";

    /// Nix 2.26 through its daemon.
    const FAILS: &[u8] = b"this derivation will be built:
  /nix/store/xqrb9ja7lxgjbri5lwlsy8d941laljc3-bad.drv
building '/nix/store/xqrb9ja7lxgjbri5lwlsy8d941laljc3-bad.drv'...
line1
error: builder for '/nix/store/xqrb9ja7lxgjbri5lwlsy8d941laljc3-bad.drv' failed with exit code 3;
       last 2 log lines:
       > line1
       > line2
       For full logs, run:
         nix-store -l /nix/store/xqrb9ja7lxgjbri5lwlsy8d941laljc3-bad.drv
error: 1 dependencies of derivation '/nix/store/dvcbggp2b44rx2yvvbhk9lf0s5k0xpxv-deep.drv' failed to build
";

    #[test]
    fn the_cause_of_an_evaluation_is_its_last_error() {
        let check = |stderr: &[u8], expected| assert_eq!(cause_of_evaluation(stderr), expected);
        check(THROWS, r"the operator made a mistake\u{1b}[0m");
        check(
            b"error: flake 'x' does not provide attribute 'y'",
            "flake 'x' does not provide attribute 'y'",
        );
        check(b"out of memory", "out of memory");
        check(b"", "Nix said nothing");
        check(b"\xff error: x", "\u{fffd} error: x");
    }

    #[test]
    fn the_cause_of_a_build_is_its_first_error() {
        assert_eq!(
            cause_of_build(FAILS),
            "builder for '/nix/store/xqrb9ja7lxgjbri5lwlsy8d941laljc3-bad.drv' failed with exit \
             code 3; last 2 log lines: > line1 > line2"
        );
        assert_eq!(cause_of_build(b"error: a\nerror: b"), "a");
        assert_eq!(cause_of_build(b""), "Nix said nothing");
    }

    #[test]
    fn the_failed_derivation_is_the_first_that_an_error_names() {
        let named = failed_derivation(FAILS).unwrap();
        assert_eq!(named.as_str(), "/nix/store/xqrb9ja7lxgjbri5lwlsy8d941laljc3-bad.drv");
        let late = b"error: building of '/nix/store/84i6bh9hfnmqdmi2hzb3zwk1bzfs7csy-slow.drv^*' from .drv file timed out";
        assert_eq!(failed_derivation(late).unwrap().name(), "slow.drv");
        assert_eq!(failed_derivation(b"error: no"), None);
        assert_eq!(failed_derivation(b""), None);
    }

    #[test]
    fn exit_codes_of_builds_are_told_apart() {
        for (code, expected) in [
            (0, BuildEnd::Done),
            (1, BuildEnd::Unsaid),
            (100, BuildEnd::Failed),
            (101, BuildEnd::TimedOut),
            (102, BuildEnd::HashMismatch),
            (104, BuildEnd::Failed),
            (105, BuildEnd::TimedOut),
            (107, BuildEnd::TimedOut),
            (110, BuildEnd::HashMismatch),
            (127, BuildEnd::Unsaid),
            (-1, BuildEnd::Unsaid),
        ] {
            assert_eq!(build_end(code), expected, "{code}");
        }
    }

    #[test]
    fn answers_in_json_are_read() {
        let both = br#"{"drv":"/nix/store/h32gqclm532z3jqgqxkp1z1zdnf62fvp-good.drv","out":"/nix/store/1hw0jncx9jdaxiggzs4mif6sq75qchzz-good"}"#;
        assert!(matches!(json(both), Ok(Evaluated::Both { .. })));
        let instead = Evaluated::Instead { instead: "string".to_owned() };
        assert_eq!(json(br#"{"instead":"string"}"#), Ok(instead));
        assert!(json::<Evaluated>(b"{}").is_err());
        let missing = json::<Option<Missing>>(br#"{"missing":"none","there":["a"]}"#).unwrap();
        assert_eq!(missing.unwrap().there, ["a"]);
        assert_eq!(json::<Option<Missing>>(b"null\n"), Ok(None));
    }

    #[test]
    fn what_is_printed_as_invalid_is_invalid() {
        let path: StorePath = "/nix/store/1hw0jncx9jdaxiggzs4mif6sq75qchzz-good".parse().unwrap();
        assert_eq!(is_valid(b"", &path), Ok(true));
        assert_eq!(is_valid(format!("{path}\n").as_bytes(), &path), Ok(false));
        assert_eq!(is_valid(b"what\x07", &path), Err(r"what\u{7}".to_owned()));
    }
}
