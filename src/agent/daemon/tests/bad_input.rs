//! What bad input gets: a sentence, the old system, and a loop that goes on.

use std::rc::Rc;

use super::*;
use crate::agent::host::fake::{Behaves, closure, commit};
use crate::agent::policy::INTERRUPTIONS_ALLOWED;
use crate::config::settings::Severity;
use crate::handover::report::{BootDefault, CheckReport, CheckState, Report};
use crate::model::deployment::{Outcome, Phase};
use crate::model::event::EventKind;
use crate::model::failure::{Failure, Reason};

fn fails(reason: Reason) -> Behaves {
    Behaves::Fails(Failure::new(reason, "it did not work").hint("look at it"))
}

/// Breaks commit `a`, waits, and expects it to fail for this reason, the next commit to be kept.
#[track_caller]
fn check(reason: Reason, spoil: impl Fn(&mut Machine)) {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    spoil(&mut machine.borrow_mut());
    live(&machine, async |person, machine| {
        seconds(15).await;
        let deployment = person.status().deployment.unwrap();
        assert_eq!(deployment.outcome.as_deref(), Some("failed"));
        assert_eq!(deployment.reason.as_deref(), Some(reason.as_str()));
        assert_eq!(deployment.message, "it did not work");
        assert_eq!(person.status().gates[0].kind, "retry");
        machine.borrow_mut().fetches = Behaves::Well;
        machine.borrow_mut().push('b', "two");
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        seconds(1).await;
    });
    assert_eq!(outcomes(&machine), [format!("a failed {reason}"), "b kept healthy".to_owned()]);
    assert_eq!(rows(&machine)[0].hint.as_deref(), Some("look at it"));
}

#[test]
fn what_fails_before_the_trial_blocks_nothing() {
    check(Reason::FETCH_FAILED, |m| m.fetches = fails(Reason::FETCH_FAILED));
    let spoil = |m: &mut Machine| {
        m.remote.get_mut(&commit('a')).unwrap().evaluation = fails(Reason::EVALUATION_FAILED)
    };
    check(Reason::EVALUATION_FAILED, spoil);
    let spoil = |m: &mut Machine| {
        m.remote.get_mut(&commit('a')).unwrap().build = fails(Reason::BUILD_FAILED)
    };
    check(Reason::BUILD_FAILED, spoil);
}

#[test]
fn a_failure_is_tried_again_with_growing_pauses() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").evaluation = fails(Reason::EVALUATION_FAILED);
    live(&machine, async |_, _| seconds(240).await);
    // After 30 s, 60 s, 120 s.
    assert_eq!(machine.borrow().evaluated.len(), 4);
    let attempts: Vec<_> = rows(&machine).iter().map(|row| row.attempts).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    // A restart does not begin anew.
    live(&machine, async |_, _| seconds(60).await);
    assert_eq!(machine.borrow().evaluated.len(), 4);
}

#[test]
fn a_remote_that_fails_or_hangs_is_asked_again_and_said_to_be_stale() {
    for polls in [fails(Reason::UNREACHABLE), Behaves::Hangs] {
        let machine = Machine::new();
        machine.borrow_mut().push('a', "one");
        machine.borrow_mut().polls = polls;
        let mut settings = settings();
        settings.source.stale_after = Duration::from_secs(600);
        live_with(&machine, settings, async |person, machine| {
            seconds(500).await;
            let (count, remote) = (machine.borrow().poll_count, person.status().remote);
            assert!((3..12).contains(&count), "{count}");
            assert!(remote.last_error.is_some() && !remote.stale);
            seconds(200).await;
            assert!(person.status().remote.stale);
            machine.borrow_mut().polls = Behaves::Well;
            until(&machine, |m| m.profile == Some(closure("one"))).await;
        });
        let count = |kind| machine.borrow().journal.iter().filter(|said| said.kind == kind).count();
        assert_eq!(count(EventKind::PollFailed), 1);
        assert_eq!(count(EventKind::RemoteStale), 1);
        assert_eq!(count(EventKind::PollRecovered), 1);
    }
}

#[test]
fn a_tip_that_does_not_descend_from_the_mark_is_refused_once() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    machine.borrow_mut().tip = None;
    machine.borrow_mut().push('b', "two");
    live(&machine, async |_, _| seconds(7200).await);
    assert_eq!(outcomes(&machine), ["a kept healthy", "b failed not-a-descendant"]);
    let message = rows(&machine)[1].message.clone();
    assert!(message.contains(commit('a').as_str()) && message.contains(commit('b').as_str()));
    assert_eq!(machine.borrow().evaluated, [commit('a')]);
}

