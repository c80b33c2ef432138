//! `nix-collect-garbage -d`, run by somebody while a deployment is on its way, takes nothing that is
//! still needed: whatever phase it is in, and whether or not a profile leads to the old system.

use std::time::Duration;

use anyhow::{Result, ensure};
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(60);

fn with_window(
    label: &str,
    (window, settle): (&str, &str),
    more: &str,
    prepare: impl FnOnce(&Infra) -> Result<()>,
) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), window, settle);
        infra.config(&format!("{config}\n{more}"))?;
        prepare(infra)
    })
}

/// As an operator does it, who wants all the room that there is; says what it took.
fn collect_garbage(world: &World) -> Result<()> {
    let command = "nix-collect-garbage -d 2>&1";
    let output = world.host.run_limited(command, Duration::from_secs(120))?;
    ensure!(output.code() == 0, "{}", output.stdout);
    Ok(())
}

fn is_whole(world: &World, toplevel: &str) -> Result<bool> {
    let line = format!(
        "all=$(nix-store --query --requisites {toplevel}) && nix-store --check-validity $all"
    );
    Ok(world.host.run(&line)?.code() == 0)
}

/// Switches to a system that no profile leads to, as `nixos-rebuild test` does.
fn test_by_hand(world: &World, motd: &str) -> Result<String> {
    // An agent that never saw what ran before could not tell this from a profile set by hand.
    world.host.wait_phase("idle")?;
    let infra = &world.forge.infra;
    infra.git(&["checkout", "-q", "-b", "by-hand"])?;
    infra.etc("motd", &format!("{motd}\n"))?;
    let commit = infra.commit(motd)?;
    let toplevel = world.build(&commit)?;
    infra.git(&["checkout", "-q", "main"])?;
    let output = world.host.switch(&toplevel, "test")?;
    ensure!(output.code() == 0, "{}{}", output.stdout, output.stderr);
    ensure!(world.host.running_system()? == toplevel);
    Ok(toplevel)
}

/// A hook of the new system's activation, and of that alone, that collects garbage.
const COLLECTS: &str = "nix-collect-garbage -d > /run/collected 2>&1 || echo no > /run/collected\n";

/// The builder of the new closure, and of that alone, takes this long.
fn slow_build(infra: &Infra, seconds: u32) -> Result<()> {
    let builder = std::fs::read_to_string(infra.path.join("stand-in/build-toplevel"))?;
    let slow = format!("set -eu\n/usr/bin/sleep {seconds}\n");
    infra.write("stand-in/build-toplevel", &builder.replacen("set -eu\n", &slow, 1))
}

#[test]
fn during_the_build_the_switch_and_the_window_nothing_that_is_needed_goes() -> Result<()> {
    let world = with_window("gc-good", ("60s", "10s"), "", |_| Ok(()))?;
    let old = test_by_hand(&world, "by hand")?;
    let commit = world.forge.push("slow to build", |infra| {
        slow_build(infra, 6)?;
        infra.set("activate-hook", COLLECTS)
    })?;
    world.host.wait_phase("realising")?;
    collect_garbage(&world)?;
    world.host.wait_phase("watching")?;
    ensure!(world.host.exists("/run/collected"), "the hook did not run");
    ensure!(world.host.read("/run/collected")? != "no");
    collect_garbage(&world)?;
    let new = world.host.running_system()?;
    assert_ne!(new, old);
    // No profile ever led to the old one: the way back is held by the trial alone.
    assert!(is_whole(&world, &old)? && is_whole(&world, &new)?);
    let kept = world.host.verdict(&commit)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    world.assert_settled_on(&new)?;
    collect_garbage(&world)?;
    assert!(is_whole(&world, &new)?);
    assert!(!is_whole(&world, &old)?, "nothing needs the old one any more");
    world.host.nix_store_verify()
}

#[test]
fn a_revert_lands_on_a_system_that_no_profile_led_to() -> Result<()> {
    let world = with_window("gc-bad", ("14s", "2s"), "", |_| Ok(()))?;
    let profile = world.host.profile()?;
    let old = test_by_hand(&world, "by hand")?;
    let bad = world.forge.push("bad", |infra| {
        infra.set("activate-hook", COLLECTS)?;
        infra.service("web", "exit 3")
    })?;
    world.host.wait_phase("watching")?;
    let new = world.host.running_system()?;
    collect_garbage(&world)?;
    // The activator is started again from the closure that it was started from before.
    let pid = world.host.unit_property("autodeploy-trial.service", "MainPID")?;
    let program = world.host.sh(&format!("readlink /proc/{pid}/exe"))?;
    ensure!(program.starts_with("/nix/store/"), "{program}");
    assert!(world.host.exists(&program));
    let reverted = world.host.verdict(&bad)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    assert_eq!(world.host.running_system()?, old);
    assert_eq!(world.host.profile()?, profile);
    assert_eq!(world.host.boot_default()?.toplevel, profile.toplevel);
    collect_garbage(&world)?;
    assert!(is_whole(&world, &old)? && is_whole(&world, &new)?, "it can be looked at");
    let again = world.forge.push("the same closure", |infra| infra.write("notes", "x\n"))?;
    assert_eq!(end_of(&world.host.verdict(&again)?), "blocked/blocked");
    world.host.nix_store_verify()
}

