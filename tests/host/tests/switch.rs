//! The stand-in for switch-to-configuration behaves like the real one where it hurts.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn test_activates_and_leaves_profile_and_default_alone() -> Result<()> {
    let world = World::boot("test-action")?;
    let (host, old) = (&world.host, &world.first_toplevel);
    let commit = world.forge.push("web", |infra| {
        infra.service("web", "exec sleep infinity")?;
        infra.etc("motd.d/hello", "hello\n")
    })?;
    let new = world.build(&commit)?;
    let output = host.switch(&new, "test")?;
    assert_eq!(output.code(), 0, "{}", output.stderr);
    let started = "the following new units were started: sysinit-reactivation.target, web.service";
    assert!(output.stderr.contains(started), "{}", output.stderr);
    assert_eq!(host.running_system()?, new);
    assert_eq!(host.booted_system()?, *old);
    assert_eq!(host.read("/etc/motd.d/hello")?, "hello");
    assert_eq!((host.profile()?.generation, host.profile()?.toplevel), (1, old.clone()));
    assert_eq!(host.boot_default()?.toplevel, *old);

    let output = host.switch(old, "test")?;
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert_eq!(host.unit_state("web.service")?, "inactive");
    assert!(!host.exists("/etc/motd.d/hello"));
    host.nix_store_verify()
}

#[test]
fn boot_moves_the_default_only_after_set_and_activates_nothing() -> Result<()> {
    let mut world = World::boot("boot-action")?;
    let old = world.first_toplevel.clone();
    let commit = world.forge.push("web", |infra| infra.service("web", "exec sleep infinity"))?;
    let new = world.build(&commit)?;
    assert_eq!(world.host.switch(&new, "boot")?.code(), 0);
    assert_eq!(world.host.boot_default()?.toplevel, old, "not a generation yet");

    world.host.set_profile(&new)?;
    assert_eq!(world.host.boot_default()?.toplevel, old, "no loader file is written by --set");
    assert_eq!(world.host.switch(&new, "boot")?.code(), 0);
    assert_eq!(world.host.boot_default()?.toplevel, new);
    assert_eq!(world.host.running_system()?, old);
    assert_eq!(world.host.profile()?.generation, 2);
    assert_eq!(
        world.host.generations()?.into_values().collect::<Vec<_>>(),
        [old.clone(), new.clone()]
    );

    world.host.power_cut()?;
    world.host.boot_again()?;
    assert_eq!(world.host.booted_system()?, new);
    assert_eq!(world.host.running_system()?, new);
    assert_eq!(world.host.unit_state("web.service")?, "active");
    Ok(())
}

#[test]
fn a_one_shot_entry_is_booted_once() -> Result<()> {
    let mut world = World::boot("one-shot")?;
    let old = world.first_toplevel.clone();
    let commit = world.forge.push("other", |infra| infra.etc("other", "x"))?;
    let new = world.build(&commit)?;
    world.host.sh(&format!(
        "mkdir -p /nix/var/nix/profiles/system-profiles
         nix-env -p /nix/var/nix/profiles/system-profiles/autodeploy --set {new}"
    ))?;
    assert_eq!(world.host.switch(&old, "boot")?.code(), 0);
    assert_eq!(world.host.boot_default()?.toplevel, old);
    let entries = world.host.loader_entries()?;
    let entry = entries.iter().find(|entry| entry.toplevel == new).expect("an entry for the trial");
    assert_eq!(entry.name, "nixos-autodeploy-generation-1.conf");
    world.host.write("/boot/loader/oneshot", &entry.name)?;
    world.host.reboot()?;
    assert_eq!(world.host.booted_system()?, new);
    world.host.reboot()?;
    assert_eq!(world.host.booted_system()?, old);
    Ok(())
}

#[test]
fn every_exit_code_has_its_reason() -> Result<()> {
    let world = World::boot("exit-codes")?;
    let (host, old) = (&world.host, &world.first_toplevel);
    assert_eq!(host.switch(old, "sideways")?.code(), 1);

    let commit =
        world.forge.push("a service that fails", |infra| infra.service("bad", "exit 3"))?;
    let output = host.switch(&world.build(&commit)?, "test")?;
    assert_eq!(output.code(), 4, "{}", output.stderr);
    assert!(output.stderr.contains("units failed: bad.service"), "{}", output.stderr);
    assert_eq!(host.switch(old, "test")?.code(), 0, "reset-failed forgets the failed unit");

    let commit = world.forge.push("activation fails", |infra| {
        infra.unset("wants");
        infra.set("activate-hook", "echo no >&2; exit 1\n")
    })?;
    let failing = world.build(&commit)?;
    assert_eq!(host.switch(&failing, "test")?.code(), 2);
    assert_eq!(
        host.running_system()?,
        failing,
        "the real one goes on after a failed activation too"
    );
    assert_eq!(host.switch(old, "test")?.code(), 0);

    let commit = world.forge.push("another init", |infra| {
        infra.unset("activate-hook");
        infra.set("init-interface-version", "systemd 3")
    })?;
    let other_init = world.build(&commit)?;
    assert_eq!(host.switch(&other_init, "test")?.code(), 100);
    assert_eq!(host.running_system()?, *old);

    let commit = world.forge.push("a check that refuses", |infra| {
        infra.unset("init-interface-version");
        infra.set("pre-switch-check", "exit 1\n")
    })?;
    assert_eq!(host.switch(&world.build(&commit)?, "test")?.code(), 1);

    let lock = "flock --nonblock /run/nixos/switch-to-configuration.lock";
    let held = host.run(&format!("{lock} {old}/bin/switch-to-configuration test"))?;
    assert_eq!(held.code(), 11, "{}", held.stderr);

    host.write("/boot/broken", "")?;
    assert_eq!(host.switch(old, "boot")?.code(), 1);
    Ok(())
}

