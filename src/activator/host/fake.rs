//! A machine in memory: its disk outlives a cut, its memory does not.
//!
//! Every change counts as an effect. After the effect that [`Fake::cut_after`] names, the process
//! is gone: a kill keeps the memory, [`Fake::reset`] loses it and boots what the loader starts.

use std::collections::{BTreeSet, VecDeque};
use std::panic::resume_unwind;
use std::path::PathBuf;

use anyhow::bail;

use super::*;
use crate::activator::judgement::{Judgement, Remote};
use crate::activator::record::tests::path;
use crate::activator::record::{self, Boot};
use crate::config::settings::Severity;
use crate::handover::report::CheckState;
use crate::model::failure::Reason;

/// The process is gone.
pub struct Cut;

/// How something that is asked of the machine goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No record can be written.
    Save,
    /// No report can be written.
    Publish,
    /// No root can be made.
    Root,
    /// The profile cannot be moved forward.
    SetProfile,
    /// The profile cannot be moved back.
    ReturnProfile,
    /// The boot loader of the new system cannot be written.
    BootNew,
    /// The boot loader says that it was written, and was not.
    LoaderStands,
    /// The new system has to be booted.
    NeedsBoot,
    /// No single boot can be armed.
    NoBootOnce,
    /// Arming fails.
    Arm,
    /// Arming ends well, and nothing is armed.
    ArmLies,
    /// What is armed cannot be taken back.
    Disarm,
    /// The loader does not forget what it was armed for.
    ArmedForEver,
    /// The new system does not come up: a panic, and the machine is reset.
    Panics,
    /// The boot loader's installer makes the newest entry the default, whatever it is told.
    NewestIsDefault,
    /// Nobody takes the wish for a reboot.
    Reboot,
    /// A unit of the old system does not come back.
    Unit,
}

/// The machine.
pub struct Fake {
    // What survives a reset.
    /// The record's bytes.
    pub record: Option<Vec<u8>>,
    /// Every generation.
    pub generations: Vec<Generation>,
    /// The profile's current number.
    pub current: u64,
    /// What the loader starts.
    pub loader: StorePath,
    /// The profile of the trial entry.
    pub entry: Option<StorePath>,
    /// Whether the loader's files have that entry.
    pub in_menu: bool,
    /// What the loader starts once instead of its default.
    pub armed: Option<StorePath>,
    /// How often the loader was armed, and how often it started what it was armed for.
    pub arms: (u32, u32),
    /// Closures that we rooted.
    pub roots: BTreeSet<StorePath>,
    // What does not.
    /// `/run/current-system`
    pub running: StorePath,
    /// Counts boots.
    pub boots: u32,
    now: Duration,
    watching: Option<(Side, Duration, Vec<Profile>)>,
    /// The last report.
    pub report: Option<Report>,
    // How the world behaves.
    /// The new system's checks are green.
    pub healthy: bool,
    /// The outside world is in order; else `web` is red on both systems.
    pub forge_up: bool,
    /// What goes wrong, each time.
    pub faults: BTreeSet<Fault>,
    /// No record can be written after the one of this phase.
    pub full_from: Option<&'static str>,
    /// There is room for everything from this moment on, on the monotonic clock.
    pub room_after: Option<Duration>,
    /// The process is gone when it tells the journal of this.
    pub killed_when: Option<&'static str>,
    /// How the next switches to the new system end; then they end well.
    pub to_new: VecDeque<SwitchEnd>,
    /// How the next switches to the old system end; then they end well.
    pub to_old: VecDeque<SwitchEnd>,
    /// How the next tries to make the old system the boot default end; then they end well.
    pub old_boots: VecDeque<SwitchEnd>,
    /// How often the profile cannot be moved back yet.
    pub returns_fail: u32,
    /// Who aborted.
    pub aborted_by: Option<u32>,
    /// A newer commit is ready.
    pub superseded: bool,
    /// What happens once it is armed and waits.
    pub once_armed: Option<fn(&mut Fake)>,
    /// `activation.reboot = "when-needed"`
    pub reboots_itself: bool,
    /// The machine is going down.
    pub stopping: bool,
    /// What the baseline refuses.
    pub refusal: Option<(Failure, bool)>,
    /// What happens once when the window opens.
    pub once_watched: Option<fn(&mut Fake)>,
    /// What happens once while the boot loader is written for the new system.
    pub while_keeping: Option<fn(&mut Fake)>,
    /// The process is gone after this many effects.
    pub cut_after: Option<usize>,
    /// Effects so far.
    pub effects: usize,
    /// The events so far.
    pub told: Vec<String>,
    looks: usize,
}

