//! What the agent remembers: one SQLite database, owned by it alone.
//!
//! Everything that belongs together is written in one transaction: a list of [`Entry`]. After it
//! returned the change is on disk (`synchronous=FULL`), and only then is it acted upon.
//!
//! The journal is a write-ahead log: a transaction costs one fsync instead of three, and a cut
//! leaves the last whole one. The database is locked for good by its one owner
//! (`locking_mode=EXCLUSIVE`), which also saves the shared-memory file. A full disk is an error of
//! the one write, after which the state before it stands; it is never taken for damage.

use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::Connection;

use crate::agent::rollout::{Closure, Deployment, End};
use crate::handover::report::{CheckReport, Evidence};
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Outcome};
use crate::model::event::EventKind;
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;

mod open;
mod prune;
pub mod read;
pub mod row;
mod schema;
#[cfg(test)]
mod tests;
mod write;

pub use open::{Opened, open};
pub use read::Known;
pub use row::{BlockedRow, EventRow, Row};

/// The file's name in `paths.state_dir`.
pub const FILE: &str = "history.sqlite";

/// The open database.
pub struct History {
    connection: Connection,
    keep: u32,
}

/// A single value that is remembered under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The last kept commit of the branch.
    Mark,
    /// What a person put in the place of the mark, until something was kept that descends from it.
    Reanchored,
    /// The first tip, if it was kept without anything that it had to descend from.
    BelievedFirst,
    /// When the last commits that were looked at were committed.
    Dates,
    /// The wall clock went back: from when, and when that was seen.
    ClockBack,
    /// Why the remote was reported as stale.
    StaleTold,
    /// The last kept closure.
    LastKept,
    /// The commit of that, where there is one.
    KeptCommit,
    /// The list of blocked closures and the mark were taken from the activator's report.
    Filled,
    /// Why a person holds deployments back.
    Paused,
    /// The system by hand that was answered.
    DriftAnswered,
    /// The system by hand that was reported.
    DriftSeen,
    /// The system in the profile that was reported as set by hand.
    StagedSeen,
    /// The last good poll, in RFC 3339, as of the last failure or stop.
    LastGoodPoll,
    /// The next deployment's number.
    NextDeployment,
    /// Why this database was begun anew.
    Mended,
    /// The first event of the last transaction: the journal may not have heard of it.
    LastTold,
}

impl Fact {
    fn key(self) -> &'static str {
        match self {
            Fact::Mark => "mark",
            Fact::Reanchored => "reanchored",
            Fact::BelievedFirst => "believed-first",
            Fact::Dates => "dates",
            Fact::ClockBack => "clock-back",
            Fact::StaleTold => "stale-told",
            Fact::LastKept => "last-kept",
            Fact::KeptCommit => "kept-commit",
            Fact::Filled => "filled",
            Fact::Paused => "paused",
            Fact::DriftAnswered => "drift-answered",
            Fact::DriftSeen => "drift-seen",
            Fact::StagedSeen => "staged-seen",
            Fact::LastGoodPoll => "last-good-poll",
            Fact::NextDeployment => "next-deployment",
            Fact::Mended => "mended",
            Fact::LastTold => "last-told",
        }
    }
}

/// Something that happened, for the table of events and for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub kind: EventKind,
    /// RFC 3339.
    pub at: String,
    /// Which deployment it is about.
    pub deployment: Option<DeploymentId>,
    /// Which commit.
    pub commit: Option<CommitId>,
    /// Which closure.
    pub closure: Option<StorePath>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The code of that.
    pub reason: Option<Reason>,
    /// One sentence.
    pub message: String,
}

/// What the activator's report says about a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialSeen {
    /// Which deployment.
    pub id: DeploymentId,
    /// What ran before.
    pub old_toplevel: Option<StorePath>,
    /// The generation that keeping made or moved to.
    pub generation: Option<u64>,
    /// How many steps of the report are in the table of events.
    pub steps_seen: usize,
    /// The checks as last seen.
    pub checks: Vec<CheckReport>,
    /// What was collected before the revert.
    pub evidence: Vec<Evidence>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A deployment begins.
    Born(Deployment),
    /// A deployment came further.
    Came(Deployment),
    /// A deployment ended.
    Ended {
        /// Which.
        id: DeploymentId,
        /// When, in RFC 3339.
        at: String,
        /// How.
        end: End,
    },
    /// What the report says about a trial.
    Trial(TrialSeen),
    /// A commit need not be resolved again.
    Resolved(CommitId, Closure),
    /// A closure is not tried by itself.
    Blocked(BlockedRow),
    /// The person with this uid allowed it again.
    Unblocked(StorePath, u32),
    /// A value is remembered, or forgotten.
    Fact(Fact, Option<String>),
    /// Something that also goes to the journal.
    Event(Said),
    /// A step of the trial, which the activator has told the journal itself.
    Step(Said),
}

impl History {
    /// Writes all entries, or none of them.
    ///
    /// When it returns they are on disk.
    ///
    /// # Errors
    /// The disk is full or broken; nothing was changed.
    pub fn record(&mut self, entries: &[Entry]) -> Result<()> {
        let writing = || "could not write the history";
        let transaction = self.connection.transaction().with_context(writing)?;
        if entries.iter().any(|entry| matches!(entry, Entry::Event(_))) {
            write::about_to_tell(&transaction).with_context(writing)?;
        }
        for entry in entries {
            write::entry(&transaction, entry).with_context(writing)?;
        }
        if entries.iter().any(|entry| matches!(entry, Entry::Ended { .. })) {
            prune::oldest(&transaction, self.keep).with_context(writing)?;
        }
        transaction.commit().with_context(writing)
    }

    /// Makes one in memory, for an agent that cannot open its own: it answers questions, and
    /// whoever decides has to know that nothing lasts.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn forgotten(keep: u32) -> Result<History> {
        let connection = Connection::open_in_memory()?;
        schema::create(&connection)?;
        Ok(History { connection, keep })
    }

    /// Returns the oldest deployment that has not ended.
    #[cfg(test)]
    pub fn front(&self) -> Result<Option<Row>> {
        Ok(self.rows("where outcome is null order by id limit 1", [])?.pop())
    }

    /// Writes nothing from now on, like a full disk.
    #[cfg(test)]
    pub fn refuse_writes(&self) {
        self.connection.pragma_update(None, "query_only", true).unwrap();
    }

    /// Writes again.
    #[cfg(test)]
    pub fn accept_writes(&self) {
        self.connection.pragma_update(None, "query_only", false).unwrap();
    }

    /// Opens the database in a directory, see [`open()`].
    ///
    /// # Errors
    /// See [`open()`].
    pub fn open(directory: &Path, keep: u32) -> Result<Opened> {
        open(&directory.join(FILE), keep)
    }
}