#[test]
fn inhibitors_refuse_the_way_there_and_the_way_back() -> Result<()> {
    let world = World::boot_with("inhibitors", HostOptions::default(), |infra, _| {
        infra.set("switch-inhibitors", "{\"dbus-implementation\": \"dbus\", \"gone\": \"1\"}")
    })?;
    let (host, old) = (&world.host, &world.first_toplevel);
    let commit = world.forge.push("another dbus", |infra| {
        infra.set("switch-inhibitors", "{\"dbus-implementation\": \"broker\", \"new\": \"1\"}")
    })?;
    let inhibited = world.build(&commit)?;
    assert_eq!(host.switch(&inhibited, "test")?.code(), 1);
    assert_eq!(host.switch(&inhibited, "check")?.code(), 1);
    assert_eq!(host.switch(&inhibited, "boot")?.code(), 0);
    assert_eq!(host.running_system()?, *old);
    let forced = format!("NIXOS_NO_CHECK=1 {inhibited}/bin/switch-to-configuration test");
    assert_eq!(host.run(&forced)?.code(), 0);
    assert_eq!(host.switch(old, "test")?.code(), 1, "the way back is inhibited as well");
    assert_eq!(
        host.run(&format!("NIXOS_NO_CHECK=1 {old}/bin/switch-to-configuration test"))?.code(),
        0
    );
    Ok(())
}

#[test]
fn a_full_boot_disk_fails_the_loader_and_keeps_the_old_default() -> Result<()> {
    let options = HostOptions { boot_bytes: Some(128 * 1024), ..HostOptions::default() };
    let mut world = World::boot_with("full-boot", options, |_, _| Ok(()))?;
    let commit =
        world.forge.push("kernel", |infra| infra.set("kernel", &"x".repeat(200 * 1024)))?;
    let new = world.build(&commit)?;
    world.host.set_profile(&new)?;
    assert_eq!(world.host.switch(&new, "boot")?.code(), 1);
    assert_eq!(world.host.boot_default()?.toplevel, world.first_toplevel);
    world.host.power_cut()?;
    assert_eq!(world.host.boot_default()?.toplevel, world.first_toplevel, "read without power");
    Ok(())
}

#[test]
fn what_an_interrupted_run_left_is_carried_out_by_the_next() -> Result<()> {
    let world = World::boot_with("lists", HostOptions::default(), |infra, _| {
        infra.service("slow", "exec sleep infinity")?;
        infra.service("lost", "exec sleep infinity")
    })?;
    let host = &world.host;
    let commit = world.forge.push("hangs while it is activated", |infra| {
        infra.service("lost", "exec sleep 1000000")?;
        infra.set("activate-hook", "exec sleep infinity\n")
    })?;
    let hanging = world.build(&commit)?;
    host.sh(&format!("systemd-run --unit=switch -- {hanging}/bin/switch-to-configuration test"))?;
    wait_until("the hook to hang", SOON, || {
        Ok(host.unit_state("lost.service")? == "inactive"
            && host.run("pgrep -f activate-hook")?.status.success())
    })?;
    host.sh("systemctl kill --signal=KILL switch.service")?;
    assert!(host.read("/run/nixos/start-list")?.contains("lost.service"));
    assert_eq!(host.running_system()?, world.first_toplevel, "the link is moved last");

    let output = host.switch(&world.first_toplevel, "test")?;
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert!(output.stderr.contains("lost.service"), "{}", output.stderr);
    assert_eq!(host.unit_state("lost.service")?, "active");
    assert!(!host.exists("/run/nixos/start-list"));
    Ok(())
}

#[test]
fn the_new_file_says_restart_and_the_old_one_says_removal() -> Result<()> {
    let service = |unit: &str, service: &str, seconds: u32| {
        format!("[Unit]\n{unit}\n[Service]\n{service}\nExecStart=/bin/sleep {seconds}\n")
    };
    let marked = "X-RestartIfChanged=false";
    let world = World::boot_with("x-options", HostOptions::default(), |infra, _| {
        infra.unit("plain.service", &service("", "", 100_000))?;
        infra.unit("stays.service", &service("", "", 100_000))?;
        infra.unit("was-marked.service", &service("", marked, 100_000))?;
        infra.unit("removed.service", &service("", "", 100_000))?;
        infra.unit("removed-stays.service", &service("X-StopOnRemoval=false", "", 100_000))?;
        infra.unit("masked.service", &service("", "", 100_000))
    })?;
    let host = &world.host;
    let pid = |unit: &str| host.unit_property(unit, "MainPID");
    let before = ["plain.service", "stays.service", "was-marked.service", "removed-stays.service"]
        .map(|unit| pid(unit).unwrap_or_default());
    let commit = world.forge.push("changed", |infra| {
        infra.unit("plain.service", &service("", "", 200_000))?;
        infra.unit("stays.service", &service("", marked, 200_000))?;
        infra.unit("was-marked.service", &service("", "", 200_000))?;
        infra.remove_unit("removed.service")?;
        infra.remove_unit("removed-stays.service")?;
        infra.mask("masked.service")
    })?;
    let output = host.switch(&world.build(&commit)?, "test")?;
    assert_eq!(output.code(), 0, "{}", output.stderr);
    assert_ne!(pid("plain.service")?, before[0]);
    assert_eq!(pid("stays.service")?, before[1], "the new file says so");
    assert_ne!(pid("was-marked.service")?, before[2], "only the old file said so");
    assert_eq!(pid("removed-stays.service")?, before[3]);
    assert_eq!(host.unit_state("removed.service")?, "inactive");
    assert_eq!(host.unit_state("masked.service")?, "inactive");
    Ok(())
}
