//! PURE: the public part of the record.

use crate::activator::record::{Record, Trial};
use crate::handover::VERSION;
use crate::handover::report::{self, BootDefault, Report};
use crate::model::store_path::StorePath;

/// What the boot loader shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loader {
    /// What it starts, if that can be told.
    pub default: Option<BootDefault>,
    /// Why no single boot can be armed; `None` if one can.
    pub never_once: Option<String>,
}

impl Loader {
    /// What it starts though the profile leads elsewhere: its own files keep nothing in the store.
    pub fn loose(&self) -> Option<&StorePath> {
        let default = self.default.as_ref()?;
        (default.profile.as_ref() != Some(&default.toplevel)).then_some(&default.toplevel)
    }
}

/// Makes the report of a record.
pub fn of(record: &Record, loader: &Loader) -> Report {
    Report {
        version: VERSION,
        activator_version: env!("CARGO_PKG_VERSION").to_owned(),
        trial: record.trial.as_ref().map(trial),
        reverted: record.reverted.clone(),
        last_kept: record.last_kept.clone(),
        mark: record.mark(),
        boot_default: loader.default.clone(),
        never_once: loader.never_once.clone(),
        warnings: record.warnings.clone(),
    }
}

fn trial(trial: &Trial) -> report::Trial {
    let end = trial.end();
    report::Trial {
        deployment: trial.request.deployment,
        kind: trial.request.kind,
        commit: trial.request.commit.clone(),
        toplevel: trial.request.toplevel.clone(),
        old: trial.left().cloned(),
        ran_before: trial.proof.as_ref().map(|proof| proof.baseline.running.clone()),
        phase: trial.phase.public(),
        steps: trial.steps.clone(),
        outcome: end.map(|end| end.outcome),
        reason: end.map(|end| end.failure.reason.clone()),
        message: end.map(|end| end.failure.message.clone()).unwrap_or_default(),
        hint: end.and_then(|end| end.failure.hint.clone()),
        retry: end.is_some_and(|end| end.retry),
        generation: end.and_then(|end| end.generation),
        checks: trial.checks.clone(),
        evidence: trial.evidence.clone(),
        started_at: trial.started_at.clone(),
        finished_at: trial.finished_at.clone(),
    }
}

/// Gives the boot default its number, where the profile from before or the kept one has it, and
/// notes beside it where the `profile` leads.
pub fn boot_default(
    record: &Record,
    toplevel: StorePath,
    profile: Option<StorePath>,
) -> BootDefault {
    let old = record.trial.as_ref().and_then(Trial::left);
    let kept = record.last_kept.as_ref();
    let generation = kept
        .filter(|kept| kept.toplevel == toplevel)
        .map(|kept| kept.generation)
        .or_else(|| old.filter(|old| old.toplevel == toplevel).map(|old| old.number));
    BootDefault { toplevel, generation, profile }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activator::host::fake::proof;
    use crate::activator::record::tests::{path, request};
    use crate::activator::trial::ending;
    use crate::activator::trial::phase::Phase;
    use crate::model::deployment::{Outcome, Phase as Public};
    use crate::model::generation::Generation;

    #[test]
    fn a_trial_that_is_on_has_a_phase_and_no_outcome() {
        let trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
        let record = Record { trial: Some(trial), ..Record::default() };
        let shown = of(&record, &Loader::default()).trial.unwrap();
        assert_eq!((shown.phase, shown.outcome, shown.old), (Public::Requested, None, None));
        assert_eq!(shown.steps[0].phase, "requested");
    }

    #[test]
    fn an_end_is_told_with_code_sentence_and_number() {
        let mut trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
        trial.enter(Phase::Ended(ending::kept(7)), "boot-1", "now");
        let mut record = Record { trial: Some(trial), ..Record::default() };
        record.remember(&ending::kept(7), "now");
        let default = Some(boot_default(&record, path('b'), Some(path('b'))));
        let never_once = Some("there is no loader".to_owned());
        let report = of(&record, &Loader { default, never_once });
        assert_eq!(report.never_once.unwrap(), "there is no loader");
        let shown = report.trial.unwrap();
        assert_eq!((shown.outcome, shown.generation), (Some(Outcome::Kept), Some(7)));
        assert_eq!(shown.reason.unwrap().as_str(), "healthy");
        assert_eq!(report.boot_default.unwrap().generation, Some(7));
    }

    #[test]
    fn the_boot_default_has_the_number_that_is_known() {
        let mut trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
        trial.proof = Some(proof(Generation { number: 6, toplevel: path('a') }, path('a')));
        let record = Record { trial: Some(trial), ..Record::default() };
        assert_eq!(boot_default(&record, path('a'), None).generation, Some(6));
        assert_eq!(boot_default(&record, path('c'), None).generation, None);
    }
}
