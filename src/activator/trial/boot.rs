//! PURE: the trial of what has to be booted: armed for one boot, and taken back.
//!
//! The default of the boot loader is the old system from the first to the last moment before
//! keeping. So whatever resets the machine brings that back, and the new system is booted once at
//! most for each time that it was armed.

use std::time::Duration;

use super::phase::{Cause, End, Phase, Then, Way};
use super::seen::{Seen, System};
use super::{LOOK_AGAIN, Policy, Step, TRIES, ending, is_on_its_way};
use crate::config::settings::Reboot;
use crate::model::failure::{Failure, Reason};

/// Why nothing is armed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unarmed {
    /// This machine has no boot loader that starts an entry just once.
    Impossible(String),
    /// It did not work, and may the next time.
    Failed(String),
}

/// What a person does where no single boot can be armed.
const BOOT_BY_HAND: &str = "`nixos-rebuild boot` by hand and a reboot bring it, and so does \
                            `activation.unproved_boot = \"allow\"`; the next push is followed again";

/// Brings the old system back, the way that the new one came.
pub fn go_back(cause: Cause, policy: &Policy) -> Phase {
    match policy.way {
        Way::Switch => Phase::Reverting { cause, tries: 0, rebooted: false },
        Way::Boot => Phase::Rebooting { cause, tries: 0, asked: None },
    }
}

/// A boot trial ends only after it was disarmed, whatever ended it. What was kept is not armed any
/// more: keeping takes the entry away itself.
pub fn disarmed_first(from: &str, next: Phase, policy: &Policy) -> Phase {
    let was_armed = !matches!(from, "keeping" | "disarming" | "ended");
    match (policy.way, next) {
        (Way::Boot, Phase::Ended(end)) if was_armed => Phase::Disarming { tries: 0, end },
        (Way::Switch | Way::Boot, next) => next,
    }
}

/// Says what ends it while it waits for its boot.
fn ended_from_outside(seen: &Seen) -> Option<End> {
    match (seen.aborted_by, seen.superseded) {
        _ if seen.system == System::Other || seen.profile_moved => Some(ending::someone_else()),
        (Some(uid), _) => Some(ending::aborted_early(uid)),
        (None, true) => Some(ending::superseded()),
        (None, false) => None,
    }
}

/// Says what to do while it is being armed.
pub fn arm(seen: &Seen) -> Step {
    match ended_from_outside(seen) {
        Some(end) => Step::Enter(Phase::Ended(end)),
        None if seen.stopping => Step::Enter(Phase::Ended(ending::shut_down())),
        None => Step::Arm,
    }
}

/// Says what to do while it is armed.
///
/// A word that came before the shutdown is heard: nobody shall boot what was aborted a moment ago.
pub fn await_boot(tries: u8, asked: Option<Duration>, seen: &Seen, policy: &Policy) -> Step {
    if let Some(end) = ended_from_outside(seen) {
        return Step::Enter(Phase::Ended(end));
    }
    match seen.stopping {
        true => Step::Leave,
        // A machine that does not take the wish for a reboot waits for somebody else's.
        false if is_on_its_way(asked, seen) || tries >= TRIES => Step::Wait(LOOK_AGAIN),
        false if may_reboot_now(policy) => Step::Reboot,
        false => Step::Wait(LOOK_AGAIN),
    }
}

/// The one place that a maintenance window would go into: without any, it is always open.
fn may_reboot_now(policy: &Policy) -> bool {
    match policy.reboot {
        Reboot::WhenNeeded => true,
        Reboot::Never => false,
    }
}

/// Says what follows a try to arm.
pub fn after_arming(tries: u8, armed: Result<(), Unarmed>) -> Phase {
    match armed {
        Ok(()) => Phase::Armed { tries: 0, asked: None },
        Err(Unarmed::Impossible(cause)) => Phase::Ended(ending::failed(unarmable(&cause), false)),
        Err(Unarmed::Failed(_)) if tries.saturating_add(1) < TRIES => {
            Phase::Arming { tries: tries + 1 }
        }
        Err(Unarmed::Failed(cause)) => Phase::Ended(ending::failed(not_armed(&cause), true)),
    }
}

/// The failure of a closure that has to be booted where no single boot can be armed.
pub fn unarmable(cause: &str) -> Failure {
    let message =
        format!("the closure has to be booted, and no single boot of it can be armed: {cause}");
    Failure::new(Reason::REBOOT_NEEDED, message).hint(BOOT_BY_HAND)
}

fn not_armed(cause: &str) -> Failure {
    let message = format!("could not arm a single boot of the new system: {cause}");
    Failure::new(Reason::BOOTLOADER, message)
        .hint("is /boot full? see `journalctl -u autodeploy-trial`")
}

/// Says what follows a try to disarm.
pub fn after_disarming(tries: u8, end: End, disarmed: Result<(), String>) -> Phase {
    match disarmed {
        Ok(()) => Phase::Ended(end),
        Err(_) if tries.saturating_add(1) < TRIES => Phase::Disarming { tries: tries + 1, end },
        Err(cause) => Phase::Ended(ending::not_disarmed(end, &cause)),
    }
}

/// Says what follows a try to make the default of what nothing has proved.
pub fn after_staging(tries: u8, staged: Result<u64, String>) -> Phase {
    match staged {
        Ok(generation) => Phase::Ended(ending::staged(generation)),
        Err(_) if tries.saturating_add(1) < TRIES => Phase::Staging { tries: tries + 1 },
        Err(cause) => unstage(&cause),
    }
}

/// Takes a default back that could not be set.
pub fn unstage(cause: &str) -> Phase {
    let then = Then::End(ending::failed(Cause::bootloader(cause).failure, true));
    Phase::Unkeeping { tries: 0, then }
}

/// Says where it goes on when the machine booted, and the boot brought `system`.
pub fn after_the_boot(system: System, now: Duration, policy: &Policy) -> Phase {
    match system.is_new() {
        true => Phase::Watching { since: now },
        false => Phase::Ended(ending::not_started(policy)),
    }
}

#[cfg(test)]
mod tests;
