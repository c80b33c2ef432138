//! The loop of a trial: observe, decide, act, record.
//!
//! What to do is decided in [`crate::activator::trial`]; here it is done, in the order that makes
//! a crash harmless: the phase is on disk before it is acted on, and what belongs to entering a
//! phase is done again when it is entered again.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::activator::host::{Action, Host, Look, PreSwitchChecks, Proving, Side, Switch};
use crate::activator::record::{Boot, Profile, Proof, Record, Trial};
use crate::activator::report::{self, Loader};
use crate::activator::trial::boot::Unarmed;
use crate::activator::trial::phase::{Phase, Way};
use crate::activator::trial::recovery::{Found, recover};
use crate::activator::trial::seen::{CheckSeen, Seen, System};
use crate::activator::trial::switched::{LOCK_HELD, SwitchEnd};
use crate::activator::trial::{Done, Policy, Proved, Step, advance, decide, unrecorded};
use crate::effects::journal::About;
use crate::handover::report::{CheckReport, CheckState};
use crate::model::deployment::Outcome;
use crate::model::event::EventKind;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped_lines;

mod defaults;
mod finish;

/// How long somebody else may hold the lock of `switch-to-configuration` before a try to keep or
/// to revert counts as failed.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// The limit on what a check may say in the report, in characters.
const CHECK_MESSAGE: usize = 2048;

/// Conducts the unfinished trial of a record to its end, or to the machine's; returns the record.
pub fn conduct<H: Host>(host: &mut H, record: Record) -> Record {
    let Some(trial) = record.unfinished().cloned() else {
        finish::show(host, &record);
        return record;
    };
    let loader = look_at_the_loader(host, &record);
    let mut stage = Stage { host, record, trial, loader };
    stage.recover();
    while stage.pass() {}
    stage.record
}

fn about(trial: &Trial) -> About<'_> {
    let end = trial.end();
    About {
        deployment: Some(trial.request.deployment),
        commit: trial.request.commit.as_ref(),
        closure: Some(&trial.request.toplevel),
        outcome: end.map(|end| end.outcome),
        reason: end.map(|end| &end.failure.reason),
    }
}

fn look_at_the_loader<H: Host>(host: &mut H, record: &Record) -> Loader {
    let profile = host.generation().map(|profile| profile.toplevel);
    let default = host.boot_default().map(|path| report::boot_default(record, path, profile));
    Loader { default, never_once: host.why_never_once() }
}

/// The trial on its way. `trial` is what `record.trial` becomes at the next write.
struct Stage<'a, H> {
    host: &'a mut H,
    record: Record,
    trial: Trial,
    loader: Loader,
}

