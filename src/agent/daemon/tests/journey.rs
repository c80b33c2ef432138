//! A commit's way, from the poll to its end.

use super::*;
use crate::agent::host::Notice;
use crate::agent::host::fake::{Behaves, closure, commit};
use crate::control::ask::RunNow;
use crate::model::deployment::Phase;
use crate::model::failure::{Failure, Reason};

#[test]
fn a_good_push_is_kept_and_becomes_the_mark() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    live(&machine, async |person, machine| {
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(1).await;
        let status = person.status();
        assert_eq!(status.phase, "idle");
        assert_eq!(status.running.commit, Some(commit('a').to_string()));
        assert_eq!(status.running.generation, Some(2));
        assert_eq!(status.deployment.unwrap().outcome.as_deref(), Some("kept"));
    });
    assert_eq!(outcomes(&machine), ["a kept healthy"]);
    assert_eq!(machine.borrow().announced, 1);
    let known = history(&machine).known(None).unwrap();
    assert_eq!(known.mark, Some(commit('a')));
    let events: Vec<_> =
        history(&machine).events(1).unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(
        events.join(" "),
        "commit-verified closure-resolved closure-realised trial-requested phase-entered \
         phase-entered phase-entered phase-entered deployment-finished mark-moved"
    );
}

#[test]
fn what_runs_is_shown_with_its_commit_on_trial_too() {
    let machine = Machine::new();
    live(&machine, async |person, machine| {
        seconds(1).await;
        assert_eq!(person.status().running.commit, None, "nobody pushed what was installed");
        machine.borrow_mut().activator.holds = Some(Phase::Watching);
        machine.borrow_mut().push('a', "one");
        until(&machine, |m| m.running == closure("one")).await;
        seconds(1).await;
        let status = person.status();
        assert_eq!(status.phase, "watching");
        assert_eq!(status.running.commit, Some(commit('a').to_string()));
        assert_eq!(status.running.generation, None, "it is no generation yet");
        assert!(!status.reboot_needed.needed);
    });
}

#[test]
fn a_bad_push_is_reverted_and_does_not_come_back() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").healthy = false;
    assert!(live_until(&machine, |m| !m.activator.record.reverted.is_empty()));
    for _ in 0..2 {
        live(&machine, async |_, _| seconds(600).await);
        machine.borrow_mut().reboot();
    }
    machine.borrow_mut().push('b', "one");
    live(&machine, async |person, machine| {
        until(&machine, |m| m.poll_count > 0).await;
        seconds(60).await;
        assert_eq!(person.status().blocked.len(), 1);
    });
    assert_eq!(outcomes(&machine), ["a reverted unhealthy", "b blocked blocked"]);
    assert_eq!(machine.borrow().requests.len(), 1);
    assert_eq!(machine.borrow().running, closure("base"));
}

#[test]
fn a_git_revert_is_followed_without_a_trial() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    machine.borrow_mut().push('b', "bad").healthy = false;
    assert!(live_until(&machine, |m| !m.activator.record.reverted.is_empty()));
    machine.borrow_mut().push('c', "one");
    live(&machine, async |_, _| seconds(60).await);
    assert_eq!(
        outcomes(&machine),
        ["a kept healthy", "b reverted unhealthy", "c kept already-running"]
    );
    assert_eq!(history(&machine).known(None).unwrap().mark, Some(commit('c')));
    assert_eq!(machine.borrow().generations.len(), 2);
}

#[test]
fn nothing_new_evaluates_nothing_and_writes_nothing() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    live(&machine, async |_, _| seconds(60).await);
    live(&machine, async |_, machine| {
        until(&machine, |m| m.poll_count > 3).await;
        let (polls, effects) = (machine.borrow().poll_count, machine.borrow().effects);
        seconds(100).await;
        let polls = machine.borrow().poll_count - polls;
        assert!(polls >= 8, "{polls}");
        // A poll, and the lifeline after it.
        assert!(machine.borrow().effects - effects <= 2 * polls as usize + 1);
    });
    assert_eq!(machine.borrow().evaluated, [commit('a')]);
    assert_eq!(machine.borrow().realised, [closure("one")]);
}

