//! Sleep and clocks: while a system is on trial the machine is kept awake, and neither a sleep nor a
//! clock that somebody sets ends the window or stretches it.
//!
//! A container has the clocks of the machine around it, which nobody may set: what the processes
//! *read* is shifted, by a library that is loaded into each. That cannot show what the kernel does
//! in a real suspend, only what is read after it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use autodeploy_testhost::{package, run};

const SOON: Duration = Duration::from_secs(60);
const YEARS: i64 = 10 * 365 * 24 * 3600;
const LIBRARY: &str = "/usr/lib/clock-shift.so";

fn machine(label: &str, window: &str, settle: &str) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&infra.default_config(Scheme::Http.url(), window, settle))?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clock-shift.c");
        let library = host.root.join(LIBRARY.trim_start_matches('/'));
        run::shell(&format!("cc -shared -fPIC -O1 -o {} {}", library.display(), source.display()))?;
        Ok(())
    })
}

/// Lets every process that starts from here on read shifted clocks.
fn let_clocks_be_set(world: &World) -> Result<()> {
    world.host.sh(&format!(
        "echo 0 0 > /run/clock-shift; echo {LIBRARY} > /etc/ld.so.preload
         systemctl restart autodeploy.service"
    ))?;
    set(world, YEARS, 0)?;
    let year = world.host.sh("date +%Y")?.parse::<i64>()?;
    set(world, 0, 0)?;
    ensure!(year >= 2034, "the clocks cannot be shifted: {year}");
    Ok(())
}

/// Sets the wall clock this many seconds ahead, and the one that counts sleep too.
fn set(world: &World, wall: i64, boottime: i64) -> Result<()> {
    world.host.sh(&format!(
        "echo {wall} {boottime} > /run/clock-shift.new; mv /run/clock-shift.new /run/clock-shift"
    ))?;
    Ok(())
}

fn inhibitors(world: &World) -> Result<String> {
    world.host.sh("systemd-inhibit --list --no-pager --no-legend || true")
}

#[test]
fn the_machine_is_kept_awake_from_the_switch_to_the_end() -> Result<()> {
    let world = machine("awake", "60s", "8s")?;
    assert!(!inhibitors(&world)?.contains("autodeploy"));
    let good = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    world.host.wait_phase("watching")?;
    wait_until("the inhibitor", SOON, || Ok(inhibitors(&world)?.contains("autodeploy")))?;
    let held = inhibitors(&world)?;
    let line = held.lines().find(|line| line.contains("autodeploy")).unwrap_or_default();
    assert!(line.contains("sleep") && line.contains("block"), "{held}");
    assert_eq!(end_of(&world.host.verdict(&good)?), "kept/healthy");
    wait_until("it to be let go", SOON, || Ok(!inhibitors(&world)?.contains("autodeploy")))
}

#[test]
fn a_machine_without_logind_deploys_and_reverts() -> Result<()> {
    let world = machine("no-logind", "8s", "2s")?;
    world.host.sh("systemctl mask --runtime --now systemd-logind.service")?;
    let good = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    assert_eq!(end_of(&world.host.verdict(&good)?), "kept/healthy");
    let bad = world.forge.push("bad", |infra| infra.service("web", "exit 3"))?;
    assert_eq!(end_of(&world.host.verdict(&bad)?), "reverted/unhealthy");
    Ok(())
}

#[test]
fn clocks_that_are_set_and_a_sleep_neither_end_the_window_nor_stretch_it() -> Result<()> {
    let world = machine("clocks", "45s", "20s")?;
    let_clocks_be_set(&world)?;
    // Ahead and back by years, then a sleep of eight hours, all within the time to settle.
    let good = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    world.host.wait_phase("watching")?;
    for (wall, boottime) in [(YEARS, 0), (-YEARS, 0), (8 * 3600, 8 * 3600)] {
        set(&world, wall, boottime)?;
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(world.host.outcomes(&good)?, [""; 0], "{wall} {boottime}");
        assert_eq!(world.host.status()?["phase"], "watching", "{wall} {boottime}");
    }
    let kept = world.host.verdict(&good)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");

    // A window that has to be over is over, whatever the clock says by then.
    let bad = world.forge.push("bad", |infra| {
        infra.service("web", "exec sleep infinity")?;
        infra.service("slow", "sleep 1; exit 3")
    })?;
    world.host.wait_phase("watching")?;
    set(&world, -YEARS, 8 * 3600)?;
    let reverted = world.host.verdict(&bad)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    // It polls as before; only the clock itself is called wrong.
    let stale = world.host.status()?["remote"]["stale_reasons"].to_string();
    assert!(stale.contains("clock-behind") && !stale.contains("no-answer"), "{stale}");

    // And the next push is found at the usual pace.
    set(&world, YEARS, 8 * 3600)?;
    let next = world.forge.push("next", |infra| {
        infra.unset("wants");
        infra.etc("motd", "next\n")
    })?;
    assert_eq!(end_of(&world.host.verdict(&next)?), "kept/healthy");
    Ok(())
}
