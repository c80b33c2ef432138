//! Questions to the database.

use anyhow::{Context, Result};
use rusqlite::{OptionalExtension, params};

use crate::agent::history::row::{COLUMNS, parsed};
use crate::agent::history::{BlockedRow, EventRow, Fact, History, Row, Said};
use crate::agent::policy::dates::Dates;
use crate::agent::policy::stale::ClockBack;
use crate::agent::rollout::{Closure, Resolved};
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Outcome};
use crate::model::event::EventKind;
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;

/// All that a pass needs, read in one go after each change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The deployments that have not ended, oldest first.
    pub live: Vec<Row>,
    /// The newest deployment of all.
    pub newest: Option<Row>,
    /// The newest ended deployment that followed the branch to the tip.
    pub of_tip: Option<Row>,
    /// How the last restore ended, as long as a drift stands answered.
    pub of_restore: Option<Row>,
    /// Every closure that was ever blocked, also those that somebody allowed again.
    pub blocked: Vec<BlockedRow>,
    /// Closures of live commits and of the tip.
    pub resolved: Resolved,
    /// [`Fact::Mark`]
    pub mark: Option<CommitId>,
    /// [`Fact::Reanchored`]
    pub reanchored: Option<CommitId>,
    /// [`Fact::BelievedFirst`]
    pub believed_first: Option<CommitId>,
    /// [`Fact::Dates`]
    pub dates: Dates,
    /// [`Fact::ClockBack`]
    pub clock_back: Option<ClockBack>,
    /// [`Fact::StaleTold`]
    pub stale_told: String,
    /// [`Fact::LastKept`]
    pub last_kept: Option<StorePath>,
    /// [`Fact::KeptCommit`]
    pub kept_commit: Option<CommitId>,
    /// [`Fact::Filled`]
    pub filled: bool,
    /// [`Fact::Paused`]
    pub paused: Option<String>,
    /// [`Fact::DriftAnswered`]
    pub drift_answered: Option<StorePath>,
    /// [`Fact::DriftSeen`]
    pub drift_seen: Option<StorePath>,
    /// [`Fact::StagedSeen`]
    pub staged_seen: Option<StorePath>,
    /// [`Fact::LastGoodPoll`]
    pub last_good_poll: Option<String>,
    /// [`Fact::Mended`]
    pub mended: Option<String>,
    /// The number of the next deployment.
    pub next: u64,
}

impl History {
    /// Reads what a pass needs.
    ///
    /// # Errors
    /// The disk, or damage that `quick_check` did not see.
    pub fn known(&self, tip: Option<&CommitId>) -> Result<Known> {
        self.read(tip).context("could not read the history")
    }

    fn read(&self, tip: Option<&CommitId>) -> rusqlite::Result<Known> {
        let live = self.rows("where outcome is null order by id", params![])?;
        let digits = tip.map(CommitId::as_str);
        let of_tip = "where commit_id = ?1 and kind = 'follow' and outcome is not null \
                      order by id desc limit 1";
        let drift_answered = self.fact(Fact::DriftAnswered)?.and_then(|text| text.parse().ok());
        let of_restore = "where commit_id is null and kind = 'follow' and outcome is not null \
                          order by id desc limit 1";
        let of_restore = match drift_answered {
            Some(_) => self.rows(of_restore, params![])?.pop(),
            None => None,
        };
        let mut resolved = Resolved::new();
        for commit in live.iter().filter_map(|row| row.commit.as_ref()).chain(tip) {
            resolved.extend(self.resolved(commit)?.map(|closure| (commit.clone(), closure)));
        }
        let next = self.fact(Fact::NextDeployment)?.and_then(|text| text.parse().ok());
        Ok(Known {
            newest: self.rows("order by id desc limit 1", params![])?.pop(),
            of_tip: self.rows(of_tip, params![digits])?.pop(),
            of_restore,
            live,
            blocked: self.blocked()?,
            resolved,
            mark: self.fact(Fact::Mark)?.and_then(|text| text.parse().ok()),
            reanchored: self.fact(Fact::Reanchored)?.and_then(|text| text.parse().ok()),
            believed_first: self.fact(Fact::BelievedFirst)?.and_then(|text| text.parse().ok()),
            dates: Dates::read(&self.fact(Fact::Dates)?.unwrap_or_default()),
            clock_back: self.fact(Fact::ClockBack)?.and_then(|text| ClockBack::read(&text)),
            stale_told: self.fact(Fact::StaleTold)?.unwrap_or_default(),
            last_kept: self.fact(Fact::LastKept)?.and_then(|text| text.parse().ok()),
            kept_commit: self.fact(Fact::KeptCommit)?.and_then(|text| text.parse().ok()),
            filled: self.fact(Fact::Filled)?.is_some(),
            paused: self.fact(Fact::Paused)?,
            drift_answered,
            drift_seen: self.fact(Fact::DriftSeen)?.and_then(|text| text.parse().ok()),
            staged_seen: self.fact(Fact::StagedSeen)?.and_then(|text| text.parse().ok()),
            last_good_poll: self.fact(Fact::LastGoodPoll)?,
            mended: self.fact(Fact::Mended)?,
            next: next.unwrap_or(1),
        })
    }

