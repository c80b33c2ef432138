//! The simulation: whole stories from a seed, with the laws held after every step.
//!
//! `SIMULATED_SEED=N` replays one story, `SIMULATED_RUNS=N` tells that many, beginning with
//! `SIMULATED_FROM`; `SOAK_PARTS=FOLDER` writes the figures there. `make soak` does that with
//! 100,000.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::control::ask::Ask;
use crate::simulation::fault::{Fault, Planned, Point};
use crate::simulation::laws;
use crate::simulation::machine::{Happening, Health, Machine, path};
use crate::simulation::place::Place;
use crate::simulation::seed::Seed;
use crate::simulation::story;
use crate::simulation::world::World;

/// How often each fault happened in each place.
type Reached = BTreeMap<(Place, Fault), u64>;

/// The window of a trial, in seconds.
const WINDOW_S: u64 = 18;

/// The stories that `make test` has time for.
const FEW: u64 = 200;

/// What has to be pushed so that a trial comes to a place.
fn leads_to(place: Place, machine: &mut Machine) -> Health {
    match place {
        Place::Unkeeping => Health::CannotBeBooted,
        Place::Reverting | Place::Rechecking => {
            machine.seed.of(&[Health::Sick, Health::SickLater, Health::CutsNetwork])
        }
        Place::Arming | Place::Armed => {
            machine.seed.of(&[Health::NeedsBoot, Health::NeedsBootAndIsSick])
        }
        Place::Disarming => {
            machine.seed.of(&[Health::NeedsBootAndPanics, Health::NeedsBootAndIsSick])
        }
        Place::Staging => {
            machine.no_boot_once = true;
            Health::NeedsBoot
        }
        Place::Rebooting => {
            machine.old_broken = true;
            Health::Sick
        }
        _ => machine.seed.of(&[Health::Good, Health::Good, Health::Good, Health::Slow]),
    }
}

fn point(place: Place, seed: &mut Seed) -> Point {
    match (place.is_of_trial(), seed.below(10)) {
        // It is in memory only, and over with its one change.
        _ if place == Place::Verifying => Point::Change(0),
        (true, 0..2) => Point::Before,
        (_, 2..4) => Point::Later(seed.below(8000)),
        (true, _) => Point::Change(seed.below(4) as u32),
        (false, _) => Point::Change(seed.below(3) as u32),
    }
}

fn plan(machine: &mut Machine) {
    let first = machine.seed.of(Place::ALL);
    let health = match machine.seed.percent(80) {
        true => leads_to(first, machine),
        false => machine.seed.of(Health::ALL),
    };
    let faults = 1 + machine.seed.below(3);
    for n in 0..faults {
        let seed = &mut machine.seed;
        let place = if n == 0 || seed.percent(50) { first } else { seed.of(Place::ALL) };
        let planned = Planned::new(place, seed.of(Fault::ALL), point(place, seed));
        let cut_after = seed.percent(10).then(|| seed.below(4) as u32);
        machine.planned.push(Planned { cut_after, ..planned });
    }
    // Most machines follow the branch already: what runs is what was kept.
    let later = match machine.seed.percent(70) {
        true => {
            machine.push_closure(path('a'));
            Duration::from_secs(3)
        }
        false => Duration::ZERO,
    };
    machine.schedule.push((later, Happening::Push(health)));
    let more = machine.seed.below(3);
    for _ in 0..more {
        let due = Duration::from_millis(4000 + machine.seed.below(86_000));
        let happening = match machine.seed.below(10) {
            0 => Happening::GitRevert,
            1..=6 => Happening::Push(Health::Good),
            _ => Happening::Push(machine.seed.of(Health::ALL)),
        };
        machine.schedule.push((due, happening));
    }
}

/// Nothing new goes wrong any more.
fn calm(world: &World) {
    let mut machine = world.machine.borrow_mut();
    machine.planned.iter_mut().for_each(|planned| planned.fired = true);
    machine.schedule.clear();
    (machine.outage_until, machine.disk_full_until) = (Duration::ZERO, Duration::ZERO);
    (machine.lock_held_until, machine.read_only_until) = (Duration::ZERO, [Duration::ZERO; 2]);
    (machine.ailing, machine.cut_in) = (None, None);
}

/// Tells one story to its end.
fn tell(seed: u64) -> Reached {
    let mut machine = Machine::new(seed, WINDOW_S);
    plan(&mut machine);
    let world = World::new(machine);
    world.live(Duration::from_secs(100), |_| false);
    // An outage that ended between a verdict and the look at the old system would convict.
    world.live(Duration::from_secs(100), |world| !story::is_on_trial(world));
    calm(&world);
    let mut rests = false;
    for _ in 0..20 {
        // Again, where nobody was there to hear it.
        world.says(0, Ask::Resume);
        rests = story::comes_to_rest(&world, Duration::from_secs(60));
        if rests {
            break;
        }
        let now = world.now();
        if world.machine.borrow().trial_place == Some(Place::Armed) {
            // It waits for whoever reboots.
            world.machine.borrow_mut().stopping.get_or_insert(now);
        }
        // Pauses between retries grow; a person does not wait for them.
        world.says(0, Ask::RunNow(Default::default()));
    }
    let line = story::of(&world);
    assert!(rests, "it does not end: {line}");
    let machine = world.machine.borrow();
    laws::at_the_end(&machine);
    machine.laws.reached.clone()
}

