//! PURE: the verdict of a window.

use std::time::Duration;

use super::boot::go_back;
use super::phase::{Cause, Phase, Verdict, Way};
use super::seen::{CheckSeen, Seen};
use super::{LOOK_AGAIN, Policy, Step, ending};
use crate::handover::report::CheckState;
use crate::model::failure::{Failure, Reason};

/// Says what to do in a window that has been open since `since`.
///
/// The closure is kept when everything required was green for `settle` without a break before the
/// window was over. It is reverted when the window is over, not before: what is red may become
/// green.
pub fn watch(since: Duration, seen: &Seen, policy: &Policy) -> Step {
    if seen.stopping {
        return Step::Enter(Phase::Ended(match policy.way {
            Way::Switch => ending::shut_down(),
            Way::Boot => ending::shut_down_after_boot(policy),
        }));
    }
    if !seen.system.is_new() || seen.profile_moved {
        return Step::Enter(Phase::Ended(ending::someone_else()));
    }
    if let Some(uid) = seen.aborted_by {
        return Step::Enter(go_back(Cause::aborted(uid), policy));
    }
    let deadline = since.saturating_add(policy.window);
    // Settled counts up to the deadline, however late this look is.
    let green = all_green_since(&seen.checks);
    let settled = green.map(|green| green.max(since).saturating_add(policy.settle));
    match settled.filter(|settled| *settled <= deadline) {
        Some(settled) if settled <= seen.now && policy.may_hide_a_failure => Step::Switch,
        Some(settled) if settled <= seen.now => Step::Enter(Phase::Keeping { tries: 0 }),
        Some(settled) => Step::Wait((settled - seen.now).min(LOOK_AGAIN)),
        None if seen.now >= deadline => {
            Step::Enter(go_back(unhealthy(&seen.checks, policy.window), policy))
        }
        None => Step::Wait((deadline - seen.now).min(LOOK_AGAIN)),
    }
}

/// Since when everything that decides is green; `None` while something is not, or while nothing
/// has been looked at.
fn all_green_since(checks: &[CheckSeen]) -> Option<Duration> {
    let mut latest = None;
    for check in checks.iter().filter(|check| check.decides()) {
        match check.state {
            CheckState::Green => latest = latest.max(Some(check.since)),
            CheckState::Red | CheckState::Pending => return None,
        }
    }
    latest
}

fn unhealthy(checks: &[CheckSeen], window: Duration) -> Cause {
    let bad: Vec<_> =
        checks.iter().filter(|check| check.decides() && check.state != CheckState::Green).collect();
    let named: Vec<_> = bad.iter().map(|check| words(check)).collect();
    let which = match named.is_empty() {
        true => "the checks were not green for long enough".to_owned(),
        false => named.join("; "),
    };
    let message =
        format!("the new system was not healthy within {} s ({which})", window.as_secs_f64());
    Cause {
        verdict: Verdict::Unhealthy,
        failure: Failure::new(Reason::UNHEALTHY, message),
        suspects: bad.iter().filter(|check| check.tells).map(|check| check.name.clone()).collect(),
    }
}

fn words(check: &CheckSeen) -> String {
    match check.message.is_empty() {
        true => format!("check `{}` gave no answer", check.name),
        false => format!("check `{}`: {}", check.name, check.message),
    }
}
