//! PURE: what decides about a trial, frozen before the switch.
//!
//! What judges is the new generation's configuration; how long and how hard is the larger of the
//! old and the new. A check is excused only if the running configuration has the same one, and it
//! is red already.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::settings::{Check, LastResort, Probe, Reboot, Settings, Severity};
use crate::handover::report::CheckState;
use crate::handover::request::Request;
use crate::model::deployment::Kind;

/// What decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The time that the closure has.
    pub window: Duration,
    /// How long everything required has to be green.
    pub settle: Duration,
    /// The limit on one switch.
    pub switch_timeout: Duration,
    /// Whether the last resort may be a reboot: the running configuration's word.
    pub may_reboot: bool,
    /// Whether we ask for the reboot that an armed system waits for: the running configuration's
    /// word too.
    #[serde(default)]
    pub reboots_itself: bool,
    /// Whether the units that the switch started decide; not in an emergency.
    pub units_decide: bool,
    /// The configured checks.
    pub checks: Vec<Frozen>,
    /// What the lifeline has to show.
    pub remote: Remote,
    /// Whether the lifeline was green on the running system.
    pub lifeline_was_green: bool,
}

/// What the agent of the new generation has to see of its remote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// The new generation's `source.url`.
    pub url: String,
    /// The new generation's `source.branch`.
    pub branch: String,
    /// Both are those of the running configuration: any tip will do.
    pub unchanged: bool,
    /// A rollback goes ahead without the remote.
    pub asked: bool,
}

/// A configured check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Its name.
    pub name: String,
    /// Its definition.
    pub check: Check,
    /// It was red on the running system.
    pub excused: bool,
    /// It was green on the running system: a revert has to bring it back, and whether it does says
    /// whose fault it was.
    pub tells: bool,
}

/// What the baseline showed of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Name and state, of the checks that [`shared`] named.
    pub checks: Vec<(String, CheckState)>,
    /// Whether the lifeline was green.
    pub lifeline_was_green: bool,
}

/// Returns the checks that both configurations have with the same definition: a round of them on
/// the running system is the evidence for and against.
pub fn shared(running: &Settings, new: &Settings) -> Vec<(String, Check)> {
    new.health
        .checks
        .iter()
        .filter(|(name, check)| running.health.checks.get(*name) == Some(*check))
        .map(|(name, check)| (name.clone(), check.clone()))
        .collect()
}

/// Freezes what decides.
pub fn freeze(request: &Request, running: &Settings, new: &Settings, before: &Before) -> Judgement {
    let state =
        |name: &str| before.checks.iter().find(|(known, _)| known == name).map(|(_, state)| *state);
    // What is on trial runs already, and was never kept: it is no witness of itself.
    let other = request.expected_running != request.toplevel;
    let frozen = |(name, check): (&String, &Check)| Frozen {
        name: name.clone(),
        check: without_teeth(check),
        excused: other && state(name) == Some(CheckState::Red),
        tells: other && state(name) == Some(CheckState::Green),
    };
    Judgement {
        window: running.health.window.max(new.health.window),
        settle: if request.emergency { Duration::ZERO } else { new.health.settle },
        switch_timeout: running.activation.switch_timeout.max(new.activation.switch_timeout),
        may_reboot: running.activation.last_resort == LastResort::Reboot,
        reboots_itself: running.activation.reboot == Reboot::WhenNeeded,
        units_decide: !request.emergency,
        checks: match request.emergency {
            true => Vec::new(),
            false => new.health.checks.iter().map(frozen).collect(),
        },
        remote: Remote {
            url: new.source.url.clone(),
            branch: new.source.branch.clone(),
            unchanged: running.source.url == new.source.url
                && running.source.branch == new.source.branch,
            asked: request.kind == Kind::Follow,
        },
        lifeline_was_green: other && before.lifeline_was_green,
    }
}

