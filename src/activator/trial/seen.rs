//! PURE: what a trial sees of the machine at one moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::settings::Severity;
use crate::handover::report::CheckState;
use crate::model::store_path::StorePath;

/// What `/run/current-system` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum System {
    /// The system that ran before.
    Old,
    /// The one on trial.
    New,
    /// They are the same.
    Both,
    /// Neither, or nothing that could be read.
    Other,
}

impl System {
    /// Classifies what runs.
    pub fn of(running: Option<&StorePath>, old: &StorePath, new: &StorePath) -> System {
        match (running == Some(old), running == Some(new)) {
            (true, true) => System::Both,
            (true, false) => System::Old,
            (false, true) => System::New,
            (false, false) => System::Other,
        }
    }

    /// Tells whether the old system runs.
    pub fn is_old(self) -> bool {
        matches!(self, System::Old | System::Both)
    }

    /// Tells whether the system on trial runs.
    pub fn is_new(self) -> bool {
        matches!(self, System::New | System::Both)
    }
}

/// One check as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSeen {
    /// Its name.
    pub name: String,
    /// `units`, `lifeline`, or the configured kind.
    pub kind: String,
    /// Whether it decides.
    pub severity: Severity,
    /// It was red before the switch with the same definition.
    pub excused: bool,
    /// It was green before the switch with the same definition, and is not about a local fact: the
    /// old system can acquit or convict by it.
    pub tells: bool,
    /// How it is.
    pub state: CheckState,
    /// Since when it is so.
    pub since: Duration,
    /// One escaped line.
    pub message: String,
}

impl CheckSeen {
    /// Tells whether the verdict depends on it.
    pub fn decides(&self) -> bool {
        self.severity == Severity::Required && !self.excused
    }
}

/// One look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The monotonic clock.
    pub now: Duration,
    /// What runs.
    pub system: System,
    /// The profile leads somewhere else than before the switch.
    pub profile_moved: bool,
    /// Who aborted, if somebody did.
    pub aborted_by: Option<u32>,
    /// A newer commit is ready, and this one has not begun to run.
    pub superseded: bool,
    /// We were told to end, and the machine is going down.
    pub stopping: bool,
    /// The checks, as far as they are running.
    pub checks: Vec<CheckSeen>,
    /// Units, route, resolver of the baseline that are not there; asked for in
    /// [`super::phase::Phase::Rechecking`] only.
    pub lost: Vec<String>,
}
