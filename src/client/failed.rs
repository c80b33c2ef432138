//! What the client could not do, with its exit code, one sentence and what to type next. PURE.

use std::fmt;
use std::io;
use std::path::Path;

use crate::client::exit::Exit;
use crate::control::ask::Refusal;
use crate::model::failure::Failure;
use crate::model::text::{escaped, escaped_lines};

/// Longer sentences are cut, in characters.
const LONGEST: usize = 4000;

/// Why a command ends before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The exit code.
    pub exit: Exit,
    /// One sentence; empty if there is nobody to say it to.
    pub message: String,
    /// What to type or to look at; may be empty.
    pub hint: String,
}

impl Failed {
    /// Makes one that exits with 1.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Failed {
        Failed { exit: Exit::Failed, message: message.into(), hint: hint.into() }
    }

    /// autodeployd is not there, or does not answer.
    pub fn unreachable(socket: &Path, cause: &str) -> Failed {
        let message = format!("could not reach autodeployd at `{}`: {cause}", socket.display());
        let hint = "systemctl status autodeploy".to_owned();
        Failed { exit: Exit::Unreachable, message, hint }
    }

    /// Nobody reads our output any more, which is their right.
    pub fn unread() -> Failed {
        Failed { exit: Exit::Done, message: String::new(), hint: String::new() }
    }

    /// Tells whether trying again later may help.
    pub fn is_unreachable(&self) -> bool {
        self.exit == Exit::Unreachable
    }

    /// Says why an answer did not come, or came as an error.
    pub fn of_call(socket: &Path, error: zlink::Error) -> Failed {
        let unknown = |what: &str| {
            Failed::new(
                format!("autodeployd answered in a way that this release does not know: {what}"),
                "compare `autodeployctl --version` with what `systemctl status autodeploy` runs",
            )
        };
        match error {
            zlink::Error::Io(error) => Failed::unreachable(socket, &cause(&error)),
            zlink::Error::UnexpectedEof | zlink::Error::SocketRead | zlink::Error::SocketWrite => {
                Failed::unreachable(socket, "it closed the connection")
            }
            zlink::Error::VarlinkService(error) => unknown(&escaped(&error.to_string(), LONGEST)),
            zlink::Error::UnknownErrorReply(name) => unknown(&escaped(&name, LONGEST)),
            other => unknown(&escaped(&other.to_string(), LONGEST)),
        }
    }
}

/// Returns the cause in our words where there are any.
pub fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "it closed the connection".to_owned()
        }
        _ => error.to_string().to_lowercase(),
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Failed {
        let (message, hint) = refusal.words();
        Failed::new(escaped(message, LONGEST), escaped(hint, LONGEST))
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        let hint = failure.hint.as_deref().unwrap_or_default();
        Failed::new(escaped_lines(&failure.message, LONGEST), escaped_lines(hint, LONGEST))
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Failed {
        Failed::new(escaped(&format!("{error:#}"), LONGEST), "")
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.hint.as_str() {
            "" => Ok(()),
            hint => write!(f, "\n\nhint: {hint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failed: Failed, exit: Exit, text: &str) {
        assert_eq!((failed.exit, failed.to_string().as_str()), (exit, text));
    }

    #[test]
    fn an_absent_agent_is_named_with_its_socket() {
        let socket = Path::new("/run/autodeploy/control");
        check(
            Failed::of_call(socket, zlink::Error::Io(io::ErrorKind::NotFound.into())),
            Exit::Unreachable,
            "could not reach autodeployd at `/run/autodeploy/control`: no such file\n\n\
             hint: systemctl status autodeploy",
        );
        check(
            Failed::of_call(socket, zlink::Error::UnexpectedEof),
            Exit::Unreachable,
            "could not reach autodeployd at `/run/autodeploy/control`: it closed the connection\n\n\
             hint: systemctl status autodeploy",
        );
    }

    #[test]
    fn a_refusal_is_said_in_the_agents_words_but_escaped() {
        let refusal = Refusal::NotFound {
            message: "there is no deployment 9\x1b[2J".into(),
            hint: "autodeployctl history".into(),
        };
        check(
            refusal.into(),
            Exit::Failed,
            "there is no deployment 9\\u{1b}[2J\n\nhint: autodeployctl history",
        );
    }

    #[test]
    fn without_a_hint_there_is_no_hint() {
        check(anyhow::anyhow!("b").context("a").into(), Exit::Failed, "a: b");
    }

    #[test]
    fn another_release_is_not_taken_for_an_absent_one() {
        let error = zlink::Error::UnknownErrorReply("org.autodeploy.Control.Newer".into());
        check(
            Failed::of_call(Path::new("/s"), error),
            Exit::Failed,
            "autodeployd answered in a way that this release does not know: \
             org.autodeploy.Control.Newer\n\nhint: compare `autodeployctl --version` with what \
             `systemctl status autodeploy` runs",
        );
    }
}
