//! PURE: the trial as a machine. What is seen goes in, what to do comes out.
//!
//! [`decide`] looks at a phase and at the machine and says what is next; [`advance`] says where
//! that led; [`recovery::recover`] says where a trial goes on whose process or machine was gone.
//! All three are total: an impossible pair leaves the phase alone. Every loop is counted in the
//! phase's own data, which is on disk, and ends.
//!
//! What has to be booted to be tried goes another way, in [`boot`]: it is armed for one boot, and
//! the old system comes back by any other. From the window on the two ways are one.

pub mod blame;
pub mod boot;
pub mod ending;
pub mod phase;
pub mod recovery;
pub mod seen;
pub mod switched;
pub mod verdict;

use std::time::Duration;

use self::boot::{Unarmed, go_back};
use self::phase::{Cause, Phase, Then, Way};
use self::seen::{Seen, System};
use self::switched::SwitchEnd;
use crate::config::settings::{LastResort, Reboot};
use crate::model::failure::{Failure, Reason};

/// How often a thing that can fail is tried: reverts, keeps, going back in the profile, reboots
/// that did not come.
pub const TRIES: u8 = 3;

/// How long a reboot that was asked for may take to end this process.
const REBOOT_PATIENCE: Duration = Duration::from_secs(300);

/// How often the loop looks again when nothing wakes it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the record and the configuration say about this trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The time that a closure has to become healthy, and that the old system has to come back.
    pub window: Duration,
    /// How long everything required has to be green without a break.
    pub settle: Duration,
    /// How it comes to run, and goes.
    pub way: Way,
    /// Whether we ask for the reboot that an armed system waits for.
    pub reboot: Reboot,
    /// What to do when the old system cannot be brought back.
    pub last_resort: LastResort,
    /// Interruptions that this closure had before.
    pub strikes: u32,
    /// Acquittals that this closure had before.
    pub acquittals: u32,
    /// The switch ended with 4, behind which an activation that failed can hide.
    pub may_hide_a_failure: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the phase down, and go on from there.
    Enter(Phase),
    /// Nothing yet; look again after at most this long.
    Wait(Duration),
    /// Root what is needed, prove the way back, look at the machine as it is.
    TakeBaseline,
    /// `switch-to-configuration test` of the new system; in the window, the same once more.
    Switch,
    /// An entry of its own, armed for one boot; both read back.
    Arm,
    /// What [`Step::Arm`] did is taken back.
    Disarm,
    /// Profile, boot default, read back, sync.
    Keep,
    /// Profile and boot default of the old system.
    Unkeep,
    /// `switch-to-configuration test` of the old system.
    Revert,
    /// Into what is armed; back from it; or as the last resort.
    Reboot,
    /// The machine is stopping: leave everything as it is written.
    Leave,
    /// Over.
    Finish,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// [`Step::TakeBaseline`]
    Baseline(Proved),
    /// [`Step::Switch`], and what runs after it.
    Switch(SwitchEnd, System),
    /// [`Step::Arm`]
    Arm(Result<(), Unarmed>),
    /// [`Step::Disarm`]
    Disarm(Result<(), String>),
    /// [`Step::Keep`]: the generation, or what went wrong.
    Keep(Result<u64, String>),
    /// [`Step::Unkeep`]
    Unkeep(Result<(), String>),
    /// [`Step::Revert`], and what runs after it.
    Revert(SwitchEnd, System),
    /// [`Step::Reboot`]: it was asked for, or could not be.
    Reboot(Result<(), String>),
}

/// What the baseline showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proved {
    /// There is a way back, and the closure can be switched to.
    Ready,
    /// There is a way back, and only a boot can try the closure.
    NeedsBoot,
    /// Only a boot could try it, none can be armed for once, and it may go ahead all the same.
    Unprovable,
    /// The closure runs, and is not yet the default.
    Runs,
    /// The closure runs and is the default.
    RunsAndIsKept {
        /// Its generation.
        generation: u64,
    },
    /// Nothing can or need be tried.
    Refused {
        /// Why.
        failure: Failure,
        /// Whether it may be tried again by itself.
        retry: bool,
    },
}

/// Says what to do in a phase.
pub fn decide(phase: &Phase, seen: &Seen, policy: &Policy) -> Step {
    match one_step(phase, seen, policy) {
        Step::Enter(next) => Step::Enter(boot::disarmed_first(phase.name(), next, policy)),
        other => other,
    }
}

