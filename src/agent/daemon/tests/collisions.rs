//! The table "Collisions" of the design, row by row, on the whole loop.

use super::*;
use crate::agent::host::fake::{closure, commit};
use crate::control::ask;
use crate::handover::answer::Word;
use crate::model::deployment::Phase;

fn abort() -> Ask {
    Ask::Answer { id: None, word: ask::Word::Abort }
}

/// Holds a trial of commit `a` in a phase, then lets `script` at it.
fn held_in(phase: Phase, script: impl AsyncFnOnce(Person, Shared)) -> Shared {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.holds = Some(phase);
    live(&machine, async |person, machine| {
        while person.status().phase != phase.as_str() {
            seconds(1).await;
        }
        script(person, machine).await;
    });
    machine
}

#[test]
fn a_newer_commit_is_got_ready_and_waits_for_the_end_of_the_trial() {
    let machine = held_in(Phase::Watching, async |_, machine| {
        machine.borrow_mut().push('b', "two");
        until(&machine, |m| m.realised.contains(&closure("two"))).await;
        seconds(60).await;
        assert_eq!(machine.borrow().requests.len(), 1);
        machine.borrow_mut().activator.holds = None;
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        seconds(1).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy", "b kept healthy"]);
}

#[test]
fn of_a_burst_of_pushes_the_last_one_runs() {
    let machine = held_in(Phase::Watching, async |_, machine| {
        for (letter, name) in [('b', "two"), ('c', "three"), ('d', "four")] {
            machine.borrow_mut().push(letter, name);
            seconds(20).await;
        }
        machine.borrow_mut().activator.holds = None;
        until(&machine, |m| m.profile == Some(closure("four"))).await;
        seconds(1).await;
    });
    assert_eq!(
        outcomes(&machine),
        [
            "a kept healthy",
            "b superseded newer-commit",
            "c superseded newer-commit",
            "d kept healthy"
        ]
    );
    assert_eq!(machine.borrow().requests.len(), 2);
}

#[test]
fn a_commit_that_has_not_begun_to_realise_gives_way_and_one_that_has_does_not() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").seconds = 30;
    live(&machine, async |_, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        machine.borrow_mut().push('b', "two").seconds = 30;
        until(&machine, |m| m.evaluated.len() == 2).await;
        assert_eq!(machine.borrow().halts, 1);
        seconds(35).await;
        machine.borrow_mut().push('c', "three");
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        seconds(1).await;
    });
    assert_eq!(
        outcomes(&machine),
        ["a superseded newer-commit", "b kept healthy", "c kept healthy"]
    );
}

#[test]
fn a_pause_lets_the_trial_go_on_and_holds_the_next_one() {
    let machine = held_in(Phase::Watching, async |person, machine| {
        person.says(Ask::Pause { reason: "a visit".into() }).await.unwrap();
        machine.borrow_mut().push('b', "two");
        machine.borrow_mut().activator.holds = None;
        until(&machine, |m| m.realised.contains(&closure("two"))).await;
        seconds(60).await;
        assert_eq!(machine.borrow().profile, Some(closure("one")));
        let gates = person.status().gates;
        assert_eq!((gates.len(), gates[0].kind.as_str()), (1, "paused"));
        person.says(Ask::Resume).await.unwrap();
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        seconds(1).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy", "b kept healthy"]);
}

#[test]
fn a_pause_outlives_a_restart() {
    let machine = Machine::new();
    live(&machine, async |person, _| {
        person.says(Ask::Pause { reason: "a visit".into() }).await.unwrap();
    });
    machine.borrow_mut().push('a', "one");
    live(&machine, async |_, _| seconds(300).await);
    assert_eq!(outcomes(&machine), ["a held"]);
}

#[test]
fn abort_before_the_request_ends_it_here_and_it_does_not_come_back() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").seconds = 30;
    live(&machine, async |person, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        assert_eq!(person.orders(abort()).await, Some(1));
        seconds(600).await;
    });
    assert_eq!(outcomes(&machine), ["a aborted by-operator"]);
    assert_eq!(history(&machine).known(None).unwrap().blocked, []);
}

#[test]
fn abort_before_the_switch_blocks_nothing() {
    let machine = held_in(Phase::Baseline, async |person, _| {
        assert_eq!(person.orders(abort()).await, Some(1));
        seconds(60).await;
        assert_eq!(person.status().deployment.unwrap().outcome.as_deref(), Some("aborted"));
    });
    assert_eq!(outcomes(&machine), ["a aborted by-operator"]);
    assert_eq!(history(&machine).known(None).unwrap().blocked, []);
}

