//! `report.json`: the public part of the activator's record, rewritten at every change.
//!
//! The record itself is root's alone. The agent learns the outcome of a trial from here, fills a
//! new database from here, and shows here what only root can read.

use serde::{Deserialize, Serialize};

use crate::config::settings::Severity;
use crate::handover::mark::Mark;
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Kind, Outcome, Phase};
use crate::model::failure::Reason;
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;

/// The file's name.
pub const FILE: &str = "report.json";

/// What the activator knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`crate::handover::VERSION`]
    pub version: u32,
    /// The release of the activator that wrote it.
    #[serde(default)]
    pub activator_version: String,
    /// The trial that is on, else the last one that ended.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// Closures that were reverted and that the activator refuses.
    #[serde(default)]
    pub reverted: Vec<Reverted>,
    /// The last closure that was kept.
    #[serde(default)]
    pub last_kept: Option<Kept>,
    /// What the next tip has to descend from; `None` where that was never told.
    #[serde(default)]
    pub mark: Option<Mark>,
    /// What the boot loader starts by default; `None` if that cannot be told.
    #[serde(default)]
    pub boot_default: Option<BootDefault>,
    /// Why this machine can arm no single boot, whatever the closure; `None` where it can.
    #[serde(default)]
    pub never_once: Option<String>,
    /// Something that an operator should know about the record itself.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One trial, from its request to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which deployment it is.
    pub deployment: DeploymentId,
    /// Why there is one.
    pub kind: Kind,
    /// The commit, where one is known.
    #[serde(default)]
    pub commit: Option<CommitId>,
    /// What is on trial.
    pub toplevel: StorePath,
    /// The generation that ran before; `None` until the baseline is taken, and where what ran was
    /// not the profile's.
    #[serde(default)]
    pub old: Option<Generation>,
    /// What ran before, whether or not a profile led to it; `None` until the baseline is taken.
    #[serde(default)]
    pub ran_before: Option<StorePath>,
    /// Where it stands; meaningless once there is an outcome.
    pub phase: Phase,
    /// Every phase it went through, oldest first.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// How it ended; `None` while it is on.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The code of that.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// The sentence of that.
    #[serde(default)]
    pub message: String,
    /// What the operator can do.
    #[serde(default)]
    pub hint: Option<String>,
    /// Whether it may be tried again by itself, and when not, the closure is in
    /// [`Report::reverted`] or a person has to act.
    #[serde(default)]
    pub retry: bool,
    /// The generation that was made or moved to by keeping.
    #[serde(default)]
    pub generation: Option<u64>,
    /// The checks as they were last seen.
    #[serde(default)]
    pub checks: Vec<CheckReport>,
    /// What was collected before the revert.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub finished_at: Option<String>,
}

/// One phase that was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The phase by its name in the activator's own table, for example `unkeeping`.
    pub phase: String,
    /// RFC 3339, UTC.
    pub at: String,
    /// What there is to say, in one line; may be empty.
    #[serde(default)]
    pub message: String,
}

/// Tells whether a phase was entered, by its name in the activator's own table.
pub fn went_through(steps: &[Step], phase: &str) -> bool {
    steps.iter().any(|step| step.phase == phase)
}

/// How a check was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// Not tried yet.
    Pending,
    /// Good.
    Green,
    /// Not good.
    Red,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Its name: `units`, `lifeline`, or as configured.
    pub name: String,
    /// `units`, `lifeline`, `http`, `tcp`, `command`.
    pub kind: String,
    /// Whether it decides.
    pub severity: Severity,
    /// How it was last seen.
    pub state: CheckState,
    /// It was red before the switch with the same definition, and decides nothing.
    #[serde(default)]
    pub excused: bool,
    /// One escaped line, at most 2 KiB.
    #[serde(default)]
    pub message: String,
}

/// One thing that was looked at before the revert wiped it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// For example: check `web`, or unit `web.service`.
    pub about: String,
    /// Escaped lines.
    pub text: String,
}

/// A closure that was reverted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// The closure.
    pub toplevel: StorePath,
    /// The commit that brought it.
    #[serde(default)]
    pub commit: Option<CommitId>,
    /// Why.
    pub reason: Reason,
    /// RFC 3339, UTC.
    pub since: String,
    /// The deployment that showed it.
    pub deployment: DeploymentId,
}

/// A closure that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The closure.
    pub toplevel: StorePath,
    /// The commit that brought it.
    #[serde(default)]
    pub commit: Option<CommitId>,
    /// Its generation.
    pub generation: u64,
    /// RFC 3339, UTC.
    pub at: String,
}

/// What the next boot starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootDefault {
    /// The closure.
    pub toplevel: StorePath,
    /// Its generation, where the profile has one that leads to it.
    #[serde(default)]
    pub generation: Option<u64>,
    /// What the profile led to when this was read. Who moves the profile moves the default as
    /// well, or does not: this is believed for as long as the profile stands.
    #[serde(default)]
    pub profile: Option<StorePath>,
}
