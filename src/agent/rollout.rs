//! What the agent does next: PURE.
//!
//! A pass of the loop looks at the world, calls [`decide`], carries out the one [`Step`] that
//! comes back, records it, and looks again, until the step is [`Step::Rest`]. Nothing in here
//! remembers anything: after a restart the same data leads to the same step.
//!
//! At most two deployments are live: the older one is *in front* (only it may ask for a trial),
//! the newer one waits *behind* it and is got ready meanwhile. How a trial goes on is read from
//! the activator's report in [`trial`]; what the end of one means for the next is in [`verdict`].

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::policy::{self, Policy};
use crate::config::settings::Drift;
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Kind, Outcome, Phase};
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;

pub mod advance;
pub mod by_hand;
pub mod collisions;
pub mod record;
pub mod seen;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod verdict;
pub mod verify;

pub use seen::{Moment, PollSeen, Seen, World};
pub use verify::Under;

/// A commit's closure, as it was worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The system.
    pub toplevel: StorePath,
    /// What builds it; unknown for a closure that a rollback goes to, which is there already.
    pub drv: Option<StorePath>,
}

/// One deployment, live or just ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// Why there is one.
    pub kind: Kind,
    /// The commit; none where a person chose a generation.
    pub commit: Option<CommitId>,
    /// The generation that a rollback by number goes to.
    pub generation: Option<u64>,
    /// Which try of this commit it is, from 1.
    pub attempts: u32,
    /// A person said `--emergency`.
    pub emergency: bool,
    /// The first line of the commit's message, escaped.
    pub subject: Option<String>,
    /// RFC 3339.
    pub started_at: String,
    /// How far it is.
    pub stage: Stage,
}

/// How far a deployment is, with exactly the data that this stage has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its objects are wanted.
    Fetching,
    /// Its objects are there, and this is where it comes from.
    Verifying {
        /// What Git says.
        lineage: verify::Lineage,
    },
    /// It may be deployed; its closure is wanted.
    Resolving {
        /// What it was verified under.
        under: Under,
    },
    /// Its closure is known and wanted in the store.
    Realising {
        /// What is to be realised.
        closure: Closure,
        /// What it was verified under.
        under: Under,
    },
    /// Ready for its trial; gates decide when.
    Held {
        /// What is to be tried.
        toplevel: StorePath,
        /// What it was verified under.
        under: Under,
    },
    /// The activator was asked; its report does not name it yet.
    Requested {
        /// What is to be tried.
        toplevel: StorePath,
        /// The boot in which the request was written: it does not outlive it.
        boot_id: String,
    },
    /// The activator's report names it.
    OnTrial {
        /// What is on trial.
        toplevel: StorePath,
        /// The phase of the report.
        phase: Phase,
    },
    /// It is over.
    Ended {
        /// The closure, if it came that far.
        toplevel: Option<StorePath>,
        /// How.
        end: End,
    },
}

impl Stage {
    /// Returns the phase of the contract.
    pub fn phase(&self) -> Phase {
        match self {
            Stage::Fetching => Phase::Fetching,
            Stage::Verifying { .. } => Phase::Verifying,
            Stage::Resolving { .. } => Phase::Resolving,
            Stage::Realising { .. } => Phase::Realising,
            Stage::Held { .. } => Phase::Held,
            Stage::Requested { .. } => Phase::Requested,
            Stage::OnTrial { phase, .. } => *phase,
            Stage::Ended { .. } => Phase::Idle,
        }
    }

    /// Returns the closure, once it is known.
    pub fn toplevel(&self) -> Option<&StorePath> {
        match self {
            Stage::Fetching | Stage::Verifying { .. } | Stage::Resolving { .. } => None,
            Stage::Realising { closure, .. } => Some(&closure.toplevel),
            Stage::Held { toplevel, .. }
            | Stage::Requested { toplevel, .. }
            | Stage::OnTrial { toplevel, .. } => Some(toplevel),
            Stage::Ended { toplevel, .. } => toplevel.as_ref(),
        }
    }
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The word of the contract.
    pub outcome: Outcome,
    /// The stable code.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
    /// Whether the commit is tried again by itself as long as it is the tip.
    pub retry: bool,
    /// Its closure is not tried again until somebody unblocks it.
    pub blocks: bool,
    /// What a refusal was made under: under anything else the commit is looked at again.
    pub under: Option<Under>,
}

