//! `run-now`, `rollback` and `abort` wait for the outcome: through every phase, at gates, across
//! restarts of the agent.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/fake_agent.rs"]
#[allow(dead_code)]
mod fake_agent;
#[path = "support/typed.rs"]
#[allow(dead_code)]
mod typed;

use std::path::Path;
use std::sync::{Arc, Mutex};

use autodeploy::control::ask::Word;
use autodeploy::control::ask::{Ask, Refusal, RunNow, Told};
use autodeploy::control::deployment::Details;
use autodeploy::control::status::{Gate, Status};
use fake_agent::{Answer, FakeAgent, details, done, idle, in_phase, open_directory, summary};
use typed::{Ended, Started, ctl};

/// What `ShowDeployment` says, changed by the test as the deployment goes on.
type Known = Arc<Mutex<Vec<Details>>>;

fn known(deployments: Vec<Details>) -> Known {
    Arc::new(Mutex::new(deployments))
}

/// A loop that takes orders for deployment 8 and knows its deployments.
fn takes_orders(known: &Known) -> Answer {
    let known = Arc::clone(known);
    Box::new(move |ask| match ask {
        Ask::ShowDeployment { id } => {
            let known = known.lock().unwrap();
            let found = known.iter().find(|one| Some(one.summary.id) == *id);
            Some(Ok(Told::Deployment(Box::new(found.cloned().unwrap()))))
        }
        Ask::ListDeployments { .. } => {
            let newest = known.lock().unwrap().last().cloned();
            Some(Ok(Told::Deployments(newest.into_iter().map(|one| one.summary).collect())))
        }
        _ => done(Some(8), "taken"),
    })
}

fn start(directory: &Path, status: Status, known: &Known) -> FakeAgent {
    FakeAgent::start(directory, status, takes_orders(known))
}

/// Ends deployment `id`, in the order in which an agent does it: known first, then said.
fn end(agent: &FakeAgent, known: &Known, id: i64, outcome: &str) {
    *known.lock().unwrap() = vec![details(id, "idle", Some(outcome))];
    agent.status.send_replace(Status { deployment: Some(summary(id, Some(outcome))), ..idle() });
}

async fn check_progress(waiting: &mut Started, expected: &[&str]) {
    for line in expected {
        assert_eq!(waiting.progress().await, *line);
    }
}

/// Waits for deployment 8 until the agent goes away during its switch.
async fn left_alone(directory: &Path, known: &Known) -> Started {
    let agent = start(directory, in_phase(8, "switching"), known);
    let mut waiting = ctl(&agent.socket, "run-now").start();
    check_progress(&mut waiting, &["polling", "deployment 8 is on trial: switching"]).await;
    agent.stop().await;
    check_progress(&mut waiting, &["autodeployd is away, waiting for it to come back"]).await;
    waiting
}

#[tokio::test]
async fn every_phase_is_said_and_a_kept_deployment_is_done() {
    let directory = open_directory();
    let known = known(vec![details(8, "fetching", None)]);
    let agent = start(directory.path(), in_phase(8, "fetching"), &known);
    let mut waiting = ctl(&agent.socket, "run-now").start();
    check_progress(&mut waiting, &["polling", "deployment 8 is being fetched"]).await;
    agent.status.send_replace(in_phase(8, "switching"));
    check_progress(&mut waiting, &["deployment 8 is on trial: switching"]).await;
    // A change of something else is not said again.
    agent.status.send_modify(|status| status.warnings.push("w".into()));
    agent.status.send_replace(in_phase(8, "watching"));
    check_progress(&mut waiting, &["deployment 8 is on trial: being watched"]).await;
    end(&agent, &known, 8, "kept");
    let ended = waiting.ended().await;
    assert_eq!(ended, Ended::good("deployment 8 (commit c0ffee12) kept: so it ended\n"));
    assert_eq!(agent.asked.lock().unwrap()[0].1, Ask::RunNow(RunNow::default()));
}

#[tokio::test]
async fn a_bad_end_exits_with_4_and_says_what_to_look_at() {
    for outcome in ["reverted", "failed", "aborted", "blocked", "revert-failed", "interrupted"] {
        let directory = open_directory();
        let known = known(vec![details(8, "idle", Some(outcome))]);
        let agent = start(directory.path(), idle(), &known);
        agent.status.send_replace(Status { deployment: Some(summary(8, Some(outcome))), ..idle() });
        let ended = ctl(&agent.socket, "run-now").ended().await;
        let expected = format!(
            "deployment 8 (commit c0ffee12) {outcome}: so it ended\n\nhint: autodeployctl show 8\n"
        );
        assert_eq!((ended.code, ended.stdout), (4, expected));
    }
}

