//! What only a boot can try: armed for one boot, booted, judged, kept or left, and taken back.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::{VERDICT_LIMIT, end_of};
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

/// A boot with its two agents' starts is longer than a switch.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// What the loader was told to start once.
const ONCE: &str = "/boot/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// A machine that follows the forge, with more lines of configuration.
fn machine(label: &str, more: &str) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&format!("{}{more}", infra.default_config(Scheme::Http.url(), "25s", "2s")))
    })
}

const BY_ITSELF: &str = "\n[activation]\nreboot = \"when-needed\"\n";

/// Pushes another kernel, and what else the commit brings.
fn push(world: &World, more: impl FnOnce(&Infra) -> Result<()>) -> Result<String> {
    world.forge.push("another kernel", |infra| {
        infra.set("kernel", "another kernel\n")?;
        more(infra)
    })
}

/// Asserts that the next boot starts the new system once, and every other the old one.
#[track_caller]
fn assert_armed(world: &World) -> Result<()> {
    let armed = world.host.outside(ONCE);
    let bytes = std::fs::read(armed)?;
    let name: String = bytes[4..].iter().filter(|byte| **byte != 0).map(|b| *b as char).collect();
    let entries = world.host.loader_entries()?;
    let entry = entries.iter().find(|entry| entry.name == name).expect("the armed entry is there");
    assert_ne!(entry.toplevel, world.first_toplevel);
    world.assert_settled_on(&world.first_toplevel)
}

