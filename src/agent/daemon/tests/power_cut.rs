//! The power-cut sweep: for every n, the n-th effect is the last one; what is on disk has to lead
//! to the same end, with nothing evaluated or realised twice and no event lost.

use std::collections::BTreeSet;

use super::*;
use crate::agent::host::fake::{closure, commit};
use crate::model::deployment::DeploymentId;
use crate::model::event::EventKind;

/// What ends at the n-th effect.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// The agent alone: the activator goes on.
    Agent,
    /// The whole machine.
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Push {
    Good,
    Bad,
}

fn settled(machine: &Machine, push: Push) -> bool {
    let trial = machine.activator.record.trial.as_ref();
    let over = trial.is_some_and(|trial| trial.outcome.is_some() && !trial.retry);
    let as_meant = match push {
        Push::Good => machine.profile == Some(closure("one")),
        Push::Bad => !machine.activator.record.reverted.is_empty(),
    };
    let event = |kind| machine.journal.iter().any(|said| said.kind == kind);
    let told = event(EventKind::DeploymentFinished) || event(EventKind::ClosureBlocked);
    over && as_meant && told
}

fn pushed(push: Push) -> Shared {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").healthy = push == Push::Good;
    machine
}

fn effects_without_a_cut(push: Push) -> usize {
    let machine = pushed(push);
    assert!(live_until(&machine, |m| settled(m, push)));
    let effects = machine.borrow().effects;
    assert!(effects > 20, "{effects}");
    effects
}

#[track_caller]
fn check(push: Push, cut: Cut, after: usize) {
    let (machine, mut evaluations) = (pushed(push), 1);
    machine.borrow_mut().fuse = Some(after);
    if live_until(&machine, |m| settled(m, push)) {
        machine.borrow_mut().fuse = None;
    } else {
        // An evaluation that was cut off begins again; one that was recorded does not.
        let resolved = history(&machine).closure_of(&commit('a')).unwrap().is_some();
        let so_far = machine.borrow().evaluated.len();
        evaluations = so_far + usize::from(!resolved);
        if cut == Cut::Power {
            machine.borrow_mut().reboot();
        }
        assert!(live_until(&machine, |m| settled(m, push)), "{push:?} {cut:?} {after}");
    }
    live(&machine, async |_, _| seconds(30).await);

    let case = format!("{push:?} {cut:?} {after}: {:?}", outcomes(&machine));
    let expected = match push {
        Push::Good => closure("one"),
        Push::Bad => closure("base"),
    };
    assert_eq!(machine.borrow().running, expected, "{case}");
    assert_eq!(machine.borrow().profile, Some(expected), "{case}");
    assert_eq!(machine.borrow().evaluated.len(), evaluations, "{case}");
    once(&machine, &case);
    whole(&machine, push, &case);
}

/// Nothing is realised, requested or rooted twice.
#[track_caller]
fn once(machine: &Shared, case: &str) {
    let rows = rows(machine);
    let trials =
        machine.borrow().requests.iter().map(|one| one.deployment).collect::<BTreeSet<_>>();
    assert!(rows.len() <= 2 && trials.len() <= 2, "{case}");
    let machine = machine.borrow();
    assert_eq!(machine.realised, [closure("one")], "{case}");
    // What was not kept stays rooted for a while, by the newest deployment of that closure; what
    // was is rooted by the profile.
    let mut unkept = rows.iter().filter(|row| row.outcome.as_deref() != Some("kept"));
    let unkept: BTreeSet<_> =
        unkept.next_back().map(|row| DeploymentId(row.id)).into_iter().collect();
    assert_eq!(machine.roots, unkept, "{case}");
}

/// The history is whole: every deployment ended, and every event of its way is there once.
#[track_caller]
fn whole(machine: &Shared, push: Push, case: &str) {
    let rows = rows(machine);
    let history = history(machine);
    assert!(rows.iter().all(|row| row.outcome.is_some()), "{case}");
    let events: Vec<_> = rows.iter().flat_map(|row| history.events(row.id).unwrap()).collect();
    let count = |kind: EventKind| events.iter().filter(|event| event.kind == kind.name()).count();
    for kind in [EventKind::CommitVerified, EventKind::ClosureResolved, EventKind::ClosureRealised]
    {
        assert_eq!(count(kind), rows.len(), "{case} {}", kind.name());
    }
    let known = history.known(Some(&commit('a'))).unwrap();
    match push {
        Push::Good => {
            assert_eq!(known.mark, Some(commit('a')), "{case}");
            assert_eq!(count(EventKind::MarkMoved), 1, "{case}");
        }
        Push::Bad => {
            assert_eq!(known.mark, None, "{case}");
            assert_eq!(known.blocked.len(), 1, "{case}");
        }
    }
    let ends = count(EventKind::DeploymentFinished) + count(EventKind::DeploymentFailed);
    assert_eq!(ends, rows.len(), "{case}");
}

fn sweep(push: Push, cut: Cut) {
    for after in 0..effects_without_a_cut(push) {
        check(push, cut, after);
    }
}

#[test]
fn a_good_commit_ends_the_same_wherever_the_power_is_cut() {
    sweep(Push::Good, Cut::Power);
}

#[test]
fn a_bad_commit_ends_the_same_wherever_the_power_is_cut() {
    sweep(Push::Bad, Cut::Power);
}

#[test]
fn a_good_commit_ends_the_same_wherever_the_agent_is_killed() {
    sweep(Push::Good, Cut::Agent);
}

#[test]
fn a_bad_commit_ends_the_same_wherever_the_agent_is_killed() {
    sweep(Push::Bad, Cut::Agent);
}
