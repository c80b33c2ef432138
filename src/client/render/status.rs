//! `autodeployctl status`.

use crate::client::render::time::Moment;
use crate::client::render::{headline, table, words};
use crate::control::deployment::Check;
use crate::control::status::{Running, Status};

/// The width of the labels at the left, the gap included.
const LABEL: usize = 14;

/// Returns the whole answer.
pub fn of(status: &Status, moment: &Moment) -> String {
    let mut page = Page::default();
    page.entry("running", &system(&status.running));
    page.entry("boot default", &boot_default(status));
    remote(status, moment, &mut page);
    deployment(status, moment, &mut page);
    page.block("checks", &checks(&status.checks));
    blocked(status, moment, &mut page);
    gates(status, moment, &mut page);
    if status.reboot_needed.needed {
        let reasons: Vec<_> = status.reboot_needed.reasons.iter().map(|r| words::line(r)).collect();
        page.entry("reboot", &format!("needed: {}", reasons.join(", ")));
    }
    // What is said beside the remote already is there for programs.
    let said = |warning: &&String| {
        !status.remote.stale_reasons.iter().any(|stale| stale.message == **warning)
    };
    for warning in status.warnings.iter().filter(said) {
        page.entry("warning", &words::line(warning));
    }
    format!("{}\n\n{}", headline::of(status, moment), page.0)
}

/// Labelled lines, each label only where it begins.
#[derive(Default)]
struct Page(String);

impl Page {
    fn entry(&mut self, label: &str, text: &str) {
        self.0.push_str(&format!("{label:<LABEL$}{text}\n"));
    }

    fn hint(&mut self, hint: &str) {
        self.entry("", &format!("hint: {hint}"));
    }

    fn block(&mut self, label: &str, lines: &str) {
        for (number, line) in lines.lines().enumerate() {
            self.entry(if number == 0 { label } else { "" }, line);
        }
    }
}