fn one_step(phase: &Phase, seen: &Seen, policy: &Policy) -> Step {
    match phase {
        Phase::Requested => match seen.stopping {
            true => Step::Enter(Phase::Ended(ending::shut_down())),
            false => Step::Enter(Phase::Baseline),
        },
        Phase::Baseline | Phase::Switching => before_the_switch(phase, seen),
        Phase::Watching { since } => verdict::watch(*since, seen, policy),
        Phase::Arming { .. } => boot::arm(seen),
        Phase::Armed { tries, asked } => boot::await_boot(*tries, *asked, seen, policy),
        Phase::Disarming { .. } => Step::Disarm,
        Phase::Keeping { .. } | Phase::Staging { .. } => Step::Keep,
        // What was staged, and booted before it was the default, is no end to stay with.
        Phase::Unkeeping { tries, then: Then::End(end) } if seen.system == System::New => {
            let then = Then::Revert(Cause::environment(end.failure.clone()));
            Step::Enter(Phase::Unkeeping { tries: *tries, then })
        }
        Phase::Unkeeping { .. } => Step::Unkeep,
        Phase::Reverting { .. } => match (seen.stopping, seen.system) {
            (true, _) => Step::Leave,
            (false, System::Other) => Step::Enter(Phase::Ended(ending::someone_else())),
            (false, System::Old | System::New | System::Both) => Step::Revert,
        },
        Phase::Rechecking { cause, since, rebooted, .. } => {
            blame::recheck(cause, *since, *rebooted, (seen, policy))
        }
        Phase::Rebooting { tries, asked, .. } => reboot(*tries, *asked, seen),
        Phase::Ended(_) => Step::Finish,
    }
}

fn before_the_switch(phase: &Phase, seen: &Seen) -> Step {
    match (seen.aborted_by, seen.stopping) {
        (Some(uid), _) => Step::Enter(Phase::Ended(ending::aborted_early(uid))),
        (None, true) => Step::Enter(Phase::Ended(ending::shut_down())),
        (None, false) if *phase == Phase::Baseline => Step::TakeBaseline,
        (None, false) => Step::Switch,
    }
}

/// Whether a reboot that was asked for may still come.
pub(in crate::activator::trial) fn is_on_its_way(asked: Option<Duration>, seen: &Seen) -> bool {
    asked.is_some_and(|asked| seen.now < asked.saturating_add(REBOOT_PATIENCE))
}

fn reboot(tries: u8, asked: Option<Duration>, seen: &Seen) -> Step {
    match (seen.stopping, is_on_its_way(asked, seen)) {
        (true, _) => Step::Leave,
        (false, true) => Step::Wait(LOOK_AGAIN),
        (false, false) if tries < TRIES => Step::Reboot,
        (false, false) => Step::Enter(Phase::Ended(ending::revert_failed(Failure::new(
            Reason::TOO_MANY_ATTEMPTS,
            format!("asked for a reboot {TRIES} times, and the machine is still up"),
        )))),
    }
}

/// Says which phase follows when a step of it has ended at `now`.
pub fn advance(phase: Phase, done: Done, now: Duration, policy: &Policy) -> Phase {
    let name = phase.name();
    boot::disarmed_first(name, after(phase, done, now, policy), policy)
}

fn after(phase: Phase, done: Done, now: Duration, policy: &Policy) -> Phase {
    match (phase, done) {
        (Phase::Baseline, Done::Baseline(proved)) => after_baseline(proved, now),
        (Phase::Switching, Done::Switch(end, system)) => switched::after_switch(end, system, now),
        (Phase::Watching { .. }, Done::Switch(end, _)) => switched::after_the_same_again(&end),
        (Phase::Arming { tries }, Done::Arm(armed)) => boot::after_arming(tries, armed),
        (Phase::Armed { tries, .. }, Done::Reboot(asked)) => {
            let tries = tries.saturating_add(1);
            Phase::Armed { tries, asked: asked.is_ok().then_some(now) }
        }
        (Phase::Disarming { tries, end }, Done::Disarm(disarmed)) => {
            boot::after_disarming(tries, end, disarmed)
        }
        (Phase::Staging { tries }, Done::Keep(staged)) => boot::after_staging(tries, staged),
        (Phase::Keeping { tries }, Done::Keep(kept)) => after_keep(tries, kept),
        (Phase::Unkeeping { tries, then }, Done::Unkeep(undone)) => match undone {
            Err(_) if tries.saturating_add(1) < TRIES => {
                Phase::Unkeeping { tries: tries + 1, then }
            }
            Ok(()) => after_unkeep(then, now, policy),
            // Going on all the same: the old system is what has to run in the end.
            Err(why) => after_unkeep(then.not_undone(&why), now, policy),
        },
        (Phase::Reverting { cause, tries, rebooted }, Done::Revert(end, system)) => {
            match switched::brought_back(end, system) {
                Ok(()) => Phase::Rechecking { cause, since: now, rebooted, tries: 0 },
                Err(failure) => revert_again(Reverted { cause, tries, rebooted }, failure, policy),
            }
        }
        (Phase::Rebooting { cause, tries, .. }, Done::Reboot(asked)) => Phase::Rebooting {
            cause,
            tries: tries.saturating_add(1),
            asked: asked.is_ok().then_some(now),
        },
        (unchanged, _) => unchanged,
    }
}

