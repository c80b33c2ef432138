//! The kill matrix: every place with every fault, with and without a reboot, each with the exact
//! chain of places and the end.
//!
//! What is expected stands in `matrix/trial.txt` and `matrix/agent.txt`, a line for each triple, as
//! data that a person reads. `MATRIX=write cargo test --lib simulation::matrix` writes what
//! happens now into them: read every line of the difference before you commit it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::activator::trial;
use crate::agent::rollout;
use crate::simulation::fault::{Fault, Planned, Point};
use crate::simulation::machine::{Health, Machine, path};
use crate::simulation::place::Place;
use crate::simulation::world::World;
use crate::simulation::{laws, story};

/// How long a machine may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(900);

/// The columns of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    KilledBefore,
    KilledAfter,
    KilledDuring,
    Other(Fault),
}

const ROWS: [Row; 12] = [
    Row::KilledBefore,
    Row::KilledAfter,
    Row::KilledDuring,
    Row::Other(Fault::Fails),
    Row::Other(Fault::Hangs),
    Row::Other(Fault::DiskFull),
    Row::Other(Fault::ReadOnly),
    Row::Other(Fault::ClockForward),
    Row::Other(Fault::ClockBack),
    Row::Other(Fault::Truncated),
    Row::Other(Fault::Garbage),
    Row::Other(Fault::Newer),
];

impl Row {
    fn name(self) -> &'static str {
        match self {
            Row::KilledBefore => "killed-before",
            Row::KilledAfter => "killed-after",
            Row::KilledDuring => "killed-during",
            Row::Other(fault) => fault.name(),
        }
    }
}

/// One triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    place: Place,
    row: Row,
    reboot: bool,
}

impl Case {
    fn name(self) -> String {
        let boot = if self.reboot { "reboot" } else { "same-boot" };
        format!("{} {} {boot}", self.place.name(), self.row.name())
    }

    /// Verifying is in memory only: it has no write of its own to be killed before or after.
    fn is_possible(self) -> bool {
        self.place != Place::Verifying || !matches!(self.row, Row::KilledAfter | Row::KilledDuring)
    }
}

/// What leads a machine to a place.
fn leads_to(place: Place) -> Health {
    match place {
        Place::Arming | Place::Armed | Place::Staging => Health::NeedsBoot,
        Place::Disarming => Health::NeedsBootAndIsSick,
        Place::Unkeeping => Health::CannotBeBooted,
        Place::Reverting | Place::Rechecking | Place::Rebooting => Health::Sick,
        Place::Requested
        | Place::Baseline
        | Place::Switching
        | Place::Watching
        | Place::Keeping
        | Place::Ended
        | Place::Fetching
        | Place::Verifying
        | Place::Resolving
        | Place::Realising
        | Place::Held
        | Place::Asking
        | Place::OnTrial
        | Place::Idle => Health::Good,
    }
}

/// In the middle of what the place is for.
fn during(place: Place) -> Point {
    match place {
        // The unit was started.
        Place::Requested => Point::Change(1),
        // The old system is rooted, the new one is not.
        Place::Baseline => Point::Change(2),
        // The switch has stopped units.
        Place::Switching | Place::Reverting => Point::Change(2),
        // There is an entry, and the loader's files are half written.
        Place::Arming => Point::Change(3),
        // The reboot was asked for.
        Place::Armed | Place::Rebooting => Point::Change(1),
        // The boot is disarmed, and the menu has the entry.
        Place::Disarming => Point::Change(1),
        // The profile is moved, the boot loader is not.
        Place::Staging | Place::Keeping | Place::Unkeeping => Point::Change(1),
        // Checks have been looked at.
        Place::Watching => Point::Change(4),
        // The agent was restarted.
        Place::Rechecking => Point::Change(1),
        // The roots are gone.
        Place::Ended => Point::Change(1),
        Place::Fetching | Place::Resolving | Place::Realising => Point::Later(500),
        Place::Verifying => Point::Change(0),
        Place::Held => Point::Change(1),
        // The request is written.
        Place::Asking => Point::Change(2),
        Place::OnTrial | Place::Idle => Point::Later(2000),
    }
}