impl<H: Host> Stage<'_, H> {
    /// Finds out whether this is a beginning or a going on.
    fn recover(&mut self) {
        let look = self.host.look(&self.trial);
        let found = Found {
            rebooted: self.trial.boot_id != self.host.boot_id(),
            system: self.system(&look),
            now: self.host.monotonic(),
        };
        if self.trial.phase == Phase::Requested && !found.rebooted {
            return;
        }
        let how = if found.rebooted { "the machine was reset" } else { "the process was ended" };
        let from = self.trial.phase.name();
        let next = recover(self.trial.phase.clone(), &found, &self.policy());
        let message = format!("found a trial in `{from}`: {how}; going on with `{}`", next.name());
        self.tell(EventKind::TrialRecovered, &message);
        self.enter(next);
    }

    /// Makes one pass, and tells whether there is another.
    fn pass(&mut self) -> bool {
        let seen = self.observe();
        self.note(&seen.checks);
        let done = match decide(&self.trial.phase, &seen, &self.policy()) {
            Step::Enter(next) => {
                self.enter(next);
                return true;
            }
            Step::Wait(at_most) => {
                self.host.wait(at_most);
                return true;
            }
            Step::Finish | Step::Leave => return false,
            Step::TakeBaseline => Done::Baseline(self.take_baseline()),
            Step::Switch => self.switch_to_the_new(),
            Step::Arm => Done::Arm(self.arm()),
            Step::Disarm => Done::Disarm(self.disarm().map_err(|error| format!("{error:#}"))),
            Step::Keep => Done::Keep(self.keep().map_err(|error| format!("{error:#}"))),
            Step::Unkeep => Done::Unkeep(self.unkeep().map_err(|error| format!("{error:#}"))),
            Step::Revert => self.revert(),
            Step::Reboot => Done::Reboot(self.reboot().map_err(|error| format!("{error:#}"))),
        };
        self.tell_of_failure(&done);
        let now = self.host.monotonic();
        let next = advance(self.trial.phase.clone(), done, now, &self.policy());
        self.enter(next);
        true
    }

    fn policy(&self) -> Policy {
        self.record.policy(&self.trial)
    }

    fn system(&self, look: &Look) -> System {
        self.trial.system(look.running.as_ref())
    }

    fn observe(&mut self) -> Seen {
        let look = self.host.look(&self.trial);
        let before = self.trial.proof.as_ref().and_then(|proof| proof.profiles.first());
        let lost = match (&self.trial.phase, &self.trial.proof) {
            (Phase::Rechecking { .. }, Some(proof)) => self.host.lost(&proof.baseline),
            _ => Vec::new(),
        };
        Seen {
            now: self.host.monotonic(),
            system: self.system(&look),
            profile_moved: before
                .is_some_and(|profile| look.profile.as_ref() != Some(&profile.old)),
            aborted_by: look.aborted_by,
            superseded: look.superseded,
            stopping: look.stopping,
            checks: self.host.checks(),
            lost,
        }
    }

    /// Reports each check that changed, once.
    fn note(&mut self, checks: &[CheckSeen]) {
        if checks.is_empty() {
            return;
        }
        let known = self.trial.checks.clone();
        for check in checks.iter().map(shown) {
            let place = known.iter().position(|one| one.name == check.name);
            let before = place.map(|place| known[place].state);
            // On the old system only the suspects are looked at: the others stay as they were.
            match place {
                Some(place) => self.trial.checks[place] = check.clone(),
                None => self.trial.checks.push(check.clone()),
            }
            if before != Some(check.state) && check.state != CheckState::Pending {
                self.tell(EventKind::CheckChanged, &changed(&check));
            }
        }
        if known != self.trial.checks {
            self.publish();
        }
    }

    /// Goes to a phase: writes it down, then does what belongs to entering it.
    fn enter(&mut self, next: Phase) {
        self.leave(&next);
        let (boot_id, at) = (self.host.boot_id(), self.host.wall());
        self.trial.enter(next, &boot_id, &at);
        if let Phase::Ended(end) = self.trial.phase.clone() {
            if end.failure.reason != Reason::SOMEONE_ELSE_SWITCHED {
                // The last chance before a person has to.
                self.undo_in_passing(end.outcome);
                self.default_in_passing();
            }
            return self.finish(&end, &at);
        }
        if let Err(error) = self.save() {
            let cause = format!("{error:#}");
            let message = format!("could not write the record before `{}`: {cause}", self.name());
            self.tell(EventKind::ActivatorFailed, &message);
            if let Some(instead) = unrecorded(&self.trial.phase, &cause, &self.policy()) {
                return self.enter(instead);
            }
        }
        self.publish();
        self.host.say(self.name());
        let message = match self.trial.phase.message() {
            message if message.is_empty() => self.name().to_owned(),
            message => format!("{}: {message}", self.name()),
        };
        match self.trial.phase {
            // Somebody may have to reboot.
            Phase::Armed { tries: 0, .. } => self.tell(EventKind::TrialArmed, &message),
            _ => self.tell(EventKind::PhaseEntered, &message),
        }
        match self.trial.phase {
            Phase::Watching { .. } if self.trial.way == Way::Boot => {
                // A loader that did not forget it would start it again, and not the old one.
                self.disarm_in_passing();
                self.watch(Side::New);
            }
            Phase::Watching { .. } => self.watch(Side::New),
            Phase::Rechecking { .. } => self.watch(Side::Old),
            _ => {}
        }
    }

    /// Ends looking at checks, and keeps what a revert would wipe away.
    fn leave(&mut self, next: &Phase) {
        let reverts =
            matches!(next, Phase::Reverting { tries: 0, .. } | Phase::Rebooting { tries: 0, .. });
        if reverts && matches!(self.trial.phase, Phase::Switching | Phase::Watching { .. }) {
            self.trial.evidence = self.host.evidence(&self.trial);
            for evidence in self.trial.evidence.clone() {
                let message = format!("{}: {}", evidence.about, evidence.text);
                self.tell(EventKind::EvidenceKept, &message);
            }
        }
        if matches!(self.trial.phase, Phase::Watching { .. } | Phase::Rechecking { .. }) {
            self.host.unwatch();
        }
    }

    fn watch(&mut self, side: Side) {
        // The agent of the side that is to prove itself has to show that it can start.
        self.host.restart_agent();
        self.host.watch(&self.trial, side);
    }

    fn save(&mut self) -> Result<()> {
        self.record.trial = Some(self.trial.clone());
        self.host.save(&self.record)
    }

    /// A report that cannot be written is told: neither a trial nor its way back waits for it.
    fn publish(&mut self) {
        self.record.trial = Some(self.trial.clone());
        let report = report::of(&self.record, &self.loader);
        if let Err(error) = self.host.publish(&report) {
            let message = format!("could not write the report: {error:#}");
            self.tell(EventKind::ActivatorFailed, &message);
        }
    }

    fn name(&self) -> &'static str {
        self.trial.phase.name()
    }

    fn tell(&mut self, kind: EventKind, message: &str) {
        self.host.tell(kind, about(&self.trial), message);
    }

    /// What is tried again leaves no other trace than this.
    fn tell_of_failure(&mut self, done: &Done) {
        if let Done::Keep(Err(cause))
        | Done::Unkeep(Err(cause))
        | Done::Reboot(Err(cause))
        | Done::Arm(Err(Unarmed::Failed(cause) | Unarmed::Impossible(cause)))
        | Done::Disarm(Err(cause)) = done
        {
            let message = format!("`{}` did not work: {cause}", self.name());
            self.tell(EventKind::ActivatorFailed, &message);
        }
    }

    fn take_baseline(&mut self) -> Proved {
        let proof = match self.host.prove(&self.trial.request) {
            Proving::Refused { failure, retry } => return Proved::Refused { failure, retry },
            Proving::Proved(proof) => *proof,
        };
        let proved = way(&proof, &self.trial.request.toplevel);
        self.trial.proof = Some(proof);
        if matches!(proved, Proved::RunsAndIsKept { .. }) {
            return proved;
        }
        // A power cut in the window is to bring back what runs now.
        self.default_in_passing();
        match self.host.root(&self.trial) {
            Ok(()) => proved,
            Err(error) => Proved::Refused {
                failure: Failure::new(
                    Reason::NO_WAY_BACK,
                    format!("could not root the old and the new system: {error:#}"),
                )
                .hint("is there room in `/nix/var`?"),
                retry: true,
            },
        }
    }

    fn switch_to_the_new(&mut self) -> Done {
        let first = self.trial.phase == Phase::Switching;
        let switch = Switch {
            toplevel: self.trial.request.toplevel.clone(),
            action: Action::Test,
            checks: if first { PreSwitchChecks::Run } else { PreSwitchChecks::Skip },
            limit: self.switch_limit(),
        };
        let end = self.host.switch(&switch);
        // Once more is enough, whatever it says.
        self.trial.may_hide_a_failure = first && end == SwitchEnd::Code(4);
        Done::Switch(end, self.running())
    }

    /// The entry, the loader's files, and one boot of it; nothing of that moves the default.
    fn arm(&mut self) -> Result<(), Unarmed> {
        let failed = |error: anyhow::Error| Unarmed::Failed(format!("{error:#}"));
        let profile = self.profile().map_err(failed)?;
        let (new, default) = (self.trial.request.toplevel.clone(), profile.old.toplevel);
        self.host.make_entry(&new).map_err(failed)?;
        self.make_default(&default).map_err(failed)?;
        self.host.sync().map_err(failed)?;
        self.host.leave_word(&self.trial);
        self.host.arm(&new, &default)
    }

    /// First the boot, then the menu: a cut between the two leaves an entry that nobody starts.
    fn disarm(&mut self) -> Result<()> {
        self.host.disarm(&self.trial.request.toplevel)?;
        let look = self.host.look(&self.trial);
        let default = self.profile()?.old;
        let hands_off =
            self.system(&look) == System::Other || look.profile != Some(default.clone());
        match look.stopping || hands_off {
            true => self.host.sync(),
            false => self.make_default(&default.toplevel).and_then(|()| self.host.sync()),
        }
    }

    fn disarm_in_passing(&mut self) {
        if let Err(error) = self.host.disarm(&self.trial.request.toplevel) {
            let message = format!("could not take back what was armed: {error:#}");
            self.tell(EventKind::ActivatorFailed, &message);
        }
    }

    fn reboot(&mut self) -> Result<()> {
        match (&self.trial.phase, self.trial.way) {
            (Phase::Armed { .. }, _) => {
                self.tell(EventKind::RebootAsked, "rebooting into the system on trial");
            }
            (_, Way::Boot) => {
                self.tell(EventKind::RebootAsked, "rebooting back into the old system");
                self.disarm_in_passing();
            }
            (_, Way::Switch) => {
                self.tell(EventKind::LastResort, "rebooting into the old system, as a last resort");
            }
        }
        self.host.reboot()
    }

    fn revert(&mut self) -> Done {
        let old = self.trial.old().clone();
        self.host.await_boot();
        let end = self.switch_patiently(old, Action::Test);
        Done::Revert(end, self.running())
    }

    fn running(&mut self) -> System {
        let look = self.host.look(&self.trial);
        self.system(&look)
    }

    fn switch_patiently(&mut self, toplevel: StorePath, action: Action) -> SwitchEnd {
        let until = self.host.monotonic() + LOCK_PATIENCE;
        loop {
            let end = self.switch_once(toplevel.clone(), action);
            if end != LOCK_HELD || self.host.monotonic() >= until {
                return end;
            }
            self.host.wait(Duration::from_secs(1));
        }
    }

    fn switch_once(&mut self, toplevel: StorePath, action: Action) -> SwitchEnd {
        let limit = self.switch_limit();
        self.host.switch(&Switch { toplevel, action, checks: PreSwitchChecks::Skip, limit })
    }

    fn switch_limit(&self) -> Duration {
        let limit = self.trial.proof.as_ref().map(|proof| proof.judgement.switch_timeout);
        limit.unwrap_or(Duration::from_secs(600))
    }

    fn profile(&self) -> Result<Profile> {
        let first = self.trial.proof.as_ref().and_then(|proof| proof.profiles.first());
        match first {
            Some(profile) => Ok(profile.clone()),
            None => bail!("the record names no profile"),
        }
    }
}

