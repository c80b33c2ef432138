//! The old system cannot be brought back: one reboot, or an alarm, as the machine's owner wants it.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::{VERDICT_LIMIT, end_of};
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::{Host, HostOptions};
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(30);

/// Whoever is activated after the broken one fails; only a boot forgets it.
const FAILS_AFTERWARDS: &str = "if [ -e /run/broken ]; then exit 1; fi\n";
const BREAKS: &str = "touch /run/broken\n";

/// A machine that follows the forge, and whose activation a commit can break until the next boot.
fn machine(label: &str, more: &str) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.set("activate-hook", FAILS_AFTERWARDS)?;
        infra.config(&format!("{}{more}", infra.default_config(Scheme::Http.url(), "6s", "2s")))
    })
}

fn breaks(world: &World) -> Result<String> {
    world.forge.push("breaks the way back", |infra| {
        infra.set("activate-hook", BREAKS)?;
        infra.service("web", "exit 3")
    })
}

fn boots(host: &Host) -> Result<usize> {
    Ok(host.sh("journalctl --list-boots -q -o short")?.lines().count())
}

/// How often the journal, of every boot, has an event at `err` or worse.
fn errors(host: &Host, event: &str) -> Result<usize> {
    let told = host.run(&format!("journalctl -q -o cat -p err AUTODEPLOY_EVENT={event}"))?;
    Ok(told.stdout.lines().count())
}

#[test]
fn an_old_system_that_cannot_be_activated_is_booted_once() -> Result<()> {
    let mut world = machine("resort", "")?;
    let first = world.host.boot_id()?;
    let commit = breaks(&world)?;
    world.host.wait_rebooted(&first, VERDICT_LIMIT)?;
    let second = world.host.boot_id()?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.booted_system()?, world.first_toplevel);
    let blocked = world.host.status()?["blocked"].clone();
    assert_eq!(blocked[0]["commit"], commit.as_str(), "{blocked:#}");
    assert_eq!(errors(&world.host, "last-resort")?, 1);
    assert_eq!(errors(&world.host, "trial-revert-failed")?, 0);

    // It follows the branch again, without another boot.
    let good = world.forge.push("good", |infra| {
        infra.unset("wants");
        infra.set("activate-hook", FAILS_AFTERWARDS)?;
        infra.etc("motd", "good\n")
    })?;
    assert_eq!(end_of(&world.host.verdict(&good)?), "kept/healthy");
    assert_eq!(world.host.boot_id()?, second);
    assert_eq!(boots(&world.host)?, 2);
    Ok(())
}

#[test]
fn with_an_alarm_for_a_last_resort_the_machine_stays_up() -> Result<()> {
    let world = machine("alarm", "\n[activation]\nlast_resort = \"alarm\"\n")?;
    let first = world.host.boot_id()?;
    let commit = breaks(&world)?;
    let failed = world.host.verdict(&commit)?;
    assert_eq!(end_of(&failed), "revert-failed/old-system-broken", "{failed:#}");
    assert_eq!(world.host.boot_id()?, first);
    assert_eq!(errors(&world.host, "trial-revert-failed")?, 1);
    assert_eq!(errors(&world.host, "last-resort")?, 0);
    assert_eq!(world.host.boot_default()?.toplevel, world.first_toplevel);
    assert_eq!(world.host.profile()?.generation, 1);
    wait_until("the agent to be idle again", SOON, || Ok(world.host.status()?["phase"] == "idle"))?;
    assert_eq!(world.host.run("autodeployctl status --check")?.code(), 4);
    Ok(())
}