    pub(super) fn rows(
        &self,
        tail: &str,
        values: impl rusqlite::Params,
    ) -> rusqlite::Result<Vec<Row>> {
        let sql = format!("select {COLUMNS} from deployment {tail}");
        self.connection.prepare_cached(&sql)?.query_map(values, Row::read)?.collect()
    }

    fn fact(&self, fact: Fact) -> rusqlite::Result<Option<String>> {
        self.connection
            .prepare_cached("select value from fact where key = ?1")?
            .query_row(params![fact.key()], |row| row.get(0))
            .optional()
    }

    fn blocked(&self) -> rusqlite::Result<Vec<BlockedRow>> {
        let mut statement = self.connection.prepare_cached(
            "select toplevel, commit_id, reason, since, deployment, unblocked_by from blocked \
             order by since, toplevel",
        )?;
        let rows = statement.query_map([], |row| {
            let Some(toplevel) = parsed(row, 0)? else { return Ok(None) };
            Ok(Some(BlockedRow {
                toplevel,
                commit: parsed(row, 1)?,
                reason: Reason::from_code(row.get::<_, String>(2)?),
                since: row.get(3)?,
                deployment: row.get::<_, Option<i64>>(4)?.map(|id| DeploymentId(id as u64)),
                unblocked_by: row.get(5)?,
            }))
        })?;
        rows.filter_map(Result::transpose).collect()
    }

    fn resolved(&self, commit: &CommitId) -> rusqlite::Result<Option<Closure>> {
        let mut statement = self
            .connection
            .prepare_cached("select toplevel, drv from resolved where commit_id = ?1")?;
        let closure = statement
            .query_row(params![commit.as_str()], |row| Ok((parsed(row, 0)?, parsed(row, 1)?)))
            .optional()?;
        Ok(closure.and_then(|(toplevel, drv)| Some(Closure { toplevel: toplevel?, drv })))
    }

    /// Returns the closure of a commit, if it was ever worked out.
    ///
    /// # Errors
    /// See [`History::known`].
    pub fn closure_of(&self, commit: &CommitId) -> Result<Option<StorePath>> {
        let closure = self.resolved(commit).context("could not read the history")?;
        Ok(closure.map(|closure| closure.toplevel))
    }

    /// Returns one deployment, or the newest.
    ///
    /// # Errors
    /// See [`History::known`].
    pub fn deployment(&self, id: Option<u64>) -> Result<Option<Row>> {
        let found = match id {
            Some(id) => self.rows("where id = ?1", params![id as i64]),
            None => self.rows("order by id desc limit 1", params![]),
        };
        Ok(found.context("could not read the history")?.pop())
    }

