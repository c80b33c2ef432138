//! What the end of a deployment means for the same commit, as long as it is the tip: PURE.

use crate::agent::policy::pace;
use crate::agent::rollout::Seen;
use crate::model::deployment::{DeploymentId, Outcome};
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;

/// How the last deployment of the tip ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its number.
    pub deployment: DeploymentId,
    /// The word of the contract.
    pub outcome: Outcome,
    /// The stable code.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
    /// The closure, if it came that far.
    pub toplevel: Option<StorePath>,
    /// Which try it was.
    pub attempts: u32,
    /// Whether it is tried again by itself.
    pub retry: bool,
    /// When it ended, in seconds since 1970.
    pub ended_at_s: i64,
}

/// When the same commit is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At once.
    Now,
    /// At this time, in seconds since 1970.
    At(i64),
    /// Not by itself.
    Never,
}

impl Verdict {
    /// Returns the number of the next try: a commit that came back after it was superseded, or
    /// whose closure somebody unblocked, begins anew.
    pub fn attempts_after(&self) -> u32 {
        match self.retry || self.outcome == Outcome::Failed {
            true => self.attempts.saturating_add(1),
            false => 1,
        }
    }
}

/// Says when the tip is tried again.
///
/// A pause is counted from the end of the last try by the wall clock, and never longer than it is:
/// a clock that steps back ends it.
pub fn again(verdict: &Verdict, seen: &Seen) -> Again {
    if verdict.toplevel.as_ref().is_some_and(|toplevel| seen.blocked.contains(toplevel)) {
        return Again::Never;
    }
    let asked = match seen.insist.now {
        true => Again::Now,
        false => Again::Never,
    };
    match verdict.outcome {
        Outcome::Superseded => Again::Now,
        // The closure is not in the list any more: somebody unblocked it.
        Outcome::Blocked => Again::Now,
        Outcome::Reverted if !verdict.retry => Again::Now,
        Outcome::Reverted | Outcome::Failed | Outcome::Interrupted if verdict.retry => {
            paused(verdict, seen)
        }
        Outcome::Reverted | Outcome::Failed | Outcome::Interrupted => asked,
        Outcome::Aborted | Outcome::RevertFailed => asked,
        // Somebody booted it: it is looked at again, and found running.
        Outcome::Staged if seen.world.running == verdict.toplevel => Again::Now,
        Outcome::Kept | Outcome::Staged | Outcome::Tested => Again::Never,
    }
}

fn paused(verdict: &Verdict, seen: &Seen) -> Again {
    let pause = pace::retry_pause(&verdict.reason, verdict.outcome, verdict.attempts);
    let due = verdict.ended_at_s.saturating_add(pause.as_secs() as i64);
    let now = seen.now.unix_s;
    match seen.insist.now || now >= due || now < verdict.ended_at_s {
        true => Again::Now,
        false => Again::At(due),
    }
}