/// Asserts that nothing of the arming is left.
fn assert_disarmed(world: &World) -> Result<()> {
    assert!(!world.host.outside(ONCE).exists(), "something is armed");
    let profiles = world.host.sh("ls -A /nix/var/nix/profiles/system-profiles")?;
    assert_eq!(profiles, "");
    let entries = world.host.loader_entries()?;
    let left: Vec<_> = entries.iter().filter(|one| one.name.contains("autodeploy")).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

fn boots(world: &World) -> Result<usize> {
    Ok(world.host.sh("journalctl --list-boots -q -o short")?.lines().count())
}

fn wait_boots(world: &mut World, count: usize) -> Result<()> {
    while boots(world)? < count {
        let now = world.host.boot_id()?;
        world.host.wait_rebooted(&now, VERDICT_LIMIT)?;
    }
    Ok(())
}

#[test]
fn a_healthy_one_waits_for_a_reboot_is_watched_and_kept() -> Result<()> {
    let mut world = machine("booted", "")?;
    let commit = push(&world, |infra| infra.service("web", "exec sleep infinity"))?;
    world.host.wait_phase("armed")?;
    assert_armed(&world)?;
    let run = world.host.ctl("run-now")?;
    assert_eq!(run.code(), 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("is armed"), "{}", run.stdout);
    let status = world.host.status()?;
    assert!(status["reboot_needed"]["reasons"].to_string().contains("kernel"), "{status:#}");
    assert_eq!(world.host.ctl("status --check")?.code(), 1);

    world.host.reboot()?;
    let new = world.host.booted_system()?;
    assert_ne!(new, world.first_toplevel);
    let kept = world.host.verdict(&commit)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    world.assert_settled_on(&new)?;
    assert_disarmed(&world)?;
    assert_eq!(world.host.status()?["reboot_needed"]["needed"], false);
    world.host.reboot()?;
    assert_eq!(world.host.booted_system()?, new);
    Ok(())
}

#[test]
fn a_sick_one_is_left_by_a_reboot_and_blocked() -> Result<()> {
    let mut world = machine("sick", BY_ITSELF)?;
    let commit = push(&world, |infra| infra.service("web", "exit 3"))?;
    wait_boots(&mut world, 3)?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    assert!(reverted["evidence"].to_string().contains("web"), "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.booted_system()?, world.first_toplevel);
    assert_disarmed(&world)?;
    assert_eq!(world.host.status()?["blocked"][0]["commit"], commit.as_str());
    assert_eq!(boots(&world)?, 3);
    Ok(())
}

#[test]
fn one_without_autodeploy_in_it_is_left_by_a_reboot() -> Result<()> {
    let mut world = machine("without", BY_ITSELF)?;
    let commit = push(&world, |infra| {
        let units = [".service", "-activate.service", "-activate.path"];
        units.iter().try_for_each(|unit| infra.remove_unit(&format!("autodeploy{unit}")))
    })?;
    wait_boots(&mut world, 3)?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert!(!world.host.exists("/etc/systemd/system.control"));
    assert_disarmed(&world)
}

#[test]
fn a_newer_commit_takes_the_boot_back_before_it_is_tried() -> Result<()> {
    let mut world = machine("superseded", "")?;
    let commit = push(&world, |_| Ok(()))?;
    world.host.wait_phase("armed")?;
    let next = world.forge.push("without it", |infra| {
        infra.unset("kernel");
        infra.etc("motd", "next\n")
    })?;
    let kept = world.host.verdict(&next)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    assert_eq!(world.host.outcomes(&commit)?, ["superseded/newer-commit"]);
    let running = world.host.running_system()?;
    world.assert_settled_on(&running)?;
    assert_disarmed(&world)?;
    world.host.reboot()?;
    assert_eq!(world.host.booted_system()?, running);
    Ok(())
}

#[test]
fn an_abort_takes_the_boot_back() -> Result<()> {
    let mut world = machine("aborted", "")?;
    let commit = push(&world, |_| Ok(()))?;
    world.host.wait_phase("armed")?;
    // The agent and the trial may come and go meanwhile.
    world.host.sh("systemctl restart autodeploy; systemctl kill -s KILL autodeploy-trial")?;
    world.host.wait_phase("armed")?;
    assert_armed(&world)?;
    let abort = world.host.ctl("abort")?;
    assert_eq!(abort.code(), 0, "{}{}", abort.stdout, abort.stderr);
    assert_eq!(world.host.outcomes(&commit)?, ["aborted/by-operator"]);
    assert_disarmed(&world)?;
    world.host.reboot()?;
    assert_eq!(world.host.booted_system()?, world.first_toplevel);
    world.assert_settled_on(&world.first_toplevel)
}

#[test]
fn a_power_cut_while_it_waits_is_the_boot_that_it_waited_for() -> Result<()> {
    let mut world = machine("cut", "")?;
    let commit = push(&world, |_| Ok(()))?;
    world.host.wait_phase("armed")?;
    world.host.power_cut()?;
    world.host.boot_again()?;
    let new = world.host.booted_system()?;
    assert_ne!(new, world.first_toplevel);
    // And one in the window brings the old system back; once more is tried.
    world.host.wait_phase("watching")?;
    world.host.power_cut()?;
    world.host.boot_again()?;
    assert_eq!(world.host.booted_system()?, world.first_toplevel);
    let cut = world.host.verdict(&commit)?;
    assert_eq!(end_of(&cut), "interrupted/power-cut", "{cut:#}");
    world.host.wait_phase("armed")?;
    assert_armed(&world)
}

#[test]
fn one_that_does_not_come_up_is_tried_twice_and_blocked() -> Result<()> {
    let mut world = machine("panics", BY_ITSELF)?;
    let commit = world.forge.push("a kernel that panics", |infra| {
        infra.set("kernel", "this one panics\n")?;
        infra.set("kernel-params", "panic=1\n")
    })?;
    wait_boots(&mut world, 3)?;
    let twice = world.host.verdict_number(&commit, 2)?;
    let failed = "failed/bootloader-did-not-start-it";
    assert_eq!(world.host.outcomes(&commit)?, [failed, failed], "{twice:#}");
    wait_until("the block", BOOT_LIMIT, || {
        Ok(world.host.status()?["blocked"][0]["commit"] == commit.as_str())
    })?;
    world.assert_settled_on(&world.first_toplevel)?;
    assert_disarmed(&world)
}

#[test]
fn without_a_loader_that_starts_once_it_is_staged_where_that_is_allowed() -> Result<()> {
    let mut world = World::boot_with("unproved", HostOptions::default(), |infra, host| {
        std::fs::write(host.outside("/boot/no-efi"), "")?;
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), "8s", "2s");
        infra.config(&format!("{config}\n[activation]\nunproved_boot = \"allow\"\n"))
    })?;
    let commit = push(&world, |_| Ok(()))?;
    let staged = world.host.verdict(&commit)?;
    assert_eq!(end_of(&staged), "staged/staged-unproved", "{staged:#}");
    assert_eq!(world.host.running_system()?, world.first_toplevel);
    let new = world.host.profile()?.toplevel;
    assert_eq!(world.host.boot_default()?.toplevel, new);
    world.host.reboot()?;
    let found = world.host.verdict_number(&commit, 2)?;
    assert_eq!(end_of(&found), "kept/already-running", "{found:#}");
    world.assert_settled_on(&new)
}
