//! A range of commits, looked at from the oldest on, and what came of it.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;
use crate::trust::commit_object::{self, ObjectFormat};
use crate::trust::refusal::Refusal;
use crate::trust::verify::{Keys, KeysId, Signer};

/// No range is longer: whoever is that far behind names a later commit to begin with.
pub const MOST_COMMITS: usize = 10_000;

/// So many different signers are named.
const MOST_NAMED: usize = 8;

/// What the signatures of a range say, and what that was found under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// The mode and the keys.
    pub under: KeysId,
    /// What was found.
    pub found: Found,
}

/// What the signatures of a range say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// Every commit is signed by somebody who may.
    Good {
        /// Who, each once, the signer of the newest first.
        by: Vec<Signer>,
        /// The oldest date among them, if there are commits at all, and whose it is.
        oldest: Option<(CommitId, i64)>,
    },
    /// At least one commit is not; this is the oldest such.
    Refused {
        /// Which.
        commit: CommitId,
        /// Why.
        refusal: Refusal,
    },
    /// There are more than [`MOST_COMMITS`].
    TooMany {
        /// So many.
        commits: usize,
    },
}

/// A range that is being looked at.
pub struct Examination<'keys> {
    keys: &'keys Keys,
    by: Vec<Signer>,
    oldest: Option<(CommitId, i64)>,
}

impl<'keys> Examination<'keys> {
    /// Begins one.
    pub fn new(keys: &'keys Keys) -> Examination<'keys> {
        Examination { keys, by: Vec::new(), oldest: None }
    }

    /// Looks at the next commit; from the oldest to the newest.
    ///
    /// # Errors
    /// It may not be deployed: the rest need not be looked at.
    pub fn look(&mut self, commit: &CommitId, raw: &[u8]) -> Result<(), Found> {
        let format = ObjectFormat::of_digits(commit.as_str().len());
        let read = commit_object::read(raw, format);
        let seen = read.and_then(|object| Ok((object.committed_at, self.keys.of(&object)?)));
        let refused = |refusal| Found::Refused { commit: commit.clone(), refusal };
        let (at, signer) = seen.map_err(refused)?;
        if self.oldest.as_ref().is_none_or(|(_, oldest)| at < *oldest) {
            self.oldest = Some((commit.clone(), at));
        }
        // The signer of the newest is at the end.
        self.by.retain(|one| *one != signer);
        self.by.push(signer);
        Ok(())
    }

    /// Ends it.
    pub fn good(self) -> Found {
        let by = self.by.into_iter().rev().take(MOST_NAMED).collect();
        Found::Good { by, oldest: self.oldest }
    }
}
