//! What is known, as the answer to `GetStatus`, `ListDeployments` and `ShowDeployment`: PURE.

use crate::agent::history::{EventRow, Known, Row};
use crate::agent::policy::stale::Stale;
use crate::agent::policy::{Policy, gates};
use crate::agent::rollout::verify::{self, Anchor, Named};
use crate::agent::rollout::{Seen, by_hand};
use crate::config::settings::Settings;
use crate::control::deployment::{Check, Details, Event, Evidence};
use crate::control::status::{self, Blocked, Gate, RebootNeeded, Remote, Running, Status, Summary};
use crate::handover::report::{self, CheckState, Trial};
use crate::model::deployment::Phase;
use crate::model::store_path::StorePath;

/// What a status is made of.
pub struct Sight<'a> {
    /// The configuration.
    pub settings: &'a Settings,
    /// The rules.
    pub policy: &'a Policy,
    /// What a decision would look at.
    pub seen: &'a Seen,
    /// The history.
    pub known: &'a Known,
    /// RFC 3339: the last good poll.
    pub last_success_at: Option<String>,
    /// Why the remote is stale; empty if it is not.
    pub stale: &'a [Stale],
    /// The activator did not take the request that is waiting for it.
    pub activator_unreachable: bool,
    /// What is wrong with the configuration that lies there now.
    pub refused_configuration: Option<String>,
    /// What the loop itself has to say.
    pub troubles: &'a [String],
}

/// Makes the status.
pub fn status(sight: &Sight<'_>) -> Status {
    let (seen, known) = (sight.seen, sight.known);
    let row = known.live.first().or(known.newest.as_ref());
    let mut reasons = seen.world.reboot_reasons.clone();
    let never_once = seen.world.report.as_ref().and_then(|report| report.never_once.clone());
    if let (false, Some(why)) = (reasons.is_empty(), never_once) {
        reasons.push(format!("no single boot can be armed: {why}"));
    }
    Status {
        host: sight.settings.host.clone(),
        phase: phase(seen).as_str().to_owned(),
        running: running(sight),
        boot_default: boot_default(sight),
        remote: remote(sight),
        deployment: row.map(summary),
        checks: row.map(|row| checks(row, reported(seen, row))).unwrap_or_default(),
        blocked: blocked(known),
        gates: gates::of_the_tip(seen, sight.policy).into_iter().map(gate).collect(),
        reboot_needed: RebootNeeded { needed: !reasons.is_empty(), reasons },
        drift: seen.drift().map(|running| running.to_string()),
        staged: by_hand::staged(seen).map(|profile| profile.to_string()),
        only_built_in_checks: sight.settings.health.only_built_in_decide(),
        warnings: warnings(sight),
    }
}

/// Returns the phase of the deployment in front.
pub fn phase(seen: &Seen) -> Phase {
    seen.live.first().map(|front| front.stage.phase()).unwrap_or(Phase::Idle)
}

fn running(sight: &Sight<'_>) -> Running {
    let world = &sight.seen.world;
    match &world.running {
        Some(toplevel) => {
            let default = world.profile.as_ref() == Some(toplevel);
            let generation = world.profile_generation.filter(|_| default);
            system(toplevel, generation, sight)
        }
        None => Running { toplevel: String::new(), commit: None, generation: None },
    }
}

fn boot_default(sight: &Sight<'_>) -> Option<Running> {
    let seen = sight.seen;
    let default = seen.world.report.as_ref()?.boot_default.as_ref()?;
    // Who moved the profile by hand moved the default too, or did not: nobody has looked since.
    let stood = default.profile.as_ref().unwrap_or(&default.toplevel);
    let moved = seen.world.profile.as_ref() != Some(stood) && !seen.on_trial();
    (!moved).then_some(())?;
    Some(system(&default.toplevel, default.generation, sight))
}

/// The next boot starts something else than what runs, and nobody wanted that.
fn boots_another(sight: &Sight<'_>) -> Option<String> {
    let world = &sight.seen.world;
    let agreed = world.running.as_ref().filter(|runs| world.profile.as_ref() == Some(runs))?;
    let default = boot_default(sight).filter(|default| default.toplevel != agreed.as_str())?;
    (!sight.seen.on_trial()).then(|| {
        format!(
            "the next boot starts `{}`, and not what runs: \
             `/run/current-system/bin/switch-to-configuration boot` makes that the default again",
            default.toplevel
        )
    })
}

