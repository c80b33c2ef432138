//! What the activator sees and does on the simulated host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::activator::checks::lifeline::{self, Run, Wanted};
use crate::activator::host::{Action, Host, Look, Proving, Side, Switch};
use crate::activator::judgement::{Before, Remote, freeze};
use crate::activator::record::{Baseline, Boot, Profile, Proof, Record, Trial};
use crate::activator::trial::boot::Unarmed;
use crate::activator::trial::phase::Phase;
use crate::activator::trial::seen::CheckSeen;
use crate::activator::trial::switched::SwitchEnd;
use crate::config::settings::Severity;
use crate::effects::journal::About;
use crate::handover::answer::{Answer, Word};
use crate::handover::report::{CheckState, Evidence, Report};
use crate::handover::request::Request;
use crate::model::deployment::Kind;
use crate::model::event::EventKind;
use crate::model::failure::{Failure, Reason};
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;
use crate::simulation::fault::{Fault, Point};
use crate::simulation::laws;
use crate::simulation::machine::{Health, Machine, Window};
use crate::simulation::place::Place;
use crate::simulation::world::World;

/// How often the checks look.
const LOOK: Duration = Duration::from_millis(300);

/// The activator's view of a world.
pub struct Root<'a> {
    pub world: &'a World,
}

fn profile_path() -> PathBuf {
    PathBuf::from("/nix/var/nix/profiles/system")
}

impl Root<'_> {
    pub fn machine(&self) -> std::cell::RefMut<'_, Machine> {
        self.world.machine.borrow_mut()
    }

    /// Something was changed, or is about to be.
    pub fn change(&self) {
        let place = self.machine().trial_place.unwrap_or(Place::Requested);
        let at = {
            let mut machine = self.machine();
            let at = machine.changes_in_place[0];
            machine.changes_in_place[0] += 1;
            at
        };
        self.world.strike(place, Point::Change(at));
    }

    fn ails(&self, place: Place) -> Option<Fault> {
        self.machine().ails(place)
    }

    fn place(&self) -> Place {
        self.machine().trial_place.unwrap_or(Place::Requested)
    }

    fn take_time(&self, time: Duration) {
        self.world.pass_time(time);
    }

    fn room(&self, what: &str) -> Result<()> {
        match self.world.now() < self.machine().disk_full_until {
            true => bail!("{what}: no space left on device"),
            false => Ok(()),
        }
    }

    /// How a check is at this moment, in truth.
    fn truth(&self, name: &str, wanted: &Wanted) -> CheckState {
        let (now, since_boot) = (self.world.now(), self.monotonic());
        let machine = self.machine();
        let health = machine.health(&machine.running);
        let good = match name {
            "web" => {
                let age = since_boot.saturating_sub(machine.activated);
                let well = match health {
                    Health::Sick | Health::NeedsBootAndIsSick => false,
                    Health::Slow => age >= machine.settings.health.window / 3,
                    Health::SickLater => age < machine.settings.health.settle / 2,
                    _ => true,
                };
                well && !machine.web_is_away(now)
            }
            _ => lifeline::judge(wanted, &run(&machine), machine.lifeline.as_ref()).is_ok(),
        };
        if good { CheckState::Green } else { CheckState::Red }
    }

    fn wanted(&self, trial: Option<&Trial>, after: Duration) -> Wanted {
        let source = self.machine().settings.source.clone();
        let boot_id = self.boot_id();
        Wanted {
            remote: Remote {
                url: source.url,
                branch: source.branch,
                unchanged: true,
                asked: trial.is_none_or(|trial| trial.request.kind == Kind::Follow),
            },
            commit: trial.and_then(|trial| trial.request.commit.clone()),
            boot_id,
            after,
        }
    }

    /// Looks at the checks; true if one of them changed.
    fn look_at_checks(&self) -> bool {
        let Some(after) = self.machine().window.as_ref().map(|window| window.after) else {
            return false;
        };
        let now = self.monotonic();
        let spoiled = {
            let mut machine = self.machine();
            let place = machine.trial_place.unwrap_or(Place::Requested);
            let ailing = machine.ailing.as_mut().filter(|it| it.place == place);
            ailing.is_some_and(|_| place == Place::Watching)
        };
        let wanted = self.wanted(None, after);
        let states = ["lifeline", "web"].map(|name| match spoiled && name == "web" {
            true => CheckState::Red,
            false => self.truth(name, &wanted),
        });
        let mut machine = self.machine();
        let Some(window) = &mut machine.window else { return false };
        let latched = window.lifeline_latched || states[0] == CheckState::Green;
        window.lifeline_latched = latched;
        let mut changed = false;
        for check in &mut window.checks {
            let state = match check.name.as_str() {
                "lifeline" if latched => CheckState::Green,
                "lifeline" => states[0],
                _ => states[1],
            };
            if check.state != state {
                (check.state, check.since) = (state, now);
                check.message = "as the simulation has it".to_owned();
                changed = true;
            }
        }
        changed
    }

    fn green_for(&self) -> Option<Duration> {
        let now = self.monotonic();
        let machine = self.world.machine.borrow();
        let window = machine.window.as_ref()?;
        let decides = || window.checks.iter().filter(|check| check.decides());
        let green = decides().all(|check| check.state == CheckState::Green);
        let since = decides().map(|check| check.since).max()?;
        green.then(|| now.saturating_sub(since))
    }
}

