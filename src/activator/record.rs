//! What root remembers across restarts and boots: `trial.json`.
//!
//! Every phase stands in here, fsynced, before it is acted on. Unknown fields are kept, because a
//! revert brings the previous release back to a file that a newer one wrote. A file that cannot be
//! read, or of a newer major version, is not guessed at: [`parse`] says so, and the caller sets it
//! aside.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::activator::trial::Policy;
use crate::activator::trial::phase::{End, Mark, Phase, Way};
use crate::activator::trial::seen::System;
use crate::config::settings::{LastResort, Reboot};
use crate::handover::mark;
use crate::handover::report::{CheckReport, Evidence, Kept, Reverted, Step};
use crate::handover::request::Request;
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;

mod kept;
mod proof;

pub use proof::{Baseline, Boot, Profile, Proof};

/// The file's name in `paths.activator_state_dir`.
pub const FILE: &str = "trial.json";

/// The largest record that is read, in bytes.
pub const LARGEST_BYTES: u64 = 16 << 20;

/// The major version that this release writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// How many refused closures and counts are kept; the oldest go first.
const REMEMBERED: usize = 1000;

/// How many phases of one trial are kept; the first ones say where it came from, so the surplus
/// goes from the middle.
const STEPS: usize = 60;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`]
    pub version: u32,
    /// The trial that is on, else the last one.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// Closures that are refused until a person unblocks them.
    #[serde(default)]
    pub reverted: Vec<Reverted>,
    /// The last closure that was kept.
    #[serde(default)]
    pub last_kept: Option<Kept>,
    /// What the next tip has to descend from. A rollback does not move it, nor does what was kept
    /// without a commit; so it is not the commit of the last kept closure.
    #[serde(default)]
    pub mark: Option<mark::Mark>,
    /// What is held against closures that are not refused yet.
    #[serde(default)]
    pub counts: Vec<Count>,
    /// What an operator should know about this file.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Fields of a newer release.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What is held against one closure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The closure.
    pub toplevel: StorePath,
    /// Trials of it that were interrupted.
    #[serde(default)]
    pub strikes: u32,
    /// Trials of it that ended for a cause outside.
    #[serde(default)]
    pub acquittals: u32,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What the agent asked for.
    pub request: Request,
    /// The configuration that permits it, by the path that it has in the store.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// The boot in which the phase was written.
    pub boot_id: String,
    /// Where it stands.
    pub phase: Phase,
    /// How the system on trial comes to run, and goes.
    #[serde(default)]
    pub way: Way,
    /// The switch ended with 4: some unit failed, and perhaps the activation before it.
    #[serde(default)]
    pub may_hide_a_failure: bool,
    /// What the baseline proved; `None` before.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// Every phase, oldest first.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The checks as last seen.
    #[serde(default)]
    pub checks: Vec<CheckReport>,
    /// What was collected before the revert.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Fields of a newer release.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

/// Reads a record.
///
/// # Errors
/// It is damaged, or of a newer major version.
pub fn parse(bytes: &[u8]) -> Result<Record, Unreadable> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| damaged(&error))?;
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version > u64::from(VERSION) => {
            Err(Unreadable(format!("it is of version {version}, and this release reads {VERSION}")))
        }
        _ => serde_json::from_value(value).map_err(|error| damaged(&error)),
    }
}

fn damaged(error: &serde_json::Error) -> Unreadable {
    Unreadable(crate::model::text::escaped(&error.to_string(), 300))
}

impl Default for Record {
    fn default() -> Record {
        Record {
            version: VERSION,
            trial: None,
            reverted: Vec::new(),
            last_kept: None,
            mark: None,
            counts: Vec::new(),
            warnings: Vec::new(),
            extra: Map::new(),
        }
    }
}

impl Trial {
    /// Begins a trial.
    pub fn new(request: Request, boot_id: String, at: String) -> Trial {
        let phase = Phase::Requested;
        let step = Step { phase: phase.name().to_owned(), at: at.clone(), message: String::new() };
        Trial {
            request,
            config: None,
            boot_id,
            phase,
            way: Way::Switch,
            may_hide_a_failure: false,
            proof: None,
            steps: vec![step],
            checks: Vec::new(),
            evidence: Vec::new(),
            started_at: at,
            finished_at: None,
            extra: Map::new(),
        }
    }

    /// Goes to a phase.
    pub fn enter(&mut self, phase: Phase, boot_id: &str, at: &str) {
        let step =
            Step { phase: phase.name().to_owned(), at: at.to_owned(), message: phase.message() };
        if self.steps.len() >= STEPS {
            self.steps.remove(STEPS / 2);
        }
        self.steps.push(step);
        boot_id.clone_into(&mut self.boot_id);
        match phase {
            Phase::Ended(_) => self.finished_at = Some(at.to_owned()),
            // Written with the phase itself, so that no crash falls between.
            Phase::Arming { .. } => self.way = Way::Boot,
            _ => {}
        }
        self.phase = phase;
    }

    /// Says which of its two systems runs.
    ///
    /// On a boot trial what comes back is the boot default, also where somebody had switched to
    /// something else before it.
    pub fn system(&self, running: Option<&StorePath>) -> System {
        let new = &self.request.toplevel;
        let default = self.proof.as_ref().and_then(|proof| proof.profiles.first());
        let default = default.map(|profile| &profile.old.toplevel);
        match self.way {
            Way::Switch => System::of(running, self.old(), new),
            Way::Boot if running == Some(new) => System::New,
            Way::Boot if running.is_some() && running == default => System::Old,
            Way::Boot => System::of(running, self.old(), new),
        }
    }

    /// Returns what ran before, as far as it is known: what a revert brings back.
    ///
    /// Where the system on trial runs already, and nobody knows what was before, it is the default.
    pub fn old(&self) -> &StorePath {
        let Some(proof) = &self.proof else { return &self.request.expected_running };
        let running = &proof.baseline.running;
        match proof.profiles.first() {
            Some(profile) if *running == self.request.toplevel => &profile.old.toplevel,
            Some(_) | None => running,
        }
    }

    /// Returns the default that it leaves; `None` if something else ran, which nobody followed.
    pub fn left(&self) -> Option<&Generation> {
        let proof = self.proof.as_ref()?;
        let old = &proof.profiles.first()?.old;
        (old.toplevel == proof.baseline.running).then_some(old)
    }

    /// Tells how it ended; `None` while it is on.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        }
    }
}

impl Record {
    /// Returns the trial that has not ended.
    pub fn unfinished(&self) -> Option<&Trial> {
        self.trial.as_ref().filter(|trial| trial.end().is_none())
    }

    /// Returns why a closure is refused.
    pub fn refuses(&self, toplevel: &StorePath) -> Option<&Reverted> {
        self.reverted.iter().find(|reverted| reverted.toplevel == *toplevel)
    }

    /// Forgets everything that is held against a closure. A repeat does nothing.
    pub fn clear(&mut self, toplevel: &StorePath) {
        self.reverted.retain(|reverted| reverted.toplevel != *toplevel);
        self.counts.retain(|count| count.toplevel != *toplevel);
    }

    /// Returns what the machine's part of a decision depends on.
    pub fn policy(&self, trial: &Trial) -> Policy {
        let count = self.counts.iter().find(|count| count.toplevel == trial.request.toplevel);
        let judgement = trial.proof.as_ref().map(|proof| &proof.judgement);
        let may_reboot = judgement.is_some_and(|judgement| judgement.may_reboot);
        let reboots_itself = judgement.is_some_and(|judgement| judgement.reboots_itself);
        Policy {
            way: trial.way,
            reboot: if reboots_itself { Reboot::WhenNeeded } else { Reboot::Never },
            window: judgement.map(|judgement| judgement.window).unwrap_or_default(),
            settle: judgement.map(|judgement| judgement.settle).unwrap_or_default(),
            last_resort: if may_reboot { LastResort::Reboot } else { LastResort::Alarm },
            strikes: count.map_or(0, |count| count.strikes),
            acquittals: count.map_or(0, |count| count.acquittals),
            may_hide_a_failure: trial.may_hide_a_failure,
        }
    }

    fn refuse(&mut self, reverted: Reverted) {
        self.clear(&reverted.toplevel);
        keep_newest(&mut self.reverted);
        self.reverted.push(reverted);
    }

    /// Remembers what an end means for its closure. To be called once, when the end is entered.
    pub fn remember(&mut self, end: &End, at: &str) {
        let Some(trial) = self.trial.clone() else { return };
        let request = &trial.request;
        match end.mark {
            Mark::None => {}
            Mark::Cleared => {
                self.warnings.clear();
                self.clear(&request.toplevel);
                self.leave(&trial, at);
                self.mark = self.mark_after(request);
                self.last_kept = end.generation.map(|generation| Kept {
                    toplevel: request.toplevel.clone(),
                    commit: request.commit.clone(),
                    generation,
                    at: at.to_owned(),
                });
            }
            Mark::Strike => one_more(&mut self.count(&request.toplevel).strikes),
            Mark::Acquitted => one_more(&mut self.count(&request.toplevel).acquittals),
            Mark::Refused => self.refuse(Reverted {
                toplevel: request.toplevel.clone(),
                commit: request.commit.clone(),
                reason: end.failure.reason.clone(),
                since: at.to_owned(),
                deployment: request.deployment,
            }),
        }
    }

    fn count(&mut self, toplevel: &StorePath) -> &mut Count {
        let known = self.counts.iter().position(|count| count.toplevel == *toplevel);
        let place = known.unwrap_or_else(|| {
            keep_newest(&mut self.counts);
            let toplevel = toplevel.clone();
            self.counts.push(Count { toplevel, strikes: 0, acquittals: 0 });
            self.counts.len() - 1
        });
        &mut self.counts[place]
    }
}

fn one_more(count: &mut u32) {
    *count = count.saturating_add(1);
}

fn keep_newest<T>(list: &mut Vec<T>) {
    if list.len() >= REMEMBERED {
        list.remove(0);
    }
}

#[cfg(test)]
pub(in crate::activator) mod tests;
