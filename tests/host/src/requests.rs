//! Requests to the activator by hand, on a machine whose agent is a script that only writes a lifeline.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::host::{Host, HostOptions};
use crate::infra::Infra;
use crate::package;
use crate::wait::{wait_for, wait_until};
use crate::world::World;

/// How long anything may take.
pub const SOON: Duration = Duration::from_secs(60);
/// The activator's report.
pub const REPORT: &str = "/run/autodeploy-activate/report.json";
/// The unit of a trial.
pub const TRIAL: &str = "autodeploy-trial.service";
/// What the machine says that it follows.
pub const URL: &str = "http://forge/git/infra.git";

/// Writes a lifeline every 200 ms; says that the forge is down while `/etc/forge-cut` (a commit did
/// it) or `/run/forge-down` (nobody's fault) is there.
const AGENT: &str = r#"#!/bin/sh
boot=$(cat /proc/sys/kernel/random/boot_id)
while :; do
    said='"tip":"cccccccccccccccccccccccccccccccccccccccc"'
    [ ! -e /etc/forge-cut ] && [ ! -e /run/forge-down ] || said='"error":"no route to host"'
    printf '{"version":1,"invocation_id":"%s","boot_id":"%s","poll":{"at_boottime_ms":1,"url":"http://forge/git/infra.git","branch":"main",%s},"nix":{"at_boottime_ms":1,"root_made":true}}' \
        "$INVOCATION_ID" "$boot" "$said" > /run/autodeploy/lifeline.new
    mv /run/autodeploy/lifeline.new /run/autodeploy/lifeline.json
    sleep 0.2
done
"#;

/// The unit of the script in the agent's place.
pub const AGENT_UNIT: &str = "[Unit]\nDescription=a stand-in for the agent\n\n[Service]\nType=exec\n\
     RuntimeDirectory=autodeploy\nRuntimeDirectoryPreserve=yes\nExecStart=/bin/sh /etc/agent\n\n\
     [Install]\nWantedBy=multi-user.target\n";

/// Makes the machine's repository one with autodeploy, and a script in the agent's place.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn prepare(infra: &Infra, host: &Host) -> Result<()> {
    infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
    infra.etc("agent", AGENT)?;
    infra.set("units/autodeploy.service", AGENT_UNIT)?;
    infra.config(&infra.default_config(URL, "8s", "2s"))
}

/// Boots a machine whose activator waits for requests.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn machine(label: &str) -> Result<World> {
    let world = World::boot_with(label, HostOptions::default(), prepare)?;
    wait_until("the lifeline", SOON, || Ok(world.host.exists("/run/autodeploy/lifeline.json")))?;
    Ok(world)
}

/// Commits a change, builds it, and gives the closure.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn built(
    world: &World,
    name: &str,
    change: impl FnOnce(&Infra) -> Result<()>,
) -> Result<String> {
    let commit = world.forge.push(name, change)?;
    world.build(&commit)
}

/// Asks for a trial, with more in the request, or something else.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn ask_with(world: &World, number: u64, toplevel: &str, more: Value) -> Result<()> {
    let mut request = json!({
        "version": 1,
        "deployment": number,
        "kind": "follow",
        "commit": "c".repeat(40),
        "toplevel": toplevel,
        "expected_running": world.host.running_system()?,
        "boot_id": world.host.boot_id()?,
    });
    if let (Some(request), Some(more)) = (request.as_object_mut(), more.as_object()) {
        request.extend(more.clone());
    }
    world.host.write("/run/autodeploy/request.new", &request.to_string())?;
    world.host.sh("mv /run/autodeploy/request.new /run/autodeploy/request.json").map(drop)
}

/// Asks for a trial.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn ask(world: &World, number: u64, toplevel: &str) -> Result<()> {
    ask_with(world, number, toplevel, json!({}))
}

/// The activator's report; null if there is none.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn report(world: &World) -> Result<Value> {
    match world.host.read(REPORT) {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(_) => Ok(Value::Null),
    }
}

/// The trial of a deployment, as the report has it.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn trial(world: &World, number: u64) -> Result<Option<Value>> {
    let trial = report(world)?["trial"].clone();
    Ok((trial["deployment"] == number).then_some(trial))
}

/// Waits for the end of a deployment, and gives the trial.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn end(world: &World, number: u64) -> Result<Value> {
    let ended = wait_for(&format!("the end of deployment {number}"), SOON, || {
        Ok(trial(world, number)?.filter(|trial| !trial["outcome"].is_null()))
    });
    ended.with_context(|| {
        let log =
            world.host.sh("journalctl -q --no-pager -o cat -t autodeploy-activate | tail -40");
        format!("{}\n{:#}", log.unwrap_or_default(), report(world).unwrap_or_default())
    })
}

/// Waits for a phase of a deployment.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn wait_phase(world: &World, number: u64, phase: &str) -> Result<()> {
    wait_until(&format!("phase {phase}"), SOON, || {
        Ok(trial(world, number)?.is_some_and(|trial| trial["phase"] == phase))
    })
}

/// How a trial ended, in words.
pub fn words(trial: &Value) -> String {
    let word = |name: &str| trial[name].as_str().unwrap_or("none").to_owned();
    format!("{}/{} retry={}", word("outcome"), word("reason"), trial["retry"])
}

/// Asserts how a trial ended.
#[track_caller]
pub fn assert_end(trial: &Value, expected: &str) {
    assert_eq!(words(trial), expected, "{trial:#}");
}

/// Asserts that what runs, what the profile leads to and what boots are this closure, that no root
/// is left, and that the trial unit is gone.
///
/// # Errors
/// Fails when the machine does not do it.
pub fn assert_settled_on(world: &World, toplevel: &str) -> Result<()> {
    let host = &world.host;
    let (running, profile) = (host.running_system()?, host.profile()?.toplevel);
    let default = host.boot_default()?.toplevel;
    ensure!(
        [&running, &profile, &default].iter().all(|it| it.as_str() == toplevel),
        "runs {running}, profile {profile}, boots {default}; wanted {toplevel}"
    );
    wait_until("the end of the trial unit", SOON, || {
        Ok(host.unit_state(TRIAL)? == "inactive"
            && host.sh("find /nix/var/nix/gcroots/autodeploy -type l || true")?.is_empty())
    })
}
