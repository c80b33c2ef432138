//! PURE: the phases of a trial, each with exactly what it needs to go on after a crash.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::deployment::{Outcome, Phase as Public};
use crate::model::failure::{Failure, Reason};

/// What leads profile and boot default back where we could not.
const LED_BACK_BY_HAND: &str = "`nix-env -p /nix/var/nix/profiles/system --set \
    \"$(readlink -f /run/current-system)\"`, then \
    `/run/current-system/bin/switch-to-configuration boot`";

/// Where a trial stands. This is what the record holds.
///
/// Times are of the monotonic clock of the boot that wrote them; nothing reads them after another
/// boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Phase {
    /// The request was taken and granted.
    Requested,
    /// The machine is looked at before anything changes.
    Baseline,
    /// The new system is being activated.
    Switching,
    /// The window is open.
    Watching {
        /// When it opened.
        since: Duration,
    },
    /// Profile and boot default are being set to the new system.
    Keeping {
        /// Tries before this one.
        tries: u8,
    },
    /// Profile and boot default are being set to the old system.
    Unkeeping {
        /// Tries before this one.
        tries: u8,
        /// What follows.
        then: Then,
    },
    /// What has to be booted gets an entry, and is armed for one boot; the default stays.
    Arming {
        /// Tries before this one.
        tries: u8,
    },
    /// The next boot starts it, once, whoever reboots.
    Armed {
        /// How often we asked for that reboot ourselves.
        tries: u8,
        /// When it was last asked for with success.
        asked: Option<Duration>,
    },
    /// The arming is being taken back; a boot trial ends only after that.
    Disarming {
        /// Tries before this one.
        tries: u8,
        /// How the trial ends then.
        end: End,
    },
    /// No single boot can be armed, and the configuration allows to do without: profile and boot
    /// default are being set to a system that nothing has proved.
    Staging {
        /// Tries before this one.
        tries: u8,
    },
    /// The old system is being activated.
    Reverting {
        /// Why.
        cause: Cause,
        /// Tries before this one.
        tries: u8,
        /// Whether the reboot of last resort is behind us.
        rebooted: bool,
    },
    /// The old system runs; what was good on it before is looked at again.
    Rechecking {
        /// Why it was brought back.
        cause: Cause,
        /// Since when it runs.
        since: Duration,
        /// Whether the reboot of last resort is behind us.
        rebooted: bool,
        /// Restarts of our own process in here.
        tries: u8,
    },
    /// The reboot of last resort was decided.
    Rebooting {
        /// Why the old system was to be brought back.
        cause: Cause,
        /// How often the reboot was asked for.
        tries: u8,
        /// When it was last asked for with success.
        asked: Option<Duration>,
    },
    /// Over.
    Ended(End),
}

impl Phase {
    /// Returns the name in the activator's own table.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Requested => "requested",
            Phase::Baseline => "baseline",
            Phase::Switching => "switching",
            Phase::Watching { .. } => "watching",
            Phase::Keeping { .. } => "keeping",
            Phase::Unkeeping { .. } => "unkeeping",
            Phase::Arming { .. } => "arming",
            Phase::Armed { .. } => "armed",
            Phase::Disarming { .. } => "disarming",
            Phase::Staging { .. } => "staging",
            Phase::Reverting { .. } => "reverting",
            Phase::Rechecking { .. } => "rechecking",
            Phase::Rebooting { .. } => "rebooting",
            Phase::Ended(_) => "ended",
        }
    }

    /// Returns the phase of the contract that this one is shown as.
    pub fn public(&self) -> Public {
        match self {
            Phase::Requested => Public::Requested,
            Phase::Baseline => Public::Baseline,
            Phase::Switching => Public::Switching,
            Phase::Watching { .. } => Public::Watching,
            Phase::Keeping { .. } => Public::Keeping,
            Phase::Unkeeping { .. }
            | Phase::Reverting { .. }
            | Phase::Rechecking { .. }
            | Phase::Disarming { .. } => Public::Reverting,
            Phase::Arming { .. } | Phase::Staging { .. } => Public::Arming,
            Phase::Armed { .. } => Public::Armed,
            Phase::Rebooting { .. } => Public::Rebooting,
            Phase::Ended(_) => Public::Idle,
        }
    }

    /// Returns what there is to say when it is entered.
    pub fn message(&self) -> String {
        match self {
            Phase::Requested | Phase::Baseline | Phase::Switching | Phase::Watching { .. } => {
                String::new()
            }
            Phase::Keeping { tries }
            | Phase::Unkeeping { tries, .. }
            | Phase::Arming { tries }
            | Phase::Staging { tries }
                if *tries > 0 =>
            {
                format!("try {}", tries.saturating_add(1))
            }
            Phase::Keeping { .. }
            | Phase::Unkeeping { .. }
            | Phase::Arming { .. }
            | Phase::Staging { .. } => String::new(),
            Phase::Armed { asked: Some(_), .. } => "the machine is being rebooted".to_owned(),
            Phase::Armed { asked: None, .. } => "the next boot starts it, once".to_owned(),
            Phase::Disarming { end, .. } => end.failure.message.clone(),
            Phase::Reverting { cause, tries, .. } if *tries > 0 => {
                format!("{}, try {}", cause.failure.message, tries.saturating_add(1))
            }
            Phase::Reverting { cause, .. } => cause.failure.message.clone(),
            Phase::Rechecking { .. } => "the old system runs again".to_owned(),
            Phase::Rebooting { cause, .. } => {
                format!("back into the old system: {}", cause.failure.message)
            }
            Phase::Ended(end) => end.failure.message.clone(),
        }
    }
}

