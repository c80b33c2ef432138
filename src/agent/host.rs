//! The one seam under the loop: everything that the agent does to the world.
//!
//! There are two of it: [`real`], and the one in memory of the tests, which can do everything that
//! the real one can, failing and hanging included. What takes time comes back as a future; none of
//! them blocks the loop, and each may be dropped.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Result;

use crate::agent::history::{History, Said};
use crate::agent::rollout::{Done, Moment, Operation, World};
use crate::handover::answer::Answer;
use crate::handover::lifeline::{Lifeline, NixReach};
use crate::handover::mark::Mark;
use crate::handover::request::Request;
use crate::model::commit::CommitId;
use crate::model::deployment::DeploymentId;
use crate::model::failure::Failure;
use crate::model::store_path::StorePath;

pub mod configuration;
#[cfg(test)]
pub(crate) mod fake;
pub mod real;
mod room;
mod work;

/// Something that is there later.
pub type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// A poll that had no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// Why.
    pub failure: Failure,
    /// How long the remote wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// A question that only matters while a trial is on; it never waits for a long operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Does Nix still do its part?
    Nix,
    /// Which of these does the tip contain?
    Contains {
        /// The tip.
        tip: CommitId,
        /// The commits on trial.
        of: Vec<CommitId>,
    },
}

/// The answer to a [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// To [`Probe::Nix`].
    Nix(NixReach),
    /// To [`Probe::Contains`]; an error is asked again.
    Contains {
        /// The tip.
        tip: CommitId,
        /// What was asked about.
        of: Vec<CommitId>,
        /// Those that it contains.
        contains: Result<Vec<CommitId>, Failure>,
    },
}

/// What lies where this run's configuration lay when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configured {
    /// That one.
    Same,
    /// Another one, which the next run would begin with.
    Replaced,
    /// Something that no run would begin with.
    Refused(Failure),
}

/// What systemd is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Configuration, database and socket are open.
    Ready,
    /// What goes on, in a line.
    Status(String),
    /// The loop goes round.
    Alive,
    /// SIGTERM was heard.
    Stopping,
}

/// Everything that the agent does to the world.
pub trait Host {
    /// Reads the clocks.
    fn now(&self) -> Moment;

    /// Draws a number from 0 to 1.
    fn chance(&mut self) -> f64;

    /// Looks at the machine; `front` is the closure whose need of a reboot matters.
    fn look(&mut self, front: Option<&StorePath>) -> World;

    /// Returns what a generation of the system profile leads to.
    fn generation(&mut self, number: u64) -> Option<StorePath>;

    /// Asks the remote where the branch is, within `limit`.
    fn poll(&mut self, limit: Duration) -> Later<Result<CommitId, NoAnswer>>;

    /// Carries out a long operation. There is never a second one before the first has ended.
    fn work(&mut self, operation: &Operation) -> Later<Result<Done, Failure>>;

    /// Ends the long operation that runs, soon: nobody wants its result any more.
    fn halt_work(&mut self);

    /// Answers a question, beside a long operation if need be.
    fn probe(&mut self, probe: &Probe) -> Later<Probed>;

    /// Lets the activator get ready for a request; nothing depends on it.
    fn announce(&mut self);
    /// Asks the activator.
    ///
    /// # Errors
    /// The file could not be written; nothing was asked.
    fn request(&mut self, request: &Request) -> Result<()>;

    /// Tells the activator what a person said.
    ///
    /// # Errors
    /// The file could not be written; nothing was told.
    fn answer(&mut self, answer: &Answer) -> Result<()>;

    /// Lets the activator remember the mark, when it has time for that.
    ///
    /// # Errors
    /// The file could not be written; the last one stands.
    fn mark(&mut self, mark: &Mark) -> Result<()>;

    /// Shows what this run of the agent has reached.
    ///
    /// # Errors
    /// The file could not be written; the last one stands.
    fn lifeline(&mut self, lifeline: &Lifeline) -> Result<()>;

    /// Looks whether the configuration was replaced.
    fn configuration(&mut self) -> Configured;

    /// Removes the roots of all deployments but these.
    fn keep_roots(&mut self, keep: &BTreeSet<DeploymentId>);

    /// Writes an event to the journal.
    fn tell(&mut self, said: &Said);

    /// Tells systemd.
    fn notify(&mut self, notice: Notice);

    /// Returns the history. Each call may be the last thing that happens before a power cut.
    fn history(&mut self) -> &mut History;

    /// Returns the name of this run of the agent, by systemd.
    fn invocation_id(&self) -> String;
}
