//! What has to be true after every single step, whatever goes wrong, and what in the end.
//!
//! The laws know the truth about every closure, which the product can only find out. A broken law
//! is a panic with a sentence; whoever runs the simulation adds the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::activator::record::Trial;
use crate::activator::trial::phase::{End, Mark, Phase};
use crate::handover::report;
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Outcome, Phase as Public};
use crate::model::event::EventKind;
use crate::model::store_path::StorePath;
use crate::simulation::fault::Fault;
use crate::simulation::machine::{Health, Machine, letter};
use crate::simulation::place::Place;

/// What was seen so far, as far as a law needs it.
pub struct Laws {
    /// How often each fault happened in each place.
    pub reached: BTreeMap<(Place, Fault), u64>,
    /// What proved itself, ran in the beginning, or was wanted by somebody.
    may_be_default: BTreeSet<StorePath>,
    /// What the activator refuses, and nobody unblocked.
    convicted: BTreeSet<StorePath>,
    /// Tips that Git said do not descend from the mark, because of a fault of ours.
    pub rewritten: BTreeSet<CommitId>,
    /// Closures whose `web` was red before their trial, on another system.
    excused: BTreeSet<StorePath>,
    /// What was done to the trial of a closure that may be held against it.
    blame: BTreeMap<StorePath, u32>,
    on_trial: Option<StorePath>,
    pending: bool,
    /// The steps of every trial that ended, by the record.
    stories: BTreeMap<DeploymentId, Vec<String>>,
    record_lost: bool,
    history_lost: bool,
    /// The record could not be written at some time: it tells less than the report did.
    pub unsaved: bool,
    /// What was shown as kept.
    kept: BTreeSet<DeploymentId>,
    /// Somebody else's hands, or an operator, were in it: what runs in the end is theirs to say.
    pub meddled: bool,
    /// The way back failed as well, and a person was called.
    alarmed: bool,
}

impl Laws {
    pub fn new(old: StorePath) -> Laws {
        Laws {
            reached: BTreeMap::new(),
            may_be_default: BTreeSet::from([old]),
            convicted: BTreeSet::new(),
            rewritten: BTreeSet::new(),
            excused: BTreeSet::new(),
            blame: BTreeMap::new(),
            on_trial: None,
            pending: false,
            stories: BTreeMap::new(),
            record_lost: false,
            history_lost: false,
            unsaved: false,
            kept: BTreeSet::new(),
            meddled: false,
            alarmed: false,
        }
    }

    /// A fault happened that the product may take for the closure's; one of them convicts nobody,
    /// unless it looks exactly like a closure that does not work.
    pub fn struck(&mut self, place: Place, fault: Fault) {
        self.weigh(place, fault);
        // Before its phase is written, the trial stands where it stood.
        if self.on_trial.is_none() && (place.is_undecided() || place == Place::OnTrial) {
            self.pending = true;
        }
    }

    fn weigh(&mut self, place: Place, fault: Fault) {
        let weight = match fault {
            Fault::ClockForward | Fault::ClockBack | Fault::Operator => 0,
            Fault::Fails | Fault::Hangs if Place::Switching == place => 9,
            Fault::Fails | Fault::Hangs if Place::Watching == place => 9,
            Fault::Fails | Fault::Hangs if Place::OnTrial == place => 9,
            _ => 1,
        };
        if let Some(closure) = self.on_trial.clone() {
            *self.blame.entry(closure).or_default() += weight;
        }
    }

    /// Something that looks like a closure that does not work goes on while this one is tried.
    pub fn still_ails(&mut self, toplevel: &StorePath) {
        *self.blame.entry(toplevel.clone()).or_default() += 9;
    }

    /// The power was cut beside a planned fault.
    pub fn cut(&mut self) {
        self.struck(Place::Idle, Fault::PowerCut);
    }

    pub fn state_was_lost(&mut self, of_trial: bool) {
        match of_trial {
            true => self.record_lost = true,
            false => self.history_lost = true,
        }
        if self.record_lost {
            // What was refused stood in the record alone, until the agent had read it.
            self.convicted.clear();
        }
    }

    /// Somebody wants this to be the default.
    pub fn wanted(&mut self, toplevel: &StorePath) {
        self.may_be_default.insert(toplevel.clone());
    }

