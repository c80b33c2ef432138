//! What the baseline proved of the machine, as the record keeps it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::activator::judgement::Judgement;
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;

/// All that is needed to judge and to go back, written before anything is switched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The machine before the switch.
    pub baseline: Baseline,
    /// What decides.
    pub judgement: Judgement,
    /// The profiles that keeping moves, each with what it led to. One so far.
    pub profiles: Vec<Profile>,
    /// What only a boot can try; `None` where a switch does.
    #[serde(default)]
    pub boot: Option<Boot>,
}

/// Why a closure has to be booted, and whether that can be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// What of it only a boot changes.
    pub reasons: Vec<String>,
    /// Whether one boot of it can be armed; otherwise it may go ahead all the same.
    pub provable: bool,
}

/// The machine before the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// What `/run/current-system` led to.
    pub running: StorePath,
    /// Units that were failed, or restarting in a loop.
    #[serde(default)]
    pub failed_units: Vec<String>,
    /// Units that were active.
    #[serde(default)]
    pub active_units: Vec<String>,
    /// Whether there was a default route.
    #[serde(default)]
    pub default_route: bool,
    /// Whether there was a resolver.
    #[serde(default)]
    pub resolver: bool,
}

/// A profile, and where it led before the trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// `system`
    pub name: String,
    /// The profile's link.
    pub path: PathBuf,
    /// Number and path before the trial.
    pub old: Generation,
}

impl Profile {
    /// Names the system profile, which is the only one so far.
    pub fn system(path: PathBuf, old: Generation) -> Profile {
        Profile { name: "system".to_owned(), path, old }
    }
}
