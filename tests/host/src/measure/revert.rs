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
    figures.insert("revert_extra_seconds", median(measure(&world, ROUNDS)?));
    Ok(())
}

/// Measures so many reverts with the binaries of a folder, and gives the seconds of each.
///
/// # Errors
/// As [`revert`].
pub fn reverts(binaries: &Path, rounds: usize) -> Result<Vec<f64>> {
    measure(&boot_with("soak-revert", binaries, config)?, rounds)
}

fn config(infra: &Infra) -> String {
    infra.default_config(Scheme::Http.url(), "3s", "1s")
}

fn measure(world: &World, rounds: usize) -> Result<Vec<f64>> {
    let mut extra = Vec::new();
    for round in 0..rounds {
        let line = format!("sleep 1; echo {round}; exit 1");
        let commit = world.forge.push("bad", |infra| infra.service("web", &line))?;
        wait_until("the revert", LIMIT, || Ok(!world.host.outcomes(&commit)?.is_empty()))?;
        extra.push(beyond_the_switch(world)?);
    }
    Ok(extra)
}

/// From the journal's "reverting" to the exec of the old system's switch.
fn beyond_the_switch(world: &World) -> Result<f64> {
    let lines = world.host.journal("-t autodeploy-activate AUTODEPLOY_EVENT=phase-entered")?;
    let reverting = |line: &&Value| {
        line["MESSAGE"].as_str().is_some_and(|message| message.contains("reverting"))
    };
    let verdict = lines.iter().rev().find(reverting).and_then(micros).context("no verdict")?;
    let started = world.host.sh(&format!("tail -1 {STARTED}"))?;
    let began = started.parse::<f64>().context("no switch")? / 1000.0;
    Ok((began - verdict) / 1e6)
}

fn micros(line: &Value) -> Option<f64> {
    line["__REALTIME_TIMESTAMP"].as_str()?.parse().ok()
}