#[test]
fn a_commit_that_waited_behind_a_trial_has_to_descend_from_what_was_kept() {
    use crate::model::deployment::Phase;
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.holds = Some(Phase::Watching);
    live(&machine, async |_, machine| {
        until(&machine, |m| m.running == closure("one")).await;
        // Beside commit a, not on top of it.
        machine.borrow_mut().tip = None;
        machine.borrow_mut().push('b', "two");
        until(&machine, |m| m.realised.contains(&closure("two"))).await;
        machine.borrow_mut().activator.holds = None;
        seconds(60).await;
    });
    assert_eq!(outcomes(&machine), ["a kept healthy", "b failed not-a-descendant"]);
    assert_eq!(machine.borrow().running, closure("one"));
}

#[test]
fn an_activator_that_takes_no_request_is_reported_and_asked_again() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.dead = true;
    live(&machine, async |person, machine| {
        until(&machine, |m| m.requests.len() == 3).await;
        let warned = |person: &Person| {
            let warnings = person.status().warnings;
            warnings.iter().any(|one| one.contains("did not take the request"))
        };
        let told = |m: &Machine| {
            m.journal.iter().filter(|said| said.kind == EventKind::ActivatorUnreachable).count()
        };
        assert_eq!(told(&machine.borrow()), 1);
        for _ in 0..30 {
            seconds(1).await;
            assert!(warned(&person));
        }
        machine.borrow_mut().activator.dead = false;
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(1).await;
        assert!(!warned(&person));
    });
    assert_eq!(outcomes(&machine).len(), 1);
}

/// Ends the trials of commit `a` like this one after the other, and expects these outcomes.
#[track_caller]
fn ends(ends: &[(Outcome, Reason, bool)], expected: &[&str]) -> Shared {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.ends = ends.to_vec();
    live(&machine, async |_, _| seconds(3600).await);
    assert_eq!(outcomes(&machine), expected);
    machine
}

#[test]
fn what_was_not_the_commits_fault_is_tried_again_as_the_activator_says() {
    let environment = |retry| (Outcome::Reverted, Reason::ENVIRONMENT, retry);
    ends(
        &[environment(true), environment(true)],
        &["a reverted environment", "a reverted environment", "a kept healthy"],
    );
    let machine = ends(
        &[environment(true), environment(true), environment(false)],
        &["a reverted environment", "a reverted environment", "a reverted environment"],
    );
    assert_eq!(history(&machine).known(None).unwrap().blocked.len(), 1);
    ends(&[(Outcome::Failed, Reason::LOCK_HELD, true)], &["a failed lock-held", "a kept healthy"]);
}

#[test]
fn a_record_that_the_activator_lost_interrupts_the_trial() {
    use crate::model::deployment::Phase;
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.holds = Some(Phase::Baseline);
    live(&machine, async |person, machine| {
        while person.status().phase != "baseline" {
            seconds(1).await;
        }
        let machine = &mut *machine.borrow_mut();
        (machine.activator.record.trial, machine.activator.holds) = (None, None);
        machine.report = Some(Rc::new(machine.activator.record.clone()));
    });
    live(&machine, async |_, _| seconds(60).await);
    assert_eq!(outcomes(&machine), ["a interrupted record-unreadable", "a kept healthy"]);
    assert_eq!(rows(&machine)[1].attempts, INTERRUPTIONS_ALLOWED + 1);
}

#[test]
fn a_lost_history_is_filled_from_the_activators_report() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    machine.borrow_mut().push('b', "bad").healthy = false;
    assert!(live_until(&machine, |m| !m.activator.record.reverted.is_empty()));
    let file = machine.borrow().directory.path().join(crate::agent::history::FILE);
    std::fs::write(&file, "this is no database").unwrap();
    live(&machine, async |person, _| {
        seconds(60).await;
        assert_eq!(person.status().blocked[0].toplevel, closure("bad").to_string());
    });
    assert_eq!(outcomes(&machine), ["b blocked blocked"]);
    assert_eq!(rows(&machine)[0].id, 1001);
    assert_eq!(history(&machine).known(None).unwrap().mark, Some(commit('a')));
}

