//! PURE: what an end of `switch-to-configuration` means.
//!
//! Where the codes come from: switch-to-configuration-ng's `main.rs`; `docs/trial.md` has the
//! table.

use std::time::Duration;

use super::ending;
use super::phase::{Cause, Phase};
use super::seen::System;
use crate::model::failure::{Failure, Reason};

/// How one run of `switch-to-configuration` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwitchEnd {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Ended by us at its limit.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// It could not be started.
    NotStarted(String),
}

/// The lock is held by somebody else, or another call of the system said `EAGAIN`.
pub const LOCK_HELD: SwitchEnd = SwitchEnd::Code(11);

impl SwitchEnd {
    /// Tells whether the system was activated. 4 says that *some* unit is failed or restarting,
    /// also one that the switch does not manage: that is for the checks to judge.
    pub fn activated(&self) -> bool {
        matches!(self, SwitchEnd::Code(0 | 4))
    }

    /// Returns how it ended, for people.
    pub fn words(&self) -> String {
        match self {
            SwitchEnd::Code(code) => format!("exit status {code}"),
            SwitchEnd::Signal(signal) => format!("ended by signal {signal}"),
            SwitchEnd::TimedOut { limit } => format!("took longer than {} s", limit.as_secs()),
            SwitchEnd::NotStarted(cause) => cause.clone(),
        }
    }
}

/// Says what follows the switch to the new system.
pub fn after_switch(end: SwitchEnd, system: System, now: Duration) -> Phase {
    let revert = |reason: Reason, what: &str| {
        let message = format!("{what}: {}", end.words());
        let failure = Failure::new(reason, message)
            .hint("`journalctl -u autodeploy-trial` has what it printed");
        Phase::Reverting { cause: Cause::not_switched(failure), tries: 0, rebooted: false }
    };
    match (&end, system) {
        (_, System::Other) => Phase::Ended(ending::someone_else()),
        (SwitchEnd::Code(0 | 4), System::New | System::Both) => Phase::Watching { since: now },
        (SwitchEnd::Code(0 | 4), System::Old) => revert(
            Reason::SWITCH_FAILED,
            "the switch said that it was done, and the old system still runs",
        ),
        (SwitchEnd::Code(11), System::Old) => Phase::Ended(ending::failed(
            Failure::new(
                Reason::LOCK_HELD,
                "could not switch: somebody else holds the lock of `switch-to-configuration`",
            )
            .hint(
                "it is tried again by itself; `fuser -v /run/nixos/switch-to-configuration.lock`",
            ),
            true,
        )),
        // Nothing was activated: its init interface is another one, and only a boot tries that.
        (SwitchEnd::Code(100), System::Old | System::Both) => Phase::Arming { tries: 0 },
        (SwitchEnd::Code(2), _) => revert(Reason::ACTIVATION_FAILED, "the activation failed"),
        (SwitchEnd::TimedOut { .. }, _) => revert(Reason::SWITCH_TIMEOUT, "the switch was ended"),
        (SwitchEnd::Code(_) | SwitchEnd::Signal(_) | SwitchEnd::NotStarted(_), _) => {
            revert(Reason::SWITCH_FAILED, "the switch failed")
        }
    }
}

/// Says what follows when a healthy system was switched to once more, because the first switch
/// ended with 4: with every unit in its place only a failed activation is left to be told.
///
/// Anything but that says nothing new: it was activated, and is healthy.
pub fn after_the_same_again(end: &SwitchEnd) -> Phase {
    match end {
        SwitchEnd::Code(2) => after_switch(SwitchEnd::Code(2), System::New, Duration::ZERO),
        _ => Phase::Keeping { tries: 0 },
    }
}

/// Says whether the old system was brought back.
///
/// # Errors
/// What is in the way, for the alarm.
pub fn brought_back(end: SwitchEnd, system: System) -> Result<(), Failure> {
    let hint = "`journalctl -u autodeploy-trial` has what it printed";
    match (end.activated(), system.is_old()) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::new(
            Reason::OLD_SYSTEM_BROKEN,
            "the old system was activated, and another one runs",
        )
        .hint(hint)),
        (false, _) => Err(Failure::new(
            Reason::OLD_SYSTEM_BROKEN,
            format!("could not activate the old system: {}", end.words()),
        )
        .hint(hint)),
    }
}
