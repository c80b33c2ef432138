//! Keys that come with a generation count only while it is the one that runs, and only what was
//! verified with them at that time (P21).

use super::*;
use crate::agent::host::fake::{closure, commit};
use crate::model::deployment::Phase;

/// A machine that runs a kept system which lets the old key sign.
fn machine_with_the_old_key() -> Shared {
    let machine = Machine::new();
    machine.borrow_mut().first_keys = Some(vec!["old"]);
    push(&machine, 'a', ("one", "old"), &["old"]);
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    machine
}

fn push(
    machine: &Shared,
    letter: char,
    (name, key): (&str, &'static str),
    brings: &[&'static str],
) {
    let mut machine = machine.borrow_mut();
    let commit = machine.push(letter, name);
    commit.signed_by = Some(key);
    commit.brings_keys = Some(brings.to_vec());
}

#[test]
fn p21_a_new_key_counts_from_when_the_commit_that_brings_it_is_kept() {
    let machine = machine_with_the_old_key();
    push(&machine, 'b', ("two", "new"), &["new"]);
    live(&machine, async |_, machine| {
        until(&machine, |m| m.poll_count > 5).await;
        assert_eq!(machine.borrow().running, closure("one"));
        push(&machine, 'c', ("three", "old"), &["new"]);
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        push(&machine, 'd', ("four", "new"), &["new"]);
        until(&machine, |m| m.profile == Some(closure("four"))).await;
        push(&machine, 'e', ("five", "old"), &["old"]);
        seconds(600).await;
        assert_eq!(machine.borrow().running, closure("four"));
    });
    assert_eq!(
        outcomes(&machine),
        [
            "a kept healthy",
            "b failed untrusted-key",
            "c kept healthy",
            "d kept healthy",
            "e failed untrusted-key",
        ]
    );
    let told = machine.borrow().journal.iter().map(|said| said.message.clone()).collect::<Vec<_>>();
    let signed = "commit `dddddddd` may be deployed: signed by `somebody` (key `new`)";
    assert!(told.iter().any(|message| message == signed), "{told:#?}");
}

/// What the old key brings goes on trial, with a new key in it, and stays there for now.
fn machine_with_a_new_key_on_trial() -> Shared {
    let machine = machine_with_the_old_key();
    push(&machine, 'b', ("two", "old"), &["new"]);
    machine.borrow_mut().remote.get_mut(&commit('b')).unwrap().healthy = false;
    machine.borrow_mut().activator.holds = Some(Phase::Watching);
    machine
}

/// What the old key brings is on trial, with a new key in it; meanwhile a commit comes that only the
/// new key has signed, and is got ready. Then the trial is reverted.
#[track_caller]
fn check_reverted(closure_of_the_next: &str, restart: bool) {
    let machine = machine_with_a_new_key_on_trial();
    live(&machine, async |_, machine| {
        until(&machine, |m| m.running == closure("two")).await;
        push(&machine, 'c', (closure_of_the_next, "new"), &["new"]);
        until(&machine, |m| m.evaluated.contains(&commit('c'))).await;
        seconds(30).await;
        if !restart {
            machine.borrow_mut().activator.holds = None;
            seconds(900).await;
        }
    });
    let waiting = rows(&machine).pop().unwrap();
    if restart {
        assert_eq!(waiting.phase, "held", "verified with the key that is on trial");
        machine.borrow_mut().activator.holds = None;
        live(&machine, async |_, _| seconds(900).await);
    }
    assert_eq!(machine.borrow().running, closure("one"));
    assert_eq!(machine.borrow().requests.len(), 2, "no trial of what the new key signed");
    assert_eq!(history(&machine).known(None).unwrap().mark, Some(commit('a')));
    assert_eq!(
        outcomes(&machine),
        ["a kept healthy", "b reverted unhealthy", "c failed untrusted-key"]
    );
}

#[test]
fn p21_keys_of_an_unproved_generation_verify_nothing_after_its_revert() {
    check_reverted("three", false);
}

#[test]
fn p21_nor_after_a_restart_of_the_agent() {
    check_reverted("three", true);
}

#[test]
fn p21_nor_does_what_they_verified_move_the_mark_because_it_runs_already() {
    check_reverted("one", false);
    check_reverted("one", true);
}

#[test]
fn p21_what_the_keys_on_trial_refuse_is_looked_at_again_after_the_revert() {
    let machine = machine_with_a_new_key_on_trial();
    live(&machine, async |_, machine| {
        until(&machine, |m| m.running == closure("two")).await;
        push(&machine, 'c', ("three", "old"), &["old"]);
        seconds(60).await;
        machine.borrow_mut().activator.holds = None;
        until(&machine, |m| m.profile == Some(closure("three"))).await;
    });
    let all = outcomes(&machine);
    assert!(all.contains(&"c failed untrusted-key".to_owned()), "{all:?}");
    assert_eq!(all.last().unwrap(), "c kept healthy");
}