/// Tells one story; a broken law becomes a sentence.
fn tried(seed: u64) -> Result<Reached, String> {
    catch_unwind(AssertUnwindSafe(|| tell(seed))).map_err(|cause| {
        let sentence = cause.downcast_ref::<String>().cloned();
        let sentence = sentence.or_else(|| cause.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        format!("{}\n  {}", sentence.unwrap_or_else(|| "it panicked".to_owned()), described(seed))
    })
}

/// What was planned for a story.
fn described(seed: u64) -> String {
    let mut machine = Machine::new(seed, WINDOW_S);
    plan(&mut machine);
    let fault = |it: &Planned| {
        let cut = it.cut_after.map(|after| format!(", cut after {after}")).unwrap_or_default();
        format!("{} at {} ({:?}{cut})", it.fault.name(), it.place.name(), it.point)
    };
    let faults: Vec<_> = machine.planned.iter().map(fault).collect();
    format!("{}; {:?}", faults.join("; "), machine.schedule)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Tells stories with as many threads as there are processors.
fn stories(from: u64, count: u64) -> (Reached, Vec<(u64, String)>) {
    let next = AtomicU64::new(from);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        let tellers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let (mut reached, mut broken) = (Reached::new(), Vec::new());
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= from + count || broken.len() > 20 {
                            return (reached, broken);
                        }
                        match tried(seed) {
                            Ok(pairs) => {
                                for (pair, often) in pairs {
                                    *reached.entry(pair).or_default() += often;
                                }
                            }
                            Err(sentence) => broken.push((seed, sentence)),
                        }
                    }
                })
            })
            .collect();
        let mut all = (Reached::new(), Vec::new());
        for teller in tellers {
            let (reached, broken) = teller.join().unwrap();
            for (pair, often) in reached {
                *all.0.entry(pair).or_default() += often;
            }
            all.1.extend(broken);
        }
        all
    })
}

/// The table of pairs.
fn table(reached: &Reached) -> String {
    let mut lines = vec![format!("{:18}", "place")];
    for fault in Fault::ALL {
        lines[0].push_str(&format!("{:>14}", fault.name()));
    }
    for place in Place::ALL {
        let mut line = format!("{:18}", place.name());
        for fault in Fault::ALL {
            let often = reached.get(&(*place, *fault)).copied().unwrap_or_default();
            line.push_str(&format!("{often:>14}"));
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn least(reached: &Reached) -> u64 {
    let pairs = Place::ALL.iter().flat_map(|place| Fault::ALL.iter().map(|fault| (*place, *fault)));
    pairs.map(|pair| reached.get(&pair).copied().unwrap_or_default()).min().unwrap_or_default()
}

fn told(runs: u64, reached: &Reached, broken: &[(u64, String)]) {
    let Some(folder) = std::env::var_os("SOAK_PARTS") else { return };
    let figures = serde_json::json!({
        "simulated_runs": runs,
        "simulated_violations": broken.len(),
        "pairs_reached_min": least(reached),
    });
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("simulation.json"), figures.to_string()).unwrap();
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is the proof of what was reached")]
fn no_law_is_broken_whatever_goes_wrong() {
    let one = number("SIMULATED_SEED");
    let from = one.or(number("SIMULATED_FROM")).unwrap_or_default();
    let runs = if one.is_some() { 1 } else { number("SIMULATED_RUNS").unwrap_or(FEW) };
    let (reached, broken) = stories(from, runs);
    println!("{}", table(&reached));
    println!(
        "{runs} stories, {} broken, each pair at least {} times",
        broken.len(),
        least(&reached)
    );
    told(runs, &reached, &broken);
    let lines: Vec<_> = broken
        .iter()
        .map(|(seed, sentence)| {
            format!("{sentence}\n  SIMULATED_SEED={seed} cargo test --lib simulation::random -- --nocapture")
        })
        .collect();
    assert!(broken.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn a_story_is_told_the_same_again() {
    let whole = |seed| {
        let mut machine = Machine::new(seed, WINDOW_S);
        plan(&mut machine);
        let world = World::new(machine);
        world.live(Duration::from_secs(100), |_| false);
        story::of(&world)
    };
    for seed in 0..5 {
        assert_eq!(whole(seed), whole(seed));
    }
}
