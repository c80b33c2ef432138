//! A remote that stands still or is cut off, and a clock that goes back.

use super::*;
use crate::agent::host::fake::{Behaves, closure};
use crate::model::event::EventKind;
use crate::model::failure::{Failure, Reason};

const HOUR_S: i64 = 3600;

/// Now, on the wall clock of the machine in memory, until somebody sets it.
fn wall(machine: &Machine) -> i64 {
    1_800_000_000 + (machine.clock_ms / 1000) as i64
}

/// Settings that call a remote stale after two hours.
fn impatient() -> Settings {
    let mut settings = settings();
    settings.source.stale_after = Duration::from_secs(2 * HOUR_S as u64);
    settings
}

fn kept(dated: impl Fn(i64) -> i64) -> Shared {
    let machine = Machine::new();
    let now = wall(&machine.borrow());
    machine.borrow_mut().push('a', "one").dated = dated(now);
    live(&machine, async |_, machine| {
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(5).await;
    });
    machine
}

fn kinds(person: &Person) -> String {
    let status = person.status();
    let kinds: Vec<_> = status.remote.stale_reasons.iter().map(|one| one.kind.clone()).collect();
    assert_eq!(status.remote.stale, !kinds.is_empty());
    for one in &status.remote.stale_reasons {
        assert!(status.warnings.contains(&one.message) && !one.hint.is_empty());
    }
    kinds.join(" ")
}

fn told(machine: &Shared) -> (usize, usize) {
    let machine = machine.borrow();
    let count = |kind| machine.journal.iter().filter(|said| said.kind == kind).count();
    (count(EventKind::RemoteStale), count(EventKind::RemoteFresh))
}

#[test]
fn an_old_tip_is_stale_where_a_limit_is_set_also_after_restarts_and_without_a_fetch() {
    let mut limited = settings();
    limited.source.max_tip_age = Some(Duration::from_secs(2 * HOUR_S as u64));
    let machine = kept(|now| now - HOUR_S);
    live_with(&machine, limited.clone(), async |person, _| {
        seconds(1800).await;
        assert_eq!(kinds(&person), "");
        seconds(3600).await;
        assert_eq!(kinds(&person), "old-tip");
    });
    for _ in 0..2 {
        live_with(&machine, limited.clone(), async |person, _| {
            seconds(15).await;
            assert_eq!(kinds(&person), "old-tip");
        });
        machine.borrow_mut().reboot();
    }
    assert_eq!(told(&machine), (1, 0));
    assert_eq!(machine.borrow().fetched.len(), 1);
    live(&machine, async |person, _| {
        seconds(15).await;
        assert_eq!(kinds(&person), "", "no limit is set");
    });
    assert_eq!(told(&machine), (1, 1));
    live_with(&machine, limited, async |person, machine| {
        let now = wall(&machine.borrow());
        machine.borrow_mut().push('b', "two").dated = now;
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        seconds(5).await;
        assert_eq!(kinds(&person), "");
    });
}

#[test]
fn a_clock_that_was_set_back_is_told_once_until_it_is_right_again() {
    let machine = kept(|now| now - 30 * 24 * HOUR_S);
    live(&machine, async |person, machine| {
        seconds(20).await;
        machine.borrow_mut().wall_set_s = -2 * HOUR_S;
        seconds(60).await;
        assert_eq!(kinds(&person), "clock-behind");
        let message = &person.status().remote.stale_reasons[0].message;
        assert!(message.contains("is behind an earlier poll"), "{message}");
    });
    live(&machine, async |person, _| {
        seconds(60).await;
        assert_eq!(kinds(&person), "clock-behind", "a restart does not forget it");
    });
    assert_eq!(told(&machine), (1, 0));
    live(&machine, async |person, machine| {
        machine.borrow_mut().wall_set_s = 0;
        seconds(60).await;
        assert_eq!(kinds(&person), "");
    });
    assert_eq!(told(&machine), (1, 1));
}

#[test]
fn a_clock_that_was_ahead_and_was_set_right_is_believed_after_a_while() {
    let machine = kept(|now| now - HOUR_S);
    live_with(&machine, impatient(), async |person, machine| {
        machine.borrow_mut().wall_set_s = 1000 * 24 * HOUR_S;
        seconds(60).await;
        assert_eq!(kinds(&person), "");
        machine.borrow_mut().wall_set_s = 0;
        seconds(60).await;
        assert_eq!(kinds(&person), "clock-behind");
        // `source.stale_after`
        seconds(2 * 3600).await;
        assert_eq!(kinds(&person), "");
    });
    live(&machine, async |person, _| {
        seconds(60).await;
        assert_eq!(kinds(&person), "");
    });
    assert_eq!(told(&machine), (1, 1));
}

#[test]
fn a_clock_behind_the_tip_is_told_as_long_as_it_is_and_a_few_minutes_are_nothing() {
    let machine = kept(|now| now + 120);
    live(&machine, async |person, _| {
        seconds(5).await;
        assert_eq!(kinds(&person), "");
    });
    let machine = kept(|now| now + 30 * 24 * HOUR_S);
    live_with(&machine, impatient(), async |person, _| {
        seconds(3 * 3600).await;
        assert_eq!(kinds(&person), "clock-behind");
        let message = &person.status().remote.stale_reasons[0].message;
        assert!(message.contains("is behind the date of commit `aaaaaaaa"), "{message}");
    });
    assert_eq!(told(&machine), (1, 0));
}

#[test]
fn a_power_cut_does_not_make_the_last_good_poll_look_old() {
    let machine = kept(|now| now);
    let cut = |machine: &Shared| {
        let run = || {
            live_with(machine, impatient(), async |_, machine| {
                seconds(4 * 3600).await;
                machine.borrow_mut().fuse = Some(0);
                seconds(3600).await;
            });
        };
        let cause = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert!(cause.is::<PowerCut>());
    };
    cut(&machine);
    machine.borrow_mut().reboot();
    machine.borrow_mut().polls =
        Behaves::Fails(Failure::new(Reason::UNREACHABLE, "the remote did not answer"));
    live_with(&machine, impatient(), async |person, _| {
        seconds(60).await;
        assert_eq!(kinds(&person), "");
        seconds(3 * 3600).await;
        assert_eq!(kinds(&person), "no-answer");
    });
}