impl Default for Fake {
    fn default() -> Fake {
        let old = Generation { number: 41, toplevel: path('a') };
        Fake {
            record: None,
            generations: vec![old],
            current: 41,
            loader: path('a'),
            entry: None,
            in_menu: false,
            armed: None,
            arms: (0, 0),
            roots: BTreeSet::new(),
            running: path('a'),
            boots: 1,
            now: Duration::from_secs(10),
            watching: None,
            report: None,
            healthy: true,
            forge_up: true,
            faults: BTreeSet::new(),
            full_from: None,
            room_after: None,
            killed_when: None,
            to_new: VecDeque::new(),
            to_old: VecDeque::new(),
            old_boots: VecDeque::new(),
            returns_fail: 0,
            aborted_by: None,
            superseded: false,
            once_armed: None,
            reboots_itself: false,
            stopping: false,
            refusal: None,
            once_watched: None,
            while_keeping: None,
            cut_after: None,
            effects: 0,
            told: Vec::new(),
            looks: 0,
        }
    }
}

impl Fake {
    /// Counts a change that is done, looks after the invariants, and ends the process if it is
    /// time.
    fn changed(&mut self) {
        self.effects += 1;
        assert!(self.effects < 10_000, "it does not end");
        self.hold();
        if self.cut_after == Some(self.effects) {
            // Without the panic hook: a power cut says nothing.
            resume_unwind(Box::new(Cut));
        }
    }

    /// What has to be true after every single effect.
    fn hold(&self) {
        let profile = self.profile().toplevel;
        if !self.healthy && !self.faults.contains(&Fault::NewestIsDefault) {
            assert_eq!((&self.loader, &profile), (&path('a'), &path('a')), "unproved default");
        }
        let once = self.faults.contains(&Fault::ArmedForEver) || self.arms.1 <= self.arms.0;
        assert!(once, "armed and booted {:?} times", self.arms);
        let alive = [&profile, &self.running].contains(&&self.loader);
        assert!(alive || self.roots.contains(&self.loader), "the default could be deleted");
    }

    /// Makes something go wrong from now on.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.insert(fault);
    }

    /// Where the profile leads.
    pub fn profile(&self) -> Generation {
        self.generations.iter().find(|one| one.number == self.current).cloned().unwrap()
    }

    /// Takes the power away and boots.
    pub fn reset(&mut self) {
        self.boots += 1;
        self.now = Duration::from_secs(3);
        self.running = self.start();
        self.watching = None;
        self.report = None;
        self.stopping = false;
    }

    /// The loader: what is armed once, if its entry is there, else the default.
    fn start(&mut self) -> StorePath {
        let keeps = self.faults.contains(&Fault::ArmedForEver);
        let armed = if keeps { self.armed.clone() } else { self.armed.take() };
        match armed.filter(|_| self.in_menu) {
            Some(new) => {
                self.arms.1 += 1;
                match self.faults.contains(&Fault::Panics) {
                    true => self.loader.clone(),
                    false => new,
                }
            }
            None => self.loader.clone(),
        }
    }

    fn fails(&self, fault: Fault, what: &str) -> Result<()> {
        match self.faults.contains(&fault) {
            true => bail!("{what}: the fake was told to fail"),
            false => Ok(()),
        }
    }

    fn check(&self, name: &str, state: CheckState, since: Duration) -> CheckSeen {
        CheckSeen {
            name: name.to_owned(),
            kind: "http".to_owned(),
            severity: Severity::Required,
            excused: false,
            tells: true,
            state,
            since,
            message: String::new(),
        }
    }
}

/// What the fake's baseline proves.
pub fn proof(old: Generation, running: StorePath) -> Proof {
    Proof {
        baseline: Baseline {
            running,
            failed_units: Vec::new(),
            active_units: vec!["web.service".to_owned()],
            default_route: true,
            resolver: true,
        },
        judgement: Judgement {
            window: Duration::from_secs(300),
            settle: Duration::from_secs(60),
            switch_timeout: Duration::from_secs(600),
            may_reboot: true,
            reboots_itself: false,
            units_decide: true,
            checks: Vec::new(),
            remote: Remote {
                url: "https://h/infra".to_owned(),
                branch: "main".to_owned(),
                unchanged: true,
                asked: true,
            },
            lifeline_was_green: true,
        },
        profiles: vec![Profile::system(PathBuf::from("/nix/var/nix/profiles/system"), old)],
        boot: None,
    }
}