#[test]
fn a_deployment_in_flight_has_a_subject_and_no_message() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one").seconds = 30;
    live(&machine, async |person, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        seconds(1).await;
        let deployment = person.status().deployment.unwrap();
        assert_eq!(deployment.subject.as_deref(), Some("commit aaaaaaaa"));
        assert_eq!((deployment.outcome, deployment.message.as_str()), (None, ""));
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(1).await;
        let deployment = person.status().deployment.unwrap();
        assert_eq!(deployment.message, "the trial ended: healthy");
    });
}

#[test]
fn run_now_is_answered_with_the_deployment_that_its_poll_began() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    assert!(live_until(&machine, |m| m.profile == Some(closure("one"))));
    live(&machine, async |person, machine| {
        until(&machine, |m| m.poll_count > 2).await;
        assert_eq!(person.orders(Ask::RunNow(RunNow::default())).await, None);
        machine.borrow_mut().push('b', "two");
        assert_eq!(person.orders(Ask::RunNow(RunNow::default())).await, Some(2));
        machine.borrow_mut().polls =
            Behaves::Fails(Failure::new(Reason::UNREACHABLE, "no route").hint("ask the router"));
        assert_eq!(
            person.says(Ask::RunNow(RunNow::default())).await,
            Err(Refusal::Failed {
                reason: "unreachable".into(),
                message: "no route".into(),
                hint: "ask the router".into()
            })
        );
    });
}

#[test]
fn run_now_tries_the_tip_that_its_poll_finds_and_not_the_one_before() {
    let machine = Machine::new();
    let broken = Failure::new(Reason::EVALUATION_FAILED, "a typo");
    machine.borrow_mut().push('a', "one").evaluation = Behaves::Fails(broken);
    live(&machine, async |person, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        seconds(5).await;
        machine.borrow_mut().push('b', "two");
        assert_eq!(person.orders(Ask::RunNow(RunNow::default())).await, Some(2));
        until(&machine, |m| m.profile == Some(closure("two"))).await;
    });
    assert_eq!(outcomes(&machine), ["a failed evaluation-failed", "b kept healthy"]);
}

#[test]
fn run_now_does_not_wait_for_a_pause_between_retries_but_for_an_unblock() {
    let machine = Machine::new();
    let broken = Failure::new(Reason::EVALUATION_FAILED, "a typo");
    machine.borrow_mut().push('a', "one").evaluation = Behaves::Fails(broken);
    live(&machine, async |person, machine| {
        until(&machine, |m| m.evaluated.len() == 1).await;
        seconds(5).await;
        machine.borrow_mut().push('a', "one").healthy = false;
        assert_eq!(person.orders(Ask::RunNow(RunNow::default())).await, Some(2));
        until(&machine, |m| !m.activator.record.reverted.is_empty()).await;
        seconds(5).await;
        assert_eq!(person.orders(Ask::RunNow(RunNow::default())).await, Some(2));
        let path = closure("one").to_string();
        person.says(Ask::Unblock { what: path }).await.unwrap();
        machine.borrow_mut().remote.get_mut(&commit('a')).unwrap().healthy = true;
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        assert_eq!(machine.borrow().requests[1].unblocked_by, Some(1000));
    });
    assert_eq!(
        outcomes(&machine),
        ["a failed evaluation-failed", "a reverted unhealthy", "a kept healthy"]
    );
}

#[test]
fn the_first_poll_comes_at_once_after_a_restart() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    live(&machine, async |_, machine| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(machine.borrow().poll_count, 1);
    });
    let ready = machine.borrow().notices.iter().any(|one| matches!(one, Notice::Status(_)));
    assert!(ready);
}

#[test]
fn the_lifeline_speaks_of_the_commit_on_trial_also_when_the_branch_moved_on() {
    use crate::model::deployment::Phase;
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    machine.borrow_mut().activator.holds = Some(Phase::Watching);
    live(&machine, async |_, machine| {
        let shown = |m: &Machine, tip: char| {
            m.lifeline.as_ref().is_some_and(|lifeline| {
                let poll = lifeline.poll.as_ref().unwrap();
                poll.tip == Some(commit(tip))
                    && poll.contains == [commit('a')]
                    && lifeline.nix.as_ref().is_some_and(|nix| nix.root_made)
            })
        };
        until(&machine, |m| shown(m, 'a')).await;
        machine.borrow_mut().push('b', "two").evaluation = Behaves::Hangs;
        until(&machine, |m| shown(m, 'b')).await;
    });
}
