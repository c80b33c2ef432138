//! What the end of a deployment means for the same commit, as long as it is the tip: PURE.

use crate::agent::policy::{Policy, pace};
use crate::agent::rollout::seen::Moment;
use crate::agent::rollout::{Seen, Under, verify};
use crate::model::commit::CommitId;
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
    /// What the commit was verified under, or refused under.
    pub under: Option<Under>,
}

impl Verdict {
    /// What the commit was compared with.
    fn base(&self) -> Option<&CommitId> {
        self.under.as_ref()?.base.as_ref()
    }
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
/// A pause is counted from the end of the last try: what passed of it before this run of the agent
/// saw that end by the wall clock, and never more than the whole, what passed since by a clock that
/// nobody sets. A clock that stepped back while no agent ran ends the pause.
pub fn again(verdict: &Verdict, seen: &Seen, policy: &Policy) -> Again {
    if is_outdated(verdict, seen, policy) {
        return Again::Now;
    }
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
            paused(verdict, seen.verdict_seen, seen)
        }
        // Whose signature counts has changed: the answer may be another one.
        Outcome::Failed if was_refused_under_other_keys(verdict, seen) => Again::Now,
        Outcome::Reverted | Outcome::Failed | Outcome::Interrupted => asked,
        Outcome::Aborted | Outcome::RevertFailed => asked,
        // Somebody booted it: it is looked at again, and found running.
        Outcome::Staged if seen.world.running == verdict.toplevel => Again::Now,
        Outcome::Kept | Outcome::Staged | Outcome::Tested => Again::Never,
    }
}

/// Tells whether the tip was judged when it had to descend from another commit than now: the branch
/// went back to what was kept or refused earlier, or a person moved the mark.
///
/// What is looked at again is fetched already; it is refused against the mark of now, once.
fn is_outdated(verdict: &Verdict, seen: &Seen, policy: &Policy) -> bool {
    let base = seen.base(policy);
    match verdict.outcome {
        _ if base.is_none() => false,
        // What was kept last is the mark itself.
        Outcome::Kept => base != seen.tip,
        Outcome::Failed => verify::is_refusal(&verdict.reason) && verdict.base() != base.as_ref(),
        Outcome::Reverted | Outcome::Blocked => !verdict.retry && verdict.base() != base.as_ref(),
        Outcome::RevertFailed
        | Outcome::Staged
        | Outcome::Tested
        | Outcome::Superseded
        | Outcome::Aborted
        | Outcome::Interrupted => false,
    }
}

fn was_refused_under_other_keys(verdict: &Verdict, seen: &Seen) -> bool {
    verify::is_refusal(&verdict.reason)
        && verdict.under.as_ref().is_some_and(|under| under.keys != seen.world.keys)
}

/// Says when what ended so and is tried again by itself is tried again; `first_seen` is when this run
/// of the agent saw the end.
pub fn paused(verdict: &Verdict, first_seen: Option<Moment>, seen: &Seen) -> Again {
    let pause = pace::retry_pause(&verdict.reason, verdict.outcome, verdict.attempts);
    let pause = pause.as_secs() as i64;
    let (now, since) = (seen.now, first_seen.unwrap_or(seen.now));
    let before = since.unix_s.saturating_sub(verdict.ended_at_s);
    let passed = now.boottime_ms.saturating_sub(since.boottime_ms) / 1000;
    let passed = i64::try_from(passed).unwrap_or(i64::MAX);
    match seen.insist.now || before < 0 || before.saturating_add(passed) >= pause {
        true => Again::Now,
        false => Again::At(due(since.unix_s - before + pause, (now.unix_s, since.unix_s + passed))),
    }
}

/// Shows the end of a pause by the wall clock as it goes now; the parts of a second do not count.
fn due(by_then: i64, (now, expected): (i64, i64)) -> i64 {
    match now - expected {
        -2..=2 => by_then,
        jumped => by_then.saturating_add(jumped),
    }
}
