//! The configuration is replaced while the agent runs.

use super::*;
use crate::agent::host::fake::closure;
use crate::agent::host::{Configured, Notice};
use crate::control::ask::RunNow;
use crate::model::deployment::Phase;
use crate::model::event::EventKind;
use crate::model::failure::{Failure, Reason};

fn has_ended(machine: &Machine) -> bool {
    machine.notices.last() == Some(&Notice::Stopping)
}

#[test]
fn an_idle_agent_makes_room_at_the_next_poll_and_begins_nothing_before() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    live(&machine, async |_, machine| {
        until(&machine, |m| m.poll_count > 2).await;
        machine.borrow_mut().configured = Configured::Replaced;
        machine.borrow_mut().push('b', "two");
        let polls = machine.borrow().poll_count;
        until(&machine, has_ended).await;
        assert_eq!(machine.borrow().poll_count, polls + 1);
    });
    assert_eq!(outcomes(&machine), ["a kept healthy"]);
    let why = machine.borrow().journal.last().unwrap().message.clone();
    assert!(why.contains("the configuration was replaced"), "{why}");

    machine.borrow_mut().configured = Configured::Same;
    live(&machine, async |_, machine| {
        until(&machine, |m| m.profile == Some(closure("two"))).await;
    });
}

#[test]
fn a_trial_and_a_long_operation_are_brought_to_their_end_first() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").seconds = 60;
    machine.borrow_mut().activator.holds = Some(Phase::Watching);
    live(&machine, async |_, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        machine.borrow_mut().configured = Configured::Replaced;
        seconds(45).await;
        assert!(!has_ended(&machine.borrow()), "it evaluates");
        until(&machine, has_ended).await;
    });
    assert_eq!(rows(&machine)[0].phase, "realising", "what was evaluated is recorded");
    assert_eq!(machine.borrow().realised, [], "and what is next is not begun");
    machine.borrow_mut().configured = Configured::Same;
    live(&machine, async |person, machine| {
        while person.status().phase != "watching" {
            seconds(1).await;
        }
        machine.borrow_mut().configured = Configured::Replaced;
        seconds(60).await;
        assert!(!has_ended(&machine.borrow()), "a trial is on");
        machine.borrow_mut().activator.holds = None;
        until(&machine, has_ended).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy"]);
}

#[test]
fn who_waits_for_run_now_is_answered_first() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    live(&machine, async |person, machine| {
        until(&machine, |m| m.poll_count > 2).await;
        machine.borrow_mut().configured = Configured::Replaced;
        assert_eq!(person.orders(Ask::RunNow(RunNow::default())).await, None);
        until(&machine, has_ended).await;
    });
}

#[test]
fn one_that_would_be_refused_is_said_once_and_the_agent_goes_on() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    let wrong = || Failure::new(Reason::INTERNAL, "`config.toml` line 4: unknown key `x`");
    let warned = |person: &Person| {
        person.status().warnings.iter().any(|one| one.contains("line 4: unknown key"))
    };
    live(&machine, async |person, machine| {
        until(&machine, |m| m.poll_count > 2).await;
        machine.borrow_mut().configured = Configured::Refused(wrong());
        seconds(600).await;
        assert!(warned(&person));
        machine.borrow_mut().push('b', "two");
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        machine.borrow_mut().configured = Configured::Same;
        seconds(30).await;
        assert!(!warned(&person));
        assert!(!has_ended(&machine.borrow()));
    });
    let refused =
        |said: &&crate::agent::history::Said| said.kind == EventKind::ConfigurationRefused;
    assert_eq!(machine.borrow().journal.iter().filter(refused).count(), 1);
}