fn system(running: &Running) -> String {
    let generation = running.generation.map(|number| format!("generation {number}"));
    let commit = running.commit.as_deref().map(|id| format!("commit {}", words::commit(id)));
    let closure = Some(words::closure(&running.toplevel));
    [generation, commit, closure].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn boot_default(status: &Status) -> String {
    match &status.boot_default {
        None => "unknown".to_owned(),
        Some(default) if default.toplevel == status.running.toplevel => "the same".to_owned(),
        Some(default) => system(default),
    }
}

fn remote(status: &Status, moment: &Moment, page: &mut Page) {
    let remote = &status.remote;
    let branch = format!("{} of {}", words::line(&remote.branch), words::line(&remote.url));
    let tip = remote.tip.as_deref().map(|tip| format!(" at {}", words::commit(tip)));
    let polled = match &remote.last_success_at {
        Some(time) => format!("polled {}", moment.ago(time)),
        None => "never reached".to_owned(),
    };
    let stale = if remote.stale { ", stale" } else { "" };
    page.entry("remote", &format!("{branch}{}, {polled}{stale}", tip.unwrap_or_default()));
    for stale in &remote.stale_reasons {
        page.entry("", &format!("stale: {}", words::line(&stale.message)));
        page.hint(&words::line(&stale.hint));
    }
    if let Some(error) = &remote.last_error {
        page.entry("", &format!("last poll failed: {}", words::line(error)));
        page.hint("journalctl -u autodeploy -e");
    }
}

fn deployment(status: &Status, moment: &Moment, page: &mut Page) {
    let Some(deployment) = &status.deployment else { return };
    let ended = match (&deployment.outcome, &deployment.finished_at) {
        (Some(outcome), Some(time)) => format!("{} {}", words::line(outcome), moment.ago(time)),
        (Some(outcome), None) => words::line(outcome),
        (None, _) => {
            let began = moment.ago(&deployment.started_at);
            format!("{}, began {began}", words::phase(&status.phase))
        }
    };
    let message = match deployment.message.as_str() {
        "" => String::new(),
        message => format!(": {}", words::line(message)),
    };
    page.entry("deployment", &format!("{} {ended}{message}", deployment.id));
    let good = matches!(deployment.outcome.as_deref(), Some("kept" | "tested" | "superseded"));
    match deployment.outcome {
        None => page.hint("autodeployctl watch"),
        Some(_) if !good => match &deployment.hint {
            Some(hint) => page.hint(&words::line(hint)),
            None => page.hint(&format!("autodeployctl show {}", deployment.id)),
        },
        Some(_) => {}
    }
}

/// Returns the checks in columns; `show` prints them alike.
pub fn checks(checks: &[Check]) -> String {
    let row = |check: &Check| {
        let excused = if check.excused { " (excused: red before the switch too)" } else { "" };
        [
            words::line(&check.name),
            words::line(&check.kind),
            words::line(&check.severity),
            words::line(&check.state),
            format!("{}{excused}", words::line(&check.message)).trim().to_owned(),
        ]
    };
    table::aligned(&checks.iter().map(row).collect::<Vec<_>>(), 0)
}

fn blocked(status: &Status, moment: &Moment, page: &mut Page) {
    for (number, blocked) in status.blocked.iter().enumerate() {
        let commit = words::of_commit(blocked.commit.as_deref());
        let closure = words::closure(&blocked.toplevel);
        let since = moment.ago(&blocked.since);
        let reason = words::line(&blocked.reason);
        let label = if number == 0 { "blocked" } else { "" };
        page.entry(label, &format!("{closure}{commit}, {reason}, {since}"));
        let what = blocked.commit.as_ref().unwrap_or(&blocked.toplevel);
        page.hint(&format!("autodeployctl unblock {}", words::line(what)));
    }
}

fn gates(status: &Status, moment: &Moment, page: &mut Page) {
    for (number, gate) in status.gates.iter().enumerate() {
        let until = gate.until.as_deref().map(|time| format!(", until {}", moment.at(time)));
        let label = if number == 0 { "gates" } else { "" };
        let (kind, message) = (words::line(&gate.kind), words::line(&gate.message));
        page.entry(label, &format!("{kind}: {message}{}", until.unwrap_or_default()));
        if let Some(hint) = words::opens(&gate.kind) {
            page.hint(hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;
    use crate::control::status::{Gate, RebootNeeded};

    #[track_caller]
    fn check(change: impl FnOnce(&mut Status), expected: &str) {
        let mut status = fixtures::status();
        change(&mut status);
        assert_eq!(of(&status, &fixtures::moment()), expected);
    }

    #[test]
    fn a_machine_in_good_order_takes_few_lines() {
        check(
            |_| {},
            "\
web1 runs generation 42 (commit c0ffee12), kept 3 h ago

running       generation 42, commit c0ffee12, nixos-system-web1-25.11
boot default  the same
remote        main of ssh://git@forge/infra at c0ffee12, polled 12 s ago
deployment    7 kept 3 h ago: every required check was green for 60 s
checks        units  units  required  green
              web    http   required  green  answered 200
",
        );
    }

    #[test]
    fn whatever_is_wrong_comes_with_something_to_type() {
        check(
            |status| {
                status.running.generation = Some(41);
                status.boot_default = None;
                status.deployment = Some(fixtures::reverted().summary);
                status.checks = fixtures::reverted().checks;
                status.checks[1].excused = true;
                status.remote.last_error = Some("could not fetch `main`: timed out".into());
                status.remote.stale = true;
                status.blocked = vec![fixtures::blocked()];
                let message = "paused by uid 0: moving racks".to_owned();
                status.gates = vec![
                    Gate { kind: "paused".into(), message, until: None },
                    Gate {
                        kind: "retry".into(),
                        message: "tried again later".into(),
                        until: Some("2025-11-21T12:05:00Z".into()),
                    },
                ];
                let reasons = vec!["kernel".into(), "initrd".into()];
                status.reboot_needed = RebootNeeded { needed: true, reasons };
                status.warnings = vec!["signatures are off".into()];
            },
            "\
web1 runs generation 41 (commit c0ffee12); deployment 8 (commit c0ffee12) was reverted 3 h ago: \
generation 43 was not healthy within 2 min

running       generation 41, commit c0ffee12, nixos-system-web1-25.11
boot default  unknown
remote        main of ssh://git@forge/infra at c0ffee12, polled 12 s ago, stale
              last poll failed: could not fetch `main`: timed out
              hint: journalctl -u autodeploy -e
deployment    8 reverted 3 h ago: generation 43 was not healthy within 2 min
              hint: autodeployctl show 8
checks        units  units  required  green
              web    http   required  red    answered 503 (excused: red before the switch too)
blocked       nixos-system-web1-25.05 (commit deadbeef), unhealthy, 24 h ago
              hint: autodeployctl unblock deadbeefdeadbeefdeadbeefdeadbeefdeadbeef
gates         paused: paused by uid 0: moving racks
              hint: autodeployctl resume
              retry: tried again later, until 2025-11-21 13:05:00
              hint: autodeployctl run-now
reboot        needed: kernel, initrd
warning       signatures are off
",
        );
    }

    #[test]
    fn a_refused_tip_and_a_wrong_clock_come_with_what_to_do() {
        check(
            |status| {
                let deployment = status.deployment.as_mut().unwrap();
                deployment.outcome = Some("failed".into());
                deployment.message = "commit `a` does not descend from `b`".into();
                deployment.hint = Some("`autodeployctl reanchor a --reason …`".into());
                status.checks.clear();
                status.remote.stale = true;
                status.remote.stale_reasons = vec![fixtures::stale()];
                status.warnings = vec![fixtures::stale().message, "signatures are off".into()];
            },
            "\
web1 runs generation 42 (commit c0ffee12); deployment 7 (commit c0ffee12) failed 3 h ago: commit \
`a` does not descend from `b`

running       generation 42, commit c0ffee12, nixos-system-web1-25.11
boot default  the same
remote        main of ssh://git@forge/infra at c0ffee12, polled 12 s ago, stale
              stale: the clock is behind
              hint: timedatectl
deployment    7 failed 3 h ago: commit `a` does not descend from `b`
              hint: `autodeployctl reanchor a --reason …`
warning       signatures are off
",
        );
    }

    #[test]
    fn a_trial_that_is_on_can_be_watched() {
        check(
            |status| {
                let deployment = status.deployment.as_mut().unwrap();
                deployment.outcome = None;
                deployment.finished_at = None;
                deployment.message = String::new();
                deployment.started_at = "2025-11-21T11:59:00Z".into();
                status.phase = "switching".into();
                status.boot_default.as_mut().unwrap().toplevel = fixtures::OLD.into();
                status.checks.clear();
            },
            "\
web1 runs generation 42 (commit c0ffee12); deployment 7 (commit c0ffee12) is on trial: switching

running       generation 42, commit c0ffee12, nixos-system-web1-25.11
boot default  generation 42, commit c0ffee12, nixos-system-web1-25.05
remote        main of ssh://git@forge/infra at c0ffee12, polled 12 s ago
deployment    7 on trial: switching, began 60 s ago
              hint: autodeployctl watch
",
        );
    }
}
