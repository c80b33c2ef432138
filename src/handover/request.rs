//! `request.json`: the agent asks for a trial.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Kind};
use crate::model::store_path::StorePath;

/// The file's name.
pub const FILE: &str = "request.json";

/// One wish: run `toplevel` on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`crate::handover::VERSION`]
    pub version: u32,
    /// Which deployment this is.
    pub deployment: DeploymentId,
    /// Why.
    pub kind: Kind,
    /// The commit, where one is known.
    #[serde(default)]
    pub commit: Option<CommitId>,
    /// The closure to run.
    pub toplevel: StorePath,
    /// For a rollback by number: the generation that it goes back to.
    #[serde(default)]
    pub generation: Option<u64>,
    /// What `/run/current-system` led to when the agent decided; anything else is stale.
    pub expected_running: StorePath,
    /// The kernel's boot id when the agent decided; another one is stale.
    pub boot_id: String,
    /// Reduce the checks to the lifeline, and `settle` to nothing.
    #[serde(default)]
    pub emergency: bool,
    /// A person allowed a closure that was reverted before: their uid.
    #[serde(default)]
    pub unblocked_by: Option<u32>,
}