fn system(toplevel: &StorePath, generation: Option<u64>, sight: &Sight<'_>) -> Running {
    let known = sight.known;
    let kept = known.kept_commit.as_ref().filter(|_| known.last_kept.as_ref() == Some(toplevel));
    let live = known.live.iter().find(|row| row.toplevel.as_ref() == Some(toplevel));
    let commit = kept.or_else(|| live.and_then(|row| row.commit.as_ref()));
    Running {
        toplevel: toplevel.to_string(),
        commit: commit.map(|commit| commit.to_string()),
        generation: generation.map(|number| number as i64),
    }
}

fn remote(sight: &Sight<'_>) -> Remote {
    let (source, seen) = (&sight.settings.source, sight.seen);
    Remote {
        url: source.url.clone(),
        branch: source.branch.clone(),
        tip: seen.tip.as_ref().map(|tip| tip.to_string()),
        last_success_at: sight.last_success_at.clone(),
        last_error: seen.poll.error.as_ref().map(|failure| failure.message.clone()),
        stale: !sight.stale.is_empty(),
        stale_reasons: sight.stale.iter().map(stale).collect(),
        mark: seen.base(sight.policy).map(|commit| commit.to_string()),
    }
}

fn stale(stale: &Stale) -> status::Stale {
    status::Stale {
        kind: stale.kind.as_str().to_owned(),
        message: stale.message.clone(),
        hint: stale.hint.clone(),
    }
}

fn blocked(known: &Known) -> Vec<Blocked> {
    let blocked = known.blocked.iter().filter(|row| row.unblocked_by.is_none());
    let shown = |row: &crate::agent::history::BlockedRow| Blocked {
        toplevel: row.toplevel.to_string(),
        commit: row.commit.as_ref().map(|commit| commit.to_string()),
        reason: row.reason.to_string(),
        since: row.since.clone(),
    };
    blocked.map(shown).collect()
}

fn gate(gate: gates::Gate) -> Gate {
    Gate { kind: gate.kind.as_str().to_owned(), message: gate.message, until: gate.until }
}

fn warnings(sight: &Sight<'_>) -> Vec<String> {
    let (seen, known) = (sight.seen, sight.known);
    let mut warnings = sight.settings.warnings.clone();
    warnings.extend(sight.refused_configuration.clone());
    warnings.extend(known.mended.clone());
    warnings.extend(seen.world.report.iter().flat_map(|report| report.warnings.clone()));
    warnings.extend(seen.world.report_error.clone());
    warnings.extend(sight.stale.iter().map(|stale| stale.message.clone()));
    warnings.extend(boots_another(sight));
    warnings.extend(ancestry(sight));
    warnings.extend(by_hand::warnings(seen, sight.policy.drift));
    if sight.activator_unreachable {
        let look = "`systemctl status autodeploy-activate.path`";
        warnings.push(format!("the activator did not take the request: see {look}"));
    }
    warnings.extend(sight.troubles.iter().cloned());
    warnings
}

/// What is believed without a proof, and a refused tip that something newer stands before.
fn ancestry(sight: &Sight<'_>) -> Vec<String> {
    let (seen, known) = (sight.seen, sight.known);
    let mut warnings = Vec::new();
    match seen.anchor(sight.policy) {
        None => warnings.push(
            "nothing was kept yet and `trust.introduction` is not set: the first tip is believed \
             as it is"
                .to_owned(),
        ),
        Some(Anchor { commit, named: Named::Reanchored }) => warnings.push(format!(
            "`autodeployctl reanchor` put commit `{commit}` in the place of the last kept one, \
             until a tip that descends from it is kept"
        )),
        Some(Anchor { commit, named: Named::Mark })
            if known.believed_first == Some(commit.clone()) =>
        {
            warnings.push(format!(
                "commit `{commit}` was believed because it was the first: compare it with the \
                 repository (`trust.introduction` names the first commit beforehand)"
            ));
        }
        Some(_) => {}
    }
    let refused = seen.verdict.as_ref().filter(|verdict| {
        verify::is_refusal(&verdict.reason)
            && known.newest.as_ref().is_some_and(|row| row.id != verdict.deployment.0)
    });
    warnings.extend(refused.map(|verdict| format!("the tip is refused: {}", verdict.message)));
    warnings
}

