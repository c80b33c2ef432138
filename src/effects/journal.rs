//! Events on their way to the journal, with fixed names for programs and one sentence for people.

use anyhow::{Context, Result};
use tracing_subscriber::prelude::*;

use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Outcome};
use crate::model::event::{EventKind, Level};
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;
use crate::model::text::escaped_lines;

/// Longer messages are cut, in characters.
const LONGEST_MESSAGE: usize = 16 << 10;

/// What an event is about; what does not apply is left out of the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// `AUTODEPLOY_DEPLOYMENT`
    pub deployment: Option<DeploymentId>,
    /// `AUTODEPLOY_COMMIT`
    pub commit: Option<&'a CommitId>,
    /// `AUTODEPLOY_CLOSURE`
    pub closure: Option<&'a StorePath>,
    /// `AUTODEPLOY_OUTCOME`
    pub outcome: Option<Outcome>,
    /// `AUTODEPLOY_REASON`
    pub reason: Option<&'a Reason>,
}

/// Connects the program to the journal, or to standard error where there is no journal.
///
/// `identifier` becomes `SYSLOG_IDENTIFIER`. To be called once, first thing in `main`.
///
/// # Errors
/// Somebody called it before.
pub fn connect(identifier: &str) -> Result<()> {
    let level = tracing_subscriber::filter::LevelFilter::INFO;
    let registry = tracing_subscriber::registry().with(level);
    let connected = match tracing_journald::layer() {
        // Without a prefix: fields are named here, and in full.
        Ok(layer) => registry
            .with(layer.with_field_prefix(None).with_syslog_identifier(identifier.to_owned()))
            .try_init(),
        Err(_) => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time())
            .try_init(),
    };
    connected.context("the journal is connected already")
}

/// Writes one event.
///
/// `message` is one sentence of ours, or a sentence and the output of something, which follows
/// indented. Text from outside in it is escaped already, and is so here once more.
pub fn record(kind: EventKind, about: About<'_>, message: &str) {
    let message = indented(&escaped_lines(message, LONGEST_MESSAGE));
    macro_rules! at {
        ($level:ident) => {
            tracing::event!(
                tracing::Level::$level,
                MESSAGE_ID = kind.message_id(),
                AUTODEPLOY_EVENT = kind.name(),
                AUTODEPLOY_DEPLOYMENT = about.deployment.map(|id| id.0),
                AUTODEPLOY_COMMIT = about.commit.map(CommitId::as_str),
                AUTODEPLOY_CLOSURE = about.closure.map(StorePath::as_str),
                AUTODEPLOY_OUTCOME = about.outcome.map(Outcome::as_str),
                AUTODEPLOY_REASON = about.reason.map(Reason::as_str),
                "{message}"
            )
        };
    }
    match kind.level() {
        Level::Info => at!(INFO),
        Level::Warning => at!(WARN),
        Level::Error => at!(ERROR),
    }
}

/// Lets no line but the first begin like one of ours, wherever lines are all that is shown
/// (`journalctl --output=cat`, what forwards to syslog).
fn indented(message: &str) -> String {
    message.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_is_ours() {
        assert_eq!(indented("one"), "one");
        assert_eq!(indented("unit `x`:\nforged\n\nfoo\n"), "unit `x`:\n    forged\n    \n    foo");
    }
}
