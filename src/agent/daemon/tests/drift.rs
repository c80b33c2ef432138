//! Somebody else switches, or sets the profile, by hand.

use super::*;
use crate::agent::host::fake::closure;
use crate::config::settings::Drift;
use crate::model::deployment::Outcome;
use crate::model::event::EventKind;
use crate::model::failure::Reason;

/// Keeps commit `a`, switches to something else by hand, and goes on under this policy.
fn by_hand(drift: Drift, script: impl AsyncFnOnce(Person, Shared)) -> Shared {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    live(&machine, async |_, _| seconds(5).await);
    {
        let machine = &mut *machine.borrow_mut();
        machine.running = closure("other");
        machine.profile = Some(closure("other"));
    }
    let mut settings = settings();
    settings.activation.drift = drift;
    live_with(&machine, settings, async |person, machine| {
        seconds(1).await;
        let warned = person.status().warnings.iter().any(|one| one.contains("by hand"));
        assert!(warned || drift == Drift::Restore);
        script(person, machine).await;
    });
    let seen = |said: &crate::agent::history::Said| said.kind == EventKind::DriftSeen;
    assert_eq!(machine.borrow().journal.iter().filter(|said| seen(said)).count(), 1);
    machine
}

#[test]
fn report_leaves_it_and_deploys_the_next_other_closure() {
    let machine = by_hand(Drift::Report, async |_, machine| {
        seconds(600).await;
        assert_eq!(machine.borrow().running, closure("other"));
        machine.borrow_mut().push('b', "two");
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        seconds(1).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy", "b kept healthy"]);
}

#[test]
fn hold_waits_for_resume() {
    by_hand(Drift::Hold, async |person, machine| {
        machine.borrow_mut().push('b', "two");
        seconds(600).await;
        assert_eq!(machine.borrow().running, closure("other"));
        assert_eq!(person.status().gates[0].kind, "drift");
        person.says(Ask::Resume).await.unwrap();
        until(&machine, |m| m.profile == Some(closure("two"))).await;
    });
}

#[test]
fn restore_brings_the_kept_closure_back_once() {
    let machine = by_hand(Drift::Restore, async |_, machine| {
        until(&machine, |m| m.running == closure("one") && m.profile == Some(closure("one"))).await;
        seconds(60).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy", "- kept healthy"]);
}

#[test]
fn a_restore_that_meets_the_switch_by_hand_is_tried_again_until_that_has_ended() {
    let machine = by_hand(Drift::Restore, async |_, machine| {
        let held = (Outcome::Failed, Reason::LOCK_HELD, true);
        machine.borrow_mut().activator.ends = vec![held.clone(), held];
        until(&machine, |m| m.running == closure("one") && m.profile == Some(closure("one"))).await;
        seconds(600).await;
    });
    let (held, back) = ("- failed lock-held", "- kept healthy");
    assert_eq!(outcomes(&machine), ["a kept healthy", held, held, back]);
}

#[test]
fn a_generation_that_somebody_staged_is_not_taken_away() {
    let machine = Machine::new();
    machine.borrow_mut().profile = Some(closure("staged"));
    machine.borrow_mut().push('a', "one");
    live(&machine, async |person, machine| {
        seconds(60).await;
        assert_eq!(person.status().gates[0].kind, "staged-by-hand");
        assert_eq!(machine.borrow().requests, []);
        machine.borrow_mut().profile = Some(closure("base"));
        until(&machine, |m| m.profile == Some(closure("one"))).await;
    });
}