impl Host for Root<'_> {
    fn monotonic(&self) -> Duration {
        self.world.since_boot()
    }

    fn wall(&self) -> String {
        self.world.wall()
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.machine().boots)
    }

    fn save(&mut self, record: &Record) -> Result<()> {
        let trial = record.trial.as_ref();
        let place = trial.map_or(Place::Requested, |trial| Place::of_phase(&trial.phase));
        self.world.strike(place, Point::Before);
        let now = self.world.now();
        if self.machine().state_is_refused(true, now) {
            self.machine().laws.unsaved = true;
            bail!("could not write the record: no space left on device");
        }
        {
            let mut machine = self.machine();
            machine.record = Some(serde_json::to_vec(record)?);
            let Some(trial) = trial else { return Ok(()) };
            let health = machine.health(&trial.request.toplevel);
            let green = machine.green_for.take();
            if place.is_undecided() && machine.looks_like_a_bad_closure() {
                machine.laws.still_ails(&trial.request.toplevel);
            }
            machine.laws.entered(trial, health, green);
            machine.enter(place);
            if place == Place::Ended {
                machine.ailing = machine.ailing.take().filter(|it| it.place == Place::Ended);
            }
        }
        self.change();
        Ok(())
    }

    fn publish(&mut self, report: &Report) -> Result<()> {
        if self.place() == Place::Ended && self.ails(Place::Ended).is_some() {
            bail!("could not write the report");
        }
        let mut machine = self.machine();
        if let Some(trial) = &report.trial {
            machine.laws.shown(trial);
        }
        machine.report = Some(std::rc::Rc::new(report.clone()));
        Ok(())
    }

    fn tell(&mut self, kind: EventKind, _: About<'_>, message: &str) {
        self.machine().told.push((kind, message.to_owned()));
        self.world.tells(kind, message);
    }

    fn say(&mut self, _: &str) {}

    fn look(&mut self, trial: &Trial) -> Look {
        let machine = self.machine();
        let said = |word| {
            let ours = |answer: &&Answer| answer.deployment == trial.request.deployment;
            machine.answer.as_ref().filter(ours).filter(|answer| answer.answer == word)
        };
        Look {
            running: Some(machine.running.clone()),
            profile: Some(machine.generation()),
            aborted_by: said(Word::Abort).map(|answer| answer.uid),
            superseded: said(Word::Supersede).is_some(),
            stopping: machine.stopping.is_some(),
        }
    }

    fn generation(&mut self) -> Option<Generation> {
        Some(self.machine().generation())
    }

    fn boot_default(&mut self) -> Option<StorePath> {
        Some(self.machine().loader.now.clone())
    }

    fn why_never_once(&mut self) -> Option<String> {
        None
    }

    /// On this machine every system brings units that go on with the trial.
    fn leave_word(&mut self, _: &Trial) {}

    fn prove(&mut self, request: &Request) -> Proving {
        self.change();
        self.take_time(Duration::from_millis(100));
        let refused = |reason, message: &str, retry| Proving::Refused {
            failure: Failure::new(reason, message).hint("look at it"),
            retry,
        };
        match self.ails(Place::Baseline) {
            Some(Fault::Fails) => {
                return refused(Reason::NO_WAY_BACK, "there would be no way back", false);
            }
            Some(_) => {
                self.take_time(Duration::from_secs(60));
                return refused(Reason::INVALID_PATH, "Nix gave no answer", true);
            }
            None => {}
        }
        let error = {
            let machine = self.machine();
            let poll = machine.lifeline.as_ref().and_then(|it| it.poll.as_ref());
            poll.and_then(|poll| poll.error.clone())
        };
        if let (Some(error), Kind::Follow) = (error, request.kind) {
            return refused(Reason::UNREACHABLE, &error, true);
        }
        let wanted = Wanted { commit: None, ..self.wanted(None, Duration::ZERO) };
        let web = self.truth("web", &wanted);
        let before = Before {
            checks: vec![("web".to_owned(), web)],
            lifeline_was_green: lifeline::was_good(&wanted, self.machine().lifeline.as_ref()),
        };
        let mut machine = self.machine();
        if web == CheckState::Red && machine.running != request.toplevel {
            machine.laws.excuses(&request.toplevel);
        }
        let health = machine.health(&request.toplevel);
        let boot = (health.needs_boot() && machine.booted != request.toplevel)
            .then(|| Boot { reasons: vec!["kernel".to_owned()], provable: !machine.no_boot_once });
        let old =
            Generation { number: machine.profile.now, toplevel: machine.default_of_profile() };
        Proving::Proved(Box::new(Proof {
            baseline: Baseline {
                running: machine.running.clone(),
                failed_units: Vec::new(),
                active_units: vec!["web.service".to_owned()],
                default_route: true,
                resolver: true,
            },
            judgement: freeze(request, &machine.settings, &machine.settings, &before),
            profiles: vec![Profile::system(profile_path(), old)],
            boot,
        }))
    }

    fn lost(&mut self, _: &Baseline) -> Vec<String> {
        match self.ails(Place::Rechecking) {
            Some(Fault::Fails) => vec!["unit `web.service` is failed".to_owned()],
            Some(_) => vec!["systemd does not answer".to_owned()],
            None => Vec::new(),
        }
    }

    fn root(&mut self, trial: &Trial) -> Result<()> {
        for root in [trial.old().clone(), trial.request.toplevel.clone()] {
            self.room("could not make a root")?;
            self.machine().roots.insert(root);
            self.change();
        }
        Ok(())
    }

    fn unroot(&mut self, loose: Option<&StorePath>) {
        self.machine().roots = loose.into_iter().cloned().collect();
        laws::is_held(&self.machine());
        self.change();
    }

    fn await_boot(&mut self) {}

    fn switch(&mut self, switch: &Switch) -> SwitchEnd {
        self.change();
        let place = self.place();
        if self.world.now() < self.machine().lock_held_until {
            self.take_time(Duration::from_millis(50));
            return SwitchEnd::Code(11);
        }
        let end = self.end_of(switch, place);
        // Half done: units are stopped, and what runs may be either.
        self.take_time(Duration::from_millis(500));
        self.change();
        let now = self.monotonic();
        let mut machine = self.machine();
        let half = !end.activated() && switch.action == Action::Test && machine.seed.percent(50);
        match (switch.action, end.activated() || half) {
            (Action::Test, true) => machine.activate(switch.toplevel.clone(), now),
            (Action::Boot, true) => {
                machine.loader.now = switch.toplevel.clone();
                machine.menu = machine.entry.clone();
            }
            (_, false) => {}
        }
        drop(machine);
        self.take_time(match &end {
            SwitchEnd::TimedOut { limit } => *limit,
            _ => Duration::from_millis(500),
        });
        self.machine().switched = self.monotonic();
        self.change();
        end
    }

    fn make_entry(&mut self, toplevel: &StorePath) -> Result<()> {
        self.room("could not make the entry")?;
        self.machine().entry = Some(toplevel.clone());
        self.change();
        Ok(())
    }

    fn arm(&mut self, toplevel: &StorePath, default: &StorePath) -> Result<(), Unarmed> {
        let ails = self.ails(Place::Arming);
        let mut machine = self.machine();
        let whole = machine.menu.as_ref() == Some(toplevel) && machine.loader.now == *default;
        if ails == Some(Fault::Fails) || !whole {
            return Err(Unarmed::Failed("could not arm it".to_owned()));
        }
        machine.armed = Some(toplevel.clone());
        drop(machine);
        self.change();
        match ails {
            // Armed, and it could not be read back in time.
            Some(_) => Err(Unarmed::Failed("the loader gave no answer".to_owned())),
            None => Ok(()),
        }
    }

    fn disarm(&mut self, _: &StorePath) -> Result<()> {
        if let Some(fault) = self.ails(Place::Disarming) {
            bail!("could not disarm: it {}", fault.name());
        }
        (self.machine().armed, self.machine().entry) = (None, None);
        self.change();
        Ok(())
    }

    fn restart_agent(&mut self) {
        self.machine().restart_agent = true;
        self.change();
    }

    fn set_profile(&mut self, _: &Path, toplevel: &StorePath) -> Result<u64> {
        self.room("could not set the profile")?;
        let place = self.place();
        let ails = self.machine().ailing.filter(|it| it.place == place);
        if ails.is_some_and(|it| it.fault == Fault::Fails) {
            bail!("could not set the profile");
        }
        let number = self.machine().set_profile(toplevel);
        self.change();
        Ok(number)
    }

    fn return_profile(&mut self, profile: &Profile) -> Result<()> {
        if self.ails(Place::Unkeeping) == Some(Fault::Fails) {
            bail!("could not set the profile");
        }
        let mut machine = self.machine();
        let old = profile.old.clone();
        if machine.generations.get(&old.number) == Some(&old.toplevel) {
            machine.profile.now = old.number;
        } else {
            machine.set_profile(&old.toplevel);
        }
        drop(machine);
        self.change();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let mut machine = self.machine();
        machine.profile.sync();
        machine.loader.sync();
        drop(machine);
        self.change();
        Ok(())
    }

    fn reboot(&mut self) -> Result<()> {
        let place = self.place();
        match self.ails(place) {
            Some(Fault::Fails) => bail!("nobody took the wish for a reboot"),
            Some(_) => {}
            None => self.machine().stopping = Some(self.world.now()),
        }
        self.change();
        Ok(())
    }

    fn watch(&mut self, trial: &Trial, side: Side) {
        let since = self.monotonic();
        let Some(proof) = &trial.proof else { return };
        let suspects = match &trial.phase {
            Phase::Rechecking { cause, .. } => cause.suspects.clone(),
            _ => Vec::new(),
        };
        let frozen = proof.judgement.checks.first();
        let check = |name: &str, excused, tells| CheckSeen {
            name: name.to_owned(),
            kind: name.to_owned(),
            severity: Severity::Required,
            excused,
            tells,
            state: CheckState::Pending,
            since,
            message: String::new(),
        };
        let mut checks = vec![check("lifeline", false, proof.judgement.lifeline_was_green)];
        checks.extend(frozen.map(|it| check("web", it.excused, it.tells)));
        checks.retain(|check| side == Side::New || suspects.contains(&check.name));
        let mut machine = self.machine();
        let after = machine.switched;
        machine.window = Some(Window { after, checks, lifeline_latched: false });
    }

    fn unwatch(&mut self) {
        let green = self.green_for();
        self.machine().green_for = green;
        self.machine().window = None;
    }

    fn checks(&mut self) -> Vec<CheckSeen> {
        self.look_at_checks();
        self.machine().window.as_ref().map(|window| window.checks.clone()).unwrap_or_default()
    }

    fn evidence(&mut self, _: &Trial) -> Vec<Evidence> {
        vec![Evidence { about: "check `web`".to_owned(), text: "answered 503".to_owned() }]
    }

    fn wait(&mut self, at_most: Duration) {
        let until = self.world.now() + at_most;
        while self.world.now() < until {
            self.take_time(LOOK.min(until - self.world.now()).max(Duration::from_millis(1)));
            self.change();
            if self.look_at_checks() {
                return;
            }
        }
    }
}