fn after_baseline(proved: Proved, now: Duration) -> Phase {
    match proved {
        Proved::Ready => Phase::Switching,
        Proved::NeedsBoot => Phase::Arming { tries: 0 },
        Proved::Unprovable => Phase::Staging { tries: 0 },
        Proved::Runs => Phase::Watching { since: now },
        Proved::RunsAndIsKept { generation } => Phase::Ended(ending::runs_already(generation)),
        Proved::Refused { failure, retry } => Phase::Ended(ending::failed(failure, retry)),
    }
}

fn after_keep(tries: u8, kept: Result<u64, String>) -> Phase {
    match kept {
        Ok(generation) => Phase::Ended(ending::kept(generation)),
        Err(_) if tries.saturating_add(1) < TRIES => Phase::Keeping { tries: tries + 1 },
        Err(cause) => Phase::Unkeeping { tries: 0, then: Then::Revert(Cause::bootloader(&cause)) },
    }
}

/// Where the way leads once profile and default are the old ones again.
pub(in crate::activator::trial) fn after_unkeep(
    then: Then,
    now: Duration,
    policy: &Policy,
) -> Phase {
    match then {
        Then::Revert(cause) => go_back(cause, policy),
        Then::Recheck(cause) => Phase::Rechecking { cause, since: now, rebooted: false, tries: 0 },
        Then::End(end) => Phase::Ended(end),
    }
}

/// A revert that did not work.
pub(in crate::activator::trial) struct Reverted {
    pub cause: Cause,
    pub tries: u8,
    pub rebooted: bool,
}

pub(in crate::activator::trial) fn revert_again(
    revert: Reverted,
    failure: Failure,
    policy: &Policy,
) -> Phase {
    let Reverted { cause, tries, rebooted } = revert;
    match tries.saturating_add(1) {
        tries if tries < TRIES => Phase::Reverting { cause, tries, rebooted },
        _ => last_resort(cause, rebooted, failure, policy),
    }
}

/// One reboot, and only if the machine's owner wants it; else staying up with an alarm.
pub(in crate::activator::trial) fn last_resort(
    cause: Cause,
    rebooted: bool,
    failure: Failure,
    policy: &Policy,
) -> Phase {
    match (policy.last_resort, rebooted) {
        (LastResort::Reboot, false) => {
            // Why it rebooted is not to be seen any more once it has.
            let message = format!("{}; {}", cause.failure.message, failure.message);
            let cause = Cause { failure: Failure { message, ..cause.failure }, ..cause };
            Phase::Rebooting { cause, tries: 0, asked: None }
        }
        (LastResort::Reboot, true) | (LastResort::Alarm, _) => {
            Phase::Ended(ending::revert_failed(failure))
        }
    }
}

/// What to enter instead when a phase could not be written down before it is acted on.
///
/// Nothing goes forward without a record. What goes back, goes back without one.
pub fn unrecorded(next: &Phase, cause: &str, policy: &Policy) -> Option<Phase> {
    let failure =
        Failure::new(Reason::INTERNAL, format!("could not write the activator's record: {cause}"))
            .hint("is there room, and may root write, in `/var/lib/autodeploy-activate`?");
    match next {
        Phase::Baseline
        | Phase::Switching
        | Phase::Arming { tries: 0 }
        | Phase::Staging { tries: 0 } => Some(Phase::Ended(ending::failed(failure, true))),
        // What the disk says may be armed is not: a boot that it does not know of goes back.
        Phase::Arming { .. } | Phase::Armed { .. } => {
            Some(Phase::Disarming { tries: 0, end: ending::failed(failure, true) })
        }
        Phase::Staging { .. } => {
            let then = Then::End(ending::failed(failure, true));
            Some(Phase::Unkeeping { tries: 0, then })
        }
        Phase::Keeping { tries: 0 } => Some(go_back(Cause::environment(failure), policy)),
        // The disk says `keeping` already, and it may be done: what was kept is not reverted.
        Phase::Keeping { .. } => None,
        Phase::Requested
        | Phase::Watching { .. }
        | Phase::Unkeeping { .. }
        | Phase::Disarming { .. }
        | Phase::Reverting { .. }
        | Phase::Rechecking { .. }
        | Phase::Rebooting { .. }
        | Phase::Ended(_) => None,
    }
}

#[cfg(test)]
mod tests;