fn way(proof: &Proof, new: &StorePath) -> Proved {
    let kept = proof.profiles.first().filter(|profile| profile.old.toplevel == *new);
    match (proof.baseline.running == *new, kept, &proof.boot) {
        (true, Some(profile), _) => Proved::RunsAndIsKept { generation: profile.old.number },
        (_, _, Some(Boot { provable: true, .. })) => Proved::NeedsBoot,
        (_, _, Some(Boot { provable: false, .. })) => Proved::Unprovable,
        (true, None, None) => Proved::Runs,
        (false, _, None) => Proved::Ready,
    }
}

fn shown(check: &CheckSeen) -> CheckReport {
    CheckReport {
        name: check.name.clone(),
        kind: check.kind.clone(),
        severity: check.severity,
        state: check.state,
        excused: check.excused,
        message: escaped_lines(&check.message, CHECK_MESSAGE),
    }
}

fn changed(check: &CheckReport) -> String {
    let colour = match check.state {
        CheckState::Green => "green",
        CheckState::Red => "red",
        CheckState::Pending => "pending",
    };
    match check.message.is_empty() {
        true => format!("check `{}` is {colour}", check.name),
        false => format!("check `{}` is {colour}: {}", check.name, check.message),
    }
}

/// The event that tells of an outcome.
pub fn event_of(outcome: Outcome) -> EventKind {
    match outcome {
        Outcome::Kept | Outcome::Tested | Outcome::Staged => EventKind::TrialKept,
        Outcome::Reverted | Outcome::Aborted => EventKind::TrialReverted,
        Outcome::RevertFailed => EventKind::TrialRevertFailed,
        Outcome::Failed | Outcome::Blocked | Outcome::Superseded => EventKind::TrialFailed,
        Outcome::Interrupted => EventKind::TrialInterrupted,
    }
}
