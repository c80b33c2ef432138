//! A wall clock that somebody sets, by years, while the agent runs.

use super::*;
use crate::agent::host::fake::Behaves;
use crate::model::event::EventKind;
use crate::model::failure::{Failure, Reason};

const TEN_YEARS_S: i64 = 10 * 365 * 24 * 3600;

fn does_not_evaluate(machine: &Shared) {
    let failure = Failure::new(Reason::EVALUATION_FAILED, "no");
    machine.borrow_mut().push('a', "one").evaluation = Behaves::Fails(failure);
}

fn evaluations(machine: &Shared) -> usize {
    machine.borrow().evaluated.len()
}

#[test]
fn a_clock_that_is_set_neither_ends_nor_stretches_the_pause_before_a_retry() {
    for jump in [TEN_YEARS_S, -TEN_YEARS_S] {
        let machine = Machine::new();
        does_not_evaluate(&machine);
        live(&machine, async |person, machine| {
            until(&machine, |m| m.evaluated.len() == 1).await;
            seconds(10).await;
            let before = person.status().gates[0].until.clone();
            machine.borrow_mut().wall_set_s = jump;
            seconds(15).await;
            assert_eq!(evaluations(&machine), 1, "{jump}");
            let until = person.status().gates[0].until.clone();
            assert_ne!(until, before, "it is shown by the clock as it goes now");
            seconds(10).await;
            assert_eq!(evaluations(&machine), 2, "{jump}");
        });
    }
}

#[test]
fn a_clock_that_was_set_while_no_agent_ran_stretches_nothing() {
    for (jump, soon) in [(TEN_YEARS_S, 2), (-TEN_YEARS_S, 2), (0, 1)] {
        let machine = Machine::new();
        does_not_evaluate(&machine);
        live(&machine, async |_, machine| {
            until(&machine, |m| m.evaluated.len() == 1).await;
            seconds(3).await;
        });
        machine.borrow_mut().wall_set_s = jump;
        live(&machine, async |_, machine| {
            seconds(12).await;
            assert_eq!(evaluations(&machine), soon, "{jump}");
        });
    }
}

#[test]
fn polls_keep_their_pace_and_nothing_is_called_away() {
    let polls = |jump: i64| {
        let machine = Machine::new();
        machine.borrow_mut().push('a', "one");
        let counted = std::cell::Cell::new(0);
        live(&machine, async |person, machine| {
            until(&machine, |m| m.profile == Some(closure("one"))).await;
            seconds(20).await;
            let before = machine.borrow().poll_count;
            machine.borrow_mut().wall_set_s = jump;
            seconds(100).await;
            // A remote that answers is not away, whatever the clock says of itself.
            let stale = person.status().remote.stale_reasons;
            assert!(stale.iter().all(|one| one.kind == "clock-behind"), "{jump}: {stale:?}");
            assert_eq!(!stale.is_empty(), jump < 0, "{jump}");
            let stale = |said: &&crate::agent::history::Said| said.kind == EventKind::RemoteStale;
            let told = machine.borrow().journal.iter().filter(stale).count();
            assert_eq!(told, usize::from(jump < 0), "{jump}");
            counted.set(machine.borrow().poll_count - before);
        });
        counted.get()
    };
    assert_eq!(polls(TEN_YEARS_S), polls(0));
    assert_eq!(polls(-TEN_YEARS_S), polls(0));
}

#[test]
fn a_remote_that_is_away_is_stale_although_the_clock_went_back() {
    let machine = Machine::new();
    machine.borrow_mut().polls =
        Behaves::Fails(Failure::new(Reason::UNREACHABLE, "the remote did not answer"));
    live(&machine, async |person, machine| {
        seconds(10).await;
        machine.borrow_mut().wall_set_s = -TEN_YEARS_S;
        seconds(25 * 3600).await;
        assert!(person.status().remote.stale);
    });
}
