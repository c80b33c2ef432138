//! What is written into the history for each step: PURE.
//!
//! All entries of one step are one transaction, and the step is acted upon after it.

use crate::agent::history::{BlockedRow, Entry, Fact, Row, Said, TrialSeen};
use crate::agent::rollout::{Birth, Deployment, End, Seen, Stage, verify};
use crate::handover::report::{Report, Trial};
use crate::model::deployment::{DeploymentId, Kind, Outcome};
use crate::model::event::EventKind;
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;

/// A history that was begun anew counts on after a multiple of this.
const LEFT_FREE: u64 = 1000;

/// Makes an event about a deployment.
pub fn said(kind: EventKind, about: &Deployment, at: &str, message: impl Into<String>) -> Said {
    Said {
        kind,
        at: at.to_owned(),
        deployment: Some(about.id),
        commit: about.commit.clone(),
        closure: about.stage.toplevel().cloned(),
        outcome: None,
        reason: None,
        message: message.into(),
    }
}

/// Makes an event about no deployment.
pub fn said_of_all(kind: EventKind, at: &str, message: impl Into<String>) -> Said {
    Said {
        kind,
        at: at.to_owned(),
        deployment: None,
        commit: None,
        closure: None,
        outcome: None,
        reason: None,
        message: message.into(),
    }
}

/// Turns a birth into a deployment with a number.
pub fn born(birth: Birth, id: DeploymentId, at: &str) -> Deployment {
    let Birth { kind, commit, generation, attempts, emergency, stage } = birth;
    let (subject, started_at) = (None, at.to_owned());
    Deployment { id, kind, commit, generation, attempts, emergency, subject, started_at, stage }
}

/// A deployment came to a new stage.
pub fn came(deployment: &Deployment, row: &Row, seen: &Seen) -> Vec<Entry> {
    let at = seen.now.text();
    let mut entries = vec![Entry::Came(deployment.clone())];
    let mut event = |kind, message: String| {
        entries.push(Entry::Event(said(kind, deployment, &at, message)));
    };
    let commit = deployment.commit.as_ref().map(|commit| commit.short()).unwrap_or("by hand");
    match &deployment.stage {
        Stage::Resolving { .. } => {
            let signed = signers(deployment, seen).map(|by| format!(": signed by {by}"));
            let signed = signed.unwrap_or_default();
            let message = format!("commit `{commit}` may be deployed{signed}");
            event(EventKind::CommitVerified, message);
        }
        Stage::Realising { closure, .. } => {
            let name = closure.toplevel.name();
            event(EventKind::ClosureResolved, format!("commit `{commit}` is closure `{name}`"));
            if let Some(commit) = &deployment.commit {
                entries.push(Entry::Resolved(commit.clone(), closure.clone()));
            }
        }
        Stage::Held { toplevel, .. } if row.phase == "realising" => {
            let message = format!("closure `{}` is in the store", toplevel.name());
            event(EventKind::ClosureRealised, message);
        }
        Stage::Requested { toplevel, .. } => {
            let message = format!("asked the activator for a trial of `{}`", toplevel.name());
            event(EventKind::TrialRequested, message);
        }
        Stage::OnTrial { .. } => entries.extend(trial(deployment, row, seen)),
        Stage::Fetching | Stage::Verifying { .. } | Stage::Held { .. } | Stage::Ended { .. } => {}
    }
    entries
}

/// Says who signed what was just verified.
fn signers(deployment: &Deployment, seen: &Seen) -> Option<String> {
    let before = seen.live.iter().find(|one| one.id == deployment.id)?;
    match &before.stage {
        Stage::Verifying { lineage } => lineage.signers(),
        Stage::Fetching
        | Stage::Resolving { .. }
        | Stage::Realising { .. }
        | Stage::Held { .. }
        | Stage::Requested { .. }
        | Stage::OnTrial { .. }
        | Stage::Ended { .. } => None,
    }
}

/// What the report tells about the trial: its new steps become events.
fn trial(deployment: &Deployment, row: &Row, seen: &Seen) -> Vec<Entry> {
    let Some(trial) = seen.reported(deployment.id) else { return Vec::new() };
    let step = |step: &crate::handover::report::Step| {
        let message = match step.message.is_empty() {
            true => step.phase.clone(),
            false => format!("{}: {}", step.phase, step.message),
        };
        Entry::Step(said(EventKind::PhaseEntered, deployment, &step.at, message))
    };
    let new = trial.steps.iter().skip(row.steps_seen).map(step);
    new.chain([Entry::Trial(trial_seen(trial, row))]).collect()
}

