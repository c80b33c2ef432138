//! PURE: what the agent asks its Git child, and how that answers. Both are the same binary, so
//! these need no versions.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::settings::Trust;
use crate::effects::git::Want;
use crate::effects::remote::Remote;
use crate::effects::remote::address::{Scheme, scheme};
use crate::model::commit::CommitId;
use crate::model::failure::Failure;

/// The memory for what a server says before objects come, in bytes: some million refs.
const WHILE_ASKING: u64 = 512 << 20;

/// The memory for objects, in bytes: some ten million of them.
const WHILE_FETCHING: u64 = 4 << 30;

/// One question.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Where is the branch? A commit.
    Poll { remote: Remote, home: PathBuf },
    /// Bring it: [`crate::effects::git::Fetched`].
    Fetch {
        repository: PathBuf,
        home: PathBuf,
        remote: Remote,
        want: Want,
        trust: Trust,
        max_bytes: u64,
    },
    /// [`crate::effects::git::Lineage`]
    Lineage { repository: PathBuf, want: Want, trust: Trust },
    /// Could a signature be verified? Nothing.
    Keys { trust: Trust },
    /// Which of these does it contain? Commits.
    Contains { repository: PathBuf, tip: CommitId, of: Vec<CommitId> },
    /// Hold exactly these by refs.
    Keep { repository: PathBuf, commits: Vec<CommitId> },
    /// Is everything of the tip's tree there and right?
    Check { repository: PathBuf, tip: CommitId },
    /// Do its submodules lead only where they may?
    Submodules { repository: PathBuf, tip: CommitId },
}

impl Ask {
    /// Tells whether the child will speak TLS.
    pub fn speaks_tls(&self) -> bool {
        match self {
            Ask::Poll { remote, .. } | Ask::Fetch { remote, .. } => {
                scheme(&remote.url) == Some(Scheme::Https)
            }
            Ask::Keys { .. }
            | Ask::Lineage { .. }
            | Ask::Contains { .. }
            | Ask::Keep { .. }
            | Ask::Check { .. }
            | Ask::Submodules { .. } => false,
        }
    }

    /// Returns what the child may take at first and at most, in bytes. A server that lists refs without end meets the first limit;
    /// the second is for the objects of a large repository, which are held in lists while they arrive.
    pub fn memory(&self) -> (u64, u64) {
        match self {
            Ask::Poll { .. } => (WHILE_ASKING, WHILE_ASKING),
            Ask::Fetch { .. } => (WHILE_ASKING, WHILE_FETCHING),
            Ask::Keys { .. }
            | Ask::Lineage { .. }
            | Ask::Contains { .. }
            | Ask::Keep { .. }
            | Ask::Check { .. }
            | Ask::Submodules { .. } => (WHILE_FETCHING, WHILE_FETCHING),
        }
    }

    /// Tells whether the answer depends on our own repository.
    pub fn reads_our_repository(&self) -> bool {
        match self {
            Ask::Poll { .. } | Ask::Keys { .. } => false,
            Ask::Fetch { .. }
            | Ask::Lineage { .. }
            | Ask::Contains { .. }
            | Ask::Keep { .. }
            | Ask::Check { .. }
            | Ask::Submodules { .. } => true,
        }
    }
}

/// One answer.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<T> {
    /// It worked.
    Done(T),
    /// It did not.
    Failed(Failure),
}
