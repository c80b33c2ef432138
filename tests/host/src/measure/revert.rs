//! From the verdict to the old system active, beyond the switch itself.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Figures, STARTED, boot, boot_with, median};
use crate::forge::Scheme;
use crate::infra::Infra;
use crate::wait::wait_until;
use crate::world::World;

const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(90);

/// Measures reverts of a unit that fails; the moments are those of the journal.
///
/// # Errors
/// Fails when the machine cannot be booted or a revert leaves no trace in the journal.
pub fn revert(figures: &mut Figures) -> Result<()> {
    let world = boot("bench-revert", config)?;
    let mut extra = Vec::new();
    for round in 0..ROUNDS {
        be_reverted(&world, round)?;
        extra.push(before_the_switch(&world)?);
    }
    figures.insert("revert_extra_seconds", median(extra));
    Ok(())
}

/// Measures so many reverts with the binaries of a folder, from the verdict to the record of the
/// old system running, without the switch's own time; gives the seconds of each.
///
/// # Errors
/// As [`revert`].
pub fn reverts(binaries: &Path, rounds: usize) -> Result<Vec<f64>> {
    let world = boot_with("soak-revert", binaries, config)?;
    let mut extra = Vec::new();
    for round in 0..rounds {
        let commit = be_reverted(&world, round)?;
        extra.push(around_the_switch(&world, &commit)?);
    }
    Ok(extra)
}

fn config(infra: &Infra) -> String {
    infra.default_config(Scheme::Http.url(), "3s", "1s")
}

fn be_reverted(world: &World, round: usize) -> Result<String> {
    let line = format!("sleep 1; echo {round}; exit 1");
    let commit = world.forge.push("bad", |infra| infra.service("web", &line))?;
    wait_until("the revert", LIMIT, || Ok(!world.host.outcomes(&commit)?.is_empty()))?;
    Ok(commit)
}

/// The verdict is the first thing that is kept of the evidence, before the record is written; the
/// end is the entry in the record that the old system runs. The switch's own time is from its exec
/// to its last word.
fn around_the_switch(world: &World, commit: &str) -> Result<f64> {
    let ours = world.host.journal(&format!("-t autodeploy-activate AUTODEPLOY_COMMIT={commit}"))?;
    let verdict = ours.iter().find(|line| line["AUTODEPLOY_EVENT"] == "evidence-kept");
    let entered = |line: &&Value| {
        let message = line["MESSAGE"].as_str().unwrap_or_default();
        line["AUTODEPLOY_EVENT"] == "phase-entered" && message.starts_with("rechecking")
    };
    let verdict = verdict.and_then(micros).context("no evidence")?;
    let runs = ours.iter().find(entered).and_then(micros).context("no revert")?;
    let switches = world.host.journal("-t nixos -n 1")?;
    let ended = switches.last().and_then(micros).context("no end of the switch")?;
    Ok((runs - verdict - (ended - last_start(world)?)) / 1e6)
}

/// From the journal's "reverting" to the exec of the old system's switch.
fn before_the_switch(world: &World) -> Result<f64> {
    let lines = world.host.journal("-t autodeploy-activate AUTODEPLOY_EVENT=phase-entered")?;
    let reverting = |line: &&Value| {
        line["MESSAGE"].as_str().is_some_and(|message| message.contains("reverting"))
    };
    let verdict = lines.iter().rev().find(reverting).and_then(micros).context("no verdict")?;
    Ok((last_start(world)? - verdict) / 1e6)
}

/// When the last switch was started, in microseconds.
fn last_start(world: &World) -> Result<f64> {
    let started = world.host.sh(&format!("tail -1 {STARTED}"))?;
    Ok(started.parse::<f64>().context("no switch")? / 1000.0)
}

/// When somebody wrote it, which is not when journald got to it.
fn micros(line: &Value) -> Option<f64> {
    let time = line["_SOURCE_REALTIME_TIMESTAMP"].as_str();
    time.or_else(|| line["__REALTIME_TIMESTAMP"].as_str())?.parse().ok()
}
