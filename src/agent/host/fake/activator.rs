//! The activator of the machine in memory: one phase at each look, as slow as a test says.

use std::rc::Rc;

use crate::agent::host::fake::Machine;
use crate::handover::answer::{Answer, Word};
use crate::handover::mark::Mark;
use crate::handover::report::{Kept, Report, Reverted, Step, Trial};
use crate::model::deployment::{Kind, Outcome, Phase};
use crate::model::failure::Reason;
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;

/// How it behaves, and what it has on disk.
#[derive(Clone, Debug, Default)]
pub struct Activator {
    /// It does not take requests.
    pub dead: bool,
    /// It stays in the phase it is in.
    pub holds: Option<Phase>,
    /// How the next trials end, before health is asked: outcome, reason and whether to retry.
    pub ends: Vec<(Outcome, Reason, bool)>,
    /// Its record.
    pub record: Report,
    /// Closures whose trial was interrupted.
    pub strikes: Vec<StorePath>,
}

/// One step, if there is one to take.
pub fn goes_on(machine: &mut Machine, at: &str) {
    let open = |trial: &Trial| trial.outcome.is_none();
    let on = machine.activator.record.trial.as_ref().is_some_and(open);
    if !machine.activator.dead
        && !on
        && let Some(mark) = machine.mark.take()
    {
        machine.activator.record.mark = Some(mark);
    }
    match machine.activator.record.trial.clone().filter(open) {
        _ if machine.activator.dead => return,
        Some(trial) if machine.activator.holds == Some(trial.phase) && !aborted(machine) => return,
        Some(trial) if trial.phase == Phase::Armed && !told(machine) => {}
        Some(trial) => next(machine, trial, at),
        None => take(machine, at),
    }
    // One that says the same stays the same, or nothing would ever seem to stand still.
    if machine.report.as_deref() != Some(&machine.activator.record) {
        machine.report = Some(Rc::new(machine.activator.record.clone()));
    }
}

/// A trial that was on is over, and was interrupted; once more is allowed.
pub fn after_boot(machine: &mut Machine) {
    let Some(mut trial) = machine.activator.record.trial.clone() else {
        machine.report = Some(Rc::new(machine.activator.record.clone()));
        return;
    };
    if trial.outcome.is_none() && trial.phase == Phase::Armed {
        // The loader starts it, once: this boot is its trial.
        machine.running = trial.toplevel.clone();
        enter(&mut trial, Phase::Watching, "after the boot");
        machine.activator.record.trial = Some(trial);
    } else if trial.outcome.is_none() {
        let counted = matches!(trial.phase, Phase::Switching | Phase::Watching);
        let again = !counted || !machine.activator.strikes.contains(&trial.toplevel);
        if counted {
            machine.activator.strikes.push(trial.toplevel.clone());
        }
        (trial.outcome, trial.reason) = (Some(Outcome::Interrupted), Some(Reason::POWER_CUT));
        (trial.retry, trial.message) = (again, "the machine was reset".into());
        if !again {
            refuse(machine, &trial, Reason::POWER_CUT);
        }
        machine.activator.record.trial = Some(trial);
    }
    machine.report = Some(Rc::new(machine.activator.record.clone()));
}

fn said(machine: &Machine, word: Word) -> bool {
    let trial = machine.activator.record.trial.as_ref().map(|trial| trial.deployment);
    let said = |answer: &Answer| answer.answer == word && Some(answer.deployment) == trial;
    machine.answer.as_ref().is_some_and(said)
}

fn aborted(machine: &Machine) -> bool {
    said(machine, Word::Abort)
}

fn told(machine: &Machine) -> bool {
    aborted(machine) || said(machine, Word::Supersede)
}

