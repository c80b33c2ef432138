//! Everything that a decision may look at, in one value: PURE.

use std::rc::Rc;

use crate::agent::policy::Policy;
use crate::agent::rollout::verdict::Verdict;
use crate::agent::rollout::verify::{Anchor, Named};
use crate::agent::rollout::{Blocked, Deployment, Resolved, Stage, Under};
use crate::handover::report::{Report, Trial, went_through};
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Outcome, Phase};
use crate::model::failure::Failure;
use crate::model::store_path::StorePath;
use crate::trust::KeysId;

/// One moment on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since boot, suspend included; for pauses within a boot.
    pub boottime_ms: u64,
    /// Seconds since 1970; for pauses that outlive a boot, and for people.
    pub unix_s: i64,
}

impl Moment {
    /// Returns the time of the wall clock as RFC 3339 in UTC.
    pub fn text(self) -> String {
        time_text(self.unix_s)
    }
}

/// Returns seconds since 1970 as RFC 3339 in UTC; a time that no calendar has is the beginning.
pub fn time_text(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s).unwrap_or_default().to_string()
}

/// Returns the seconds since 1970 of an RFC 3339 text; an unreadable one is the beginning, so
/// that no pause waits for it.
pub fn time_from(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or_default()
}

/// What the machine looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Where `/run/current-system` leads to.
    pub running: Option<StorePath>,
    /// Where the system profile leads to.
    pub profile: Option<StorePath>,
    /// The number of that generation.
    pub profile_generation: Option<u64>,
    /// The kernel's name for this boot.
    pub boot_id: String,
    /// What the activator says; none as long as it said nothing in this boot.
    pub report: Option<Rc<Report>>,
    /// Why the activator's report could not be read.
    pub report_error: Option<String>,
    /// Why the closure in front would have to be booted; empty if it need not be.
    pub reboot_reasons: Vec<String>,
    /// Whose signatures count: the mode and the keys, as they lie there now.
    pub keys: KeysId,
}

/// What is known of the remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollSeen {
    /// When this run of the agent last had an answer, in milliseconds since boot.
    pub good_at_ms: Option<u64>,
    /// Why the last poll had none.
    pub error: Option<Failure>,
}

/// What `run-now` adds to a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insist {
    /// Pass the pauses between retries.
    pub now: bool,
    /// Pass the pause of deployments too, and ask for an emergency trial.
    pub emergency: bool,
}

/// Everything that a decision may look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Now.
    pub now: Moment,
    /// When the request was written by this run of the agent, in milliseconds since boot.
    pub requested_at_ms: Option<u64>,
    /// The tip of the branch, as last seen.
    pub tip: Option<CommitId>,
    /// The remote.
    pub poll: PollSeen,
    /// The deployments that have not ended, oldest first; two at most.
    pub live: Vec<Deployment>,
    /// How the last deployment of the tip ended.
    pub verdict: Option<Verdict>,
    /// When this run of the agent first saw that.
    pub verdict_seen: Option<Moment>,
    /// How the last restore of what was replaced by hand ended.
    pub restored: Option<Verdict>,
    /// When this run of the agent saw that first.
    pub restored_seen: Option<Moment>,
    /// The last kept commit of the branch.
    pub mark: Option<CommitId>,
    /// What a person put in its place, until something was kept that descends from it.
    pub reanchored: Option<CommitId>,
    /// The last kept closure.
    pub last_kept: Option<StorePath>,
    /// Closures that nobody unblocked.
    pub blocked: Blocked,
    /// What needs no evaluation any more.
    pub resolved: Resolved,
    /// Whose long operation runs.
    pub working: Option<DeploymentId>,
    /// Which armed deployment this run of the agent has asked to have taken back.
    pub superseding: Option<DeploymentId>,
    /// Why a person holds deployments back.
    pub paused: Option<String>,
    /// The system by hand that was answered already: by a restore, or by `resume`.
    pub drift_answered: Option<StorePath>,
    /// Somebody said `run-now`.
    pub insist: Insist,
    /// This run of the agent has tried whether Nix does its part, and shows what it found.
    pub nix_tried: bool,
    /// For how long this run of the agent has seen the profile lead where it does, in milliseconds.
    pub profile_stands_ms: u64,
    /// The machine.
    pub world: World,
}

impl Seen {
    /// Returns what a commit has to descend from.
    pub fn base(&self, policy: &Policy) -> Option<CommitId> {
        self.anchor(policy).map(|anchor| anchor.commit)
    }

