//! PURE: what can go wrong between us and a remote, and the sentence for each.

use std::time::Duration;

use crate::effects::remote::address;
use crate::effects::remote::answer::Unusable;
use crate::model::failure::{Failure, Reason};

/// No server is believed when it asks for more patience than this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// A poll that brought no tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollFailure {
    /// Why.
    pub failure: Failure,
    /// How long the server wants to be left alone (`Retry-After`), at most a day.
    pub retry_after: Option<Duration>,
}

impl From<Failure> for PollFailure {
    fn from(failure: Failure) -> PollFailure {
        PollFailure { failure, retry_after: None }
    }
}

/// What went wrong on the way to an answer; texts are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no address for this host.
    Lookup(String, String),
    /// The lookup that an earlier poll began has still not come back.
    LookupStuck,
    /// No connection, or it broke.
    Connection(String),
    /// The certificate of this host is not believed.
    Certificate(String, String),
    /// Not in time.
    TimedOut(Duration),
    /// Another answer than 200, and how long we are to wait.
    Status(u16, Option<Duration>),
    /// A redirect that is not followed.
    Redirect(String),
    /// No answer of a Git server.
    Unusable(Unusable),
    /// An answer that does not end.
    TooLarge(u64),
    /// The token cannot be read.
    Token(String),
    /// The remote answered, and has no such branch.
    NoBranch,
}

impl From<Unusable> for Trouble {
    fn from(unusable: Unusable) -> Trouble {
        Trouble::Unusable(unusable)
    }
}

impl Trouble {
    /// Tells whether asking in the other way, from the start, could help: when what was kept of
    /// the last poll may be out of date.
    pub fn may_be_outdated(&self) -> bool {
        match self {
            Trouble::Unusable(_) | Trouble::Redirect(_) => true,
            Trouble::Status(status, _) => !matches!(status, 401 | 403 | 429 | 503),
            Trouble::Lookup(..)
            | Trouble::LookupStuck
            | Trouble::Connection(_)
            | Trouble::Certificate(..)
            | Trouble::TimedOut(_)
            | Trouble::TooLarge(_)
            | Trouble::Token(_)
            | Trouble::NoBranch => false,
        }
    }

    /// Makes the sentence.
    pub fn into_failure(self, url: &str, branch: &str) -> PollFailure {
        let url = address::shown(url);
        let branch = crate::model::text::escaped(branch, 200);
        let retry_after = match &self {
            Trouble::Status(_, retry_after) => retry_after.map(|wait| wait.min(LONGEST_PATIENCE)),
            _ => None,
        };
        let says = |reason: Reason, cause: &str| {
            let message = format!("could not ask `{url}` for `{branch}`: {cause}");
            Failure::new(reason, message).hint(asks_the_same(&url))
        };
        let failure = match self {
            Trouble::Lookup(host, cause) => {
                says(Reason::UNREACHABLE, &format!("could not look up `{host}`: {cause}"))
                    .hint(format!("`getent ahosts {host}` asks the same resolver"))
            }
            Trouble::LookupStuck => says(Reason::UNREACHABLE, "name lookup still stuck")
                .hint("the resolver does not answer: look at `/etc/resolv.conf`"),
            Trouble::Connection(cause) => says(Reason::UNREACHABLE, &cause),
            Trouble::Certificate(host, cause) => says(
                Reason::ACCESS_DENIED,
                &format!("the certificate of `{host}` is not believed: {cause}"),
            )
            .hint("its authority has to be among `security.pki` of the running system"),
            Trouble::TimedOut(limit) => {
                says(Reason::UNREACHABLE, &format!("no answer within {}", in_words(limit)))
            }
            Trouble::Status(status, _) => with_status(status, says),
            Trouble::Redirect(why) => says(Reason::UNREACHABLE, &why)
                .hint("put the repository's own address into `source.url`"),
            Trouble::Unusable(Unusable::Sha256) => {
                says(Reason::FETCH_FAILED, &Unusable::Sha256.to_string())
                    .hint("only repositories with SHA-1 object names can be followed yet")
            }
            Trouble::Unusable(unusable) => says(Reason::UNREACHABLE, &unusable.to_string()),
            Trouble::TooLarge(bytes) => {
                says(Reason::TOO_LARGE, &format!("the answer is larger than {bytes} bytes"))
            }
            Trouble::Token(cause) => says(Reason::ACCESS_DENIED, &cause)
                .hint("the file of `source.token_file` has to be readable by the agent"),
            Trouble::NoBranch => {
                Failure::new(Reason::NO_SUCH_BRANCH, format!("`{url}` has no branch `{branch}`"))
                    .hint(format!("`git ls-remote --heads {url}` lists what there is"))
            }
        };
        PollFailure { failure, retry_after }
    }
}