    pub fn unblocked(&mut self, toplevel: &StorePath) {
        self.convicted.remove(toplevel);
        self.blame.insert(toplevel.clone(), 0);
    }

    pub fn excuses(&mut self, toplevel: &StorePath) {
        self.excused.insert(toplevel.clone());
    }

    /// The new system is about to be switched to.
    fn switches(&mut self, trial: &Trial) {
        let new = &trial.request.toplevel;
        let allowed = trial.request.unblocked_by.is_some();
        assert!(
            allowed || !self.convicted.contains(new),
            "a reverted closure is tried again: {}",
            letter(new)
        );
    }

    /// Everybody may read this.
    pub fn shown(&mut self, trial: &report::Trial) {
        match trial.outcome {
            Some(Outcome::Kept) => drop(self.kept.insert(trial.deployment)),
            _ => {
                let back = [Public::Reverting, Public::Rebooting].contains(&trial.phase);
                let was_kept = self.kept.contains(&trial.deployment);
                assert!(!back || !was_kept, "what was shown as kept is being reverted");
            }
        }
    }

    /// A phase was written.
    pub fn entered(&mut self, trial: &Trial, health: Health, green_for: Option<Duration>) {
        let new = trial.request.toplevel.clone();
        let place = Place::of_phase(&trial.phase);
        self.on_trial = place.is_undecided().then(|| new.clone());
        if self.on_trial.is_some() && std::mem::take(&mut self.pending) {
            self.blame.insert(new.clone(), 9);
        }
        match &trial.phase {
            Phase::Switching | Phase::Arming { tries: 0 } => self.switches(trial),
            // A person has allowed it: nothing proves what the next boot starts.
            Phase::Staging { .. } => {
                self.wanted(&new);
                self.excuses(&new);
            }
            Phase::Keeping { tries: 0 } => self.keeps(trial, health, green_for),
            Phase::Ended(end) => {
                let steps = trial.steps.iter().map(|step| step.phase.clone()).collect();
                self.stories.insert(trial.request.deployment, steps);
                self.alarmed |= end.outcome == Outcome::RevertFailed;
                self.meddled |= end.outcome == Outcome::Staged;
                if end.mark == Mark::Refused {
                    self.convicts(trial, end, health);
                }
                if end.mark == Mark::Cleared {
                    self.blame.remove(&new);
                }
            }
            _ => {}
        }
    }

    /// Invariant 1: only what was green for `settle` on trial becomes the default. Invariant 2 is
    /// in it: the lifeline is one of the checks.
    fn keeps(&mut self, trial: &Trial, health: Health, green_for: Option<Duration>) {
        let new = trial.request.toplevel.clone();
        let settle = trial.proof.as_ref().map(|proof| proof.judgement.settle).unwrap();
        if trial.steps.iter().rev().nth(1).is_some_and(|step| step.phase == "watching") {
            let green = green_for.unwrap_or_default();
            assert!(green >= settle, "kept after {green:?} of green instead of {settle:?}");
        }
        let healthy = health.is_good() || health == Health::CannotBeBooted;
        let excused = self.excused.contains(&new);
        assert!(healthy || excused, "a closure that is {health:?} is being kept");
        self.may_be_default.insert(new);
    }

    fn convicts(&mut self, trial: &Trial, end: &End, health: Health) {
        let (new, outcome) = (&trial.request.toplevel, end.outcome);
        let again = !self.convicted.insert(new.clone());
        assert!(!again || self.record_lost, "{} was convicted twice", letter(new));
        let blame = self.blame.get(new).copied().unwrap_or_default();
        let by_person = outcome == Outcome::Aborted || outcome == Outcome::RevertFailed;
        assert!(
            !health.is_good() || by_person || blame > 1,
            "a good closure was blocked by the environment alone: {outcome}, blame {blame}: {end:?} {:?}",
            trial.steps.iter().map(|step| &step.phase).collect::<Vec<_>>()
        );
    }
}

/// After every change of the world.
pub fn hold(machine: &Machine) {
    let (profile, loader) = (machine.default_of_profile(), &machine.loader.now);
    for default in [&profile, loader] {
        assert!(
            machine.laws.may_be_default.contains(default),
            "{} is a default and was never proved",
            letter(default)
        );
    }
    let health = machine.health(loader);
    let proved = health.is_good() || machine.laws.excused.contains(loader);
    assert!(proved, "the loader starts a closure that is {health:?}");
    for needed in [&profile, loader, &machine.running] {
        assert!(machine.store.contains(needed), "{} is not in the store", letter(needed));
    }
}