#[test]
fn after_a_loss_of_the_history_no_number_is_used_twice() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    // The activator has never heard of this one.
    machine.borrow_mut().push('b', "two").evaluation = fails(Reason::EVALUATION_FAILED);
    live(&machine, async |_, machine| {
        until(&machine, |m| m.evaluated.len() == 2).await;
        seconds(1).await;
    });
    for (first, letter) in [(1001, 'c'), (2001, 'd')] {
        let directory = machine.borrow().directory.path().to_owned();
        for entry in std::fs::read_dir(directory).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        live(&machine, async |person, machine| {
            until(&machine, |m| m.poll_count > 0).await;
            seconds(60).await;
            assert!(person.status().deployment.unwrap().id >= first as i64);
            machine.borrow_mut().push(letter, &format!("from-{first}"));
            let wanted = closure(&format!("from-{first}"));
            until(&machine, |m| m.profile.as_ref() == Some(&wanted)).await;
            seconds(1).await;
        });
        let ids: Vec<_> = rows(&machine).iter().map(|row| row.id).collect();
        assert_eq!(ids[0], first, "{ids:?}");
    }
}

#[test]
fn a_report_that_comes_late_is_counted_on_from_as_well() {
    let machine = Machine::new();
    for (letter, name) in [('a', "one"), ('b', "two")] {
        machine.borrow_mut().push(letter, name);
        assert!(live_until(&machine, |m| m.profile == Some(closure(name))));
    }
    let file = machine.borrow().directory.path().join(crate::agent::history::FILE);
    std::fs::remove_file(file).unwrap();
    let report = machine.borrow_mut().report.take();
    machine.borrow_mut().activator.dead = true;
    live(&machine, async |_, machine| {
        seconds(30).await;
        machine.borrow_mut().report = report;
        machine.borrow_mut().activator.dead = false;
        machine.borrow_mut().push('c', "three");
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        seconds(1).await;
    });
    assert_eq!(rows(&machine).iter().map(|row| row.id).collect::<Vec<_>>(), [1, 1001]);
}

#[test]
fn what_a_lost_deployment_of_the_same_number_was_found_to_be_is_not_shown() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    let file = machine.borrow().directory.path().join(crate::agent::history::FILE);
    std::fs::remove_file(file).unwrap();
    let mut report = machine.borrow_mut().report.take().unwrap().as_ref().clone();
    report.trial.as_mut().unwrap().checks.push(CheckReport {
        name: "web".to_owned(),
        kind: "http".to_owned(),
        severity: Severity::Required,
        state: CheckState::Red,
        excused: false,
        message: "500".to_owned(),
    });
    machine.borrow_mut().activator.dead = true;
    machine.borrow_mut().push('c', "three");
    live(&machine, async |person, machine| {
        seconds(30).await;
        machine.borrow_mut().report = Some(report.into());
        seconds(10).await;
        let status = person.status();
        assert_eq!(status.deployment.unwrap().id, 1);
        assert_eq!(status.checks, []);
    });
}

/// The activator is watching commit `a`, and the history of that is gone.
fn lost_while_watching() -> Shared {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.holds = Some(Phase::Watching);
    live(&machine, async |person, _| {
        while person.status().phase != "watching" {
            seconds(1).await;
        }
    });
    let file = machine.borrow().directory.path().join(crate::agent::history::FILE);
    std::fs::remove_file(file).unwrap();
    machine
}

#[test]
fn a_poll_gives_up_soon_also_where_only_the_report_knows_of_the_trial() {
    let machine = lost_while_watching();
    machine.borrow_mut().polls = Behaves::Hangs;
    let before = machine.borrow().poll_count;
    // The first has to be over for the second to begin.
    live(&machine, async |_, _| seconds(20).await);
    assert_eq!(machine.borrow().poll_count - before, 2);
}

#[test]
fn the_lifeline_speaks_of_the_commit_on_trial_also_where_only_the_report_knows_of_it() {
    let machine = lost_while_watching();
    machine.borrow_mut().push('b', "two");
    live(&machine, async |_, machine| {
        seconds(30).await;
        let lifeline = machine.borrow().lifeline.clone().unwrap();
        assert_eq!(lifeline.poll.unwrap().contains, [commit('a')]);
    });
}

