//! `GetStatus`: everything that is true now, in one value.

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

use crate::control::deployment::Check;

/// The answer to "how is this machine?". Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Status {
    /// The host's name in the flake.
    pub host: String,
    /// The phase, by its name in the contract.
    pub phase: String,
    /// What was activated last.
    pub running: Running,
    /// What the next boot starts; null if it cannot be told.
    pub boot_default: Option<Running>,
    /// The remote, as last seen.
    pub remote: Remote,
    /// The deployment in flight, else the last one.
    pub deployment: Option<Summary>,
    /// The checks of the trial that is on, else of the last one.
    pub checks: Vec<Check>,
    /// Closures that are not tried again by themselves.
    pub blocked: Vec<Blocked>,
    /// What holds back the next trial.
    pub gates: Vec<Gate>,
    /// Whether the closure that is wanted has to be booted.
    pub reboot_needed: RebootNeeded,
    /// The closure that somebody switched to by hand, in place of the kept one.
    #[serde(default)]
    pub drift: Option<String>,
    /// What the system profile leads to, if somebody set it to what neither runs nor was kept.
    #[serde(default)]
    pub staged: Option<String>,
    /// Nothing but the built-in checks decides about a trial.
    #[serde(default)]
    pub only_built_in_checks: bool,
    /// What deserves a word, one sentence each.
    pub warnings: Vec<String>,
}

/// A system, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Running {
    /// Its store path.
    pub toplevel: String,
    /// The commit that brought it, where autodeploy did.
    pub commit: Option<String>,
    /// Its number in the system profile, where it has one.
    pub generation: Option<i64>,
}

/// The remote, as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Remote {
    /// Where; without a password.
    pub url: String,
    /// Which branch of it.
    pub branch: String,
    /// The last tip that was seen.
    pub tip: Option<String>,
    /// The last good poll.
    pub last_success_at: Option<String>,
    /// Why the last poll failed; null after a good one.
    pub last_error: Option<String>,
    /// It stands still or was cut off, or the clock cannot be right.
    pub stale: bool,
    /// Why it is called stale.
    #[serde(default)]
    pub stale_reasons: Vec<Stale>,
    /// What the next tip has to descend from: the last kept commit of the branch, or what a person
    /// put in its place, or the introduction; null if nothing.
    #[serde(default)]
    pub mark: Option<String>,
}

/// One way in which the remote is stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Stale {
    /// `no-answer`, `old-tip` or `clock-behind`.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// What to type or to look at.
    pub hint: String,
}

/// A deployment in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Summary {
    /// Its number.
    pub id: i64,
    /// The commit, where there is one.
    pub commit: Option<String>,
    /// The closure, once it is known.
    pub toplevel: Option<String>,
    /// How it ended; null in flight.
    pub outcome: Option<String>,
    /// The stable code of that.
    pub reason: Option<String>,
    /// The sentence of that.
    pub message: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
    /// The first line of the commit's message, escaped.
    #[serde(default)]
    pub subject: Option<String>,
    /// What the operator can do, if that is known.
    #[serde(default)]
    pub hint: Option<String>,
}

/// A closure that is not tried again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Blocked {
    /// Its store path.
    pub toplevel: String,
    /// The commit that brought it.
    pub commit: Option<String>,
    /// The stable code.
    pub reason: String,
    /// When it was blocked.
    pub since: String,
}

/// Something that holds back the next trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Gate {
    /// `paused`, `remote-unreachable`, `blocked`, `staged-by-hand`, `reboot-needed`, `drift`, `retry`.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// When it opens by itself, if it does.
    pub until: Option<String>,
}

/// Whether the closure that is wanted has to be booted, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct RebootNeeded {
    /// Whether.
    pub needed: bool,
    /// Why, one phrase each.
    pub reasons: Vec<String>,
}
