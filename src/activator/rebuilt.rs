//! PURE: what the public report still says when the record itself cannot be read.
//!
//! The report is root's own, lies on tmpfs and is written after each record, so a damaged disk
//! spares it, and it is of this boot. It may be older than the record by one phase: what was going
//! forward goes back, and what was being finished is done again, as after a crash.

use crate::activator::judgement::Judgement;
use crate::activator::record::{Baseline, Profile, Proof, Record, Trial};
use crate::activator::trial::boot::go_back;
use crate::activator::trial::ending;
use crate::activator::trial::phase::{Cause, Phase, Then, Way};
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

/// Where a trial stands that the report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It runs, and is no default.
    Running,
    /// It runs and is the profile's, because it was being kept.
    BeingKept,
    /// It is the profile's, and was not being kept.
    InTheProfile,
    /// The next boot may start it.
    Armed,
}

impl Left {
    fn of(trial: &report::Trial, standing: &Standing) -> Option<Left> {
        let (old, profile) = (trial.ran_before.as_ref()?, standing.profile.as_ref()?);
        let runs = |system| standing.running.as_ref() == Some(system);
        let new = &trial.toplevel;
        if trial.outcome.is_some() || old == new {
            return None;
        }
        let last = trial.steps.last().map_or("", |step| &step.phase);
        match profile.old.toplevel == *new {
            false if runs(old) && ["arming", "armed"].contains(&last) => Some(Left::Armed),
            false => runs(new).then_some(Left::Running),
            true if runs(new) && last == "keeping" => Some(Left::BeingKept),
            // Where the profile led before has to be known, to lead it back.
            true if trial.old.is_none() => None,
            true => (runs(new) || runs(old)).then_some(Left::InTheProfile),
        }
    }
}

/// Returns what ran before the trial that the report is about, if that trial has to be brought to
/// an end.
pub fn ran_before<'it>(report: &'it Report, standing: &Standing) -> Option<&'it StorePath> {
    let trial = report.trial.as_ref()?;
    Left::of(trial, standing).and(trial.ran_before.as_ref())
}

/// Puts a record together: what was refused and kept, and the trial on the way to its end.
///
/// `old` is the configuration of what ran before: it says how long a switch may take, and whether
/// the last resort may be a reboot.
pub fn record(report: Report, standing: Standing, old: &Settings) -> Record {
    Record {
        trial: report.trial.and_then(|trial| goes_on(trial, standing, old)),
        reverted: report.reverted,
        last_kept: report.last_kept,
        mark: report.mark,
        ..Record::default()
    }
}

fn goes_on(trial: report::Trial, standing: Standing, old: &Settings) -> Option<Trial> {
    let left = Left::of(&trial, &standing)?;
    let Standing { profile, boot_id, at, running } = standing;
    let (profile, ran_before) = (profile?, trial.ran_before?);
    let was_booted = report::went_through(&trial.steps, "arming");
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
    let mut on = Trial::new(request, boot_id.clone(), trial.started_at);
    on.steps = trial.steps;
    on.checks = trial.checks;
    on.way = if was_booted { Way::Boot } else { Way::Switch };
    let old_generation = match left {
        Left::Running | Left::Armed => profile.old,
        Left::BeingKept => trial.old.unwrap_or(profile.old),
        Left::InTheProfile => trial.old?,
    };
    let old_runs = running.as_ref() == Some(&ran_before);
    on.proof = Some(Proof {
        baseline: Baseline {
            running: ran_before,
            failed_units: Vec::new(),
            active_units: Vec::new(),
            default_route: false,
            resolver: false,
        },
        judgement: judgement(old),
        profiles: vec![Profile { name: profile.name, path: profile.path, old: old_generation }],
        boot: None,
    });
    let message = "the record of the trial could not be read any more; the report had it";
    let failure = Failure::new(Reason::RECORD_UNREADABLE, message);
    let policy = Record::default().policy(&on);
    let next = match left {
        Left::Running => go_back(Cause::interrupted(failure), &policy),
        Left::BeingKept => Phase::Keeping { tries: 1 },
        Left::Armed => Phase::Disarming { tries: 0, end: ending::dropped(failure) },
        Left::InTheProfile if old_runs => {
            Phase::Unkeeping { tries: 0, then: Then::End(ending::dropped(failure)) }
        }
        Left::InTheProfile => {
            Phase::Unkeeping { tries: 0, then: Then::Revert(Cause::interrupted(failure)) }
        }
    };
    on.enter(next, &boot_id, &at);
    Some(on)
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
    fn check(phase: Phase, (running, profile): (char, char), expected: Option<&str>) {
        let record = record(report_in(phase), standing(running, profile), &settings());
        assert_eq!(record.unfinished().map(|trial| trial.phase.name()), expected);
        let known = record.unfinished().map(|trial| trial.old().clone());
        assert_eq!(known, expected.map(|_| path('a')));
    }

    #[test]
    fn what_is_unproved_goes_back_and_what_was_being_kept_is_kept() {
        let on = || Phase::Watching { since: std::time::Duration::ZERO };
        check(on(), ('b', 'a'), Some("reverting"));
        check(Phase::Switching, ('b', 'a'), Some("reverting"));
        check(Phase::Keeping { tries: 0 }, ('b', 'a'), Some("reverting"));
        check(Phase::Keeping { tries: 0 }, ('b', 'b'), Some("keeping"));
        let unkeeping = || Phase::Unkeeping { tries: 0, then: Then::End(ending::someone_else()) };
        check(unkeeping(), ('b', 'b'), Some("unkeeping"));
        check(unkeeping(), ('a', 'b'), Some("unkeeping"));
        check(Phase::Staging { tries: 0 }, ('a', 'b'), Some("unkeeping"));
        check(Phase::Armed { tries: 0, asked: None }, ('a', 'a'), Some("disarming"));
        // Nothing is left to do, or it is somebody else's.
        check(on(), ('a', 'a'), None);
        check(on(), ('c', 'a'), None);
        check(on(), ('c', 'b'), None);
        check(Phase::Ended(ending::someone_else()), ('b', 'a'), None);
    }

    #[test]
    fn the_steps_before_are_kept_and_nothing_is_made_up() {
        let record = record(report_in(Phase::Switching), standing('b', 'a'), &settings());
        let steps: Vec<_> =
            record.trial.unwrap().steps.iter().map(|step| step.phase.clone()).collect();
        assert_eq!(steps, ["requested", "switching", "reverting"]);
        assert_eq!(record_of_nothing().trial, None);
    }

    fn record_of_nothing() -> Record {
        let mut report = report_in(Phase::Switching);
        report.trial = None;
        record(report, standing('b', 'a'), &settings())
    }
}
