//! A machine boots, keeps what it must over a power cut, and is followed by nothing when it is gone.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::host::{BOOT_LIMIT, HostOptions};
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

#[test]
fn a_host_boots_and_comes_back_after_a_power_cut() -> Result<()> {
    let mut world = World::boot("boot")?;
    assert_eq!(world.host.sh("systemctl is-system-running")?, "running");
    assert_eq!(world.host.sh("hostname")?, "box");
    assert_eq!(world.host.running_system()?, world.first_toplevel);
    assert_eq!(world.host.booted_system()?, world.first_toplevel);
    world.host.write("/var/lib/kept", "kept")?;
    world.host.write("/run/lost", "lost")?;
    let boot = world.host.boot_id()?;

    world.host.power_cut()?;
    assert!(world.host.run("true").is_ok_and(|output| !output.status.success()), "no power");
    assert_eq!(world.host.profile()?.toplevel, world.first_toplevel);
    world.host.boot_again()?;
    assert_ne!(world.host.boot_id()?, boot);
    assert_eq!(world.host.running_system()?, world.first_toplevel);
    assert_eq!(world.host.read("/var/lib/kept")?, "kept");
    assert!(!world.host.exists("/run/lost"));
    let boots = world.host.sh("journalctl --list-boots --no-pager -o json")?;
    assert_eq!(boots.matches("boot_id").count(), 2, "the journal is kept: {boots}");

    world.host.reboot()?;
    world.host.shutdown()
}

#[test]
fn nothing_is_left_of_a_host_that_is_gone() -> Result<()> {
    let world = World::boot("gone")?;
    let machine = world.host.machine.clone();
    let folder =
        world.host.root.parent().and_then(|path| path.parent()).expect("a place").to_path_buf();
    drop(world);
    assert!(!folder.exists());
    assert!(autodeploy_testhost::cgroup::members(&machine).is_empty());
    assert!(!std::path::Path::new("/run/netns").join(&machine).exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains(&machine), "{mounts}");
    Ok(())
}

#[test]
fn a_kernel_that_panics_comes_back_to_the_default_only_if_told_to_reset() -> Result<()> {
    let mut world = World::boot("panic")?;
    let old = world.first_toplevel.clone();
    let panics = |parameters: &str| -> Result<String> {
        let commit = world.forge.push("panics", |infra| {
            infra.set("kernel", "this one panics\n")?;
            infra.set("kernel-params", parameters)
        })?;
        world.build(&commit)
    };
    let (resets, stands) = (panics("loglevel=4 panic=1\n")?, panics("loglevel=4\n")?);
    arm(&world, &resets, &old)?;
    let boot = world.host.boot_id()?;
    world.host.sh("systemctl reboot")?;
    world.host.wait_rebooted(&boot, BOOT_LIMIT)?;
    assert_eq!(world.host.booted_system()?, old);
    assert!(world.host.console_end().contains("panic"), "{}", world.host.console_end());

    arm(&world, &stands, &old)?;
    world.host.sh("systemctl reboot")?;
    wait_until("the machine to stand still", Duration::from_secs(20), || {
        Ok(world.host.console_end().contains("standing still"))
    })?;
    world.host.power_cut()?;
    world.host.boot_again()?;
    assert_eq!(world.host.booted_system()?, old);
    Ok(())
}

#[test]
fn a_state_disk_of_its_own_fills_up_and_is_freed() -> Result<()> {
    let options = HostOptions { state_bytes: Some(1 << 20), ..HostOptions::default() };
    let mut world = World::boot_with("state-disk", options, |_, _| Ok(()))?;
    let place = "/var/lib/autodeploy";
    let write = format!("echo much > {place}/file");
    assert_eq!(world.host.run_as("autodeploy", &write)?.code(), 0);
    world.host.fill_disk(place)?;
    assert_ne!(world.host.run_as("autodeploy", &format!("echo more > {place}/more"))?.code(), 0);
    world.host.power_cut()?;
    world.host.boot_again()?;
    assert_eq!(world.host.read(&format!("{place}/file"))?, "much");
    world.host.free_disk(place)?;
    assert_eq!(world.host.run_as("autodeploy", &write)?.code(), 0);
    assert!(world.host.fill_disk("/var/lib").is_err());
    Ok(())
}

/// Arms a closure for one boot by hand.
fn arm(world: &World, closure: &str, default: &str) -> Result<()> {
    world.host.sh(&format!(
        "mkdir -p /nix/var/nix/profiles/system-profiles
         nix-env -p /nix/var/nix/profiles/system-profiles/trial --set {closure}"
    ))?;
    assert_eq!(world.host.switch(default, "boot")?.code(), 0);
    let entries = world.host.loader_entries()?;
    let entry = entries.iter().find(|entry| entry.toplevel == closure).expect("an entry");
    world.host.write("/boot/loader/oneshot", &entry.name)
}

#[test]
fn a_unit_is_measured_with_all_of_its_processes() -> Result<()> {
    let world = World::boot_with("measure", HostOptions::default(), |infra, _| {
        infra.service(
            "busy",
            "sleep 1000 & i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exec sleep 1000",
        )
    })?;
    let cpu = || world.host.unit_cpu("busy.service");
    wait_until("some work", Duration::from_secs(10), || Ok(cpu()? > Duration::from_millis(50)))?;
    assert!(world.host.unit_pss_kib("busy.service")? > 100);
    assert!(world.host.unit_pss_kib("no-such.service").is_err());
    Ok(())
}

#[test]
fn the_observers_see_users_and_the_journal() -> Result<()> {
    let world = World::boot("observers")?;
    let host = &world.host;
    assert!(host.run_as("alice", "id -nG")?.ok()?.contains("wheel"));
    assert_eq!(
        host.run_as("bob", "id -nG; pwd; echo \"$HOME\"")?.ok()?,
        "bob\n/home/bob\n/home/bob"
    );
    assert_eq!(host.run_as("autodeploy", "pwd")?.ok()?, "/var/lib/autodeploy");
    assert_eq!(host.run("exit 7")?.code(), 7);
    assert!(host.run_limited("sleep 100", Duration::from_millis(300)).is_err(), "a limit ends it");
    host.sh("printf 'MESSAGE=hello\\nAUTODEPLOY_EVENT=test\\n' | logger --journald")?;
    let entries = host.journal("AUTODEPLOY_EVENT=test")?;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["MESSAGE"], "hello");
    Ok(())
}