fn with_status(status: u16, says: impl Fn(Reason, &str) -> Failure) -> Failure {
    let answered = format!("the server answered {status}");
    match status {
        401 | 403 => says(Reason::ACCESS_DENIED, &answered)
            .hint("the token is missing, expired or may not read: see `source.token_file`"),
        404 => says(Reason::ACCESS_DENIED, &answered).hint(
            "there is no such repository (`source.url`), or the token may not see it \
             (`source.token_file`)",
        ),
        429 => says(Reason::UNREACHABLE, &answered)
            .hint("it is asked too often: make `source.poll_interval` longer"),
        _ => says(Reason::UNREACHABLE, &answered),
    }
}

/// Returns the hint for a remote about which no more is known: what a person can ask it.
pub fn asks_the_same(url: &str) -> String {
    format!("it is tried again by itself; `git ls-remote --heads {url}` asks the same")
}

/// Writes a limit as people say it.
pub fn in_words(limit: Duration) -> String {
    match limit.as_millis() {
        millis if millis % 1000 != 0 => format!("{millis} ms"),
        millis => format!("{} s", millis / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trouble: Trouble, reason: Reason, message: &str) {
        let seen = trouble.into_failure("https://me:word@h/x", "main").failure;
        assert_eq!((seen.reason, seen.message.as_str()), (reason, message));
        assert!(seen.hint.is_some(), "{message}");
    }

    #[test]
    fn each_trouble_has_a_sentence() {
        check(
            Trouble::TimedOut(Duration::from_secs(30)),
            Reason::UNREACHABLE,
            "could not ask `https://h/x` for `main`: no answer within 30 s",
        );
        check(
            Trouble::Status(404, None),
            Reason::ACCESS_DENIED,
            "could not ask `https://h/x` for `main`: the server answered 404",
        );
        check(
            Trouble::Status(500, None),
            Reason::UNREACHABLE,
            "could not ask `https://h/x` for `main`: the server answered 500",
        );
        check(
            Trouble::Connection("connection refused".to_owned()),
            Reason::UNREACHABLE,
            "could not ask `https://h/x` for `main`: connection refused",
        );
        check(Trouble::NoBranch, Reason::NO_SUCH_BRANCH, "`https://h/x` has no branch `main`");
        check(
            Trouble::TooLarge(10),
            Reason::TOO_LARGE,
            "could not ask `https://h/x` for `main`: the answer is larger than 10 bytes",
        );
    }

    #[test]
    fn patience_has_an_end() {
        let asked = |wait| {
            let trouble = Trouble::Status(503, Some(Duration::from_secs(wait)));
            trouble.into_failure("https://h/x", "main").retry_after.unwrap().as_secs()
        };
        assert_eq!(asked(120), 120);
        assert_eq!(asked(u64::MAX), 24 * 3600);
    }

    #[test]
    fn limits_are_said_in_words() {
        assert_eq!(in_words(Duration::from_millis(200)), "200 ms");
        assert_eq!(in_words(Duration::from_secs(600)), "600 s");
    }
}
