//! What holds a trial back, never a fetch: PURE.
//!
//! Maintenance windows, approval and fleet slots will be gates in here as well.

use crate::agent::policy::{FRESH_POLL_MS, Policy};
use crate::agent::rollout::seen::time_text;
use crate::agent::rollout::verdict::{Again, again};
use crate::agent::rollout::{Deployment, Seen, Stage};
use crate::config::settings::{Drift, UnprovedBoot};
use crate::model::deployment::Kind;
use crate::model::store_path::StorePath;

/// The kinds of gates, by their names in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// A person holds deployments back.
    Paused,
    /// The remote did not answer in the last seconds.
    RemoteUnreachable,
    /// The closure of the tip is blocked.
    Blocked,
    /// Somebody set the profile to a system that does not run.
    StagedByHand,
    /// The closure has to be booted, and no single boot can be armed.
    RebootNeeded,
    /// Somebody replaced the kept system, and the configuration says to wait.
    Drift,
    /// The last try failed, and the next one waits.
    Retry,
}

impl GateKind {
    /// Returns the name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            GateKind::Paused => "paused",
            GateKind::RemoteUnreachable => "remote-unreachable",
            GateKind::Blocked => "blocked",
            GateKind::StagedByHand => "staged-by-hand",
            GateKind::RebootNeeded => "reboot-needed",
            GateKind::Drift => "drift",
            GateKind::Retry => "retry",
        }
    }
}

/// A closed gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Which.
    pub kind: GateKind,
    /// One sentence.
    pub message: String,
    /// RFC 3339: when it opens by itself.
    pub until: Option<String>,
}

fn gate(kind: GateKind, message: String) -> Gate {
    Gate { kind, message, until: None }
}

/// Returns what keeps this realised deployment from its trial; empty when it may go.
///
/// A rollback is a person's word: of the gates only a boot that cannot be armed holds it.
pub fn closed(
    deployment: &Deployment,
    toplevel: &StorePath,
    seen: &Seen,
    policy: &Policy,
) -> Vec<Gate> {
    let follow = match deployment.kind {
        Kind::Follow => [
            paused(deployment, seen),
            drift(seen, policy),
            staged_by_hand(toplevel, seen),
            remote_unreachable(seen),
        ],
        Kind::Rollback => [None, None, None, None],
    };
    follow.into_iter().flatten().chain(reboot_needed(seen, policy)).collect()
}

/// Returns what keeps the tip from being deployed, for `status`.
pub fn of_the_tip(seen: &Seen, policy: &Policy) -> Vec<Gate> {
    let held = seen.live.first().and_then(|front| match &front.stage {
        Stage::Held { toplevel, .. } => Some(closed(front, toplevel, seen, policy)),
        Stage::Fetching
        | Stage::Verifying { .. }
        | Stage::Resolving { .. }
        | Stage::Realising { .. }
        | Stage::Requested { .. }
        | Stage::OnTrial { .. }
        | Stage::Ended { .. } => None,
    });
    let mut gates = held.unwrap_or_else(|| {
        let paused = seen.paused.as_ref().map(|reason| pause_gate(reason));
        paused.into_iter().chain(drift(seen, policy)).collect()
    });
    if seen.live.is_empty() {
        gates.extend(verdict(seen, policy));
    }
    gates
}

fn verdict(seen: &Seen, policy: &Policy) -> Option<Gate> {
    let verdict = seen.verdict.as_ref()?;
    let blocked = verdict.toplevel.as_ref().filter(|toplevel| seen.blocked.contains(toplevel));
    match (blocked, again(verdict, seen, policy)) {
        (Some(toplevel), _) => {
            let message = format!("closure `{}` of the tip is blocked", toplevel.name());
            Some(gate(GateKind::Blocked, message))
        }
        (None, Again::At(due)) => {
            let message = format!("try {} failed: {}", verdict.attempts, verdict.message);
            Some(Gate { until: Some(time_text(due)), ..gate(GateKind::Retry, message) })
        }
        (None, Again::Now | Again::Never) => None,
    }
}

fn pause_gate(reason: &str) -> Gate {
    gate(GateKind::Paused, format!("deployments are paused: {reason}"))
}

fn paused(deployment: &Deployment, seen: &Seen) -> Option<Gate> {
    let reason = seen.paused.as_ref()?;
    (!deployment.emergency && !seen.insist.emergency).then(|| pause_gate(reason))
}

fn remote_unreachable(seen: &Seen) -> Option<Gate> {
    let now = seen.now.boottime_ms;
    let good = |at: u64| seen.poll.error.is_none() && now.saturating_sub(at) <= FRESH_POLL_MS;
    if seen.poll.good_at_ms.is_some_and(good) {
        return None;
    }
    let message = match &seen.poll.error {
        Some(failure) => failure.message.clone(),
        None => "the remote was not asked in the last seconds".to_owned(),
    };
    Some(gate(GateKind::RemoteUnreachable, message))
}

/// The profile leads neither to what runs nor to what was kept last: somebody wants the next boot
/// to start something, and keeping another closure would take that away.
fn staged_by_hand(toplevel: &StorePath, seen: &Seen) -> Option<Gate> {
    let profile = seen.staged_by_hand().filter(|profile| *profile != toplevel)?;
    let name = profile.name();
    let message = format!("the system profile leads to `{name}`, which does not run");
    Some(gate(GateKind::StagedByHand, message))
}

fn drift(seen: &Seen, policy: &Policy) -> Option<Gate> {
    let running = seen.unanswered_drift()?;
    match policy.drift {
        Drift::Report | Drift::Restore => None,
        Drift::Hold => {
            let message = format!("somebody switched to `{}` by hand", running.name());
            Some(gate(GateKind::Drift, message))
        }
    }
}

/// What has to be booted is armed for one boot; where that cannot be, it waits for a person.
fn reboot_needed(seen: &Seen, policy: &Policy) -> Option<Gate> {
    let reasons = &seen.world.reboot_reasons;
    let why = seen.world.report.as_ref()?.never_once.as_ref()?;
    let held = !reasons.is_empty() && policy.unproved_boot == UnprovedBoot::Refuse;
    held.then(|| {
        let reasons = reasons.join(", ");
        let message = format!(
            "the closure has to be booted ({reasons}), and no single boot of it can be armed: {why}"
        );
        gate(GateKind::RebootNeeded, message)
    })
}
