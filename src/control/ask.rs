//! What may be asked of the agent, and how it refuses.

use serde::{Deserialize, Serialize};

use crate::control::deployment::Details;
use crate::control::status::{Status, Summary};

/// A question or an order. Orders need the right to act; the server checks that before it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// How is it?
    GetStatus,
    /// The newest deployments first, at most `limit`.
    ListDeployments {
        /// At most this many.
        limit: u32,
    },
    /// One deployment, or the newest.
    ShowDeployment {
        /// Its number.
        id: Option<i64>,
    },
    /// Poll now, and deploy what is there.
    RunNow(RunNow),
    /// Go back: abort the trial that is on, or deploy what ran before, or that generation.
    Rollback {
        /// The number in the system profile.
        generation: Option<i64>,
    },
    /// Confirm or abort the trial that is on.
    Answer {
        /// The deployment; `None` means the one in flight.
        id: Option<i64>,
        /// `confirm` or `abort`.
        word: crate::handover::answer::Word,
    },
    /// Never try this closure, or the closure of this commit, by itself.
    Block {
        /// A store path, a commit, or the number of a deployment.
        what: String,
    },
    /// Allow it again.
    Unblock {
        /// A store path, a commit, or the number of a deployment.
        what: String,
    },
    /// Hold the next trial back.
    Pause {
        /// For the others who look.
        reason: String,
    },
    /// Let trials go on.
    Resume,
}

/// How `run-now` is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNow {
    /// Pass the maintenance window.
    pub ignore_maintenance: bool,
    /// Pass maintenance, approval and pause; reduce the checks to the lifeline.
    pub emergency: bool,
}

/// The agent's answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// To `GetStatus`.
    Status(Box<Status>),
    /// To `ListDeployments`.
    Deployments(Vec<Summary>),
    /// To `ShowDeployment`.
    Deployment(Box<Details>),
    /// To an order: it was taken. Where it concerns a deployment, which one; `run-now` is answered
    /// after its poll: `None` means that there is nothing to do.
    Done {
        /// The deployment.
        deployment: Option<i64>,
        /// One sentence.
        message: String,
    },
}

/// Why the agent does not do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such deployment, generation or closure.
    NotFound {
        /// One sentence.
        message: String,
        /// What to do.
        hint: String,
    },
    /// It cannot be done as things stand.
    NotPossible {
        /// One sentence.
        message: String,
        /// What to do.
        hint: String,
    },
    /// What was asked for was tried, and failed (the poll of `run-now`).
    Failed {
        /// The stable code.
        reason: String,
        /// One sentence.
        message: String,
        /// What to do.
        hint: String,
    },
}
