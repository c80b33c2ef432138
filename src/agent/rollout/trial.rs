//! How a trial goes on, as the activator's report tells it: PURE.

use crate::agent::policy::{INTERRUPTIONS_ALLOWED, REQUEST_TAKEN_WITHIN_MS};
use crate::agent::rollout::{Deployment, End, Seen, Stage, Step, Under};
use crate::handover::report::{Report, Trial};
use crate::model::deployment::{Outcome, Phase};
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;

/// The request is written, or was about to be when the agent ended.
pub fn requested(
    deployment: &Deployment,
    toplevel: &StorePath,
    boot_id: &str,
    seen: &Seen,
) -> Option<Step> {
    if let Some(trial) = seen.reported(deployment.id) {
        return named(deployment, toplevel, None, trial);
    }
    // Until the activator has spoken in this boot, it may hold a trial of ours in its record.
    seen.world.report.as_ref()?;
    // The request lay on tmpfs: another boot has forgotten it, and the gates decide anew.
    (seen.world.boot_id != boot_id).then(|| {
        let toplevel = toplevel.clone();
        // Whose keys count may be another matter in this boot: it is verified again.
        let under = Under { base: seen.mark.clone(), ..Under::default() };
        Step::Advance(deployment.id, Stage::Held { toplevel, under })
    })
}

/// The report named this deployment before.
pub fn on_trial(
    deployment: &Deployment,
    toplevel: &StorePath,
    phase: Phase,
    seen: &Seen,
) -> Option<Step> {
    match seen.reported(deployment.id) {
        Some(trial) => named(deployment, toplevel, Some(phase), trial),
        None if seen.world.report.is_none() => None,
        None => Some(Step::End(deployment.id, forgotten(deployment))),
    }
}

fn named(
    deployment: &Deployment,
    toplevel: &StorePath,
    known: Option<Phase>,
    trial: &Trial,
) -> Option<Step> {
    match trial.outcome {
        Some(outcome) => Some(Step::End(deployment.id, ended(outcome, trial))),
        None if known == Some(trial.phase) => None,
        None => {
            let stage = Stage::OnTrial { toplevel: toplevel.clone(), phase: trial.phase };
            Some(Step::Advance(deployment.id, stage))
        }
    }
}

fn ended(outcome: Outcome, trial: &Trial) -> End {
    let blocks = match outcome {
        Outcome::Reverted | Outcome::RevertFailed | Outcome::Interrupted => !trial.retry,
        // An abort from before the switch convicts nothing.
        Outcome::Aborted => trial.steps.iter().any(|step| step.phase == Phase::Switching.as_str()),
        Outcome::Blocked => true,
        Outcome::Kept
        | Outcome::Failed
        | Outcome::Staged
        | Outcome::Tested
        | Outcome::Superseded => false,
    };
    let reason = trial.reason.clone().unwrap_or(Reason::INTERNAL);
    // Somebody else's switch says nothing about the closure.
    let blocks = blocks && reason != Reason::SOMEONE_ELSE_SWITCHED;
    let (message, hint) = (trial.message.clone(), trial.hint.clone());
    End { hint, retry: trial.retry, blocks, ..End::new(outcome, reason, message) }
}

/// The activator lost its record, and says so in its own report; nothing was proved.
fn forgotten(deployment: &Deployment) -> End {
    let message = "the activator's record does not know this deployment any more";
    let end = End::new(Outcome::Interrupted, Reason::RECORD_UNREADABLE, message);
    match deployment.attempts <= INTERRUPTIONS_ALLOWED {
        true => End { retry: true, ..end },
        false => End { blocks: true, ..end },
    }
}

/// Tells whether a process has to be at work on the trial that is reported. One that is armed waits
/// for whoever reboots.
pub fn is_at_work(report: &Report) -> bool {
    let trial = report.trial.as_ref();
    trial.is_some_and(|trial| trial.outcome.is_none() && trial.phase != Phase::Armed)
}

/// Tells whether the activator should have named the request by now.
pub fn unanswered(seen: &Seen) -> bool {
    let waits = seen.live.first().is_some_and(|front| {
        matches!(front.stage, Stage::Requested { .. }) && seen.reported(front.id).is_none()
    });
    let since = seen.requested_at_ms.unwrap_or(seen.now.boottime_ms);
    waits && seen.now.boottime_ms.saturating_sub(since) >= REQUEST_TAKEN_WITHIN_MS
}
