//! What is written down of each step.

use super::*;
use crate::agent::rollout::tests::{closure, commit, deployment, held, reported, seen};
use crate::handover::report::Reverted;
use crate::model::deployment::Phase;
use crate::model::generation::Generation;

fn row(phase: &str) -> Row {
    Row { id: 1, phase: phase.to_owned(), ..Row::default() }
}

fn events(entries: &[Entry]) -> Vec<EventKind> {
    let event = |entry: &Entry| match entry {
        Entry::Event(said) => Some(said.kind),
        _ => None,
    };
    entries.iter().filter_map(event).collect()
}

fn blocked(entries: &[Entry]) -> Vec<StorePath> {
    let blocked = |entry: &Entry| match entry {
        Entry::Blocked(row) => Some(row.toplevel.clone()),
        _ => None,
    };
    entries.iter().filter_map(blocked).collect()
}

#[test]
fn a_closure_is_realised_once_however_often_it_is_held() {
    let one = deployment(1, 'a', held("one"));
    let seen = seen(vec![one.clone()]);
    assert_eq!(events(&came(&one, &row("realising"), &seen)), [EventKind::ClosureRealised]);
    assert_eq!(events(&came(&one, &row("requested"), &seen)), []);
}

#[test]
fn an_end_is_told_with_its_outcome() {
    let one = deployment(1, 'a', held("one"));
    let seen = seen(vec![one.clone()]);
    let end = End::new(Outcome::Failed, Reason::INTERNAL, "it did not work");
    let entries = ended(&one, &end, &row("held"), &seen);
    let said = entries.iter().find_map(|entry| match entry {
        Entry::Event(said) if said.kind == EventKind::DeploymentFailed => Some(said),
        _ => None,
    });
    assert_eq!(said.and_then(|said| said.outcome), Some(Outcome::Failed));
}

#[test]
fn what_the_activator_refuses_is_blocked_by_the_deployment_that_showed_it() {
    let one = deployment(1, 'a', held("one"));
    let end = End::new(Outcome::Interrupted, Reason::POWER_CUT, "the machine was reset");
    let mut seen = seen(vec![one.clone()]);
    for (by, expected) in [(1, vec![closure("one")]), (2, Vec::new())] {
        let refused = Reverted {
            toplevel: closure("one"),
            commit: None,
            reason: Reason::POWER_CUT,
            since: String::new(),
            deployment: DeploymentId(by),
        };
        let report = Report { reverted: vec![refused], ..Report::default() };
        seen.world.report = Some(report.into());
        assert_eq!(blocked(&ended(&one, &end, &row("held"), &seen)), expected);
    }
}

#[test]
fn a_rollback_blocks_what_it_leaves_and_nothing_if_it_leaves_nothing() {
    let stage = Stage::OnTrial { toplevel: closure("one"), phase: Phase::Idle };
    let back = Deployment { kind: Kind::Rollback, ..deployment(1, 'a', stage) };
    let end = End::new(Outcome::Kept, Reason::HEALTHY, "kept");
    let mut seen = seen(vec![back.clone()]);
    (seen.mark, seen.last_kept) = (Some(commit('b')), Some(closure("two")));
    for (old, expected) in [("two", vec![closure("two")]), ("one", Vec::new())] {
        let old = Some(Generation { number: 7, toplevel: closure(old) });
        let trial = Trial { old, ..reported(1, "one", Phase::Idle) };
        seen.world.report = Some(Report { trial: Some(trial), ..Report::default() }.into());
        assert_eq!(blocked(&ended(&back, &end, &row("watching"), &seen)), expected);
    }
}