/// A kind that this release does not know cannot decide.
fn without_teeth(check: &Check) -> Check {
    match check.probe {
        Probe::Unknown { .. } => Check { severity: Severity::Wanted, ..check.clone() },
        Probe::Http { .. } | Probe::Tcp { .. } | Probe::Command { .. } | Probe::Units { .. } => {
            check.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activator::record::tests::request;
    use crate::config::settings::Source;

    fn settings(extra: &str) -> Settings {
        let text = format!("host = \"box\"\nsource.url = \"https://h/infra\"\n{extra}");
        crate::config::lenient(&text, "box").unwrap().0
    }

    fn tcp(address: &str) -> String {
        format!("health.checks.ssh = {{ kind = \"tcp\", address = \"{address}\" }}\n")
    }

    fn before(state: CheckState) -> Before {
        Before { checks: vec![("ssh".to_owned(), state)], lifeline_was_green: true }
    }

    #[test]
    fn limits_are_the_larger_ones_and_settle_is_the_new_ones() {
        let old = settings("health = { window = \"10min\", settle = \"9s\" }");
        let new = settings(
            "health = { window = \"2min\", settle = \"5s\" }\nactivation.switch_timeout = \"20min\"",
        );
        let judgement = freeze(&request(), &old, &new, &Before::default());
        assert_eq!(judgement.window, Duration::from_secs(600));
        assert_eq!(judgement.settle, Duration::from_secs(5));
        assert_eq!(judgement.switch_timeout, Duration::from_secs(1200));
        let back = freeze(&request(), &new, &old, &Before::default());
        assert_eq!(back.window, Duration::from_secs(600));
        assert_eq!(back.settle, Duration::from_secs(9));
        assert_eq!(back.switch_timeout, Duration::from_secs(1200));
    }

    #[test]
    fn whether_the_machine_may_reboot_is_the_running_ones_word() {
        let (reboot, alarm) = (settings(""), settings("activation.last_resort = \"alarm\""));
        assert!(freeze(&request(), &reboot, &alarm, &Before::default()).may_reboot);
        assert!(!freeze(&request(), &alarm, &reboot, &Before::default()).may_reboot);
    }

    #[track_caller]
    fn check(old: &str, new: &str, state: CheckState, expected: (bool, bool)) {
        let (old, new) = (settings(old), settings(new));
        let names: Vec<_> = shared(&old, &new).into_iter().map(|(name, _)| name).collect();
        let mut before = before(state);
        before.checks.retain(|(name, _)| names.contains(name));
        let frozen = &freeze(&request(), &old, &new, &before).checks[0];
        assert_eq!((frozen.excused, frozen.tells), expected);
    }

    #[test]
    fn only_the_same_check_that_is_red_already_is_excused() {
        let (a, b) = (&tcp("[::1]:22")[..], &tcp("[::1]:23")[..]);
        check(a, a, CheckState::Red, (true, false));
        check(a, a, CheckState::Green, (false, true));
        check(a, b, CheckState::Red, (false, false));
        check("", a, CheckState::Red, (false, false));
    }

    #[test]
    fn an_emergency_asks_for_the_lifeline_alone() {
        let settings = settings(&tcp("[::1]:22"));
        let request = Request { emergency: true, ..request() };
        let judgement = freeze(&request, &settings, &settings, &before(CheckState::Green));
        assert_eq!(judgement.checks, []);
        assert_eq!((judgement.settle, judgement.units_decide), (Duration::ZERO, false));
    }

    #[test]
    fn another_branch_has_to_show_the_commit_itself() {
        let (old, new) = (settings(""), settings("source.branch = \"next\""));
        assert!(freeze(&request(), &old, &old, &Before::default()).remote.unchanged);
        assert!(!freeze(&request(), &old, &new, &Before::default()).remote.unchanged);
        let moved = Settings {
            source: Source { url: "https://h/moved".to_owned(), ..old.source.clone() },
            ..old.clone()
        };
        let remote = freeze(&request(), &old, &moved, &Before::default()).remote;
        assert!(!remote.unchanged);
        assert_eq!((remote.url.as_str(), remote.branch.as_str()), ("https://h/moved", "main"));
        let rollback = Request { kind: Kind::Rollback, ..request() };
        assert!(!freeze(&rollback, &old, &old, &Before::default()).remote.asked);
    }

    #[test]
    fn what_runs_already_is_no_witness_of_itself() {
        let same = Request { expected_running: request().toplevel, ..request() };
        let settings = settings(&tcp("[::1]:22"));
        for (asked, red, green) in [(request(), true, true), (same, false, false)] {
            let frozen = |state| freeze(&asked, &settings, &settings, &before(state));
            assert_eq!(frozen(CheckState::Red).checks[0].excused, red);
            assert_eq!(frozen(CheckState::Green).checks[0].tells, green);
            let lifeline = Before { lifeline_was_green: true, ..Before::default() };
            assert_eq!(freeze(&asked, &settings, &settings, &lifeline).lifeline_was_green, green);
        }
    }
}
