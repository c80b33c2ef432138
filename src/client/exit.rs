//! The exit codes of the contract, and what leads to which. PURE.

use crate::client::render::words;
use crate::control::deployment::Details;
use crate::control::status::Status;
use crate::model::deployment::{Outcome, Phase};

/// How the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, staged, or nothing to do.
    Done = 0,
    /// The asked-for thing failed, or is not allowed; for `status --check`: a warning.
    Failed = 1,
    /// autodeployd cannot be reached.
    Unreachable = 3,
    /// The deployment was reverted, failed, aborted or is blocked.
    Bad = 4,
    /// A gate holds it back.
    Held = 5,
    /// A person stopped waiting (what the shell makes of SIGINT).
    Interrupted = 130,
}

impl Exit {
    /// Tells whether it did not go as asked.
    pub fn is_bad(self) -> bool {
        self != Exit::Done
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a person wanted of a deployment whose end they waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it runs.
    Run,
    /// That it goes: `abort`, and the `rollback` that is an abort.
    Gone,
}

impl Wanted {
    /// Tells what `rollback` is about: the deployment that it made, or the one that it ends.
    pub fn of_rollback(deployment: &Details) -> Wanted {
        match deployment.kind.as_str() {
            "rollback" => Wanted::Run,
            _ => Wanted::Gone,
        }
    }
}

/// Returns the exit code for a deployment that ended.
///
/// An outcome that this release does not know counts as bad.
pub fn of_outcome(wanted: Wanted, outcome: &str) -> Exit {
    let Some(outcome) = Outcome::from_name(outcome) else { return Exit::Bad };
    match (wanted, outcome) {
        (Wanted::Run, Outcome::Kept | Outcome::Staged | Outcome::Tested) => Exit::Done,
        (Wanted::Run, Outcome::Reverted | Outcome::Failed | Outcome::Blocked) => Exit::Bad,
        (Wanted::Run, Outcome::Aborted | Outcome::Interrupted | Outcome::Superseded) => Exit::Bad,
        // It was too late.
        (Wanted::Gone, Outcome::Kept | Outcome::Staged | Outcome::Tested) => Exit::Failed,
        (Wanted::Gone, Outcome::Reverted | Outcome::Failed | Outcome::Blocked) => Exit::Done,
        (Wanted::Gone, Outcome::Aborted | Outcome::Interrupted | Outcome::Superseded) => Exit::Done,
        (Wanted::Run | Wanted::Gone, Outcome::RevertFailed) => Exit::Bad,
    }
}

/// What `status --check` says: the code, and why it is not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// 0, 1 or 4.
    pub exit: Exit,
    /// One phrase each; empty for 0.
    pub reasons: Vec<String>,
}

/// Judges a status for a monitoring program.
pub fn of_status(status: &Status) -> Verdict {
    let mut reasons = Vec::new();
    if let Some(ended) = bad_end(status) {
        reasons.push(ended);
    }
    let bad = !reasons.is_empty();
    reasons.extend(warnings(status));
    let exit = match (bad, reasons.is_empty()) {
        (true, _) => Exit::Bad,
        (false, false) => Exit::Failed,
        (false, true) => Exit::Done,
    };
    Verdict { exit, reasons }
}

fn bad_end(status: &Status) -> Option<String> {
    let deployment = status.deployment.as_ref()?;
    let outcome = deployment.outcome.as_deref()?;
    // A newer one came: that one is what counts.
    let superseded = outcome == Outcome::Superseded.as_str();
    let bad = !superseded && of_outcome(Wanted::Run, outcome) == Exit::Bad;
    bad.then(|| format!("deployment {} ended as {}", deployment.id, words::line(outcome)))
}

