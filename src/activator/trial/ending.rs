//! PURE: every way in which a trial ends.

use super::Policy;
use super::phase::{Cause, End, Mark, Verdict};
use crate::model::deployment::Outcome;
use crate::model::failure::{Failure, Reason};

/// How often the environment may be blamed before the closure is refused.
const ACQUITTALS: u32 = 3;

/// Whatever ended badly leaves something to type, here if nowhere else.
fn end(outcome: Outcome, failure: Failure, retry: bool, mark: Mark) -> End {
    let failure = match (mark, retry) {
        (Mark::Cleared, _) => failure,
        (Mark::Refused, _) => failure.or_hint(
            "`autodeployctl show` has what was seen; \
             `autodeployctl unblock CLOSURE` lets it be tried again",
        ),
        (Mark::None | Mark::Strike | Mark::Acquitted, true) => {
            failure.or_hint("it is tried again by itself; `autodeployctl show` has what was seen")
        }
        (Mark::None | Mark::Strike | Mark::Acquitted, false) => failure.or_hint(
            "`autodeployctl show` has what was seen; `autodeployctl run-now` tries it again",
        ),
    };
    End { outcome, failure, retry, mark, generation: None }
}

/// It proved itself, and is the default.
pub fn kept(generation: u64) -> End {
    let failure = Failure::new(
        Reason::HEALTHY,
        format!("kept as generation {generation}: every required check was green"),
    );
    let kept = end(Outcome::Kept, failure, false, Mark::Cleared);
    End { generation: Some(generation), ..kept }
}

/// There was nothing to do.
pub fn runs_already(generation: u64) -> End {
    let failure = Failure::new(
        Reason::ALREADY_RUNNING,
        format!("the closure runs already, as generation {generation}"),
    );
    let kept = end(Outcome::Kept, failure, false, Mark::Cleared);
    End { generation: Some(generation), ..kept }
}

/// It is the default, unproved, and nobody has booted it yet.
pub fn staged(generation: u64) -> End {
    let failure = Failure::new(
        Reason::STAGED_UNPROVED,
        format!(
            "staged as generation {generation}: the next boot starts it, and nothing proved it"
        ),
    )
    .hint("`reboot` when it suits; the boot menu still has the generation before");
    let staged = end(Outcome::Staged, failure, false, Mark::None);
    End { generation: Some(generation), ..staged }
}

/// A newer commit is ready, and this one was not booted yet.
pub fn superseded() -> End {
    let failure = Failure::new(
        Reason::NEWER_COMMIT,
        "a newer commit came before the reboot that this one was armed for",
    )
    .hint("`autodeployctl status` shows the newer one");
    end(Outcome::Superseded, failure, false, Mark::None)
}

/// The boot that it was armed for brought the old system: once is forgiven, as any interruption.
pub fn not_started(policy: &Policy) -> End {
    let message = "the machine was booted, and the old system runs: the boot loader did not start \
                   the new one, or that did not come up";
    let failure = Failure::new(Reason::BOOTLOADER_DID_NOT_START_IT, message);
    End { outcome: Outcome::Failed, ..struck(failure, policy) }
}

/// It cannot be said that the next boot brings the old system: a person has to look.
pub fn not_disarmed(end: End, cause: &str) -> End {
    let message = format!(
        "{}; and the boot that was armed could not be taken back: {cause}",
        end.failure.message
    );
    let failure = Failure::new(end.failure.reason.clone(), message)
        .hint("`bootctl set-oneshot \"\"`, or `grub-editenv - unset next_entry`, takes it back");
    End { failure, ..end }
}

/// Nothing was switched to.
pub fn failed(failure: Failure, retry: bool) -> End {
    end(Outcome::Failed, failure, retry, Mark::None)
}

/// A person ended it before anything was switched to.
pub fn aborted_early(uid: u32) -> End {
    let failure = Failure::new(
        Reason::BY_OPERATOR,
        format!("aborted by uid {uid} before anything was switched"),
    );
    end(Outcome::Aborted, failure, false, Mark::None)
}

