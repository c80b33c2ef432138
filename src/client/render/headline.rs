//! The state of a machine in one sentence.

use crate::client::render::time::Moment;
use crate::client::render::words;
use crate::control::status::{Running, Status, Summary};

/// Returns the sentence, without a line end.
pub fn of(status: &Status, moment: &Moment) -> String {
    let host = words::line(&status.host);
    let runs = runs(&status.running);
    match &status.deployment {
        None => format!("{host} runs {runs}; nothing was deployed yet"),
        Some(deployment) => match deployment.outcome.as_deref() {
            None => format!("{host} runs {runs}; {}", in_flight(status, deployment)),
            Some(outcome) => match ended(deployment, outcome, moment) {
                Some(ended) => format!("{host} runs {runs}; {ended}"),
                None => format!("{host} runs {runs}, {}", since(deployment, outcome, moment)),
            },
        },
    }
}

fn runs(running: &Running) -> String {
    let commit = words::of_commit(running.commit.as_deref());
    match running.generation {
        Some(number) => format!("generation {number}{commit}"),
        None => format!("{}{commit}", words::closure(&running.toplevel)),
    }
}

fn in_flight(status: &Status, deployment: &Summary) -> String {
    let commit = words::of_commit(deployment.commit.as_deref());
    let held = status.gates.first().filter(|_| status.phase == "held");
    let why = held.map(|gate| format!(": {}", words::line(&gate.message))).unwrap_or_default();
    format!("deployment {}{commit} is {}{why}", deployment.id, words::phase(&status.phase))
}

/// What there is to say of a deployment that is not what runs now.
fn ended(deployment: &Summary, outcome: &str, moment: &Moment) -> Option<String> {
    let good = matches!(outcome, "kept" | "tested");
    let message = match deployment.message.as_str() {
        "" => String::new(),
        message => format!(": {}", words::line(message)),
    };
    let commit = words::of_commit(deployment.commit.as_deref());
    let since = since(deployment, outcome, moment);
    (!good).then(|| format!("deployment {}{commit} {since}{message}", deployment.id))
}

fn since(deployment: &Summary, outcome: &str, moment: &Moment) -> String {
    let said = match outcome {
        "kept" | "tested" | "staged" => words::line(outcome),
        "failed" => "failed".to_owned(),
        "revert-failed" => "could not be reverted".to_owned(),
        other => format!("was {}", words::line(other)),
    };
    match &deployment.finished_at {
        Some(time) => format!("{said} {}", moment.ago(time)),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;
    use crate::control::status::Gate;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Status), expected: &str) {
        let mut status = fixtures::status();
        change(&mut status);
        assert_eq!(of(&status, &fixtures::moment()), expected);
    }

    fn outcome(status: &mut Status, outcome: Option<&str>, message: &str) {
        let deployment = status.deployment.as_mut().unwrap();
        deployment.outcome = outcome.map(str::to_owned);
        deployment.message = message.to_owned();
        deployment.finished_at = outcome.map(|_| "2025-11-21T09:00:00Z".to_owned());
    }

    #[test]
    fn one_sentence_tells_the_state() {
        check(|_| {}, "web1 runs generation 42 (commit c0ffee12), kept 3 h ago");
        check(
            |status| status.deployment = None,
            "web1 runs generation 42 (commit c0ffee12); nothing was deployed yet",
        );
        check(
            |status| {
                outcome(status, None, "");
                status.phase = "watching".into();
            },
            "web1 runs generation 42 (commit c0ffee12); deployment 7 (commit c0ffee12) is on \
             trial: being watched",
        );
        check(
            |status| {
                outcome(status, None, "");
                status.phase = "held".into();
                let message = "paused by uid 0: moving racks".to_owned();
                status.gates = vec![Gate { kind: "paused".into(), message, until: None }];
            },
            "web1 runs generation 42 (commit c0ffee12); deployment 7 (commit c0ffee12) is held \
             back: paused by uid 0: moving racks",
        );
        check(
            |status| outcome(status, Some("reverted"), "check `web` was red"),
            "web1 runs generation 42 (commit c0ffee12); deployment 7 (commit c0ffee12) was \
             reverted 3 h ago: check `web` was red",
        );
        check(
            |status| outcome(status, Some("revert-failed"), ""),
            "web1 runs generation 42 (commit c0ffee12); deployment 7 (commit c0ffee12) could not \
             be reverted 3 h ago",
        );
        check(
            |status| status.running.generation = None,
            "web1 runs nixos-system-web1-25.11 (commit c0ffee12), kept 3 h ago",
        );
    }
}