    /// Returns what a commit has to descend from, and why that.
    pub fn anchor(&self, policy: &Policy) -> Option<Anchor> {
        let of = |commit: &Option<CommitId>, named| {
            commit.clone().map(|commit| Anchor { commit, named })
        };
        of(&self.reanchored, Named::Reanchored)
            .or_else(|| of(&self.mark, Named::Mark))
            .or_else(|| of(&policy.introduction, Named::Introduction))
    }

    /// Returns what a verdict has to be made under to hold now.
    pub fn under(&self, policy: &Policy) -> Under {
        Under { base: self.base(policy), keys: self.world.keys.clone() }
    }

    /// Tells whether a deployment is the oldest live one.
    pub fn in_front(&self, id: DeploymentId) -> bool {
        self.live.first().is_some_and(|front| front.id == id)
    }

    /// Tells whether the activator was asked, or is at work.
    pub fn on_trial(&self) -> bool {
        self.live.first().is_some_and(|front| match front.stage {
            Stage::Requested { .. } | Stage::OnTrial { .. } => true,
            Stage::Fetching
            | Stage::Verifying { .. }
            | Stage::Resolving { .. }
            | Stage::Realising { .. }
            | Stage::Held { .. }
            | Stage::Ended { .. } => false,
        })
    }

    /// Tells whether the trial in front is one that has to be watched: what is armed may wait for
    /// its boot for weeks.
    pub fn being_tried(&self) -> bool {
        self.on_trial() && !self.is_armed()
    }

    /// Tells whether a lifeline may be asked of us: as [`Seen::being_tried`], and also by the
    /// report alone, where our history was lost in the middle of a trial.
    pub fn window_may_be_open(&self) -> bool {
        self.being_tried() || self.trial_of_the_report().is_some()
    }

    /// Returns the trial that is on, else the last one that ended, as the activator tells it.
    fn last_trial(&self) -> Option<&Trial> {
        self.world.report.as_ref()?.trial.as_ref()
    }

    /// Returns the trial that the activator is at work on, whatever our own history knows of that.
    pub fn trial_of_the_report(&self) -> Option<&Trial> {
        let trial = self.last_trial()?;
        (trial.outcome.is_none() && trial.phase != Phase::Armed).then_some(trial)
    }

    /// Tells whether the deployment in front waits for its boot.
    pub fn is_armed(&self) -> bool {
        let armed = |front: &Deployment| front.stage.phase() == Phase::Armed;
        self.live.first().is_some_and(armed)
    }

    /// Returns what we made the boot default without a proof, if that was the last trial.
    pub fn staged_unproved(&self) -> Option<&StorePath> {
        let trial = self.last_trial()?;
        (trial.outcome == Some(Outcome::Staged)).then_some(&trial.toplevel)
    }

    /// Returns the trial that the report speaks of, if it is that of this deployment.
    ///
    /// The closure is compared too: a database that was begun anew may give a number that the
    /// activator has seen before.
    pub fn reported(&self, id: DeploymentId) -> Option<&Trial> {
        let trial = self.last_trial()?;
        let ours = self.live.iter().find(|deployment| deployment.id == id)?;
        let same = trial.deployment == id && ours.stage.toplevel() == Some(&trial.toplevel);
        same.then_some(trial)
    }

    /// Returns what runs, if somebody put it in the place of the last kept closure.
    pub fn drift(&self) -> Option<&StorePath> {
        let running = self.world.running.as_ref()?;
        let other = self.last_kept.as_ref().is_some_and(|kept| kept != running);
        (other && !self.on_trial()).then_some(running)
    }

    /// Returns what the profile leads to, if that neither runs nor was kept: somebody wants the next
    /// boot to start it.
    pub fn staged_by_hand(&self) -> Option<&StorePath> {
        let profile = self.world.profile.as_ref()?;
        let ours = self.world.running.as_ref() == Some(profile)
            || self.last_kept.as_ref() == Some(profile)
            || self.staged_unproved() == Some(profile)
            || self.not_undone() == Some(profile);
        (!ours && !self.on_trial()).then_some(profile)
    }

    /// Returns what the last trial tried to make the default, and had to undo: the profile may lead
    /// to it still, and nobody wanted that.
    fn not_undone(&self) -> Option<&StorePath> {
        let trial = self.last_trial()?;
        let undone = went_through(&trial.steps, "unkeeping");
        (trial.outcome.is_some() && undone).then_some(&trial.toplevel)
    }

    /// Returns the drift that nobody answered yet.
    pub fn unanswered_drift(&self) -> Option<&StorePath> {
        self.drift().filter(|running| self.drift_answered.as_ref() != Some(*running))
    }
}
