//! One [`Entry`] into its table.

use rusqlite::{Connection, params};

use crate::agent::history::{BlockedRow, Entry, Fact, Said, TrialSeen};
use crate::agent::rollout::{Deployment, End, Stage, Under};
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Kind, Phase};
use crate::model::store_path::StorePath;

pub(super) fn entry(db: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Born(deployment) => born(db, deployment),
        Entry::Came(deployment) => came(db, deployment),
        Entry::Ended { id, at, end } => ended(db, *id, at, end),
        Entry::Trial(seen) => trial(db, seen),
        Entry::Resolved(commit, closure) => {
            let mut statement = db.prepare_cached(
                "insert or replace into resolved (commit_id, toplevel, drv, at) \
                 values (?1, ?2, ?3, (select coalesce(max(at), 0) + 1 from resolved))",
            )?;
            let drv = text(closure.drv.as_ref());
            statement.execute(params![commit.as_str(), closure.toplevel.as_str(), drv]).map(drop)
        }
        Entry::Blocked(row) => blocked(db, row),
        Entry::Unblocked(toplevel, uid) => db
            .prepare_cached("update blocked set unblocked_by = ?2 where toplevel = ?1")?
            .execute(params![toplevel.as_str(), uid])
            .map(drop),
        Entry::Fact(key, value) => fact(db, *key, value.as_deref()),
        Entry::Event(said) | Entry::Step(said) => event(db, said),
    }
}

fn text(path: Option<&StorePath>) -> Option<&str> {
    path.map(StorePath::as_str)
}

fn digits(commit: Option<&CommitId>) -> Option<&str> {
    commit.map(CommitId::as_str)
}

fn born(db: &Connection, d: &Deployment) -> rusqlite::Result<()> {
    let kind = match d.kind {
        Kind::Follow => "follow",
        Kind::Rollback => "rollback",
    };
    db.prepare_cached(
        "insert into deployment (id, kind, commit_id, target_generation, attempts, started_at, \
         phase) values (?1, ?2, ?3, ?4, ?5, ?6, 'idle')",
    )?
    .execute(params![
        d.id.0 as i64,
        kind,
        digits(d.commit.as_ref()),
        d.generation.map(|number| number as i64),
        d.attempts,
        d.started_at,
    ])?;
    fact(db, Fact::NextDeployment, Some(&(d.id.0 + 1).to_string()))?;
    came(db, d)
}

fn came(db: &Connection, d: &Deployment) -> rusqlite::Result<()> {
    let stored = Stored::of(&d.stage);
    db.prepare_cached(
        "update deployment set emergency = ?2, subject = ?3, phase = ?4, \
         toplevel = coalesce(?5, toplevel), drv = coalesce(?6, drv), \
         base = case when ?4 in ('resolving', 'realising', 'held') then ?7 else base end, \
         boot_id = coalesce(?8, boot_id) where id = ?1",
    )?
    .execute(params![
        d.id.0 as i64,
        d.emergency,
        d.subject,
        stored.phase.as_str(),
        text(stored.toplevel),
        text(stored.drv),
        stored.under.map(ToString::to_string),
        stored.boot_id,
    ])
    .map(drop)
}

/// The columns that a stage has.
struct Stored<'a> {
    phase: Phase,
    toplevel: Option<&'a StorePath>,
    drv: Option<&'a StorePath>,
    under: Option<&'a Under>,
    boot_id: Option<&'a str>,
}

impl Stored<'_> {
    fn of(stage: &Stage) -> Stored<'_> {
        let none = |phase| Stored { phase, toplevel: None, drv: None, under: None, boot_id: None };
        match stage {
            Stage::Fetching => none(Phase::Fetching),
            Stage::Verifying { .. } => none(Phase::Verifying),
            Stage::Resolving { under } => Stored { under: Some(under), ..none(Phase::Resolving) },
            Stage::Realising { closure, under } => Stored {
                toplevel: Some(&closure.toplevel),
                drv: closure.drv.as_ref(),
                under: Some(under),
                ..none(Phase::Realising)
            },
            Stage::Held { toplevel, under } => {
                Stored { toplevel: Some(toplevel), under: Some(under), ..none(Phase::Held) }
            }
            Stage::Requested { toplevel, boot_id } => Stored {
                toplevel: Some(toplevel),
                boot_id: Some(boot_id),
                ..none(Phase::Requested)
            },
            Stage::OnTrial { toplevel, phase } => {
                Stored { toplevel: Some(toplevel), ..none(*phase) }
            }
            Stage::Ended { toplevel, .. } => {
                Stored { toplevel: toplevel.as_ref(), ..none(Phase::Idle) }
            }
        }
    }
}

fn ended(db: &Connection, id: DeploymentId, at: &str, end: &End) -> rusqlite::Result<()> {
    db.prepare_cached(
        "update deployment set outcome = ?2, reason = ?3, message = ?4, hint = ?5, retry = ?6, \
         finished_at = ?7, base = coalesce(?8, base) where id = ?1",
    )?
    .execute(params![
        id.0 as i64,
        end.outcome.as_str(),
        end.reason.as_str(),
        end.message,
        end.hint,
        end.retry,
        at,
        end.under.as_ref().map(ToString::to_string),
    ])
    .map(drop)
}

fn trial(db: &Connection, seen: &TrialSeen) -> rusqlite::Result<()> {
    db.prepare_cached(
        "update deployment set old_toplevel = coalesce(?2, old_toplevel), \
         generation = coalesce(?3, generation), steps_seen = ?4, checks = ?5, evidence = ?6 \
         where id = ?1",
    )?
    .execute(params![
        seen.id.0 as i64,
        text(seen.old_toplevel.as_ref()),
        seen.generation.map(|number| number as i64),
        seen.steps_seen as i64,
        serde_json::to_string(&seen.checks).ok(),
        serde_json::to_string(&seen.evidence).ok(),
    ])
    .map(drop)
}

/// A closure that is blocked again is not allowed any more by who allowed it before.
fn blocked(db: &Connection, row: &BlockedRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "insert into blocked (toplevel, commit_id, reason, since, deployment, unblocked_by) \
         values (?1, ?2, ?3, ?4, ?5, null) on conflict (toplevel) do update set \
         commit_id = coalesce(?2, commit_id), reason = ?3, since = ?4, deployment = ?5, \
         unblocked_by = null",
    )?
    .execute(params![
        row.toplevel.as_str(),
        digits(row.commit.as_ref()),
        row.reason.as_str(),
        row.since,
        row.deployment.map(|id| id.0 as i64),
    ])
    .map(drop)
}

fn fact(db: &Connection, key: Fact, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => db
            .prepare_cached("insert or replace into fact (key, value) values (?1, ?2)")?
            .execute(params![key.key(), value])
            .map(drop),
        None => db
            .prepare_cached("delete from fact where key = ?1")?
            .execute(params![key.key()])
            .map(drop),
    }
}

fn event(db: &Connection, said: &Said) -> rusqlite::Result<()> {
    db.prepare_cached("insert into event (deployment, at, kind, message) values (?1, ?2, ?3, ?4)")?
        .execute(params![
            said.deployment.map(|id| id.0 as i64),
            said.at,
            said.kind.name(),
            said.message,
        ])
        .map(drop)
}

/// Remembers where the events of this transaction begin.
pub(super) fn about_to_tell(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached(
        "insert or replace into fact (key, value) \
         values (?1, (select coalesce(max(id), 0) + 1 from event))",
    )?
    .execute(params![Fact::LastTold.key()])
    .map(drop)
}