/// How the system on trial comes to run, and so how the old one comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// By `switch-to-configuration test`, there and back.
    #[default]
    Switch,
    /// By one boot; any other boot brings the old system. From [`Phase::Arming`] to the end.
    Boot,
}

/// What follows when profile and default are back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", content = "with", rename_all = "kebab-case")]
pub enum Then {
    /// The old system has to be activated.
    Revert(Cause),
    /// The old system was booted meanwhile.
    Recheck(Cause),
    /// Nothing more.
    End(End),
}

impl Then {
    /// Says what an operator has to put right: profile or boot default could not be led back.
    pub fn not_undone(mut self, why: &str) -> Then {
        let failure = match &mut self {
            Then::Revert(cause) | Then::Recheck(cause) => &mut cause.failure,
            Then::End(end) => &mut end.failure,
        };
        let said = &failure.message;
        failure.message = format!("{said}; profile or boot default could not be led back: {why}");
        let by_hand = LED_BACK_BY_HAND.to_owned();
        failure.hint = Some(match failure.hint.take() {
            Some(hint) => format!("{hint}; {by_hand}"),
            None => by_hand,
        });
        self
    }
}

/// What kind of verdict brings the old system back; blame depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Checks were red: the old system is the evidence.
    Unhealthy,
    /// The switch itself failed: needs no evidence.
    NotSwitched,
    /// A person wanted it.
    Aborted,
    /// Our own process was ended in the middle: a strike.
    Interrupted,
    /// It was healthy, and could not be made the default: a strike.
    NotKept,
    /// Something of the machine kept us from going on: no blame.
    Environment,
}

/// Why the old system is brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What kind of verdict it was.
    pub verdict: Verdict,
    /// The code, the sentence, the hint.
    pub failure: Failure,
    /// Checks that were red at the verdict and green in the baseline.
    #[serde(default)]
    pub suspects: Vec<String>,
}

impl Cause {
    fn of(verdict: Verdict, failure: Failure) -> Cause {
        Cause { verdict, failure, suspects: Vec::new() }
    }

    /// The switch failed.
    pub fn not_switched(failure: Failure) -> Cause {
        Cause::of(Verdict::NotSwitched, failure)
    }

    /// A person wanted it.
    pub fn aborted(uid: u32) -> Cause {
        let message = format!("aborted by uid {uid}");
        Cause::of(Verdict::Aborted, Failure::new(Reason::BY_OPERATOR, message))
    }

    /// Our own process was ended.
    pub fn interrupted(failure: Failure) -> Cause {
        Cause::of(Verdict::Interrupted, failure)
    }

    /// The boot default could not be set.
    pub fn bootloader(cause: &str) -> Cause {
        let message = format!("could not make the new system the boot default: {cause}");
        let failure = Failure::new(Reason::BOOTLOADER, message)
            .hint("is /boot full? see `journalctl -u autodeploy-trial`");
        Cause::of(Verdict::NotKept, failure)
    }

    /// The machine kept us from going on.
    pub fn environment(failure: Failure) -> Cause {
        Cause::of(Verdict::Environment, failure)
    }
}

/// What an end means for the closure's next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nothing.
    None,
    /// It was kept: all that was held against it is forgotten.
    Cleared,
    /// One interruption more.
    Strike,
    /// One acquittal more.
    Acquitted,
    /// Refused from now on.
    Refused,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The outcome of the contract.
    pub outcome: Outcome,
    /// Its code, sentence and hint; also for a good end.
    pub failure: Failure,
    /// Whether the agent may try again by itself.
    pub retry: bool,
    /// What is remembered about the closure.
    pub mark: Mark,
    /// The generation, when it was kept.
    #[serde(default)]
    pub generation: Option<u64>,
}