/// After a garbage collection nothing that is needed is gone; before one, nothing needed is loose.
pub fn is_held(machine: &Machine) {
    let loader = &machine.loader.now;
    let held = machine.default_of_profile() == *loader
        || machine.roots.contains(loader)
        || [&machine.running, &machine.booted].contains(&loader);
    assert!(held, "the boot default {} could be deleted", letter(loader));
}

/// When everything has come to rest.
pub fn at_the_end(machine: &Machine) {
    hold(machine);
    no_event_is_lost(machine);
    let loose = (machine.default_of_profile() != machine.loader.now).then_some(&machine.loader.now);
    let left: Vec<_> = machine.roots.iter().filter(|root| Some(*root) != loose).collect();
    assert!(left.is_empty(), "roots of a trial are left: {left:?}");
    let laws = &machine.laws;
    let over = machine.trial_place.is_none_or(|place| place == Place::Ended);
    assert!(over || laws.unsaved, "a trial is on");
    // Without a record nothing is moved by guess; whoever looks is told so.
    let loader = &machine.loader.now;
    let apart = machine.running != *loader || machine.default_of_profile() != *loader;
    let stranded = machine.aside_blindly && apart;
    if laws.meddled || laws.alarmed || stranded {
        return;
    }
    // In the journal, too, where the history was lost meanwhile.
    let said = |message: &str| message.contains("could not be led back");
    if apart && machine.journal.iter().any(|line| said(&line.message)) {
        // An operator has to, and was told how. Where the next boot brings something else than what
        // runs, whoever looks is told that as well.
        let told = machine.report.as_ref().and_then(|report| report.boot_default.as_ref());
        let truly = told.is_some_and(|default| {
            let profile = machine.default_of_profile();
            default.toplevel == *loader && default.profile == Some(profile)
        });
        assert!(truly || machine.running == *loader, "the report has not the default: {told:?}");
        return;
    }
    let (running, profile) = (&machine.running, machine.default_of_profile());
    let all = (letter(running), letter(&profile), letter(&machine.loader.now));
    assert!(running == &profile && running == &machine.loader.now, "not the same: {all:?}");
    // What Git said of a tip once is not asked again: a history does not change.
    if machine.branch.last().is_some_and(|tip| laws.rewritten.contains(tip)) {
        return;
    }
    let Some(tip) = machine.branch.last().map(|tip| &machine.remote[tip].closure) else { return };
    if machine.health(tip).is_good() && !laws.convicted.contains(tip) && !laws.record_lost {
        let row = machine.history.as_ref().unwrap().deployment(None).unwrap();
        // That is said, and waits for a person.
        if row.as_ref().is_some_and(|row| row.reason.as_deref() == Some("no-way-back")) {
            return;
        }
        let end = row.map(|row| format!("{:?} {:?}", row.outcome, row.reason));
        assert!(running == tip, "good {} was not deployed in the end: {end:?}", letter(tip));
    }
}

fn no_event_is_lost(machine: &Machine) {
    let laws = &machine.laws;
    let history = machine.history.as_ref().unwrap();
    for row in history.newest(1000).unwrap() {
        let events = history.events(row.id).unwrap();
        let steps: Vec<_> = events
            .iter()
            .filter(|event| event.kind == EventKind::PhaseEntered.name())
            .map(|event| event.message.split(':').next().unwrap_or_default().to_owned())
            .collect();
        let id = DeploymentId(row.id);
        let known = laws
            .stories
            .get(&id)
            .filter(|_| !laws.record_lost && !laws.history_lost && !laws.unsaved);
        if let (Some(story), true) = (known, row.outcome.is_some()) {
            assert!(!steps.is_empty() || row.outcome.as_deref() != Some("kept"), "{row:?}");
            assert!(
                steps == *story || steps.is_empty(),
                "deployment {id}: the history has {steps:?}, the record had {story:?}"
            );
        }
        for event in events.iter().filter(|it| it.kind != EventKind::PhaseEntered.name()) {
            let told = machine.journal.iter().any(|said| {
                said.kind.name() == event.kind
                    && said.message == event.message
                    && said.at == event.at
            });
            assert!(told, "the journal never heard of {event:?}");
        }
    }
}