#[tokio::test]
async fn the_wait_goes_on_across_a_restart_of_the_agent() {
    let directory = open_directory();
    let known = known(vec![details(8, "switching", None)]);
    let mut waiting = left_alone(directory.path(), &known).await;

    let agent = start(directory.path(), in_phase(8, "watching"), &known);
    check_progress(&mut waiting, &["deployment 8 is on trial: being watched"]).await;
    end(&agent, &known, 8, "kept");
    let ended = waiting.ended().await;
    assert_eq!(ended, Ended::good("deployment 8 (commit c0ffee12) kept: so it ended\n"));
    // It was ordered once, and found again by its number.
    let asked = agent.asked.lock().unwrap();
    assert!(asked.iter().all(|(_, ask)| *ask == Ask::ShowDeployment { id: Some(8) }));
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_found_after_the_restart() {
    let directory = open_directory();
    let known = known(vec![details(8, "switching", None)]);
    let waiting = left_alone(directory.path(), &known).await;

    *known.lock().unwrap() = vec![details(8, "idle", Some("reverted"))];
    let _agent = start(directory.path(), in_phase(9, "fetching"), &known);
    let ended = waiting.ended().await;
    assert_eq!(ended.code, 4);
    assert!(ended.stdout.starts_with("deployment 8 (commit c0ffee12) reverted"));
}

#[tokio::test]
async fn a_restart_during_the_poll_asks_again() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), Box::new(|_| None));
    let mut waiting = ctl(&agent.socket, "run-now --emergency --ignore-maintenance").start();
    check_progress(&mut waiting, &["polling"]).await;
    agent.was_asked(|ask| matches!(ask, Ask::RunNow(_))).await;
    agent.stop().await;
    check_progress(&mut waiting, &["autodeployd is away, waiting for it to come back"]).await;

    let answer: Answer = Box::new(|_| done(None, "c0ffee12 runs already"));
    let agent = FakeAgent::start(directory.path(), idle(), answer);
    assert_eq!(waiting.ended().await, Ended::good("c0ffee12 runs already\n"));
    let run_now = RunNow { ignore_maintenance: true, emergency: true };
    assert_eq!(agent.asked.lock().unwrap()[0].1, Ask::RunNow(run_now));
}

#[tokio::test]
async fn a_poll_that_fails_is_a_failure() {
    let directory = open_directory();
    let answer: Answer = Box::new(|_| {
        Some(Err(Refusal::Failed {
            reason: "unreachable".into(),
            message: "could not fetch `main`: connection timed out".into(),
            hint: "journalctl -u autodeploy".into(),
        }))
    });
    let agent = FakeAgent::start(directory.path(), idle(), answer);
    let ended = ctl(&agent.socket, "run-now").ended().await;
    let expected = "polling\ncould not fetch `main`: connection timed out\n\n\
                    hint: journalctl -u autodeploy\n";
    assert_eq!(ended, Ended::bad(1, expected));
}

fn held() -> Status {
    let message = "paused by uid 0: racks".to_owned();
    let gates = vec![Gate { kind: "paused".into(), message, until: None }];
    Status { gates, ..in_phase(8, "held") }
}

#[tokio::test]
async fn a_gate_is_named_and_exits_with_5() {
    let directory = open_directory();
    let known = known(vec![details(8, "held", None)]);
    let agent = start(directory.path(), held(), &known);
    let ended = ctl(&agent.socket, "run-now").ended().await;
    assert_eq!(ended.code, 5);
    assert_eq!(
        ended.stdout,
        "deployment 8 is held back by paused (paused by uid 0: racks)\n\nhint: autodeployctl \
         resume, or wait for it with `autodeployctl run-now --wait`\n"
    );
    assert_eq!(ended.stderr, "polling\ndeployment 8 is held back: paused by uid 0: racks\n");
}

#[tokio::test]
async fn whoever_waits_at_the_gate_waits_for_the_outcome() {
    let directory = open_directory();
    let known = known(vec![details(8, "held", None)]);
    let agent = start(directory.path(), held(), &known);
    let mut waiting = ctl(&agent.socket, "run-now --wait").start();
    let gate = "deployment 8 is held back: paused by uid 0: racks";
    check_progress(&mut waiting, &["polling", gate]).await;
    // Longer than a gate may hold somebody who does not wait.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    agent.status.send_replace(in_phase(8, "switching"));
    check_progress(&mut waiting, &["deployment 8 is on trial: switching"]).await;
    end(&agent, &known, 8, "kept");
    assert_eq!(waiting.ended().await.code, 0);
}

#[tokio::test]
async fn a_gate_that_opens_at_once_holds_nobody_back() {
    let directory = open_directory();
    let known = known(vec![details(8, "held", None)]);
    let agent = start(directory.path(), held(), &known);
    let mut waiting = ctl(&agent.socket, "run-now").start();
    let gate = "deployment 8 is held back: paused by uid 0: racks";
    check_progress(&mut waiting, &["polling", gate]).await;
    agent.status.send_replace(in_phase(8, "switching"));
    check_progress(&mut waiting, &["deployment 8 is on trial: switching"]).await;
    end(&agent, &known, 8, "kept");
    assert_eq!(waiting.ended().await.code, 0);
}

