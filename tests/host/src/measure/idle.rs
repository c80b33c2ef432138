//! What it costs to wait: memory and processor time per poll over http, and a restart.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::{Figures, boot};
use crate::forge::Scheme;
use crate::wait::wait_until;
use crate::world::World;

const UNIT: &str = "autodeploy.service";
const POLLS: usize = 100;
const LIMIT: Duration = Duration::from_secs(300);

/// Measures an agent that has nothing to do, after 100 polls over http.
///
/// # Errors
/// Fails when the machine cannot be booted or the agent does not poll.
pub fn idle(figures: &mut Figures) -> Result<()> {
    let world = boot("bench-idle", |infra| {
        let config = infra.default_config(Scheme::Http.url(), "5min", "60s");
        config.replace("poll_interval = \"2s\"", "poll_interval = \"1s\"")
    })?;
    wait_until("the first deployment", LIMIT, || {
        Ok(world.host.status()?["deployment"]["outcome"] == "kept")
    })?;
    let before = (requests(&world)?, world.host.unit_cpu(UNIT)?);
    wait_until("a hundred polls", LIMIT, || Ok(requests(&world)? >= before.0 + POLLS))?;
    let (polls, cpu) = (requests(&world)? - before.0, world.host.unit_cpu(UNIT)? - before.1);
    figures.insert("poll_cpu_ms", cpu.as_secs_f64() * 1000.0 / polls as f64);
    figures.insert("idle_pss_mib", world.host.unit_pss_kib(UNIT)? as f64 / 1024.0);
    figures.insert("restart_evaluations", evaluations_of_a_restart(&world)?);
    Ok(())
}

/// Requests that the forge has answered; a poll is one.
fn requests(world: &World) -> Result<usize> {
    // Written some seconds late; what counts is how many there are between two looks.
    let log = fs::read_to_string(world.forge.root.join("var/log/forge-requests.log"))?;
    Ok(log.lines().filter(|line| line.contains("git-upload-pack")).count())
}

/// How many evaluators run while the agent is restarted with nothing new: counted by a `nix` in
/// front of the real one.
fn evaluations_of_a_restart(world: &World) -> Result<f64> {
    let seen = "/run/nix-calls";
    world.host.sh(&format!(
        "mv /usr/bin/nix /usr/bin/nix.real
         printf '#!/bin/sh\\necho \"$@\" >> {seen}\\nexec -a nix /usr/bin/nix.real \"$@\"\\n' > /usr/bin/nix
         chmod 755 /usr/bin/nix; : > {seen}; chmod 666 {seen}
         systemctl restart {UNIT}"
    ))?;
    let before = requests(world)?;
    wait_until("polls after the restart", LIMIT, || Ok(requests(world)? >= before + 3))?;
    let calls = world.host.read(seen)?;
    Ok(calls.lines().filter(|line| line.contains("git+file:")).count() as f64)
}
