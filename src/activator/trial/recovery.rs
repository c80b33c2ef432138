//! PURE: where a trial goes on after its process, or the machine, was gone.

use std::time::Duration;

use super::boot::{after_the_boot, disarmed_first, go_back, unstage};
use super::phase::{Cause, End, Phase, Then};
use super::seen::System;
use super::{Policy, Reverted, TRIES, after_unkeep, ending, last_resort, revert_again};
use crate::model::failure::{Failure, Reason};

/// What is found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Another boot than the one that wrote the record.
    pub rebooted: bool,
    /// What runs.
    pub system: System,
    /// The monotonic clock.
    pub now: Duration,
}

/// Says where to go on. A phase that has ended stays as it is.
///
/// Without a reboot, what was going forward goes back, and what was being finished is done again,
/// counted. After a reboot the machine runs what was the default: the old system, unless keeping
/// had got as far as the boot loader.
pub fn recover(phase: Phase, found: &Found, policy: &Policy) -> Phase {
    let name = phase.name();
    disarmed_first(name, go_on(phase, found, policy), policy)
}

fn go_on(phase: Phase, found: &Found, policy: &Policy) -> Phase {
    match (phase, found.rebooted) {
        (Phase::Ended(end), _) => Phase::Ended(end),
        (Phase::Requested, false) => Phase::Requested,
        (Phase::Requested | Phase::Baseline, _) => {
            Phase::Ended(ending::dropped(gone(found, "before anything was switched")))
        }
        // Before the phase is looked at: what neither of us left there is not ours to touch.
        (Phase::Disarming { tries, end }, _) if found.system == System::Other => {
            disarm_again(tries, end)
        }
        (_, _) if found.system == System::Other => Phase::Ended(ending::someone_else()),
        (phase, false) => in_the_same_boot(phase, found, policy),
        (phase, true) => after_a_boot(phase, found, policy),
    }
}

fn gone(found: &Found, when: &str) -> Failure {
    match found.rebooted {
        true => Failure::new(Reason::POWER_CUT, format!("the machine was reset {when}")),
        false => {
            Failure::new(Reason::ACTIVATOR_RESTARTED, format!("the trial process was ended {when}"))
        }
    }
}

fn in_the_same_boot(phase: Phase, found: &Found, policy: &Policy) -> Phase {
    match phase {
        Phase::Switching | Phase::Watching { .. } => {
            go_back(Cause::interrupted(gone(found, "during the trial")), policy)
        }
        Phase::Arming { tries } => arm_again(tries),
        Phase::Armed { tries, .. } => Phase::Armed { tries, asked: None },
        Phase::Disarming { tries, end } => disarm_again(tries, end),
        Phase::Staging { tries } => stage_again(tries),
        Phase::Keeping { tries } => keep_again(tries),
        Phase::Unkeeping { tries, then } => unkeep_again(tries, then, (found, policy)),
        Phase::Reverting { cause, tries, rebooted } => {
            let failure = Failure::new(
                Reason::OLD_SYSTEM_BROKEN,
                format!("the trial process was ended {TRIES} times while reverting"),
            );
            revert_again(Reverted { cause, tries, rebooted }, failure, policy)
        }
        Phase::Rechecking { cause, rebooted, tries, .. } => {
            recheck_again(cause, rebooted, (tries, found, policy))
        }
        Phase::Rebooting { cause, tries, .. } => Phase::Rebooting { cause, tries, asked: None },
        settled @ (Phase::Requested | Phase::Baseline | Phase::Ended(_)) => settled,
    }
}