fn take(machine: &mut Machine, at: &str) {
    let Some(request) = machine.request.take() else { return };
    let known = machine.activator.record.trial.as_ref();
    if known.is_some_and(|trial| trial.deployment == request.deployment) {
        return;
    }
    let mut trial = Trial {
        deployment: request.deployment,
        kind: request.kind,
        commit: request.commit.clone(),
        toplevel: request.toplevel.clone(),
        old: Some(Generation { number: 1, toplevel: machine.running.clone() }),
        phase: Phase::Baseline,
        steps: Vec::new(),
        outcome: None,
        reason: None,
        message: String::new(),
        hint: None,
        retry: false,
        generation: None,
        checks: Vec::new(),
        evidence: Vec::new(),
        started_at: at.to_owned(),
        finished_at: None,
        ran_before: Some(machine.running.clone()),
    };
    enter(&mut trial, Phase::Baseline, at);
    let stale = request.boot_id != format!("boot-{}", machine.boot)
        || request.expected_running != machine.running;
    let refused = machine.activator.record.reverted.iter().any(|r| r.toplevel == request.toplevel);
    if stale {
        end(&mut trial, (Outcome::Failed, Reason::STALE_REQUEST, true));
    } else if refused && request.unblocked_by.is_none() {
        end(&mut trial, (Outcome::Blocked, Reason::BLOCKED, false));
    }
    machine.activator.record.trial = Some(trial);
}

fn enter(trial: &mut Trial, phase: Phase, at: &str) {
    trial.phase = phase;
    trial.steps.push(Step { phase: phase.to_string(), at: at.to_owned(), message: String::new() });
}

fn end(trial: &mut Trial, (outcome, reason, retry): (Outcome, Reason, bool)) {
    trial.message = format!("the trial ended: {reason}");
    (trial.outcome, trial.reason, trial.retry) = (Some(outcome), Some(reason), retry);
}

fn refuse(machine: &mut Machine, trial: &Trial, reason: Reason) {
    machine.activator.record.reverted.push(Reverted {
        toplevel: trial.toplevel.clone(),
        commit: trial.commit.clone(),
        reason,
        since: trial.started_at.clone(),
        deployment: trial.deployment,
    });
}

fn healthy(machine: &Machine, trial: &Trial) -> bool {
    let of = |one: &&crate::agent::host::fake::Commit| one.closure == trial.toplevel;
    machine.remote.values().find(of).is_none_or(|one| one.healthy)
}

fn next(machine: &mut Machine, mut trial: Trial, at: &str) {
    match trial.phase {
        Phase::Baseline if aborted(machine) => {
            end(&mut trial, (Outcome::Aborted, Reason::BY_OPERATOR, false));
        }
        Phase::Baseline if !machine.reboot_reasons.is_empty() => {
            enter(&mut trial, Phase::Armed, at);
        }
        Phase::Armed => end(
            &mut trial,
            match aborted(machine) {
                true => (Outcome::Aborted, Reason::BY_OPERATOR, false),
                false => (Outcome::Superseded, Reason::NEWER_COMMIT, false),
            },
        ),
        Phase::Baseline => {
            enter(&mut trial, Phase::Switching, at);
            machine.running = trial.toplevel.clone();
        }
        Phase::Switching => enter(&mut trial, Phase::Watching, at),
        Phase::Watching if aborted(machine) || !machine.activator.ends.is_empty() => {
            enter(&mut trial, Phase::Reverting, at);
        }
        Phase::Watching if healthy(machine, &trial) => enter(&mut trial, Phase::Keeping, at),
        Phase::Watching => enter(&mut trial, Phase::Reverting, at),
        Phase::Keeping => {
            let number = machine.generations.keys().last().unwrap() + 1;
            machine.generations.insert(number, trial.toplevel.clone());
            machine.profile = Some(trial.toplevel.clone());
            trial.generation = Some(number);
            end(&mut trial, (Outcome::Kept, Reason::HEALTHY, false));
            if let (Kind::Follow, Some(commit)) = (trial.kind, &trial.commit) {
                let mark = Mark { commit: Some(commit.clone()), reanchored: None };
                machine.activator.record.mark = Some(mark);
            }
            machine.activator.record.last_kept = Some(Kept {
                toplevel: trial.toplevel.clone(),
                commit: trial.commit.clone(),
                generation: number,
                at: at.to_owned(),
            });
        }
        _ => {
            machine.running = trial.old.clone().unwrap().toplevel;
            let said = match machine.activator.ends.is_empty() {
                true if aborted(machine) => (Outcome::Aborted, Reason::BY_OPERATOR, false),
                true => (Outcome::Reverted, Reason::UNHEALTHY, false),
                false => machine.activator.ends.remove(0),
            };
            if !said.2 {
                refuse(machine, &trial, said.1.clone());
            }
            end(&mut trial, said);
        }
    }
    machine.activator.record.trial = Some(trial);
}
