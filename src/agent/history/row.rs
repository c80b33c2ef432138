//! Rows of the database as plain values, and what they mean.
//!
//! Disk and domain are kept apart: an outcome or phase of a newer release stays readable as text.

use rusqlite::Row as SqlRow;

use crate::agent::rollout::seen::time_from;
use crate::agent::rollout::verdict::Verdict;
use crate::agent::rollout::{Closure, Deployment, Stage, Under};
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Kind, Outcome, Phase};
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;

/// The columns of [`Row`], in its order.
pub(super) const COLUMNS: &str = "id, kind, commit_id, target_generation, attempts, emergency, \
    subject, started_at, phase, toplevel, drv, base, boot_id, outcome, reason, message, hint, \
    retry, finished_at, old_toplevel, generation, steps_seen, checks, evidence";

/// A deployment as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: u64,
    /// `follow` or `rollback`.
    pub kind: String,
    /// The commit.
    pub commit: Option<CommitId>,
    /// The generation that a rollback by number goes to.
    pub target_generation: Option<u64>,
    /// Which try of its commit it is.
    pub attempts: u32,
    /// A person said `--emergency`.
    pub emergency: bool,
    /// The first line of the commit's message, escaped.
    pub subject: Option<String>,
    /// RFC 3339.
    pub started_at: String,
    /// How far it is, or was.
    pub phase: String,
    /// The closure.
    pub toplevel: Option<StorePath>,
    /// What builds it.
    pub drv: Option<StorePath>,
    /// What it was verified under, or refused under.
    pub under: Option<Under>,
    /// The boot in which it was requested.
    pub boot_id: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// The code of that.
    pub reason: Option<String>,
    /// The sentence of that.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
    /// Whether it is tried again by itself.
    pub retry: bool,
    /// RFC 3339.
    pub finished_at: Option<String>,
    /// What ran before.
    pub old_toplevel: Option<StorePath>,
    /// The generation that keeping made or moved to.
    pub generation: Option<u64>,
    /// How many steps of the report are in the table of events.
    pub steps_seen: usize,
    /// JSON of the report's checks.
    pub checks: Option<String>,
    /// JSON of the report's evidence.
    pub evidence: Option<String>,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// RFC 3339.
    pub at: String,
    /// `AUTODEPLOY_EVENT`
    pub kind: String,
    /// One sentence.
    pub message: String,
}

/// A closure that is not tried by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedRow {
    /// The closure.
    pub toplevel: StorePath,
    /// The commit that brought it.
    pub commit: Option<CommitId>,
    /// The stable code.
    pub reason: Reason,
    /// RFC 3339.
    pub since: String,
    /// The deployment that showed it.
    pub deployment: Option<DeploymentId>,
    /// Who allowed it again: then it is not blocked, but the activator has to be told.
    pub unblocked_by: Option<u32>,
}

/// Reads a text column; what does not parse is as good as absent.
pub(super) fn parsed<T: std::str::FromStr>(
    row: &SqlRow<'_>,
    at: usize,
) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<String>>(at)?.and_then(|text| text.parse().ok()))
}

fn number(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(at)?.and_then(|number| u64::try_from(number).ok()))
}

impl Row {
    pub(super) fn read(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
        Ok(Row {
            id: number(row, 0)?.unwrap_or_default(),
            kind: row.get(1)?,
            commit: parsed(row, 2)?,
            target_generation: number(row, 3)?,
            attempts: row.get(4)?,
            emergency: row.get(5)?,
            subject: row.get(6)?,
            started_at: row.get(7)?,
            phase: row.get(8)?,
            toplevel: parsed(row, 9)?,
            drv: parsed(row, 10)?,
            under: row.get::<_, Option<String>>(11)?.as_deref().map(Under::stored),
            boot_id: row.get(12)?,
            outcome: row.get(13)?,
            reason: row.get(14)?,
            message: row.get(15)?,
            hint: row.get(16)?,
            retry: row.get(17)?,
            finished_at: row.get(18)?,
            old_toplevel: parsed(row, 19)?,
            generation: number(row, 20)?,
            steps_seen: number(row, 21)?.unwrap_or_default() as usize,
            checks: row.get(22)?,
            evidence: row.get(23)?,
        })
    }

    /// Returns the deployment, if it is live.
    ///
    /// A stage whose data is not stored (lineage) or not readable begins again one stage earlier,
    /// which costs time and nothing else; a phase of the activator is a trial that is on.
    pub fn live(&self) -> Option<Deployment> {
        self.outcome.is_none().then(|| Deployment {
            id: DeploymentId(self.id),
            kind: self.kind(),
            commit: self.commit.clone(),
            generation: self.target_generation,
            attempts: self.attempts,
            emergency: self.emergency,
            subject: self.subject.clone(),
            started_at: self.started_at.clone(),
            stage: self.stage(),
        })
    }

    /// Returns why there is this deployment.
    pub fn kind(&self) -> Kind {
        match self.kind == "rollback" {
            true => Kind::Rollback,
            false => Kind::Follow,
        }
    }

    fn stage(&self) -> Stage {
        let under = self.under.clone().unwrap_or_default();
        let phase = Phase::from_name(&self.phase);
        let Some(toplevel) = self.toplevel.clone() else {
            return match phase {
                Some(Phase::Resolving) => Stage::Resolving { under },
                _ => Stage::Fetching,
            };
        };
        match phase {
            Some(Phase::Idle | Phase::Fetching | Phase::Verifying) => Stage::Fetching,
            Some(Phase::Resolving) => Stage::Resolving { under },
            Some(Phase::Realising) => {
                Stage::Realising { closure: Closure { toplevel, drv: self.drv.clone() }, under }
            }
            Some(Phase::Held) => Stage::Held { toplevel, under },
            Some(Phase::Requested) => {
                Stage::Requested { toplevel, boot_id: self.boot_id.clone().unwrap_or_default() }
            }
            Some(
                phase @ (Phase::Baseline
                | Phase::Switching
                | Phase::Watching
                | Phase::Keeping
                | Phase::Reverting
                | Phase::Arming
                | Phase::Armed
                | Phase::Rebooting),
            ) => Stage::OnTrial { toplevel, phase },
            None => Stage::OnTrial { toplevel, phase: Phase::Requested },
        }
    }

    /// Returns how it ended, if it did. An outcome of a newer release counts as one that only a
    /// person can go on from.
    pub fn verdict(&self) -> Option<Verdict> {
        let outcome = self.outcome.as_ref()?;
        Some(Verdict {
            deployment: DeploymentId(self.id),
            outcome: Outcome::from_name(outcome).unwrap_or(Outcome::RevertFailed),
            reason: Reason::from_code(self.reason.clone().unwrap_or_default()),
            message: self.message.clone(),
            hint: self.hint.clone(),
            toplevel: self.toplevel.clone(),
            attempts: self.attempts,
            retry: self.retry,
            under: self.under.clone(),
            ended_at_s: time_from(self.finished_at.as_deref().unwrap_or_default()),
        })
    }
}
