//! `mark.json`: where the branch was last kept, for root to remember.
//!
//! The agent's database is the master. The activator's record holds a copy, from which a database
//! that was lost is filled; this file brings it what no trial told it: a tip whose closure ran
//! already, and a person's `reanchor`. It lies there until the activator has time for it, and is
//! written again when the report does not show the same.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;

/// The file's name.
pub const FILE: &str = "mark.json";

/// What the next tip has to descend from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last kept commit of the branch.
    #[serde(default)]
    pub commit: Option<CommitId>,
    /// What a person put in its place, until something was kept that descends from it.
    #[serde(default)]
    pub reanchored: Option<CommitId>,
}