fn trial_seen(trial: &Trial, row: &Row) -> TrialSeen {
    TrialSeen {
        id: trial.deployment,
        // An activator of the release before tells of generations only.
        old_toplevel: trial
            .ran_before
            .clone()
            .or_else(|| trial.old.as_ref().map(|old| old.toplevel.clone())),
        generation: trial.generation,
        steps_seen: trial.steps.len().max(row.steps_seen),
        checks: trial.checks.clone(),
        evidence: trial.evidence.clone(),
    }
}

/// A deployment ended, with everything that follows from it.
pub fn ended(deployment: &Deployment, end: &End, row: &Row, seen: &Seen) -> Vec<Entry> {
    let at = seen.now.text();
    let mut entries = trial(deployment, row, seen);
    let event = |kind| {
        let said = said(kind, deployment, &at, &end.message);
        let (outcome, reason) = (Some(end.outcome), Some(end.reason.clone()));
        Entry::Event(Said { outcome, reason, ..said })
    };
    entries.extend(what_failed(deployment, end).map(event));
    entries.push(event(match end.outcome {
        Outcome::Kept | Outcome::Staged | Outcome::Tested => EventKind::DeploymentFinished,
        Outcome::Superseded | Outcome::Aborted => EventKind::DeploymentFinished,
        Outcome::Reverted
        | Outcome::RevertFailed
        | Outcome::Failed
        | Outcome::Blocked
        | Outcome::Interrupted => EventKind::DeploymentFailed,
    }));
    entries.push(Entry::Ended { id: deployment.id, at: at.clone(), end: end.clone() });
    if end.outcome == Outcome::Kept {
        entries.extend(kept(deployment, row, seen));
    }
    if let (true, Some(toplevel)) = (blocks(end, deployment, seen), deployment.stage.toplevel()) {
        entries.extend(block(deployment, toplevel, &end.reason, seen));
    }
    entries
}

fn what_failed(deployment: &Deployment, end: &End) -> Option<EventKind> {
    (end.outcome == Outcome::Failed).then_some(())?;
    match &deployment.stage {
        _ if verify::is_refusal(&end.reason) => Some(EventKind::CommitRefused),
        Stage::Fetching | Stage::Verifying { .. } => Some(EventKind::FetchFailed),
        Stage::Resolving { .. } => Some(EventKind::ResolveFailed),
        Stage::Realising { .. } => Some(EventKind::RealiseFailed),
        Stage::Held { .. }
        | Stage::Requested { .. }
        | Stage::OnTrial { .. }
        | Stage::Ended { .. } => None,
    }
}

/// The activator decides what it refuses; the agent blocks at least that.
fn blocks(end: &End, deployment: &Deployment, seen: &Seen) -> bool {
    let toplevel = deployment.stage.toplevel();
    let refused = |report: &Report| {
        report
            .reverted
            .iter()
            .any(|one| Some(&one.toplevel) == toplevel && one.deployment == deployment.id)
    };
    end.blocks || seen.world.report.as_deref().is_some_and(refused)
}

fn block(
    deployment: &Deployment,
    toplevel: &StorePath,
    reason: &Reason,
    seen: &Seen,
) -> [Entry; 2] {
    let at = seen.now.text();
    let message = format!("closure `{}` will not be tried again by itself", toplevel.name());
    let told = said(EventKind::ClosureBlocked, deployment, &at, message);
    let told = Said { closure: Some(toplevel.clone()), reason: Some(reason.clone()), ..told };
    let row = BlockedRow {
        toplevel: toplevel.clone(),
        commit: deployment.commit.clone(),
        reason: reason.clone(),
        since: at,
        deployment: Some(deployment.id),
        unblocked_by: None,
    };
    [Entry::Blocked(row), Entry::Event(told)]
}