/// A machine that follows its branch, with a commit just pushed.
fn prepared(place: Place) -> Rc<World> {
    let mut machine = Machine::new(1, 6);
    machine.push_closure(path('a'));
    let world = World::new(machine);
    assert!(story::comes_to_rest(&world, PATIENCE));
    {
        let mut machine = world.machine.borrow_mut();
        (machine.old_broken, machine.no_boot_once) =
            (place == Place::Rebooting, place == Place::Staging);
        machine.push(leads_to(place));
        machine.chain.clear();
        machine.places_of_agent.clear();
        machine.changes_of_agent = 0;
    }
    world
}

/// The number of the agent's change that writes a place down.
fn write_of(place: Place) -> usize {
    let world = prepared(place);
    assert!(story::comes_to_rest(&world, PATIENCE));
    let machine = world.machine.borrow();
    let idle = machine.places_of_agent.iter().take_while(|it| **it == Place::Idle).count();
    let after = &machine.places_of_agent[idle..];
    idle + after.iter().position(|it| *it == place).unwrap()
}

fn planned(case: Case) -> Planned {
    let Case { place, row, reboot } = case;
    let before = || match place.is_of_trial() {
        true => Point::Before,
        false if place == Place::Verifying => Point::Change(0),
        false => Point::ChangeOfAgent(write_of(place)),
    };
    let (fault, point) = match row {
        Row::KilledBefore => (Fault::Kill, before()),
        Row::KilledAfter => (Fault::Kill, Point::Change(0)),
        Row::KilledDuring => (Fault::Kill, during(place)),
        Row::Other(fault @ (Fault::Fails | Fault::Hangs | Fault::DiskFull | Fault::ReadOnly)) => {
            (fault, before())
        }
        Row::Other(fault) => (fault, Point::Change(0)),
    };
    Planned { cut_after: reboot.then_some(2), ..Planned::new(place, fault, point) }
}

/// Lets one case happen; a broken law takes the place of its story.
fn told(case: Case) -> String {
    let tell = AssertUnwindSafe(|| {
        let world = prepared(case.place);
        world.machine.borrow_mut().planned.push(planned(case));
        let rests = story::comes_to_rest(&world, PATIENCE);
        let line = story::of(&world);
        let machine = world.machine.borrow();
        assert!(machine.planned[0].fired, "it did not come to that: {line}");
        assert!(rests, "it does not rest: {line}");
        laws::at_the_end(&machine);
        line
    });
    catch_unwind(tell).unwrap_or_else(|cause| {
        let sentence = cause.downcast_ref::<String>().cloned().unwrap_or_default();
        format!("BROKEN: {sentence}")
    })
}

fn cases(of_trial: bool) -> Vec<Case> {
    let places = Place::ALL.iter().filter(|place| place.is_of_trial() == of_trial);
    let triples = places.flat_map(|place| {
        let rows = ROWS.iter();
        rows.flat_map(|row| [false, true].map(|reboot| Case { place: *place, row: *row, reboot }))
    });
    triples.filter(|case| case.is_possible()).collect()
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/simulation/matrix").join(name)
}

fn expected(name: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file(name)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(|line| line.split_once(": ")).map(|(a, b)| (a.into(), b.into())).collect()
}

fn write(name: &str, lines: &[(String, String)]) {
    let mut text = String::from(
        "# place fault reboot: chain of places | end of each deployment | system, profile, default, \
         blocked | status\n# `!` a process was killed, `#` the machine booted, `aside` the record \
         was set aside; `a` is the old system, `b` the one that was pushed.\n",
    );
    for (name, line) in lines {
        text.push_str(&format!("{name}: {line}\n"));
    }
    std::fs::write(file(name), text).unwrap();
}

