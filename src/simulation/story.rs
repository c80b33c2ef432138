//! One line about what happened: the chain of places, and how the machine is in the end.

use std::time::Duration;

use crate::agent::history::History;
use crate::simulation::machine::{Health, Machine, letter};
use crate::simulation::world::World;

/// The story of a world that has come to rest.
///
/// `!` is a process that was killed, `#` a boot, `aside` a record that was set aside.
pub fn of(world: &World) -> String {
    let status = world.status();
    world.end();
    let machine = world.machine.borrow();
    let history = machine.history.as_ref().unwrap();
    let says = status.map(|status| {
        let deployment = status.deployment.map(|it| {
            format!(
                "{} {}",
                it.outcome.unwrap_or(status.phase.clone()),
                it.reason.unwrap_or_default()
            )
        });
        let gates: Vec<_> = status.gates.iter().map(|gate| gate.kind.clone()).collect();
        let warnings = match status.warnings.len() {
            0 => String::new(),
            many => format!(" warnings={many}"),
        };
        let gates = if gates.is_empty() { gates.join("") } else { format!(" {}", gates.join(" ")) };
        format!("{}{gates}{warnings}", deployment.unwrap_or_else(|| status.phase.clone()))
    });
    let refused: String = blocked(history);
    format!(
        "{} | {} | runs {} profile {} boots {} blocked {refused} | {}",
        machine.chain.join(" "),
        ends(history),
        letter(&machine.running),
        letter(&machine.default_of_profile()),
        letter(&machine.loader.now),
        says.unwrap_or_default(),
    )
}

/// How each deployment ended.
fn ends(history: &History) -> String {
    let mut rows = history.newest(1000).unwrap();
    rows.reverse();
    let end = |row: &crate::agent::history::Row| {
        let outcome = row.outcome.clone().unwrap_or_else(|| row.phase.clone());
        format!("{outcome} {}", row.reason.clone().unwrap_or_default()).trim().to_owned()
    };
    rows.iter().map(end).collect::<Vec<_>>().join(", ")
}

fn blocked(history: &History) -> String {
    let known = history.known(None).unwrap();
    let letters: String = known.blocked.iter().map(|row| letter(&row.toplevel)).collect();
    if letters.is_empty() { "-".to_owned() } else { letters }
}

/// Whether nobody but a person, or a boot, brings this machine on: its record was lost while a
/// system ran that cannot be deployed to.
fn is_stranded(machine: &Machine) -> bool {
    machine.aside_blindly && machine.loader.now != machine.running
}

/// Whether somebody's hands took a trial over and left a system running that nothing can be
/// deployed to: hands off is what the design says, and they are there.
fn is_left_by_hands(machine: &Machine) -> bool {
    let on = machine.report.as_ref().and_then(|report| report.trial.as_ref());
    let health = machine.health(&machine.running);
    machine.laws.meddled
        && machine.loader.now != machine.running
        && matches!(health, Health::CutsNetwork | Health::BreaksAgent)
        && on.is_none_or(|trial| trial.outcome.is_some())
        && machine.schedule.is_empty()
}

/// Whether a trial is on, as everybody may read.
pub fn is_on_trial(world: &World) -> bool {
    let machine = world.machine.borrow();
    let trial = machine.report.as_ref().and_then(|report| report.trial.as_ref());
    trial.is_some_and(|trial| trial.outcome.is_none())
}

/// Whether nothing is on its way any more.
pub fn is_quiet(world: &World) -> bool {
    if is_left_by_hands(&world.machine.borrow()) {
        return true;
    }
    let Some(status) = world.status() else { return false };
    let machine = world.machine.borrow();
    let tip = machine.branch.last().map(|tip| tip.to_string());
    let waits = status.gates.iter().any(|gate| gate.kind == "retry");
    let polled =
        status.remote.tip == tip && status.remote.last_error.is_none() || is_stranded(&machine);
    let trial = machine.report.as_ref().and_then(|report| report.trial.as_ref());
    let on = trial.is_some_and(|trial| trial.outcome.is_none());
    // An agent that could not open its history stays for half a minute before it tries again.
    let full_until = machine.disk_full_until.max(machine.read_only_until[1]);
    let writable = full_until.is_zero() || world.now() > full_until + Duration::from_secs(40);
    let at_rest = writable && machine.schedule.is_empty() && machine.stopping.is_none();
    // A person has to say what the machine is to boot.
    let held = status.phase == "held" && status.gates.iter().any(|it| it.kind == "staged-by-hand");
    (status.phase == "idle" || held)
        && !waits
        && polled
        && !on
        && at_rest
        && machine.request.is_none()
}

/// Lets a world come to rest, and stay there for longer than a poll takes; true if it did.
pub fn comes_to_rest(world: &std::rc::Rc<World>, limit: Duration) -> bool {
    let until = world.now() + limit;
    while world.live(until.saturating_sub(world.now()), is_quiet) {
        let again = world.live(Duration::from_secs(15), |world| !is_quiet(world));
        if !again {
            return true;
        }
    }
    false
}
