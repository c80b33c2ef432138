//! Which checks are looked at, for the system on trial and for the one that was brought back.

use std::path::Path;
use std::time::Duration;

use super::Machine;
use crate::activator::checks::configured::Configured;
use crate::activator::checks::lifeline::{LifelineSight, Wanted};
use crate::activator::checks::units::Units;
use crate::activator::checks::{Sight, Watched};
use crate::activator::host::{Host, Side};
use crate::activator::judgement::Frozen;
use crate::activator::record::Trial;
use crate::activator::trial::phase::{Phase, Way};
use crate::activator::trial::seen::CheckSeen;
use crate::config::settings::Severity;
use crate::effects::{clock, profile};
use crate::handover::report::CheckState;

/// How often the built-in checks look.
const LOOK: Duration = Duration::from_millis(300);
/// The limit on one look of a built-in check; the lifeline's holds a self-test.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

const LIFELINE: &str = "lifeline";
const UNITS: (&str, &str, Severity) = ("units", "units", Severity::Required);
const OTHERS: &str = "other-units";

impl Machine {
    pub(super) fn watched(&self, trial: &Trial, side: Side) -> Vec<Watched> {
        let Some(proof) = &trial.proof else { return Vec::new() };
        let judgement = &proof.judgement;
        let suspects = match &trial.phase {
            Phase::Rechecking { cause, .. } => cause.suspects.as_slice(),
            _ => &[],
        };
        let mut all = Vec::new();
        if side == Side::New || suspects.iter().any(|name| name == LIFELINE) {
            all.push(self.lifeline(trial, side));
        }
        if side == Side::New && judgement.units_decide {
            let sight = Units::new(self.came(trial).0, &proof.baseline.failed_units);
            all.push(built_in(Box::new(sight), &[UNITS, (OTHERS, "units", Severity::Wanted)]));
        }
        let prober = profile::own_program().unwrap_or_default();
        for frozen in &judgement.checks {
            if side == Side::New || suspects.contains(&frozen.name) {
                all.push(configured(frozen, &prober));
            }
        }
        all
    }

    /// When what runs now began to come, and when it was there: all of a boot is of one system.
    fn came(&self, trial: &Trial) -> (Duration, Duration) {
        match trial.way {
            Way::Switch => self.switched,
            Way::Boot => (Duration::ZERO, Duration::ZERO),
        }
    }

    fn lifeline(&self, trial: &Trial, side: Side) -> Watched {
        let judgement = trial.proof.as_ref().map(|proof| &proof.judgement);
        let mut remote = judgement.map(|it| it.remote.clone()).unwrap_or_default();
        if side == Side::Old {
            // The old agent asks for what the old configuration says.
            remote.url.clone_from(&self.settings.source.url);
            remote.branch.clone_from(&self.settings.source.branch);
            remote.unchanged = true;
        }
        let wanted = Wanted {
            remote,
            commit: trial.request.commit.clone(),
            boot_id: self.boot_id(),
            after: self.came(trial).1,
        };
        let toplevel = trial.request.toplevel.as_path().to_owned();
        let sight = LifelineSight::new(wanted, self.paths().runtime_dir.clone(), toplevel, side);
        let mut watched = built_in(Box::new(sight), &[(LIFELINE, "lifeline", Severity::Required)]);
        let was_green = judgement.is_some_and(|it| it.lifeline_was_green);
        watched.checks.iter_mut().for_each(|check| check.tells = was_green);
        watched
    }
}

fn built_in(sight: Box<dyn Sight>, checks: &[(&str, &str, Severity)]) -> Watched {
    let checks = checks.iter().map(|(name, kind, severity)| pending(name, kind, *severity));
    Watched { checks: checks.collect(), sight, interval: LOOK, limit: LOOK_LIMIT }
}

fn configured(frozen: &Frozen, prober: &Path) -> Watched {
    let check = &frozen.check;
    let mut seen = pending(&frozen.name, check.probe.kind(), check.severity);
    (seen.excused, seen.tells) = (frozen.excused, frozen.tells);
    Watched {
        checks: vec![seen],
        sight: Box::new(Configured::new(&frozen.name, check, prober)),
        interval: check.interval,
        limit: check.timeout,
    }
}

fn pending(name: &str, kind: &str, severity: Severity) -> CheckSeen {
    CheckSeen {
        name: name.to_owned(),
        kind: kind.to_owned(),
        severity,
        excused: false,
        tells: false,
        state: CheckState::Pending,
        since: clock::monotonic(),
        message: String::new(),
    }
}