#[test]
fn while_keeping_the_way_back_is_held_although_its_generation_is_deleted() -> Result<()> {
    let world = with_window("gc-keeping", ("20s", "2s"), "", |_| Ok(()))?;
    let first = world.first_toplevel.clone();
    // `boot` of the new system deletes every other generation, and fails after it.
    let commit = world.forge.push("cannot be made the default", |infra| {
        let loader = std::fs::read_to_string(infra.path.join("stand-in/install-bootloader"))?;
        let line = "def main(toplevel):\n";
        ensure!(loader.contains(line));
        let collects = "    os.system('nix-collect-garbage -d > /run/collected 2>&1')\n    \
                        sys.exit('install-bootloader: no')\n";
        infra
            .set("stand-in/install-bootloader", &loader.replace(line, &format!("{line}{collects}")))
    })?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/bootloader", "{reverted:#}");
    ensure!(world.host.exists("/run/collected"), "the loader did not run");
    world.assert_settled_on(&first)?;
    assert!(is_whole(&world, &first)?);
    world.host.nix_store_verify()
}

#[test]
fn what_the_loader_alone_starts_is_held_shown_and_led_back_by_the_next_trial() -> Result<()> {
    let more = "[history]\nkeep_failed = 0\n";
    let world = with_window("gc-loader", ("20s", "2s"), more, |_| Ok(()))?;
    let first = world.first_toplevel.clone();
    // The loader is written for the new system, and by nobody after that.
    let bad = world.forge.push("writes the loader and fails", |infra| {
        let loader = std::fs::read_to_string(infra.path.join("stand-in/install-bootloader"))?;
        let breaks = "\nopen('/boot/broken', 'w').close()\nsys.exit('install-bootloader: no')\n";
        infra.set("stand-in/install-bootloader", &format!("{loader}{breaks}"))
    })?;
    let reverted = world.host.verdict(&bad)?;
    assert_eq!(end_of(&reverted), "reverted/bootloader", "{reverted:#}");
    assert_eq!(world.host.running_system()?, first);
    assert_eq!(world.host.profile()?.toplevel, first);
    let next_boot = world.host.boot_default()?.toplevel;
    assert_ne!(next_boot, first);
    collect_garbage(&world)?;
    assert!(is_whole(&world, &next_boot)?, "the machine could not boot any more");
    let status = world.host.sh("autodeployctl status")?;
    ensure!(status.contains(&format!("the next boot starts `{next_boot}`")), "{status}");
    world.host.sh("rm /boot/broken")?;
    let good = world.forge.push("good again", |infra| {
        infra.unset("stand-in/install-bootloader");
        infra.etc("motd", "good again\n")
    })?;
    let kept = world.host.verdict(&good)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    world.assert_settled_on(&world.host.running_system()?)?;
    ensure!(!world.host.sh("autodeployctl status")?.contains("the next boot starts"));
    collect_garbage(&world)?;
    assert!(!is_whole(&world, &next_boot)?, "nothing needs it any more");
    world.host.nix_store_verify()
}

#[test]
fn a_closure_that_waits_for_its_trial_is_held() -> Result<()> {
    let world = with_window("gc-held", ("8s", "2s"), "", |_| Ok(()))?;
    world.host.sh("autodeployctl pause")?;
    let commit = world.forge.push("waits", |infra| infra.etc("motd", "waits\n"))?;
    world.host.wait_phase("held")?;
    let toplevel =
        world.host.status()?["deployment"]["toplevel"].as_str().unwrap_or_default().to_owned();
    collect_garbage(&world)?;
    assert!(is_whole(&world, &toplevel)?);
    world.host.sh("systemctl restart autodeploy.service")?;
    collect_garbage(&world)?;
    assert!(is_whole(&world, &toplevel)?);
    world.host.sh("autodeployctl resume")?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    assert_eq!(world.host.running_system()?, toplevel);
    Ok(())
}

#[test]
fn closures_that_failed_stay_for_as_many_and_as_long_as_configured() -> Result<()> {
    let more = "[history]\nkeep_failed = 1\nkeep_failed_for = \"1h\"\n";
    let world = with_window("gc-failed", ("6s", "2s"), more, |_| Ok(()))?;
    let mut failed = Vec::new();
    for message in ["one", "two"] {
        let bad = world.forge.push(message, |infra| {
            infra.etc("motd", &format!("{message}\n"))?;
            infra.service("web", "exit 3")
        })?;
        let shown = world.host.verdict(&bad)?;
        assert_eq!(end_of(&shown), "reverted/unhealthy", "{shown:#}");
        failed.push((
            shown["summary"]["id"].to_string(),
            shown["summary"]["toplevel"].as_str().unwrap_or_default().to_owned(),
        ));
    }
    wait_until("the older one to be let go", SOON, || {
        collect_garbage(&world)?;
        Ok(!is_whole(&world, &failed[0].1)?)
    })?;
    assert!(is_whole(&world, &failed[1].1)?);
    let page = |id: &str| world.host.sh(&format!("autodeployctl show {id}"));
    assert!(!page(&failed[0].0)?.contains("in store"));
    assert!(page(&failed[1].0)?.contains("in store"));
    assert_eq!(world.host.status()?["blocked"].as_array().map(Vec::len), Some(2));
    Ok(())
}