fn warnings(status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    for stale in &status.remote.stale_reasons {
        warnings.push(format!("stale: {}", words::line(&stale.message)));
    }
    if status.remote.stale && status.remote.stale_reasons.is_empty() {
        warnings.push("the remote is stale".to_owned());
    }
    for gate in &status.gates {
        warnings.push(format!("held by the gate {}", words::line(&gate.kind)));
    }
    if status.gates.is_empty() && status.phase == Phase::Held.as_str() {
        warnings.push("held".to_owned());
    }
    if status.reboot_needed.needed {
        warnings.push("a reboot is needed".to_owned());
    }
    if let Some(running) = &status.drift {
        warnings.push(format!("drift: {} was switched to by hand", words::closure(running)));
    }
    if let Some(profile) = &status.staged {
        let closure = words::closure(profile);
        warnings.push(format!("the system profile was set to {closure} by hand"));
    }
    if status.only_built_in_checks {
        warnings.push("only the built-in checks decide".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;
    use crate::control::status::{Gate, RebootNeeded};

    #[test]
    fn the_codes_are_the_contract() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Unreachable, 3),
            (Exit::Bad, 4),
            (Exit::Held, 5),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit as u8, code);
        }
    }

    #[track_caller]
    fn check_outcome(outcome: &str, run: Exit, gone: Exit) {
        assert_eq!(of_outcome(Wanted::Run, outcome), run, "{outcome}");
        assert_eq!(of_outcome(Wanted::Gone, outcome), gone, "{outcome}");
    }

    #[test]
    fn an_outcome_is_judged_by_what_was_wanted() {
        check_outcome("kept", Exit::Done, Exit::Failed);
        check_outcome("staged", Exit::Done, Exit::Failed);
        check_outcome("tested", Exit::Done, Exit::Failed);
        check_outcome("reverted", Exit::Bad, Exit::Done);
        check_outcome("revert-failed", Exit::Bad, Exit::Bad);
        check_outcome("failed", Exit::Bad, Exit::Done);
        check_outcome("blocked", Exit::Bad, Exit::Done);
        check_outcome("superseded", Exit::Bad, Exit::Done);
        check_outcome("aborted", Exit::Bad, Exit::Done);
        check_outcome("interrupted", Exit::Bad, Exit::Done);
        check_outcome("from-the-future", Exit::Bad, Exit::Bad);
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Status), exit: Exit, reasons: &[&str]) {
        let mut status = fixtures::status();
        change(&mut status);
        let verdict = of_status(&status);
        assert_eq!(
            (verdict.exit, verdict.reasons),
            (exit, reasons.iter().map(|r| r.to_string()).collect())
        );
    }

    fn ended(outcome: &'static str) -> impl FnOnce(&mut Status) {
        move |status| {
            if let Some(deployment) = &mut status.deployment {
                deployment.outcome = Some(outcome.to_owned());
            }
        }
    }

    fn gate(kind: &'static str) -> impl FnOnce(&mut Status) {
        move |status| {
            status.gates = vec![Gate { kind: kind.into(), message: "x".into(), until: None }];
        }
    }

    #[test]
    fn a_good_machine_is_fine() {
        check(|_| {}, Exit::Done, &[]);
        check(|status| status.deployment = None, Exit::Done, &[]);
        check(|status| status.checks.clear(), Exit::Done, &[]);
        check(ended("staged"), Exit::Done, &[]);
        check(ended("superseded"), Exit::Done, &[]);
    }

    #[test]
    fn what_deserves_a_look_is_a_warning() {
        check(|status| status.remote.stale = true, Exit::Failed, &["the remote is stale"]);
        check(
            |status| {
                status.remote.stale = true;
                status.remote.stale_reasons = vec![fixtures::stale()];
            },
            Exit::Failed,
            &["stale: the clock is behind"],
        );
        check(gate("paused"), Exit::Failed, &["held by the gate paused"]);
        check(
            |status| status.drift = Some(fixtures::OLD.into()),
            Exit::Failed,
            &["drift: nixos-system-web1-25.05 was switched to by hand"],
        );
        check(|status| status.phase = "held".into(), Exit::Failed, &["held"]);
        check(
            |status| status.reboot_needed = RebootNeeded { needed: true, reasons: vec![] },
            Exit::Failed,
            &["a reboot is needed"],
        );
        check(
            |status| status.only_built_in_checks = true,
            Exit::Failed,
            &["only the built-in checks decide"],
        );
    }

    #[test]
    fn a_bad_end_outweighs_warnings() {
        check(ended("reverted"), Exit::Bad, &["deployment 7 ended as reverted"]);
        check(
            |status| {
                ended("failed")(status);
                status.remote.stale = true;
            },
            Exit::Bad,
            &["deployment 7 ended as failed", "the remote is stale"],
        );
    }
}