/// The mark moves with the branch only: after a rollback the branch goes on being followed from
/// where it was.
fn kept(deployment: &Deployment, row: &Row, seen: &Seen) -> Vec<Entry> {
    let toplevel = deployment.stage.toplevel();
    let fact = |fact, value: Option<String>| Entry::Fact(fact, value);
    let mut entries = vec![
        fact(Fact::LastKept, toplevel.map(|path| path.to_string())),
        fact(Fact::DriftAnswered, None),
        fact(Fact::DriftSeen, None),
        fact(Fact::StagedSeen, None),
        fact(Fact::Mended, None),
    ];
    match (deployment.kind, &deployment.commit) {
        (Kind::Follow, Some(commit)) => {
            entries.push(fact(Fact::Mark, Some(commit.to_string())));
            entries.push(fact(Fact::KeptCommit, Some(commit.to_string())));
            // What was verified before a person moved the mark does not answer that.
            let compared = row.under.as_ref().and_then(|under| under.base.as_ref());
            if seen.reanchored.is_some() && seen.reanchored.as_ref() == compared {
                entries.push(fact(Fact::Reanchored, None));
            }
            if seen.mark.is_none() {
                let believed = compared.is_none().then(|| commit.to_string());
                entries.push(fact(Fact::BelievedFirst, believed));
                let message = format!(
                    "commit `{commit}` was kept and is the mark: the branch has to descend from it"
                );
                let at = seen.now.text();
                entries.push(Entry::Event(said(EventKind::MarkMoved, deployment, &at, message)));
            }
        }
        (Kind::Follow, None) => {}
        (Kind::Rollback, commit) => {
            entries.push(fact(Fact::KeptCommit, commit.as_ref().map(|one| one.to_string())));
            entries.extend(left(deployment, seen));
        }
    }
    entries
}

/// A rollback blocks what it leaves, or the next poll would bring it back.
fn left(deployment: &Deployment, seen: &Seen) -> Vec<Entry> {
    let old = seen.reported(deployment.id).and_then(|trial| trial.old.as_ref());
    match old.map(|old| &old.toplevel) {
        Some(old) if Some(old) != deployment.stage.toplevel() => {
            let mut entries = block(deployment, old, &Reason::BY_OPERATOR, seen).to_vec();
            if let Some(Entry::Blocked(row)) = entries.first_mut() {
                let same = seen.last_kept.as_ref() == Some(old);
                row.commit = same.then(|| seen.mark.clone()).flatten();
            }
            entries
        }
        Some(_) | None => Vec::new(),
    }
}

/// A new database takes over what the activator knows.
pub fn filled(report: Option<&Report>, at: &str, next: u64) -> Vec<Entry> {
    let fact = |fact, value: String| Entry::Fact(fact, Some(value));
    let mut entries = vec![fact(Fact::Filled, at.to_owned())];
    let Some(report) = report else { return entries };
    entries.extend(report.reverted.iter().map(|one| {
        Entry::Blocked(BlockedRow {
            toplevel: one.toplevel.clone(),
            commit: one.commit.clone(),
            reason: one.reason.clone(),
            since: one.since.clone(),
            deployment: Some(one.deployment),
            unblocked_by: None,
        })
    }));
    if let Some(kept) = &report.last_kept {
        entries.push(fact(Fact::LastKept, kept.toplevel.to_string()));
        if let Some(commit) = &kept.commit {
            entries.push(fact(Fact::KeptCommit, commit.to_string()));
        }
    }
    // An activator of the release before tells of no mark: there it is what was kept last.
    let of_kept = || report.last_kept.as_ref().and_then(|kept| kept.commit.clone());
    let (mark, reanchored) = match &report.mark {
        Some(mark) => (mark.commit.clone(), mark.reanchored.clone()),
        None => (of_kept(), None),
    };
    entries.extend(mark.map(|commit| fact(Fact::Mark, commit.to_string())));
    entries.extend(reanchored.map(|commit| fact(Fact::Reanchored, commit.to_string())));
    entries.extend(counts_on(report, next));
    entries
}

/// A history that counts from before what the activator knows was begun anew, perhaps before the
/// activator could tell: it goes on counting so that no number is used twice.
///
/// The report knows nothing of deployments that never came to a trial: room is left for them, up
/// to the next thousand.
pub fn counts_on(report: &Report, next: u64) -> Option<Entry> {
    let trial = report.trial.as_ref().map(|trial| trial.deployment.0);
    let reverted = report.reverted.iter().map(|one| one.deployment.0);
    let newest = reverted.chain(trial).max().filter(|newest| *newest >= next)?;
    let next = (newest / LEFT_FREE + 1).saturating_mul(LEFT_FREE) + 1;
    Some(Entry::Fact(Fact::NextDeployment, Some(next.to_string())))
}

#[cfg(test)]
mod tests;
