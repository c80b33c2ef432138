//! Kills, power cuts, other hands: whatever happens in a trial, the machine ends on the old or the new.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::{Host, HostOptions};
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(30);

/// A machine whose window is long enough to do something in it.
fn with_window(label: &str, window: &str, settle: &str) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&infra.default_config(Scheme::Http.url(), window, settle))
    })
}

fn kill(host: &Host, unit: &str) -> Result<()> {
    host.sh(&format!("systemctl kill --kill-whom=all --signal=KILL {unit}")).map(|_| ())
}

#[test]
fn a_forge_outage_in_the_window_acquits_the_commit() -> Result<()> {
    let world = with_window("outage", "6s", "2s")?;
    let commit = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    world.host.wait_phase("switching").or_else(|_| world.host.wait_phase("watching"))?;
    world.forge.cut()?;
    wait_until("the old system to run again", SOON, || {
        Ok(world
            .host
            .run("journalctl -q -t autodeploy-activate AUTODEPLOY_EVENT=phase-entered")?
            .stdout
            .contains("revert"))
    })?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/environment", "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.status()?["blocked"].as_array().map(Vec::len), Some(0));
    world.forge.restore()?;
    let kept = world.host.verdict_number(&commit, 2)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    Ok(())
}

#[test]
fn a_blocked_closure_does_not_come_back() -> Result<()> {
    let mut world = World::following("blocked", Scheme::Http)?;
    let bad = world.forge.push("bad", |infra| infra.service("web", "exit 3"))?;
    assert_eq!(end_of(&world.host.verdict(&bad)?), "reverted/unhealthy");
    let again = world.forge.push("the same closure", |infra| infra.write("notes", "x\n"))?;
    assert_eq!(end_of(&world.host.verdict(&again)?), "blocked/blocked");

    world.host.sh("systemctl restart autodeploy.service")?;
    world.host.reboot()?;
    world.host.sh("systemctl stop autodeploy.service
         rm -rf /var/lib/autodeploy/* /var/lib/autodeploy/.[!.]*
         nix-collect-garbage
         systemctl start autodeploy.service")?;
    let third = world.forge.push("still the same", |infra| infra.write("notes", "y\n"))?;
    assert_eq!(end_of(&world.host.verdict(&third)?), "blocked/blocked");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.unit_state("web.service")?, "inactive");

    let good = world.forge.push("good", |infra| infra.service("web", "exec sleep infinity"))?;
    assert_eq!(end_of(&world.host.verdict(&good)?), "kept/healthy");
    Ok(())
}

#[test]
fn a_blocked_closure_is_tried_again_after_unblock() -> Result<()> {
    let world = World::following("unblock", Scheme::Http)?;
    let line = "test -e /run/ready && exec sleep infinity; exit 3";
    let commit = world.forge.push("needs a file", |infra| infra.service("web", line))?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "reverted/unhealthy");
    world.host.sh("touch /run/ready")?;
    assert_eq!(world.host.run("autodeployctl run-now")?.code(), 4, "it says that it is blocked");
    world.host.sh(&format!("autodeployctl unblock {commit}"))?;
    let output = world.host.run("autodeployctl run-now")?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(world.host.unit_state("web.service")?, "active");
    Ok(())
}

#[test]
fn the_agent_may_be_killed_in_every_phase() -> Result<()> {
    let world = with_window("agent-killed", "20s", "3s")?;
    let commit = world.forge.push("slow to start", |infra| {
        infra.service("web", "sleep 1; exec sleep infinity")?;
        infra.set("activate-hook", "sleep 1\n")
    })?;
    for phase in ["switching", "watching"] {
        world.host.wait_phase(phase)?;
        kill(&world.host, "autodeploy.service")?;
    }
    let kept = world.host.verdict(&commit)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    assert_eq!(world.host.outcomes(&commit)?.len(), 1, "no attempt is counted");
    Ok(())
}

#[test]
fn a_power_cut_in_the_window_brings_the_old_system_and_one_more_try() -> Result<()> {
    let mut world = with_window("power", "15s", "4s")?;
    let commit = world.forge.push("good", |infra| infra.service("web", "exec sleep infinity"))?;
    world.host.wait_phase("watching")?;
    world.host.power_cut()?;
    world.host.boot_again()?;
    assert_eq!(world.host.booted_system()?, world.first_toplevel);
    let first = world.host.verdict(&commit)?;
    assert_eq!(end_of(&first), "interrupted/power-cut", "{first:#}");
    let kept = world.host.verdict_number(&commit, 2)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    world.host.nix_store_verify()
}

#[test]
fn two_power_cuts_block_the_closure() -> Result<()> {
    let mut world = with_window("power-twice", "15s", "6s")?;
    let commit = world.forge.push("good", |infra| infra.service("web", "exec sleep infinity"))?;
    for count in 1..=2 {
        world.host.wait_phase("watching")?;
        world.host.power_cut()?;
        world.host.boot_again()?;
        world.host.verdict_number(&commit, count)?;
    }
    assert_eq!(world.host.status()?["blocked"][0]["commit"], commit.as_str());
    world.assert_settled_on(&world.first_toplevel)
}

#[test]
fn a_trial_that_is_killed_while_it_keeps_is_brought_to_its_end() -> Result<()> {
    let world = with_window("killed-keeping", "15s", "2s")?;
    let commit = world.forge.push("slow loader", |infra| {
        infra.set(
            "stand-in/install-bootloader",
            &format!(
                "#!/bin/sh\nsleep 2\nexec /bin/sh {}/install-bootloader.real \"$@\"\n",
                "@out@"
            ),
        )?;
        infra.etc("motd", "x\n")
    })?;
    // The stand-in of the loader is what the closure brings; a broken one is a failure to keep.
    let end = world.host.verdict(&commit)?;
    assert_eq!(end_of(&end), "reverted/bootloader", "{end:#}");
    world.assert_settled_on(&world.first_toplevel)
}

#[test]
fn somebody_who_holds_the_lock_is_waited_for_without_blame() -> Result<()> {
    let world = World::following("lock", Scheme::Http)?;
    let hold =
        "systemd-run --unit=hold -- flock /run/nixos/switch-to-configuration.lock sleep infinity";
    world.host.sh(&format!("mkdir -p /run/nixos; {hold}"))?;
    let commit = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    let failed = world.host.verdict(&commit)?;
    assert_eq!(end_of(&failed), "failed/lock-held", "{failed:#}");
    assert_eq!(world.host.running_system()?, world.first_toplevel);
    world.host.sh("systemctl stop hold.service")?;
    wait_until("it is kept", Duration::from_secs(90), || {
        Ok(world.host.outcomes(&commit)?.last().is_some_and(|last| last == "kept/healthy"))
    })?;
    assert_eq!(world.host.status()?["blocked"].as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn somebody_elses_switch_in_the_window_is_not_fought() -> Result<()> {
    let world = with_window("hands", "20s", "8s")?;
    let commit = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    world.host.wait_phase("watching")?;
    let output = world.host.switch(&world.first_toplevel, "switch")?;
    assert_eq!(output.code(), 0, "{}", output.stderr);
    let ended = world.host.verdict(&commit)?;
    assert_eq!(end_of(&ended), "interrupted/someone-else-switched", "{ended:#}");
    world.assert_settled_on(&world.first_toplevel)
}

#[test]
fn abort_reverts_and_a_newer_commit_waits_for_the_verdict() -> Result<()> {
    let world = with_window("abort", "25s", "6s")?;
    let first = world.forge.push("first", |infra| infra.etc("motd", "first\n"))?;
    world.host.wait_phase("watching")?;
    let second = world.forge.push("second", |infra| infra.etc("motd", "second\n"))?;
    world.host.sh("autodeployctl abort")?;
    let aborted = world.host.verdict(&first)?;
    assert_eq!(end_of(&aborted), "aborted/by-operator", "{aborted:#}");
    let kept = world.host.verdict(&second)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    assert_eq!(world.host.read("/etc/motd")?, "second");
    Ok(())
}

#[test]
fn pause_holds_the_next_trial_and_resume_lets_it_go() -> Result<()> {
    let world = World::following("pause", Scheme::Http)?;
    world.host.sh("autodeployctl pause --reason 'the fair is on'")?;
    let commit = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    world.host.wait_phase("held")?;
    let output = world.host.run("autodeployctl run-now")?;
    assert_eq!(output.code(), 5, "{}{}", output.stdout, output.stderr);
    let status = world.host.status()?;
    assert_eq!(status["gates"][0]["kind"], "paused", "{status:#}");
    assert!(status["gates"][0]["message"].to_string().contains("the fair is on"), "{status:#}");
    world.host.sh("systemctl restart autodeploy.service")?;
    world.host.wait_phase("held")?;
    world.host.sh("autodeployctl resume")?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    Ok(())
}

#[test]
fn rollback_goes_to_what_ran_before_and_the_branch_goes_on() -> Result<()> {
    let world = World::following("rollback", Scheme::Http)?;
    let commit = world.forge.push("one", |infra| infra.etc("motd", "one\n"))?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    let output = world.host.run("autodeployctl rollback")?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    world.assert_settled_on(&world.first_toplevel)?;

    world.host.sh("systemctl restart autodeploy.service")?;
    let next = world.forge.push("two", |infra| infra.etc("motd", "two\n"))?;
    assert_eq!(end_of(&world.host.verdict(&next)?), "kept/healthy");
    assert_eq!(world.host.read("/etc/motd")?, "two");
    assert_eq!(world.host.outcomes(&commit)?, ["kept/healthy"], "it is blocked now");
    Ok(())
}
