//! PURE: what the public report still says when the record itself cannot be read.
//!
//! The report is root's own, lies on tmpfs and is written after each record, so a damaged disk
//! spares it, and it is of this boot. It may be older than the record by one phase: what is taken
//! from it only ever goes back.

use crate::activator::judgement::Judgement;
use crate::activator::record::{Baseline, Profile, Proof, Record, Trial};
use crate::activator::trial::boot::go_back;
use crate::activator::trial::phase::{Cause, Way};
use crate::config::settings::{LastResort, Reboot, Settings};
use crate::handover::VERSION;
use crate::handover::report::{self, Report};
use crate::handover::request::Request;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;

/// The machine as it stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What `/run/current-system` leads to.
    pub running: Option<StorePath>,
    /// The system profile; `None` if it cannot be read.
    pub profile: Option<Profile>,
    /// Names this boot.
    pub boot_id: String,
    /// RFC 3339, UTC.
    pub at: String,
}

/// Returns what ran before the trial that the report is about, if that trial has to be led back:
/// it was on, its closure runs, and nothing of it is a default yet.
pub fn to_bring_back<'it>(report: &'it Report, standing: &Standing) -> Option<&'it StorePath> {
    let trial = report.trial.as_ref().filter(|trial| trial.outcome.is_none())?;
    let profile = standing.profile.as_ref()?;
    let runs = standing.running.as_ref() == Some(&trial.toplevel);
    let proved = profile.old.toplevel == trial.toplevel;
    trial.ran_before.as_ref().filter(|old| runs && !proved && **old != trial.toplevel)
}

/// Puts a record together: what was refused and kept, and the trial on its way back.
///
/// `old` is the configuration of what ran before: it says how long a switch may take, and whether
/// the last resort may be a reboot.
pub fn record(report: Report, standing: Standing, old: &Settings) -> Record {
    let back = to_bring_back(&report, &standing).cloned();
    let trial = report.trial.zip(back);
    Record {
        trial: trial.and_then(|(trial, ran_before)| led_back(trial, ran_before, standing, old)),
        reverted: report.reverted,
        last_kept: report.last_kept,
        ..Record::default()
    }
}

fn led_back(
    trial: report::Trial,
    ran_before: StorePath,
    standing: Standing,
    old: &Settings,
) -> Option<Trial> {
    let Standing { profile, boot_id, at, .. } = standing;
    let was_booted = trial.steps.iter().any(|step| step.phase == "arming");
    let request = Request {
        version: VERSION,
        deployment: trial.deployment,
        kind: trial.kind,
        commit: trial.commit,
        toplevel: trial.toplevel,
        generation: None,
        expected_running: ran_before.clone(),
        boot_id: boot_id.clone(),
        emergency: false,
        unblocked_by: None,
    };
    let mut led_back = Trial::new(request, boot_id.clone(), trial.started_at);
    led_back.steps = trial.steps;
    led_back.checks = trial.checks;
    led_back.way = if was_booted { Way::Boot } else { Way::Switch };
    led_back.proof = Some(Proof {
        baseline: Baseline {
            running: ran_before,
            failed_units: Vec::new(),
            active_units: Vec::new(),
            default_route: false,
            resolver: false,
        },
        judgement: judgement(old),
        profiles: vec![profile?],
        boot: None,
    });
    let message = "the record of the trial could not be read any more; the report had it";
    let cause = Cause::interrupted(Failure::new(Reason::RECORD_UNREADABLE, message));
    let policy = Record::default().policy(&led_back);
    led_back.enter(go_back(cause, &policy), &boot_id, &at);
    Some(led_back)
}

/// Nothing is known of the checks before: the way back is not judged by them.
fn judgement(old: &Settings) -> Judgement {
    Judgement {
        window: old.health.window,
        settle: old.health.settle,
        switch_timeout: old.activation.switch_timeout,
        may_reboot: old.activation.last_resort == LastResort::Reboot,
        reboots_itself: old.activation.reboot == Reboot::WhenNeeded,
        units_decide: true,
        checks: Vec::new(),
        remote: crate::activator::judgement::Remote::default(),
        lifeline_was_green: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activator::host::fake;
    use crate::activator::record::tests::{path, request};
    use crate::activator::report;
    use crate::activator::trial::ending;
    use crate::activator::trial::phase::Phase;
    use crate::config::lenient;
    use crate::model::generation::Generation;

    fn proof() -> Proof {
        fake::proof(Generation { number: 1, toplevel: path('a') }, path('a'))
    }

    fn settings() -> Settings {
        lenient("source.url = 'https://git.example/x'", "box").unwrap().0
    }

    fn standing(running: char, profile: char) -> Standing {
        let mut it = proof().profiles[0].clone();
        it.old.toplevel = path(profile);
        let (boot_id, at) = ("boot-1".to_owned(), "then".to_owned());
        Standing { running: Some(path(running)), profile: Some(it), boot_id, at }
    }

    /// `b` is on trial, `a` ran before.
    fn report_in(phase: Phase) -> Report {
        let mut trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
        trial.proof = Some(proof());
        trial.enter(phase, "boot-1", "then");
        let record = Record { trial: Some(trial), ..Record::default() };
        report::of(&record, &report::Loader::default())
    }

    #[track_caller]
    fn check(phase: Phase, (running, profile): (char, char), expected: Option<char>) {
        let report = report_in(phase);
        let back = to_bring_back(&report, &standing(running, profile)).cloned();
        assert_eq!(back, expected.map(path));
    }

    #[test]
    fn only_what_runs_unproved_is_led_back() {
        let on = || Phase::Watching { since: std::time::Duration::ZERO };
        check(on(), ('b', 'a'), Some('a'));
        check(Phase::Switching, ('b', 'a'), Some('a'));
        // It was being kept, or the old one runs, or somebody else's.
        check(on(), ('b', 'b'), None);
        check(on(), ('a', 'a'), None);
        check(on(), ('c', 'a'), None);
        check(Phase::Ended(ending::someone_else()), ('b', 'a'), None);
    }

    #[test]
    fn a_trial_that_was_put_together_reverts_and_counts_as_interrupted() {
        let record = record(report_in(Phase::Switching), standing('b', 'a'), &settings());
        let trial = record.unfinished().unwrap();
        assert_eq!((trial.phase.name(), trial.old()), ("reverting", &path('a')));
        assert_eq!(trial.steps.last().unwrap().phase, "reverting");
        let nothing = record_of_nothing();
        assert_eq!(nothing.trial, None);
    }

    fn record_of_nothing() -> Record {
        let mut report = report_in(Phase::Switching);
        report.trial = None;
        record(report, standing('b', 'a'), &settings())
    }
}
