//! `autodeployctl watch`: what is new between two statuses, a line each.

use crate::client::render::words;
use crate::control::deployment::Check;
use crate::control::status::{Gate, Status, Summary};

/// Returns the lines, without line ends; none if nothing that a person follows has changed (a poll
/// that finds nothing new is no news).
pub fn between(before: &Status, after: &Status) -> Vec<String> {
    let mut news = Vec::new();
    remote(before, after, &mut news);
    deployment(before, after, &mut news);
    checks(&before.checks, &after.checks, &mut news);
    gates(&before.gates, &after.gates, &mut news);
    for blocked in after.blocked.iter().filter(|one| !before.blocked.contains(one)) {
        let commit = words::of_commit(blocked.commit.as_deref());
        news.push(format!("blocked {}{commit}", words::closure(&blocked.toplevel)));
    }
    for warning in after.warnings.iter().filter(|one| !before.warnings.contains(one)) {
        news.push(format!("warning: {}", words::line(warning)));
    }
    if before.running.toplevel != after.running.toplevel {
        let commit = words::of_commit(after.running.commit.as_deref());
        news.push(format!("running {}{commit}", words::closure(&after.running.toplevel)));
    }
    news
}

fn remote(before: &Status, after: &Status, news: &mut Vec<String>) {
    let (was, is) = (&before.remote, &after.remote);
    if let Some(tip) = is.tip.as_ref().filter(|_| was.tip != is.tip) {
        news.push(format!("{} is at {}", words::line(&is.branch), words::commit(tip)));
    }
    match (&was.last_error, &is.last_error) {
        (None, Some(error)) => news.push(format!("poll failed: {}", words::line(error))),
        (Some(_), None) => news.push("the remote answers again".to_owned()),
        (None, None) | (Some(_), Some(_)) => {}
    }
}

fn deployment(before: &Status, after: &Status, news: &mut Vec<String>) {
    let Some(is) = &after.deployment else { return };
    let was = before.deployment.as_ref().filter(|was| was.id == is.id);
    let commit = words::of_commit(is.commit.as_deref());
    match &is.outcome {
        Some(outcome) if was.is_none_or(|was| was.outcome.is_none()) => {
            news.push(format!("deployment {}{commit} {}{}", is.id, words::line(outcome), said(is)));
        }
        None if was.is_none() || before.phase != after.phase => {
            let phase = words::phase(&after.phase);
            news.push(format!("deployment {}{commit} is {phase}{}", is.id, said(is)));
        }
        Some(_) | None => {}
    }
}

fn said(deployment: &Summary) -> String {
    match deployment.message.as_str() {
        "" => String::new(),
        message => format!(": {}", words::line(message)),
    }
}

fn checks(before: &[Check], after: &[Check], news: &mut Vec<String>) {
    for check in after.iter().filter(|check| check.state != "pending") {
        let was = before.iter().find(|was| was.name == check.name);
        if was.is_none_or(|was| was.state != check.state) {
            let message = match check.message.as_str() {
                "" => String::new(),
                message => format!(": {}", words::line(message)),
            };
            let (name, state) = (words::line(&check.name), words::line(&check.state));
            news.push(format!("check `{name}` is {state}{message}"));
        }
    }
}

fn gates(before: &[Gate], after: &[Gate], news: &mut Vec<String>) {
    let shut = |gates: &[Gate], kind: &str| gates.iter().any(|gate| gate.kind == kind);
    for gate in after.iter().filter(|gate| !shut(before, &gate.kind)) {
        news.push(format!("gate {}: {}", words::line(&gate.kind), words::line(&gate.message)));
    }
    for gate in before.iter().filter(|gate| !shut(after, &gate.kind)) {
        news.push(format!("gate {} is open again", words::line(&gate.kind)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Status), expected: &[&str]) {
        let before = fixtures::status();
        let mut after = before.clone();
        change(&mut after);
        assert_eq!(between(&before, &after), expected);
    }

    fn begin(status: &mut Status) {
        status.phase = "fetching".into();
        status.deployment =
            Some(Summary { id: 8, outcome: None, message: String::new(), ..fixtures::summary() });
    }

    #[test]
    fn a_poll_that_finds_nothing_is_no_news() {
        check(|_| {}, &[]);
        check(|status| status.remote.last_success_at = Some("2025-11-21T12:00:00Z".into()), &[]);
    }

    #[test]
    fn what_a_person_follows_is_news() {
        check(|status| status.remote.tip = Some("deadbeef".repeat(5)), &["main is at deadbeef"]);
        check(|status| status.remote.last_error = Some("no".into()), &["poll failed: no"]);
        check(begin, &["deployment 8 (commit c0ffee12) is being fetched"]);
        check(
            |status| {
                begin(status);
                status.deployment.as_mut().unwrap().outcome = Some("kept".into());
            },
            &["deployment 8 (commit c0ffee12) kept"],
        );
        check(
            |status| status.checks[1] = fixtures::check("web", "red", "answered 503"),
            &["check `web` is red: answered 503"],
        );
        check(|status| status.checks[1].state = "pending".into(), &[]);
        check(
            |status| {
                let message = "paused by uid 0".to_owned();
                status.gates = vec![Gate { kind: "paused".into(), message, until: None }];
            },
            &["gate paused: paused by uid 0"],
        );
        check(
            |status| status.blocked = vec![fixtures::blocked()],
            &["blocked nixos-system-web1-25.05 (commit deadbeef)"],
        );
        check(|status| status.warnings = vec!["w".into()], &["warning: w"]);
        check(
            |status| status.running.toplevel = fixtures::OLD.into(),
            &["running nixos-system-web1-25.05 (commit c0ffee12)"],
        );
    }

    #[test]
    fn phases_of_one_deployment_are_said_once() {
        let mut before = fixtures::status();
        begin(&mut before);
        let mut after = before.clone();
        assert_eq!(between(&before, &after), Vec::<String>::new());
        after.phase = "switching".into();
        let news = between(&before, &after);
        assert_eq!(news, ["deployment 8 (commit c0ffee12) is on trial: switching"]);
    }

    #[test]
    fn what_is_over_is_said_as_well() {
        let mut before = fixtures::status();
        before.remote.last_error = Some("no".into());
        before.gates = vec![Gate { kind: "paused".into(), message: "x".into(), until: None }];
        let news = between(&before, &fixtures::status());
        assert_eq!(news, ["the remote answers again", "gate paused is open again"]);
    }
}