    /// Returns the newest deployments, newest first.
    ///
    /// # Errors
    /// See [`History::known`].
    pub fn newest(&self, limit: u32) -> Result<Vec<Row>> {
        self.rows("order by id desc limit ?1", params![limit]).context("could not read the history")
    }

    /// Returns the events of a deployment, oldest first.
    ///
    /// # Errors
    /// See [`History::known`].
    pub fn events(&self, id: u64) -> Result<Vec<EventRow>> {
        let read = || -> rusqlite::Result<Vec<EventRow>> {
            let mut statement = self.connection.prepare_cached(
                "select at, kind, message from event where deployment = ?1 order by id",
            )?;
            let event = |row: &rusqlite::Row<'_>| {
                Ok(EventRow { at: row.get(0)?, kind: row.get(1)?, message: row.get(2)? })
            };
            statement.query_map(params![id as i64], event)?.collect()
        };
        read().context("could not read the history")
    }

    /// Returns the events of the last transaction, if a cut may have come between it and the
    /// journal: only a run that said goodbye has told everything.
    ///
    /// # Errors
    /// See [`History::known`].
    pub fn untold(&self) -> Result<Vec<Said>> {
        let read = || -> rusqlite::Result<Vec<Said>> {
            let mut statement = self.connection.prepare_cached(
                "select event.at, event.kind, event.message, event.deployment, commit_id, \
                 toplevel, outcome, reason from event left join deployment \
                 on deployment.id = event.deployment \
                 where event.id >= (select cast(value as integer) from fact where key = ?1) \
                 and not exists (select 1 from event where kind = ?2 and id = \
                 (select max(id) from event)) order by event.id",
            )?;
            let goodbye = EventKind::AgentStopped.name();
            let rows = statement.query_map(params![Fact::LastTold.key(), goodbye], retold)?;
            rows.filter_map(Result::transpose).collect()
        };
        read().context("could not read the history")
    }

    /// Returns the newest deployment that put `toplevel` in the place of something else.
    ///
    /// # Errors
    /// See [`History::known`].
    pub fn kept_as(&self, toplevel: &StorePath) -> Result<Option<Row>> {
        let tail = "where outcome = 'kept' and toplevel = ?1 and old_toplevel is not null and \
                    old_toplevel <> toplevel order by kind = 'follow' desc, id desc limit 1";
        let rows = self.rows(tail, params![toplevel.as_str()]);
        Ok(rows.context("could not read the history")?.pop())
    }

    /// Returns the newest deployment of each of the newest closures that were in the store and
    /// were not kept, newest first.
    ///
    /// One that gave way before its trial, or was refused because of an earlier one, is not among
    /// them: there is nothing to be looked at.
    ///
    /// # Errors
    /// See [`History::known`].
    pub fn unkept(&self, limit: u32) -> Result<Vec<Row>> {
        let tail = "where id in (select max(id) from deployment where outcome is not null \
                    and outcome not in ('kept', 'superseded', 'blocked') and toplevel is not null \
                    and phase not in ('fetching', 'verifying', 'resolving', 'realising') \
                    group by toplevel) order by id desc limit ?1";
        self.rows(tail, params![limit]).context("could not read the history")
    }
}

/// The steps of a trial are left out: the activator has told them itself.
fn retold(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Said>> {
    let name: String = row.get(1)?;
    let known = EventKind::ALL.iter().find(|kind| kind.name() == name);
    let Some(kind) = known.filter(|kind| **kind != EventKind::PhaseEntered) else {
        return Ok(None);
    };
    let outcome: Option<String> = row.get(6)?;
    Ok(Some(Said {
        kind: *kind,
        at: row.get(0)?,
        message: row.get(2)?,
        deployment: row.get::<_, Option<i64>>(3)?.map(|id| DeploymentId(id as u64)),
        commit: parsed(row, 4)?,
        closure: parsed(row, 5)?,
        outcome: outcome.and_then(|name| Outcome::from_name(&name)),
        reason: row.get::<_, Option<String>>(7)?.map(Reason::from_code),
    }))
}
