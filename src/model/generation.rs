//! A generation of a Nix profile.

use serde::{Deserialize, Serialize};

use crate::model::store_path::StorePath;

/// A number of the system profile, and what it leads to.
///
/// Both are recorded, because numbers alone are reused and guessed wrongly: `nix-env --rollback`
/// means "the highest below the current one", not "what ran before".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The number in `system-<number>-link`.
    pub number: u64,
    /// The target of that link.
    pub toplevel: StorePath,
}
