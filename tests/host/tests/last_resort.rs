//! The old system cannot be brought back, or not all of it: one reboot, or an alarm, as the
//! machine's owner wants it, and an alarm too where the reboot does not help.

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

/// A machine with a unit that a commit can break for the old system too: by a file that a boot
/// forgets, or by one that it does not.
fn machine_with_db(label: &str) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.service(
            "db",
            "test ! -e /run/broken && test ! -e /var/broken && exec sleep infinity",
        )?;
        infra.config(&infra.default_config(Scheme::Http.url(), "6s", "2s"))
    })
}

/// A commit that is unhealthy, after which `damage` was done to the machine.
fn damages(world: &World, damage: &str) -> Result<String> {
    world
        .forge
        .push("damages the machine", |infra| infra.service("db", &format!("{damage}; exit 3")))
}

/// The old system runs again without something of this machine's own: one boot brings it back.
fn one_boot_brings_it_back(label: &str, damage: &str, lost: &str) -> Result<()> {
    let mut world = machine_with_db(label)?;
    world.host.wait_phase("idle")?;
    let first = world.host.boot_id()?;
    let commit = damages(&world, damage)?;
    world.host.wait_rebooted(&first, VERDICT_LIMIT)?;
    let second = world.host.boot_id()?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    assert!(reverted.to_string().contains(lost), "nothing tells of `{lost}`: {reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.unit_state("db.service")?, "active");
    assert_eq!(errors(&world.host, "last-resort")?, 1);
    assert_eq!(errors(&world.host, "trial-revert-failed")?, 0);
    let status = world.host.status()?;
    assert_eq!(status["blocked"][0]["commit"], commit.as_str(), "{status:#}");
    assert_eq!((boots(&world.host)?, world.host.boot_id()?), (2, second));
    Ok(())
}

#[test]
fn a_unit_that_does_not_come_back_is_brought_back_by_one_boot() -> Result<()> {
    one_boot_brings_it_back("lost-unit", "touch /run/broken", "`db.service` is failed")
}

#[test]
fn a_default_route_that_does_not_come_back_is_brought_back_by_one_boot() -> Result<()> {
    one_boot_brings_it_back("lost-route", "ip route del default", "no default route")
}

#[test]
fn a_resolver_that_does_not_come_back_is_brought_back_by_one_boot() -> Result<()> {
    let hides = "mount --bind /dev/null /run/booted-system/etc/resolv.conf";
    one_boot_brings_it_back("lost-resolver", hides, "no resolver")
}

#[test]
fn where_a_boot_does_not_help_either_the_machine_stays_up_and_alarms() -> Result<()> {
    let mut world = machine_with_db("resort-in-vain")?;
    world.host.wait_phase("idle")?;
    let first = world.host.boot_id()?;
    let commit = damages(&world, "touch /var/broken")?;
    world.host.wait_rebooted(&first, VERDICT_LIMIT)?;
    let second = world.host.boot_id()?;
    let failed = world.host.verdict(&commit)?;
    assert_eq!(end_of(&failed), "revert-failed/local-fact-lost", "{failed:#}");
    let message = failed["summary"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`db.service` is failed"), "{message}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(errors(&world.host, "last-resort")?, 1);
    assert_eq!(errors(&world.host, "trial-revert-failed")?, 1);
    wait_until("the agent to be idle again", SOON, || Ok(world.host.status()?["phase"] == "idle"))?;
    assert_eq!(world.host.ctl("status --check")?.code(), 4);

    // Counted on the disk: neither a start of anything nor an operator's boot begins it anew.
    world.host.sh("systemctl restart autodeploy.service autodeploy-activate.service")?;
    world.host.reboot()?;
    wait_until("the agent to be idle again", SOON, || Ok(world.host.status()?["phase"] == "idle"))?;
    assert_eq!(world.host.ctl("status --check")?.code(), 4);
    assert_eq!(boots(&world.host)?, 3);
    assert_ne!(world.host.boot_id()?, second);
    assert_eq!(errors(&world.host, "last-resort")?, 1);
    Ok(())
}

#[test]
fn a_forge_that_is_down_never_leads_to_the_last_resort() -> Result<()> {
    let world = machine_with_db("forge-down")?;
    let first = world.host.boot_id()?;
    let commit = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    world.host.wait_phase("switching").or_else(|_| world.host.wait_phase("watching"))?;
    world.forge.cut()?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/environment", "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(errors(&world.host, "last-resort")?, 0);
    assert_eq!((boots(&world.host)?, world.host.boot_id()?), (1, first));
    Ok(())
}
