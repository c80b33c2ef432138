//! `lifeline.json`: the agent shows that the next push could still be deployed.
//!
//! Written after every poll. The activator believes it only from a run of the agent that began
//! after the switch, which it checks with systemd and not with this file.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;

/// The file's name.
pub const FILE: &str = "lifeline.json";

/// What one run of the agent has reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifeline {
    /// [`crate::handover::VERSION`]
    pub version: u32,
    /// `INVOCATION_ID`, by which systemd names one run of a service.
    pub invocation_id: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The last poll.
    #[serde(default)]
    pub poll: Option<Poll>,
    /// The last try of what Nix has to do for the next deployment.
    #[serde(default)]
    pub nix: Option<NixReach>,
}

/// How a poll ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// When, in milliseconds of `CLOCK_BOOTTIME`.
    pub at_boottime_ms: u64,
    /// What was asked; never with a password in it.
    pub url: String,
    /// Which branch of it.
    pub branch: String,
    /// The tip, if the remote answered.
    #[serde(default)]
    pub tip: Option<CommitId>,
    /// Commits on trial that the tip is, or descends from. Only the agent can tell: the activator
    /// reads no repository.
    #[serde(default)]
    pub contains: Vec<CommitId>,
    /// Why the remote did not answer.
    #[serde(default)]
    pub error: Option<String>,
}

/// Whether Nix would still do its part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NixReach {
    /// When, in milliseconds of `CLOCK_BOOTTIME`.
    pub at_boottime_ms: u64,
    /// The daemon answered and a GC root could be made.
    pub root_made: bool,
    /// The evaluator started and answered; `None` where this machine never evaluates.
    #[serde(default)]
    pub evaluator_started: Option<bool>,
    /// What was missing.
    #[serde(default)]
    pub error: Option<String>,
}
