//! Going back by hand from what was kept.

use super::*;
use crate::agent::host::fake::{closure, commit};

#[test]
fn rollback_goes_to_what_ran_before_and_blocks_what_it_leaves() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    live(&machine, async |person, machine| {
        assert_eq!(person.orders(Ask::Rollback { generation: None }).await, Some(3));
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(600).await;
        let status = person.status();
        assert_eq!(status.blocked[0].toplevel, closure("two").to_string());
        assert_eq!(status.blocked[0].reason, "by-operator");
        assert_eq!(status.running.commit, Some(commit('a').to_string()));
        // The branch goes on being followed, from where it was.
        machine.borrow_mut().push('c', "three");
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        seconds(1).await;
    });
    let last = &outcomes(&machine)[2..];
    assert_eq!(last, ["a kept healthy", "c kept healthy"]);
    assert_eq!(history(&machine).known(None).unwrap().mark, Some(commit('c')));
}

#[test]
fn rollback_means_the_recorded_system_and_not_the_number_before() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    // Somebody made a generation by hand in between.
    machine.borrow_mut().generations.insert(9, closure("by-hand"));
    live(&machine, async |person, machine| {
        person.orders(Ask::Rollback { generation: None }).await;
        until(&machine, |m| m.profile == Some(closure("one"))).await;
    });
}

#[test]
fn a_second_rollback_goes_one_further_back() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    live(&machine, async |person, machine| {
        for name in ["one", "base"] {
            person.orders(Ask::Rollback { generation: None }).await;
            until(&machine, |m| m.profile == Some(closure(name))).await;
            seconds(1).await;
        }
    });
}

#[test]
fn rollback_to_a_number_goes_there() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    live(&machine, async |person, machine| {
        person.orders(Ask::Rollback { generation: Some(1) }).await;
        until(&machine, |m| m.profile == Some(closure("base"))).await;
        assert_eq!(machine.borrow().requests.last().unwrap().generation, Some(1));
    });
}

#[test]
fn what_was_put_there_by_hand_is_blocked_without_a_commit_when_it_is_left() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    machine.borrow_mut().running = closure("by-hand");
    live(&machine, async |person, machine| {
        person.orders(Ask::Rollback { generation: Some(2) }).await;
        until(&machine, |m| m.running == closure("one")).await;
        seconds(5).await;
        let blocked = person.status().blocked;
        assert_eq!(blocked.len(), 1);
        assert_eq!(blocked[0].toplevel, closure("by-hand").to_string());
        assert_eq!(blocked[0].commit, None);
    });
}

#[test]
fn what_cannot_be_gone_back_to_is_refused_with_a_hint() {
    let machine = kept(&[('a', "one")]);
    live(&machine, async |person, _| {
        let there = person.says(Ask::Rollback { generation: Some(77) }).await;
        assert!(matches!(there, Err(Refusal::NotFound { .. })), "{there:?}");
        let running = person.says(Ask::Rollback { generation: Some(2) }).await;
        assert!(matches!(running, Err(Refusal::NotPossible { .. })), "{running:?}");
        let what = closure("base").to_string();
        person.says(Ask::Block { what }).await.unwrap();
        let blocked = person.says(Ask::Rollback { generation: Some(1) }).await;
        assert!(matches!(blocked, Err(Refusal::NotPossible { .. })), "{blocked:?}");
    });
    let fresh = Machine::new();
    live(&fresh, async |person, _| {
        let nothing = person.says(Ask::Rollback { generation: None }).await;
        assert!(matches!(nothing, Err(Refusal::NotFound { .. })), "{nothing:?}");
    });
}