impl End {
    /// Makes an end without a hint that is final.
    pub fn new(outcome: Outcome, reason: Reason, message: impl Into<String>) -> End {
        let message = message.into();
        End { outcome, reason, message, hint: None, retry: false, blocks: false, under: None }
    }

    /// Makes the end of a deployment of a commit that may not be deployed.
    pub fn refused(failure: Failure, under: Under) -> End {
        End { under: Some(under), ..End::failed(failure, Retry::No) }
    }

    /// Makes the end of a deployment that never came to its trial.
    pub fn failed(failure: Failure, retry: Retry) -> End {
        let Failure { reason, message, hint } = failure;
        let retry = retry == Retry::Yes;
        End { hint, retry, ..End::new(Outcome::Failed, reason, message) }
    }
}

/// Whether the same commit is tried again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After a pause.
    Yes,
    /// Only when somebody asks.
    No,
}

/// What takes long and runs one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bring the objects of a commit, and say where it comes from.
    Fetch {
        /// The tip.
        commit: CommitId,
        /// What it has to descend from.
        base: Option<CommitId>,
    },
    /// Work out the closure of a commit.
    Resolve {
        /// The commit.
        commit: CommitId,
    },
    /// Get a closure into the store, with a root for this deployment.
    Realise {
        /// Whose root it is.
        deployment: DeploymentId,
        /// Its commit, should the derivation be gone.
        commit: Option<CommitId>,
        /// What to get.
        closure: Closure,
    },
}

/// What a finished [`Operation`] brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The objects are there.
    Fetched {
        /// Where the commit comes from.
        lineage: verify::Lineage,
        /// The repository had to be made anew: one sentence.
        mended: Option<String>,
    },
    /// The closure is known.
    Resolved(Closure),
    /// It is in the store and rooted.
    Realised,
}

/// A deployment that does not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Why.
    pub kind: Kind,
    /// The commit.
    pub commit: Option<CommitId>,
    /// The generation that a rollback by number goes to.
    pub generation: Option<u64>,
    /// Which try of this commit it is.
    pub attempts: u32,
    /// A person said `--emergency`.
    pub emergency: bool,
    /// Where it begins: [`Stage::Fetching`], or [`Stage::Realising`] when the closure is given.
    pub stage: Stage,
}

/// The one thing to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin a deployment.
    Begin(Birth),
    /// Record that a deployment came further.
    Advance(DeploymentId, Stage),
    /// Start a long operation for a deployment.
    Work(DeploymentId, Operation),
    /// Record that the activator is asked, then ask it.
    Request(DeploymentId),
    /// Have an armed deployment taken back: a newer one is ready.
    Supersede(DeploymentId),
    /// Record the end.
    End(DeploymentId, End),
    /// Nothing, until something else is seen.
    Rest,
}

/// Decides what to do now.
///
/// Total: whatever is seen, there is an answer, and the same one for the same sight.
pub fn decide(seen: &Seen, policy: &Policy) -> Step {
    trial_step(seen)
        .or_else(|| superseded(seen, policy))
        .or_else(|| seen.live.iter().find_map(|deployment| progress(deployment, seen, policy)))
        .or_else(|| collisions::supersede_armed(seen, policy))
        .or_else(|| follow(seen, policy))
        .or_else(|| restore(seen, policy))
        .unwrap_or(Step::Rest)
}

/// The trial that is on comes first: its outcome changes everything else.
fn trial_step(seen: &Seen) -> Option<Step> {
    let front = seen.live.first()?;
    match &front.stage {
        Stage::Requested { toplevel, boot_id } => trial::requested(front, toplevel, boot_id, seen),
        Stage::OnTrial { toplevel, phase } => trial::on_trial(front, toplevel, *phase, seen),
        Stage::Fetching
        | Stage::Verifying { .. }
        | Stage::Resolving { .. }
        | Stage::Realising { .. }
        | Stage::Held { .. }
        | Stage::Ended { .. } => None,
    }
}

