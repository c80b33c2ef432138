//! A closure that waits for its boot, on the whole loop.

use super::*;
use crate::agent::host::fake::{Behaves, closure, commit};
use crate::model::failure::{Failure, Reason};

/// A machine on which commit `a` has to be booted, and is armed.
fn armed(script: impl AsyncFnOnce(Person, Shared)) -> Shared {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().reboot_reasons = vec!["the kernel differs".into()];
    live(&machine, async |person, machine| {
        while person.status().phase != "armed" {
            seconds(1).await;
        }
        script(person, machine).await;
    });
    machine
}

#[test]
fn it_is_shown_and_waits_for_whoever_reboots() {
    let machine = armed(async |person, machine| {
        // Nothing is hurried for it: it may wait for weeks.
        let polls = machine.borrow().poll_count;
        seconds(600).await;
        let polled = machine.borrow().poll_count - polls;
        assert!((1..=61).contains(&polled), "{polled}");
        let status = person.status();
        assert_eq!(status.phase, "armed");
        assert!(status.reboot_needed.needed);
        assert_eq!(status.reboot_needed.reasons, ["the kernel differs"]);
        assert_eq!(status.gates, []);
        assert_eq!(status.deployment.unwrap().outcome, None);
    });
    assert_eq!(outcomes(&machine), ["a armed"]);
    assert_eq!(machine.borrow().requests.len(), 1);
}

#[test]
fn the_boot_is_its_trial_and_the_outcome_arrives() {
    let machine = armed(async |_, _| {});
    machine.borrow_mut().reboot_reasons.clear();
    machine.borrow_mut().reboot();
    live(&machine, async |_, machine| {
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(1).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy"]);
    assert_eq!(machine.borrow().requests.len(), 1);
    let mark = history(&machine).known(None).unwrap().mark;
    assert_eq!(mark, Some(commit('a')));
}

#[test]
fn another_run_of_the_agent_finds_it_again() {
    let machine = armed(async |_, _| {});
    live(&machine, async |person, _| {
        seconds(60).await;
        assert_eq!(person.status().phase, "armed");
    });
    assert_eq!(outcomes(&machine), ["a armed"]);
    assert_eq!(machine.borrow().requests.len(), 1);
}

#[test]
fn a_newer_commit_takes_its_place_once_that_is_ready() {
    let machine = armed(async |_, machine| {
        // One that does not build takes nothing away.
        let failure = Failure::new(Reason::BUILD_FAILED, "it does not build");
        machine.borrow_mut().push('b', "two").build = Behaves::Fails(failure);
        until(&machine, |m| m.evaluated.contains(&commit('b'))).await;
        seconds(5).await;
        assert_eq!(machine.borrow().answer, None);
        machine.borrow_mut().push('c', "three");
        machine.borrow_mut().reboot_reasons.clear();
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        seconds(1).await;
    });
    assert_eq!(
        outcomes(&machine),
        ["a superseded newer-commit", "b failed build-failed", "c kept healthy"]
    );
}

#[test]
fn abort_rollback_and_block_take_it_back() {
    let ends = |ask: fn() -> Ask, expected: &str| {
        let machine = armed(async |person, machine| {
            person.says(ask()).await.unwrap();
            let over = |m: &Machine| {
                m.activator.record.trial.as_ref().is_some_and(|trial| trial.outcome.is_some())
            };
            until(&machine, over).await;
            seconds(60).await;
        });
        assert_eq!(outcomes(&machine), [expected]);
        assert_eq!(machine.borrow().requests.len(), 1);
        assert_eq!(machine.borrow().running, closure("base"));
    };
    use crate::control::ask::Word;
    ends(|| Ask::Answer { id: None, word: Word::Abort }, "a aborted by-operator");
    ends(|| Ask::Rollback { generation: None }, "a aborted by-operator");
    ends(|| Ask::Block { what: closure("one").to_string() }, "a aborted by-operator");
}