/// The machine is going down; the next boot brings the old system.
pub fn shut_down() -> End {
    let failure = Failure::new(
        Reason::SHUTDOWN,
        "the machine was shut down during the trial; the old system is the boot default",
    );
    end(Outcome::Interrupted, failure, true, Mark::None)
}

/// The machine is going down in the window of a boot trial. Counted: what reboots the machine may
/// be the new system itself, and would be armed for ever.
pub fn shut_down_after_boot(policy: &Policy) -> End {
    match policy.acquittals < ACQUITTALS {
        true => End { mark: Mark::Acquitted, ..shut_down() },
        false => {
            let failure = Failure { hint: None, ..shut_down().failure };
            end(Outcome::Interrupted, failure, false, Mark::Refused)
        }
    }
}

/// What runs, or what boots next, is not what we left there.
pub fn someone_else() -> End {
    let failure = Failure::new(
        Reason::SOMEONE_ELSE_SWITCHED,
        "somebody else switched the system during the trial; nothing of that was touched",
    )
    .hint("`readlink /run/current-system /nix/var/nix/profiles/system` shows what runs and boots");
    end(Outcome::Interrupted, failure, false, Mark::None)
}

/// Nothing had been switched when our process, or the machine, was gone.
pub fn dropped(failure: Failure) -> End {
    end(Outcome::Interrupted, failure, true, Mark::None)
}

/// It had proved itself, and a reset came before it was the default: to be tried again, no blame,
/// but not for ever.
pub fn not_quite_kept(policy: &Policy) -> End {
    let failure = Failure::new(
        Reason::POWER_CUT,
        "the machine was reset while the new system was being made the default; the old one runs",
    );
    match policy.acquittals < ACQUITTALS {
        true => end(Outcome::Interrupted, failure, true, Mark::Acquitted),
        false => end(Outcome::Interrupted, failure, false, Mark::Refused),
    }
}

/// The process or the machine was gone in the middle: once is forgiven.
pub fn struck(failure: Failure, policy: &Policy) -> End {
    match policy.strikes {
        0 => end(Outcome::Interrupted, failure, true, Mark::Strike),
        _ => {
            let failure = Failure {
                message: format!("{}; it was not the first time", failure.message),
                ..failure
            };
            end(Outcome::Interrupted, failure, false, Mark::Refused)
        }
    }
}

/// The old system could not be brought back whole: a person is needed.
pub fn revert_failed(failure: Failure) -> End {
    let failure = failure.or_hint("`systemctl --failed` and `journalctl -u autodeploy-trial`");
    end(Outcome::RevertFailed, failure, false, Mark::Refused)
}

/// The old system runs, and the closure is to blame as far as the verdict goes.
pub fn convicted(cause: &Cause, policy: &Policy) -> End {
    let failure = cause.failure.clone();
    match cause.verdict {
        Verdict::Unhealthy | Verdict::NotSwitched => {
            end(Outcome::Reverted, failure, false, Mark::Refused)
        }
        Verdict::Aborted => end(Outcome::Aborted, failure, false, Mark::Refused),
        Verdict::Interrupted => struck(failure, policy),
        Verdict::NotKept => match policy.strikes {
            0 => end(Outcome::Reverted, failure, true, Mark::Strike),
            _ => end(Outcome::Reverted, failure, false, Mark::Refused),
        },
        Verdict::Environment => end(Outcome::Reverted, failure, true, Mark::None),
    }
}

/// The old system runs, and is no better: not the commit's fault.
pub fn acquitted(cause: &Cause, still_red: &[&str], policy: &Policy) -> End {
    let red = still_red.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let message = format!("{}; on the old system {red} is still red", cause.failure.message);
    let failure =
        Failure { reason: Reason::ENVIRONMENT, message, hint: cause.failure.hint.clone() };
    match policy.acquittals < ACQUITTALS {
        true => end(Outcome::Reverted, failure, true, Mark::Acquitted),
        false => end(Outcome::Reverted, failure, false, Mark::Refused),
    }
}