/// A commit gives way to a newer one until it has begun to realise, while gates hold it back, and
/// while it only waits behind a trial.
fn superseded(seen: &Seen, policy: &Policy) -> Option<Step> {
    let tip = seen.tip.as_ref()?;
    let gives_way = |(place, deployment): (usize, &Deployment)| {
        let follows = deployment.kind == Kind::Follow;
        let other = follows && deployment.commit.as_ref().is_some_and(|commit| commit != tip);
        let early = match &deployment.stage {
            Stage::Fetching | Stage::Verifying { .. } | Stage::Resolving { .. } => true,
            Stage::Realising { .. } => place > 0,
            Stage::Held { toplevel, .. } => {
                place > 0 || !policy::gates::closed(deployment, toplevel, seen, policy).is_empty()
            }
            Stage::Requested { .. } | Stage::OnTrial { .. } | Stage::Ended { .. } => false,
        };
        (other && early).then_some(deployment.id)
    };
    let id = seen.live.iter().enumerate().find_map(gives_way)?;
    let message = format!("a newer commit `{}` came first", tip.short());
    Some(Step::End(id, End::new(Outcome::Superseded, Reason::NEWER_COMMIT, message)))
}

/// The next step of one deployment on its way to its trial.
fn progress(deployment: &Deployment, seen: &Seen, policy: &Policy) -> Option<Step> {
    let id = deployment.id;
    match &deployment.stage {
        Stage::Fetching => fetch(deployment, seen, policy),
        Stage::Verifying { lineage } => Some(verified(deployment, lineage, seen, policy)),
        Stage::Resolving { under } => resolve(deployment, under, seen),
        Stage::Realising { closure, under } => settled(deployment, &closure.toplevel, seen)
            .filter(|_| !is_outdated(deployment, under, (seen, policy)))
            .or_else(|| realise(deployment, closure, seen)),
        Stage::Held { toplevel, under } => {
            let outdated = is_outdated(deployment, under, (seen, policy));
            // What runs already moves the mark as well.
            let end = settled(deployment, toplevel, seen).filter(|_| !outdated);
            end.or_else(|| match (deployment.kind, outdated && seen.in_front(id)) {
                (Kind::Follow, true) => fetch(deployment, seen, policy),
                (Kind::Follow | Kind::Rollback, _) => {
                    // The activator compares the lifeline after the switch with the one before.
                    let ready = seen.in_front(id)
                        && seen.nix_tried
                        && policy::gates::closed(deployment, toplevel, seen, policy).is_empty();
                    ready.then_some(Step::Request(id))
                }
            })
        }
        Stage::Requested { .. } | Stage::OnTrial { .. } | Stage::Ended { .. } => None,
    }
}

/// A verdict holds only against the mark and with the keys that it was made under: a commit that
/// waited behind a trial has to descend from what that trial left as the mark, and to be signed by
/// somebody who may sign in the system that it left. A person's rollback asks for no verdict.
fn is_outdated(deployment: &Deployment, under: &Under, now: (&Seen, &Policy)) -> bool {
    let (seen, policy) = now;
    let follows = deployment.kind == Kind::Follow && deployment.commit.is_some();
    follows && *under != seen.under(policy)
}

/// One long operation at a time.
fn free(seen: &Seen) -> bool {
    seen.working.is_none()
}

fn fetch(deployment: &Deployment, seen: &Seen, policy: &Policy) -> Option<Step> {
    let commit = deployment.commit.clone()?;
    let base = seen.base(policy);
    free(seen).then_some(Step::Work(deployment.id, Operation::Fetch { commit, base }))
}

fn verified(d: &Deployment, lineage: &verify::Lineage, seen: &Seen, policy: &Policy) -> Step {
    let under = lineage.under();
    if under != seen.under(policy) {
        return Step::Advance(d.id, Stage::Fetching);
    }
    let named = seen.anchor(policy).map_or(verify::Named::Mark, |anchor| anchor.named);
    match d.commit.as_ref().map(|commit| verify::verdict(commit, lineage, named)) {
        Some(Err(failure)) => Step::End(d.id, End::refused(failure, under)),
        Some(Ok(())) | None => Step::Advance(d.id, Stage::Resolving { under }),
    }
}