#[test]
fn abort_while_watching_reverts_and_blocks() {
    let machine = held_in(Phase::Watching, async |person, _| {
        assert_eq!(person.orders(abort()).await, Some(1));
        seconds(60).await;
    });
    assert_eq!(outcomes(&machine), ["a aborted by-operator"]);
    assert_eq!(history(&machine).known(None).unwrap().blocked.len(), 1);
    assert_eq!(machine.borrow().running, closure("base"));
}

#[test]
fn a_block_of_the_closure_on_trial_is_an_abort() {
    let machine = held_in(Phase::Watching, async |person, _| {
        let what = closure("one").to_string();
        assert_eq!(person.orders(Ask::Block { what }).await, Some(1));
        seconds(60).await;
    });
    assert_eq!(outcomes(&machine), ["a aborted by-operator"]);
    assert_eq!(machine.borrow().running, closure("base"));
}

#[test]
fn a_block_of_what_is_only_being_got_ready_ends_it_as_blocked() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").seconds = 30;
    live(&machine, async |person, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        seconds(40).await;
        let what = commit('a').to_string();
        person.orders(Ask::Block { what }).await;
        seconds(60).await;
    });
    assert_eq!(outcomes(&machine), ["a blocked blocked"]);
}

#[test]
fn abort_while_keeping_is_refused_and_while_reverting_is_nothing_to_do() {
    held_in(Phase::Keeping, async |person, _| {
        let Err(Refusal::NotPossible { hint, .. }) = person.says(abort()).await else {
            panic!("it was taken")
        };
        assert!(hint.contains("autodeployctl rollback"), "{hint}");
    });
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").healthy = false;
    machine.borrow_mut().activator.holds = Some(Phase::Reverting);
    live(&machine, async |person, machine| {
        while person.status().phase != "reverting" {
            seconds(1).await;
        }
        assert_eq!(person.orders(abort()).await, Some(1));
        assert_eq!(machine.borrow().answer, None);
    });
}

#[test]
fn rollback_without_a_number_is_an_abort_while_a_trial_is_on() {
    let machine = held_in(Phase::Watching, async |person, _| {
        assert_eq!(person.orders(Ask::Rollback { generation: None }).await, Some(1));
        seconds(60).await;
    });
    assert_eq!(outcomes(&machine), ["a aborted by-operator"]);
}

#[test]
fn rollback_with_a_number_is_an_abort_and_then_a_deployment() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    machine.borrow_mut().push('b', "two");
    machine.borrow_mut().activator.holds = Some(Phase::Watching);
    live(&machine, async |person, machine| {
        while person.status().phase != "watching" {
            seconds(1).await;
        }
        machine.borrow_mut().push('c', "three");
        until(&machine, |m| m.realised.contains(&closure("three"))).await;
        machine.borrow_mut().activator.holds = None;
        // Commit c only waits; it gives way, and is followed again afterwards.
        let rollback = person.orders(Ask::Rollback { generation: Some(1) }).await;
        assert_eq!(rollback, Some(4));
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        seconds(1).await;
    });
    assert_eq!(
        outcomes(&machine)[1..],
        ["b aborted by-operator", "c superseded by-operator", "- kept healthy", "c kept healthy"]
    );
}

#[test]
fn a_restart_of_the_agent_goes_on_with_the_same_deployment() {
    let machine = held_in(Phase::Watching, async |_, _| {});
    machine.borrow_mut().activator.holds = None;
    live(&machine, async |_, machine| {
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(1).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy"]);
    assert_eq!(rows(&machine)[0].attempts, 1);
    assert_eq!(machine.borrow().requests.len(), 1);
}

#[test]
fn confirm_is_told_to_a_trial_and_to_nothing_else() {
    held_in(Phase::Watching, async |person, machine| {
        let confirm = || Ask::Answer { id: None, word: ask::Word::Confirm };
        assert_eq!(person.orders(confirm()).await, Some(1));
        let told = machine.borrow().answer.clone().unwrap();
        assert_eq!((told.deployment.0, told.answer, told.uid), (1, Word::Confirm, 1000));
        let wrong = Ask::Answer { id: Some(7), word: ask::Word::Confirm };
        assert!(matches!(person.says(wrong).await, Err(Refusal::NotPossible { .. })));
    });
}