#[tokio::test]
async fn what_supersedes_a_deployment_is_followed_instead() {
    let directory = open_directory();
    let known = known(vec![details(8, "fetching", None)]);
    let agent = start(directory.path(), in_phase(8, "fetching"), &known);
    let mut waiting = ctl(&agent.socket, "run-now").start();
    check_progress(&mut waiting, &["polling", "deployment 8 is being fetched"]).await;
    *known.lock().unwrap() =
        vec![details(8, "idle", Some("superseded")), details(9, "fetching", None)];
    agent.status.send_replace(in_phase(9, "fetching"));
    let lines = ["deployment 8 was superseded by 9", "deployment 9 is being fetched"];
    check_progress(&mut waiting, &lines).await;
    end(&agent, &known, 9, "kept");
    let ended = waiting.ended().await;
    assert_eq!(ended, Ended::good("deployment 9 (commit c0ffee12) kept: so it ended\n"));
}

#[tokio::test]
async fn whoever_does_not_wait_is_told_so() {
    let directory = open_directory();
    let known = known(vec![details(8, "fetching", None)]);
    let agent = start(directory.path(), in_phase(8, "fetching"), &known);
    let ended = ctl(&agent.socket, "run-now --no-wait").ended().await;
    assert_eq!(ended.code, 0);
    assert_eq!(
        ended.stdout,
        "taken (deployment 8, not waited for)\n\nhint: autodeployctl show 8\n"
    );
}

#[tokio::test]
async fn programs_get_one_value_and_nothing_else() {
    let directory = open_directory();
    let known = known(vec![details(8, "idle", Some("reverted"))]);
    let agent = start(directory.path(), in_phase(9, "fetching"), &known);
    let ended = ctl(&agent.socket, "run-now --json").ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (4, ""));
    let value: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "message": "deployment 8 (commit c0ffee12) reverted: so it ended",
            "hint": "autodeployctl show 8",
            "deployment": details(8, "idle", Some("reverted")),
            "gates": [],
            "exit": 4,
        })
    );
}

#[tokio::test]
async fn an_interrupted_wait_leaves_the_deployment_alone() {
    let directory = open_directory();
    let known = known(vec![details(8, "fetching", None)]);
    let agent = start(directory.path(), in_phase(8, "fetching"), &known);
    let mut waiting = ctl(&agent.socket, "run-now").start();
    check_progress(&mut waiting, &["polling", "deployment 8 is being fetched"]).await;
    waiting.interrupt();
    let ended = waiting.ended().await;
    assert_eq!(
        ended,
        Ended::bad(130, "no longer waiting; deployment 8 goes on\n\nhint: autodeployctl show 8\n")
    );
    assert_eq!(agent.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_abort_waits_until_the_trial_is_gone() {
    for (outcome, code) in [("aborted", 0), ("reverted", 0), ("kept", 1), ("revert-failed", 4)] {
        let directory = open_directory();
        let known = known(vec![details(8, "watching", None)]);
        let agent = start(directory.path(), in_phase(8, "watching"), &known);
        let mut waiting = ctl(&agent.socket, "abort").start();
        let lines = ["asking to end the trial", "deployment 8 is on trial: being watched"];
        check_progress(&mut waiting, &lines).await;
        end(&agent, &known, 8, outcome);
        assert_eq!(waiting.ended().await.code, code, "{outcome}");
        let order = Ask::Answer { id: None, word: Word::Abort };
        assert_eq!(agent.asked.lock().unwrap()[0].1, order);
    }
}

#[tokio::test]
async fn a_rollback_succeeds_when_the_system_before_runs() {
    // As a deployment of its own, and as the end of the trial that is on.
    let cases = [
        ("rollback", "kept", 0),
        ("rollback", "reverted", 4),
        ("follow", "aborted", 0),
        ("follow", "kept", 1),
    ];
    for (kind, outcome, code) in cases {
        let directory = open_directory();
        let of_kind = Details { kind: kind.into(), ..details(8, "idle", Some(outcome)) };
        let known = known(vec![of_kind]);
        let agent = start(directory.path(), idle(), &known);
        let ended = ctl(&agent.socket, "rollback").ended().await;
        assert_eq!(ended.code, code, "{kind} {outcome}");
    }
}

#[tokio::test]
async fn what_waits_for_a_reboot_is_done_for_whoever_wants_it_and_not_for_whoever_ends_it() {
    let directory = open_directory();
    let known = known(vec![details(8, "armed", None)]);
    let agent = start(directory.path(), in_phase(8, "armed"), &known);
    let ended = ctl(&agent.socket, "run-now").ended().await;
    assert_eq!(ended.code, 0);
    let mut waiting = ctl(&agent.socket, "abort").start();
    let lines = ["asking to end the trial", "deployment 8 is armed: the next boot is its trial"];
    check_progress(&mut waiting, &lines).await;
    end(&agent, &known, 8, "aborted");
    assert_eq!(waiting.ended().await.code, 0);
}
