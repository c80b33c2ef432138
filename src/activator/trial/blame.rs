//! PURE: whose fault it was, by what the old system shows.

use std::time::Duration;

use super::phase::{Cause, Phase};
use super::seen::Seen;
use super::{LOOK_AGAIN, Policy, Step, ending, last_resort};
use crate::handover::report::CheckState;
use crate::model::failure::{Failure, Reason};

/// Says what to do while the old system runs again since `since`.
///
/// One suspect that is green again convicts the closure; suspects that are all still red at the
/// end of the window acquit it; without suspects the verdict stands as it is. Nothing of that
/// counts before everything local is back: if it is not by the end of the window, the last resort
/// follows.
pub fn recheck(
    cause: &Cause,
    since: Duration,
    rebooted: bool,
    (seen, policy): (&Seen, &Policy),
) -> Step {
    if seen.stopping {
        return Step::Leave;
    }
    if !seen.system.is_old() {
        return Step::Enter(Phase::Ended(ending::someone_else()));
    }
    let over = seen.now >= since.saturating_add(policy.window);
    if !seen.lost.is_empty() {
        return match over {
            false => wait(since, seen, policy),
            true => Step::Enter(last_resort(cause.clone(), rebooted, lost(&seen.lost), policy)),
        };
    }
    let green = |name: &String| {
        seen.checks.iter().any(|check| check.name == *name && check.state == CheckState::Green)
    };
    let convicted = cause.suspects.is_empty() || cause.suspects.iter().any(green);
    match (convicted, over) {
        (true, _) => Step::Enter(Phase::Ended(ending::convicted(cause, policy))),
        (false, false) => wait(since, seen, policy),
        (false, true) => {
            let still_red: Vec<_> = cause.suspects.iter().map(String::as_str).collect();
            Step::Enter(Phase::Ended(ending::acquitted(cause, &still_red, policy)))
        }
    }
}

fn wait(since: Duration, seen: &Seen, policy: &Policy) -> Step {
    let over = since.saturating_add(policy.window);
    Step::Wait(over.saturating_sub(seen.now).min(LOOK_AGAIN))
}

fn lost(lost: &[String]) -> Failure {
    let message = format!("the old system runs again, and is not whole: {}", lost.join("; "));
    Failure::new(Reason::LOCAL_FACT_LOST, message)
}
