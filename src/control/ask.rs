//! What may be asked of the agent, and how it refuses.

use serde::{Deserialize, Serialize};
use zlink::introspect::{self, CustomType, Type};

use crate::control::deployment::Details;
use crate::control::status::Summary;

/// A question or an order. Orders need the right to act; the server checks that before it asks.
///
/// The status is not asked for: it is there whenever it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
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
        word: Word,
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
    /// Put a commit in the place of the mark, once.
    Reanchor {
        /// Its full name.
        commit: String,
        /// For whoever reads the journal later.
        reason: String,
    },
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

/// The answer to an order, on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Taken {
    /// The deployment that it concerns; null if there is nothing to do.
    pub deployment: Option<i64>,
    /// One sentence.
    pub message: String,
}

/// What a person says about the trial that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "lowercase")]
#[zlink(rename_all = "lowercase")]
pub enum Word {
    /// It works.
    Confirm,
    /// Go back.
    Abort,
}

impl From<Word> for crate::handover::answer::Word {
    fn from(word: Word) -> Self {
        match word {
            Word::Confirm => Self::Confirm,
            Word::Abort => Self::Abort,
        }
    }
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq, zlink::ReplyError, introspect::ReplyError)]
#[zlink(interface = "org.autodeploy.Control")]
pub enum Refusal {
    /// Whoever asks may look, and not act. The server says this before the loop is asked.
    NotAllowed {
        /// One sentence.
        message: String,
        /// What to do.
        hint: String,
    },
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

impl Refusal {
    /// Returns the sentence and what to do.
    pub fn words(&self) -> (&str, &str) {
        match self {
            Refusal::NotAllowed { message, hint }
            | Refusal::NotFound { message, hint }
            | Refusal::NotPossible { message, hint }
            | Refusal::Failed { message, hint, .. } => (message, hint),
        }
    }
}