#[test]
fn a_closure_that_has_to_be_booted_is_held_where_no_boot_can_be_armed() {
    let machine = Machine::new();
    let never_once = Some("there is no loader".to_owned());
    let report = Report { version: 1, never_once, ..Report::default() };
    machine.borrow_mut().activator.record = report.clone();
    machine.borrow_mut().report = Some(report.into());
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().reboot_reasons = vec!["the kernel differs".into()];
    live(&machine, async |person, machine| {
        seconds(60).await;
        let status = person.status();
        assert_eq!(status.phase, "held");
        assert_eq!(status.gates[0].kind, "reboot-needed");
        let why = "no single boot can be armed: there is no loader";
        assert_eq!(status.reboot_needed.reasons, ["the kernel differs", why]);
        machine.borrow_mut().push('b', "two");
        until(&machine, |m| m.realised.contains(&closure("two"))).await;
        machine.borrow_mut().reboot_reasons.clear();
        until(&machine, |m| m.profile == Some(closure("two"))).await;
    });
    assert_eq!(machine.borrow().requests.len(), 1);
}

#[test]
fn a_full_disk_holds_everything_back_and_loses_nothing() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    live(&machine, async |person, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        machine.borrow_mut().full_disk = true;
        seconds(300).await;
        let warnings = person.status().warnings;
        let told = |what: &str| warnings.iter().any(|one| one.contains(what));
        assert!(told("could not write the history"), "{warnings:?}");
        assert_eq!(machine.borrow().requests, []);
        let refused = person.says(Ask::Pause { reason: "x".into() }).await;
        assert!(matches!(refused, Err(Refusal::Failed { .. })), "{refused:?}");
        machine.borrow_mut().full_disk = false;
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(120).await;
        assert!(person.status().warnings.iter().all(|one| !one.contains("history")));
    });
    assert_eq!(outcomes(&machine), ["a kept healthy"]);
    // What was evaluated before the disk was full was not evaluated again.
    assert_eq!(machine.borrow().evaluated.len(), 1);
}

#[test]
fn a_next_boot_that_would_bring_something_else_is_warned_of_while_the_profile_stands() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    live(&machine, async |person, machine| {
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(5).await;
        let warned =
            || person.status().warnings.iter().any(|one| one.contains("the next boot starts"));
        assert!(!warned());
        let profile = Some(closure("one"));
        let default = BootDefault { toplevel: closure("two"), generation: None, profile };
        {
            let machine = &mut *machine.borrow_mut();
            machine.activator.record.boot_default = Some(default);
            machine.report = Some(Rc::new(machine.activator.record.clone()));
        }
        seconds(120).await;
        assert!(warned(), "{:?}", person.status().warnings);
        assert_eq!(person.status().boot_default.unwrap().toplevel, closure("two").to_string());
        machine.borrow_mut().profile = Some(closure("three"));
        seconds(120).await;
        assert!(!warned() && person.status().boot_default.is_none());
    });
}

#[test]
fn without_a_history_nothing_is_begun_and_questions_are_answered() {
    use crate::agent::host::fake::FakeHost;
    use crate::control::ask::RunNow;
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let mut agent = Agent::new(FakeHost::start(&machine), settings(), Start::Restart);
        agent.without_history("could not open `history.sqlite`: no space left".into());
        let inbox = agent.inbox();
        let person = Person { asks: inbox.asks, status: inbox.status };
        let script = async {
            seconds(50).await;
            let warned = person.status().warnings.iter().any(|one| one.contains("no space left"));
            assert!(warned);
            let refused = person.says(Ask::RunNow(RunNow::default())).await;
            assert!(matches!(refused, Err(Refusal::Failed { .. })), "{refused:?}");
        };
        tokio::join!(agent.run(seconds(60), None), script);
    });
    assert_eq!(machine.borrow().evaluated, []);
    assert_eq!(outcomes(&machine), Vec::<String>::new());
}

#[test]
fn run_now_waits_until_a_new_history_is_filled() {
    use crate::control::ask::RunNow;
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.dead = true;
    machine.borrow_mut().report = None;
    live(&machine, async |person, _| {
        assert_eq!(person.orders(Ask::RunNow(RunNow::default())).await, Some(1));
    });
}

#[test]
fn the_watchdog_is_fed_whatever_hangs() {
    use crate::agent::host::Notice;
    use crate::agent::host::fake::FakeHost;
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").evaluation = Behaves::Hangs;
    machine.borrow_mut().polls = Behaves::Well;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
        let agent = Agent::new(FakeHost::start(&machine), settings(), Start::Restart);
        agent.run(seconds(301), Some(Duration::from_secs(30))).await;
    });
    let alive = machine.borrow().notices.iter().filter(|one| **one == Notice::Alive).count();
    assert_eq!(alive, 10);
    assert_eq!(machine.borrow().notices.last(), Some(&Notice::Stopping));
    assert_eq!(machine.borrow().halts, 1);
}