fn resolve(deployment: &Deployment, under: &Under, seen: &Seen) -> Option<Step> {
    let commit = deployment.commit.clone()?;
    match seen.resolved.get(&commit) {
        Some(closure) => {
            let stage = Stage::Realising { closure: closure.clone(), under: under.clone() };
            Some(Step::Advance(deployment.id, stage))
        }
        None => free(seen).then_some(Step::Work(deployment.id, Operation::Resolve { commit })),
    }
}

fn realise(deployment: &Deployment, closure: &Closure, seen: &Seen) -> Option<Step> {
    let id = deployment.id;
    let (commit, closure) = (deployment.commit.clone(), closure.clone());
    let operation = Operation::Realise { deployment: id, commit, closure };
    free(seen).then_some(Step::Work(id, operation))
}

/// Ends a deployment whose closure needs no trial, or may not have one.
fn settled(deployment: &Deployment, toplevel: &StorePath, seen: &Seen) -> Option<Step> {
    let runs = seen.world.running.as_ref() == Some(toplevel);
    let default = seen.world.profile.as_ref().is_none_or(|profile| profile == toplevel);
    let end = if seen.blocked.contains(toplevel) {
        let message = format!("closure `{}` is blocked", toplevel.name());
        let hint = format!("`autodeployctl unblock {toplevel}` allows it again");
        End { hint: Some(hint), ..End::new(Outcome::Blocked, Reason::BLOCKED, message) }
    } else if runs && default && !seen.on_trial() {
        let message = "the closure runs already; nothing was switched";
        End::new(Outcome::Kept, Reason::ALREADY_RUNNING, message)
    } else {
        return None;
    };
    Some(Step::End(deployment.id, end))
}

/// Begins a deployment of the tip, unless it has one or had its verdict.
fn follow(seen: &Seen, policy: &Policy) -> Option<Step> {
    let tip = seen.tip.clone()?;
    let on_its_way = |d: &Deployment| d.kind == Kind::Follow && d.commit.as_ref() == Some(&tip);
    if seen.live.len() > 1 || seen.live.iter().any(on_its_way) {
        return None;
    }
    let attempts = match &seen.verdict {
        None => 1,
        Some(verdict) => match verdict::again(verdict, seen, policy) {
            verdict::Again::Now => verdict.attempts_after(),
            verdict::Again::At(_) | verdict::Again::Never => return None,
        },
    };
    Some(Step::Begin(Birth {
        kind: Kind::Follow,
        commit: Some(tip),
        generation: None,
        attempts,
        emergency: seen.insist.emergency,
        stage: Stage::Fetching,
    }))
}

/// Brings back what somebody replaced by hand, where the configuration says so: once for each
/// system that was put in its place, and again as long as that failed for a reason that passes. The
/// switch by hand itself is one: it holds the lock until long after the new system runs.
fn restore(seen: &Seen, policy: &Policy) -> Option<Step> {
    let kept = seen.last_kept.clone()?;
    let wanted = policy.drift == Drift::Restore
        && seen.live.is_empty()
        && seen.drift().is_some()
        && !seen.blocked.contains(&kept);
    if !wanted {
        return None;
    }
    let attempts = match seen.unanswered_drift() {
        Some(_) => 1,
        None => failed_restore(seen, &kept)?.attempts_after(),
    };
    let closure = Closure { toplevel: kept, drv: None };
    Some(Step::Begin(Birth {
        kind: Kind::Follow,
        commit: None,
        generation: None,
        attempts,
        emergency: false,
        stage: Stage::Realising { closure, under: seen.under(policy) },
    }))
}

/// Returns the restore that is to be tried again now.
fn failed_restore<'a>(seen: &'a Seen, kept: &StorePath) -> Option<&'a verdict::Verdict> {
    let failed = seen.restored.as_ref()?;
    let ours = failed.toplevel.as_ref() == Some(kept) && failed.retry;
    let due = || verdict::paused(failed, seen.restored_seen, seen) == verdict::Again::Now;
    (ours && due()).then_some(failed)
}

/// The closures that are not tried by themselves.
pub type Blocked = BTreeSet<StorePath>;

/// Which commits are resolved already.
pub type Resolved = BTreeMap<CommitId, Closure>;