fn after_a_boot(phase: Phase, found: &Found, policy: &Policy) -> Phase {
    let old = found.system.is_old();
    match phase {
        Phase::Switching | Phase::Watching { .. } if old => Phase::Ended(ending::struck(
            gone(found, "during the trial; the old system runs"),
            policy,
        )),
        // A loader that starts what was never made the default: back, once the boot is over.
        Phase::Switching | Phase::Watching { .. } => {
            go_back(Cause::interrupted(gone(found, "during the trial")), policy)
        }
        Phase::Armed { .. } => after_the_boot(found.system, found.now, policy),
        // Whether it was armed, and perhaps booted already, nothing says.
        Phase::Arming { .. } if old => Phase::Ended(ending::struck(
            gone(found, "while a boot was being armed; the old system runs"),
            policy,
        )),
        // It was armed, and nothing on disk says that this was looked at: not forward by guess.
        Phase::Arming { .. } => {
            go_back(Cause::interrupted(gone(found, "while a boot was being armed")), policy)
        }
        Phase::Disarming { tries, end } if old => disarm_again(tries, end),
        Phase::Disarming { .. } => {
            go_back(Cause::interrupted(gone(found, "while a boot was being disarmed")), policy)
        }
        Phase::Staging { .. } if old => {
            let failure = gone(found, "while the new system was being staged");
            Phase::Unkeeping { tries: 0, then: Then::End(ending::dropped(failure)) }
        }
        Phase::Staging { tries } => stage_again(tries),
        Phase::Keeping { .. } if old => {
            Phase::Unkeeping { tries: 0, then: Then::End(ending::not_quite_kept(policy)) }
        }
        Phase::Keeping { tries } => keep_again(tries),
        Phase::Unkeeping { tries, then } => unkeep_again(tries, then, (found, policy)),
        Phase::Reverting { cause, rebooted, .. } if old => {
            Phase::Rechecking { cause, since: found.now, rebooted, tries: 0 }
        }
        Phase::Reverting { cause, tries, rebooted } => {
            let failure = Failure::new(
                Reason::OLD_SYSTEM_BROKEN,
                "the machine was reset while reverting, and does not start the old system",
            );
            revert_again(Reverted { cause, tries, rebooted }, failure, policy)
        }
        Phase::Rechecking { cause, rebooted, tries, .. } if old => {
            recheck_again(cause, rebooted, (tries, found, policy))
        }
        Phase::Rebooting { cause, .. } if old => {
            Phase::Rechecking { cause, since: found.now, rebooted: true, tries: 0 }
        }
        Phase::Rebooting { cause, .. } | Phase::Rechecking { cause, .. } => {
            let failure = Failure::new(
                Reason::OLD_SYSTEM_BROKEN,
                "the machine was rebooted, and does not start the old system",
            );
            last_resort(cause, true, failure, policy)
        }
        settled @ (Phase::Requested | Phase::Baseline | Phase::Ended(_)) => settled,
    }
}

fn arm_again(tries: u8) -> Phase {
    match tries.saturating_add(1) {
        tries if tries < TRIES => Phase::Arming { tries },
        _ => {
            let message = "the activator was ended each time that it tried to arm a boot";
            Phase::Ended(ending::failed(Failure::new(Reason::TOO_MANY_ATTEMPTS, message), true))
        }
    }
}

fn disarm_again(tries: u8, end: End) -> Phase {
    match tries.saturating_add(1) {
        tries if tries < TRIES => Phase::Disarming { tries, end },
        _ => Phase::Ended(ending::not_disarmed(end, "the activator was ended each time it tried")),
    }
}

fn stage_again(tries: u8) -> Phase {
    match tries.saturating_add(1) {
        tries if tries < TRIES => Phase::Staging { tries },
        _ => unstage("the activator was ended each time that it tried"),
    }
}

fn keep_again(tries: u8) -> Phase {
    match tries.saturating_add(1) {
        tries if tries < TRIES => Phase::Keeping { tries },
        _ => {
            let cause = Cause::bootloader("the activator was ended each time that it tried");
            Phase::Unkeeping { tries: 0, then: Then::Revert(cause) }
        }
    }
}

fn unkeep_again(tries: u8, then: Then, (found, policy): (&Found, &Policy)) -> Phase {
    let then = match then {
        // The boot has done what the switch was for.
        Then::Revert(cause) if found.rebooted && found.system.is_old() => Then::Recheck(cause),
        other => other,
    };
    match tries.saturating_add(1) {
        tries if tries < TRIES => Phase::Unkeeping { tries, then },
        _ => after_unkeep(then, found.now, policy),
    }
}

fn recheck_again(
    cause: Cause,
    rebooted: bool,
    (tries, found, policy): (u8, &Found, &Policy),
) -> Phase {
    match tries.saturating_add(1) {
        tries if tries < TRIES => Phase::Rechecking { cause, since: found.now, rebooted, tries },
        // The old system runs; nobody can be found out who is to blame but the verdict.
        _ => Phase::Ended(ending::convicted(&cause, policy)),
    }
}