/// Makes one line of a list; a deployment in flight has no message.
pub fn summary(row: &Row) -> Summary {
    Summary {
        id: row.id as i64,
        commit: row.commit.as_ref().map(|commit| commit.to_string()),
        toplevel: row.toplevel.as_ref().map(|path| path.to_string()),
        outcome: row.outcome.clone(),
        reason: row.reason.clone(),
        message: row.message.clone(),
        started_at: row.started_at.clone(),
        finished_at: row.finished_at.clone(),
        subject: row.subject.clone(),
        hint: row.hint.clone(),
    }
}

fn reported<'a>(seen: &'a Seen, row: &Row) -> Option<&'a Trial> {
    let trial = seen.world.report.as_ref()?.trial.as_ref()?;
    let same = trial.deployment.0 == row.id && row.toplevel.as_ref() == Some(&trial.toplevel);
    same.then_some(trial)
}

/// Makes all that is known of one deployment.
pub fn details(row: &Row, events: Vec<EventRow>, seen: &Seen) -> Details {
    let trial = reported(seen, row);
    let evidence = match trial {
        Some(trial) => trial.evidence.clone(),
        None => from_json(&row.evidence),
    };
    let live = seen.live.iter().find(|deployment| deployment.id.0 == row.id);
    let phase = live.map(|live| live.stage.phase()).unwrap_or(Phase::Idle);
    let event = |row: EventRow| Event { at: row.at, event: row.kind, message: row.message };
    let shown = |one: report::Evidence| Evidence { about: one.about, text: one.text };
    Details {
        summary: summary(row),
        kind: row.kind.clone(),
        phase: phase.as_str().to_owned(),
        hint: row.hint.clone(),
        old_toplevel: row.old_toplevel.as_ref().map(|path| path.to_string()),
        generation: row.generation.map(|number| number as i64),
        stays_until: None,
        attempts: i64::from(row.attempts),
        events: events.into_iter().map(event).collect(),
        checks: checks(row, trial),
        evidence: evidence.into_iter().map(shown).collect(),
    }
}

fn checks(row: &Row, trial: Option<&Trial>) -> Vec<Check> {
    let checks: Vec<report::CheckReport> = match trial {
        Some(trial) => trial.checks.clone(),
        None => from_json(&row.checks),
    };
    checks.into_iter().map(check).collect()
}

fn check(check: report::CheckReport) -> Check {
    use crate::config::settings::Severity;
    let severity = match check.severity {
        Severity::Required => "required",
        Severity::Wanted => "wanted",
    };
    let state = match check.state {
        CheckState::Pending => "pending",
        CheckState::Green => "green",
        CheckState::Red => "red",
    };
    Check {
        name: check.name,
        kind: check.kind,
        severity: severity.to_owned(),
        state: state.to_owned(),
        excused: check.excused,
        message: check.message,
    }
}

/// A column that does not parse shows as nothing: it is decoration, and decides nothing.
fn from_json<T: serde::de::DeserializeOwned>(column: &Option<String>) -> Vec<T> {
    column.as_ref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_is_shown_from_the_history_and_what_cannot_be_read_is_not() {
        let stored = |checks: &str| Row { checks: Some(checks.to_owned()), ..Row::default() };
        let shown = |row: &Row| details(row, Vec::new(), &Seen::default()).checks;
        let check =
            r#"[{"name":"web","kind":"http","severity":"required","state":"red","message":"500"}]"#;
        let expected = Check {
            name: "web".to_owned(),
            kind: "http".to_owned(),
            severity: "required".to_owned(),
            state: "red".to_owned(),
            excused: false,
            message: "500".to_owned(),
        };
        assert_eq!(shown(&stored(check)), [expected]);
        assert_eq!(shown(&stored("[{")), []);
        assert_eq!(shown(&Row::default()), []);
    }
}