impl Root<'_> {
    fn end_of(&self, switch: &Switch, place: Place) -> SwitchEnd {
        let limit = switch.limit;
        let ails = match (switch.action, place) {
            (Action::Test, Place::Switching | Place::Reverting) => self.ails(place),
            // Setting the profile has had its say where keeping fails.
            (Action::Boot, Place::Keeping | Place::Unkeeping | Place::Staging) => self.ails(place),
            _ => None,
        };
        let machine = self.machine();
        let health = machine.health(&switch.toplevel);
        match (ails, switch.action) {
            (Some(Fault::Fails), _) => SwitchEnd::Code(2),
            (Some(_), _) => SwitchEnd::TimedOut { limit },
            (None, Action::Boot) if health == Health::CannotBeBooted => SwitchEnd::Code(1),
            (None, Action::Boot) if self.world.now() < machine.disk_full_until => {
                SwitchEnd::Code(1)
            }
            (None, Action::Test) if place == Place::Reverting && machine.old_broken => {
                SwitchEnd::Code(2)
            }
            (None, Action::Test) if place == Place::Switching => match health {
                Health::FailsToSwitch => SwitchEnd::Code(2),
                Health::HangsInSwitch => SwitchEnd::TimedOut { limit },
                _ => SwitchEnd::Code(0),
            },
            (None, _) => SwitchEnd::Code(0),
        }
    }
}

/// The agent's run, as systemd has it.
fn run(machine: &Machine) -> Run {
    Run {
        invocation_id: match machine.agent_began > Duration::ZERO {
            true => format!("run-{}", machine.agent_run),
            false => String::new(),
        },
        began: machine.agent_began,
    }
}