impl Host for Fake {
    fn monotonic(&self) -> Duration {
        self.now
    }

    fn wall(&self) -> String {
        "2026-01-01T00:00:00Z".to_owned()
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn save(&mut self, record: &Record) -> Result<()> {
        if self.room_after.is_some_and(|time| self.now >= time) {
            self.full_from = None;
            self.faults.remove(&Fault::Save);
        }
        self.fails(Fault::Save, "could not write the record")?;
        let phase = |record: &Record| record.trial.as_ref().map(|trial| trial.phase.name());
        let on_disk = self.record.as_ref().map(|bytes| record::parse(bytes).unwrap());
        if self.full_from.is_some() && on_disk.and_then(|on_disk| phase(&on_disk)) == self.full_from
        {
            bail!("could not write the record: no space left");
        }
        self.record = Some(serde_json::to_vec(record)?);
        self.changed();
        Ok(())
    }

    fn publish(&mut self, report: &Report) -> Result<()> {
        if self.room_after.is_some_and(|time| self.now >= time) {
            self.faults.remove(&Fault::Publish);
        }
        self.fails(Fault::Publish, "could not write the report")?;
        self.report = Some(report.clone());
        self.changed();
        Ok(())
    }

    fn tell(&mut self, kind: EventKind, _: About<'_>, message: &str) {
        self.told.push(format!("{}: {message}", kind.name()));
        if self.killed_when == Some(kind.name()) {
            resume_unwind(Box::new(Cut));
        }
    }

    fn say(&mut self, _: &str) {}

    fn look(&mut self, _: &Trial) -> Look {
        self.looks += 1;
        assert!(self.looks < 20_000, "a trial has to end: {:?}", &self.told[self.told.len() - 9..]);
        Look {
            running: Some(self.running.clone()),
            profile: Some(self.profile()),
            aborted_by: self.aborted_by,
            superseded: self.superseded,
            stopping: self.stopping,
        }
    }

    fn generation(&mut self) -> Option<Generation> {
        Some(self.profile())
    }

    fn boot_default(&mut self) -> Option<StorePath> {
        Some(self.loader.clone())
    }

    fn why_never_once(&mut self) -> Option<String> {
        self.fails(Fault::NoBootOnce, "no boot loader").err().map(|error| error.to_string())
    }

    fn prove(&mut self, _: &Request) -> Proving {
        match self.refusal.clone() {
            Some((failure, retry)) => Proving::Refused { failure, retry },
            None => {
                let mut proof = proof(self.profile(), self.running.clone());
                proof.judgement.reboots_itself = self.reboots_itself;
                proof.boot = self.faults.contains(&Fault::NeedsBoot).then(|| Boot {
                    reasons: vec!["the kernel differs".to_owned()],
                    provable: !self.faults.contains(&Fault::NoBootOnce),
                });
                Proving::Proved(Box::new(proof))
            }
        }
    }

    fn lost(&mut self, _: &Baseline) -> Vec<String> {
        match self.faults.contains(&Fault::Unit) {
            true => vec!["unit `web.service` is failed".to_owned()],
            false => Vec::new(),
        }
    }

    fn root(&mut self, trial: &Trial) -> Result<()> {
        self.fails(Fault::Root, "could not make a root")?;
        for root in [trial.old().clone(), trial.request.toplevel.clone()] {
            self.roots.insert(root);
            self.changed();
        }
        Ok(())
    }

    fn unroot(&mut self, loose: Option<&StorePath>) {
        self.roots = loose.into_iter().cloned().collect();
        self.changed();
    }

    fn await_boot(&mut self) {}

    fn switch(&mut self, switch: &Switch) -> SwitchEnd {
        let new = switch.toplevel == path('b');
        let ends = if new { &mut self.to_new } else { &mut self.to_old };
        let end = match switch.action {
            Action::Test => ends.pop_front().unwrap_or(SwitchEnd::Code(0)),
            Action::Boot if new && self.faults.contains(&Fault::BootNew) => SwitchEnd::Code(1),
            Action::Boot if new => SwitchEnd::Code(0),
            Action::Boot => self.old_boots.pop_front().unwrap_or(SwitchEnd::Code(0)),
        };
        if let Some(happens) = self.while_keeping.take_if(|_| new && switch.action == Action::Boot)
        {
            happens(self);
        }
        // Half done: units are stopped, nothing else is changed.
        self.changed();
        match (switch.action, end.activated()) {
            (Action::Test, true) => self.running = switch.toplevel.clone(),
            (Action::Boot, true) if !self.faults.contains(&Fault::LoaderStands) || !new => {
                self.in_menu = self.entry.is_some();
                self.loader = match self.entry.clone() {
                    Some(newest) if self.faults.contains(&Fault::NewestIsDefault) => newest,
                    _ => switch.toplevel.clone(),
                };
            }
            (Action::Test | Action::Boot, _) => {}
        }
        self.now += match &end {
            SwitchEnd::TimedOut { limit } => *limit,
            SwitchEnd::Code(_) | SwitchEnd::Signal(_) | SwitchEnd::NotStarted(_) => {
                Duration::from_secs(2)
            }
        };
        self.changed();
        end
    }

    fn make_entry(&mut self, toplevel: &StorePath) -> Result<()> {
        self.entry = Some(toplevel.clone());
        self.changed();
        Ok(())
    }

    fn leave_word(&mut self, _: &Trial) {
        self.changed();
    }

    fn arm(&mut self, toplevel: &StorePath, default: &StorePath) -> Result<(), Unarmed> {
        if self.faults.contains(&Fault::NoBootOnce) {
            return Err(Unarmed::Impossible("there is no boot loader".to_owned()));
        }
        let whole = self.in_menu && self.entry.as_ref() == Some(toplevel);
        if self.faults.contains(&Fault::Arm) || !whole || self.loader != *default {
            return Err(Unarmed::Failed("could not arm it".to_owned()));
        }
        if !self.faults.contains(&Fault::ArmLies) {
            self.armed = Some(toplevel.clone());
            self.arms.0 += 1;
        }
        self.changed();
        Ok(())
    }

    fn disarm(&mut self, _: &StorePath) -> Result<()> {
        self.fails(Fault::Disarm, "could not disarm")?;
        self.armed = None;
        self.changed();
        self.entry = None;
        self.changed();
        Ok(())
    }

    fn restart_agent(&mut self) {
        self.changed();
    }

    fn set_profile(&mut self, _: &Path, toplevel: &StorePath) -> Result<u64> {
        self.fails(Fault::SetProfile, "could not set the profile")?;
        let highest = self.generations.iter().map(|one| one.number).max().unwrap();
        let newest = self.generations.iter().find(|one| one.number == highest).unwrap();
        self.current = match newest.toplevel == *toplevel {
            true => highest,
            false => {
                let number = highest + 1;
                self.generations.push(Generation { number, toplevel: toplevel.clone() });
                number
            }
        };
        self.changed();
        Ok(self.current)
    }

    fn return_profile(&mut self, profile: &Profile) -> Result<()> {
        self.fails(Fault::ReturnProfile, "could not set the profile")?;
        if self.returns_fail > 0 {
            self.returns_fail -= 1;
            bail!("could not set the profile: not yet");
        }
        self.current = profile.old.number;
        self.changed();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.changed();
        Ok(())
    }

    fn reboot(&mut self) -> Result<()> {
        self.fails(Fault::Reboot, "could not reboot")?;
        self.changed();
        self.stopping = true;
        Ok(())
    }

    fn watch(&mut self, trial: &Trial, side: Side) {
        let profiles = trial.proof.as_ref().map(|proof| proof.profiles.clone()).unwrap_or_default();
        self.watching = Some((side, self.now, profiles));
        if let Some(happens) = self.once_watched.take() {
            happens(self);
        }
    }

    fn unwatch(&mut self) {
        self.watching = None;
    }

    fn checks(&mut self) -> Vec<CheckSeen> {
        let Some((side, since, _)) = &self.watching else { return Vec::new() };
        let good = match side {
            Side::New => self.healthy && self.forge_up,
            Side::Old => self.forge_up,
        };
        let state = if good { CheckState::Green } else { CheckState::Red };
        vec![self.check("lifeline", CheckState::Green, *since), self.check("web", state, *since)]
    }

    fn evidence(&mut self, _: &Trial) -> Vec<Evidence> {
        vec![Evidence { about: "check `web`".to_owned(), text: "answered 503".to_owned() }]
    }

    fn wait(&mut self, at_most: Duration) {
        self.now += at_most;
        assert!(self.now < Duration::from_secs(30 * 86_400), "it does not end");
        if self.armed.is_some()
            && let Some(happens) = self.once_armed.take()
        {
            happens(self);
        }
    }
}

/// A failure that the baseline may come back with.
pub fn no_way_back() -> Failure {
    Failure::new(Reason::NO_WAY_BACK, "the old system has no switch-to-configuration")
}