#[track_caller]
fn check(name: &str, of_trial: bool) {
    let cases = cases(of_trial);
    let tell = |half: usize| cases.iter().skip(half).step_by(2).map(|case| told(*case));
    let halves: Vec<Vec<_>> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| scope.spawn(move || tell(half).collect()));
        halves.into_iter().map(|half| half.join().unwrap()).collect()
    });
    let lines: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| (case.name(), halves[index % 2][index / 2].clone()))
        .collect();
    if std::env::var_os("MATRIX").is_some_and(|word| word == "write") {
        write(name, &lines);
    }
    let mut expected = expected(name);
    for (case, line) in &lines {
        assert!(!line.starts_with("BROKEN"), "{case}: {line}");
        assert_eq!(Some(line), expected.remove(case).as_ref(), "{case}");
    }
    assert_eq!(expected, BTreeMap::new(), "nothing leads to these any more");
}

#[test]
fn every_phase_of_a_trial_comes_through_every_fault() {
    check("trial.txt", true);
}

#[test]
fn every_stage_of_the_agent_comes_through_every_fault() {
    check("agent.txt", false);
}

#[test]
fn there_are_enough_cases_and_each_is_another() {
    let all: Vec<_> = cases(true).into_iter().chain(cases(false)).collect();
    let distinct: BTreeSet<_> = all.iter().map(|case| case.name()).collect();
    assert_eq!(distinct.len(), all.len());
    assert!(all.len() >= 120, "{}", all.len());
    for place in Place::ALL {
        let rows = all.iter().filter(|case| case.place == *place).count();
        assert!(rows >= 20, "{} has {rows} cases", place.name());
    }
    let steps: BTreeSet<_> = STEPS_OF_TRIAL.iter().map(place_of).collect();
    assert!(steps.iter().all(|place| all.iter().any(|case| case.place == *place)));
    if let Some(folder) = std::env::var_os("SOAK_PARTS") {
        let figures = serde_json::json!({ "matrix_cases": all.len() });
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(PathBuf::from(folder).join("matrix.json"), figures.to_string()).unwrap();
    }
}

const STEPS_OF_TRIAL: [trial::Step; 10] = [
    trial::Step::TakeBaseline,
    trial::Step::Switch,
    trial::Step::Arm,
    trial::Step::Disarm,
    trial::Step::Keep,
    trial::Step::Unkeep,
    trial::Step::Revert,
    trial::Step::Reboot,
    trial::Step::Leave,
    trial::Step::Finish,
];

/// Where a step is carried out: a new one has to get a place here, and that place is in the matrix.
fn place_of(step: &trial::Step) -> Place {
    match step {
        trial::Step::Enter(phase) => Place::of_phase(phase),
        trial::Step::Wait(_) => Place::Watching,
        trial::Step::TakeBaseline => Place::Baseline,
        trial::Step::Switch => Place::Switching,
        trial::Step::Arm => Place::Arming,
        trial::Step::Disarm => Place::Disarming,
        trial::Step::Keep => Place::Keeping,
        trial::Step::Unkeep => Place::Unkeeping,
        trial::Step::Revert => Place::Reverting,
        trial::Step::Reboot | trial::Step::Leave => Place::Rebooting,
        trial::Step::Finish => Place::Ended,
    }
}

/// The same for the agent.
fn place_of_agents(step: &rollout::Step) -> Place {
    match step {
        rollout::Step::Begin(birth) => Place::of_stage(&birth.stage),
        rollout::Step::Advance(_, stage) => Place::of_stage(stage),
        rollout::Step::Work(_, operation) => match operation {
            rollout::Operation::Fetch { .. } => Place::Fetching,
            rollout::Operation::Resolve { .. } => Place::Resolving,
            rollout::Operation::Realise { .. } => Place::Realising,
        },
        rollout::Step::Supersede(_) | rollout::Step::Request(_) => Place::Asking,
        rollout::Step::End(..) | rollout::Step::Rest => Place::Idle,
    }
}

#[test]
fn every_step_of_the_agent_has_a_place() {
    assert_eq!(place_of_agents(&rollout::Step::Rest), Place::Idle);
}
