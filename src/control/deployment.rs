//! `ListDeployments` and `ShowDeployment`: the history.

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, Type};

use crate::control::status::Summary;

/// The answer to `ListDeployments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Listed {
    /// Newest first.
    pub deployments: Vec<Summary>,
}

/// All that is known of one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Details {
    /// The same as in a list.
    pub summary: Summary,
    /// `follow` or `rollback`.
    pub kind: String,
    /// The phase, while it is in flight.
    pub phase: String,
    /// What the operator can do, if that is known.
    pub hint: Option<String>,
    /// What ran before.
    pub old_toplevel: Option<String>,
    /// The generation that keeping made or moved to.
    pub generation: Option<i64>,
    /// Until when its closure, which was not kept, stays in the store; others may push it out.
    #[serde(default)]
    pub stays_until: Option<String>,
    /// How often it was tried.
    pub attempts: i64,
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// The checks as last seen.
    pub checks: Vec<Check>,
    /// What was collected before the revert.
    pub evidence: Vec<Evidence>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Event {
    /// RFC 3339, UTC.
    pub at: String,
    /// The name, as `AUTODEPLOY_EVENT` in the journal.
    pub event: String,
    /// One sentence.
    pub message: String,
}

/// How a check was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// `units`, `lifeline`, `http`, `tcp`, `command`.
    pub kind: String,
    /// `required` or `wanted`.
    pub severity: String,
    /// `pending`, `green` or `red`.
    pub state: String,
    /// Red before the switch too, so it decides nothing.
    pub excused: bool,
    /// One line.
    pub message: String,
}

/// What was collected before a revert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct Evidence {
    /// What it is about.
    pub about: String,
    /// Lines, escaped.
    pub text: String,
}
