//! Autodeploy deploys autodeploy: newer releases with more state, back to older ones, and releases
//! and generations that break it. Each also with the trial process killed in the middle.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::package;
use autodeploy_testhost::shim::{self, FROM_THE_FUTURE, Shim};
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
const UNITS: [&str; 3] =
    ["autodeploy.service", "autodeploy-activate.service", "autodeploy-activate.path"];

/// Whether somebody kills the trial process while the new system runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    Undisturbed,
    Killed,
}

impl Trial {
    const BOTH: [Trial; 2] = [Trial::Undisturbed, Trial::Killed];

    /// The ends of a commit that ends so once nobody disturbs it: a kill proves nothing, and the
    /// commit is tried once more.
    fn ends(self, end: &str) -> Vec<String> {
        let interrupted = (self == Trial::Killed).then_some("interrupted/activator-restarted");
        interrupted.into_iter().chain([end]).map(str::to_owned).collect()
    }
}

/// A machine that follows the forge, and the label of the release that it has.
fn machine(label: &str) -> Result<(World, String)> {
    let mut release = String::new();
    let world = World::boot_with(label, HostOptions::default(), |infra, host| {
        release = package::put(host, &package::binaries(), "")?;
        infra.autodeploy(&release)?;
        infra.config(&config(infra))
    })?;
    Ok((world, release))
}

fn config(infra: &Infra) -> String {
    infra.default_config(Scheme::Http.url(), "6s", "1s")
}

/// Pushes a commit, disturbs its first trial, and waits for its end; gives that and the commit.
fn deploy(
    world: &World,
    (name, trial): (&str, Trial),
    change: impl FnOnce(&Infra) -> Result<()>,
) -> Result<(Value, String)> {
    let before = world.host.running_system()?;
    let commit = world.forge.push(name, |infra| {
        infra.etc("mark", &format!("{name} {trial:?}\n"))?;
        change(infra)
    })?;
    if trial == Trial::Killed {
        wait_until("the new system to run", SOON, || Ok(world.host.running_system()? != before))?;
        world.host.sh("systemctl kill --kill-whom=all --signal=KILL autodeploy-trial.service")?;
    }
    let count = if trial == Trial::Killed { 2 } else { 1 };
    Ok((world.host.verdict_number(&commit, count)?, commit))
}

fn assert_kept(world: &World, (name, trial): (&str, Trial), release: &str) -> Result<()> {
    let (end, commit) = deploy(world, (name, trial), |infra| infra.autodeploy(release))?;
    assert_eq!(world.host.outcomes(&commit)?, trial.ends("kept/healthy"), "{name}: {end:#}");
    let agent = world.host.sh("readlink /proc/$(systemctl show -P MainPID autodeploy)/exe")?;
    assert!(agent.contains(&format!("-{release}/")), "{name}: {agent}");
    Ok(())
}

/// What the state has of a newer release: of the record, and of each place of the database.
fn from_the_future(world: &World) -> Result<Vec<String>> {
    let record: Value =
        serde_json::from_str(&world.host.read("/var/lib/autodeploy-activate/trial.json")?)?;
    let asked = "import sqlite3
db = sqlite3.connect('/var/lib/autodeploy/history.sqlite')
for question in ['pragma user_version', 'select word from from_the_future',
        'select value from fact where key = \"from-the-future\"',
        'select distinct from_the_future from deployment']:
    print(*[row[0] for row in db.execute(question)])";
    // The agent holds it for itself.
    let text = world.host.sh(&format!(
        "systemctl stop autodeploy.service; python3 -c '{}'; systemctl start autodeploy.service",
        asked.replace('\'', "'\\''")
    ))?;
    let lines = text.lines().map(str::to_owned);
    Ok([record[FROM_THE_FUTURE]["word"].to_string()].into_iter().chain(lines).collect())
}

/// Every deployment as the agent shows it, and every closure that it refuses.
fn remembered(world: &World) -> Result<(Vec<Value>, Value)> {
    let all = world.host.deployments()?;
    let shown = all.iter().map(|one| world.host.deployment(&one["id"])).collect::<Result<_>>()?;
    Ok((shown, world.host.status()?["blocked"].clone()))
}

/// The older release reads what the newer one left, and leaves in it what it does not know.
fn assert_all_is_read(world: &World, before: &(Vec<Value>, Value)) -> Result<()> {
    let after = remembered(world)?;
    for one in &before.0 {
        assert!(after.0.contains(one), "not read any more, or otherwise: {one:#}");
    }
    for one in before.1.as_array().into_iter().flatten() {
        assert!(after.1.to_string().contains(&one.to_string()), "not refused any more: {one:#}");
    }
    assert_eq!(from_the_future(world)?, ["\"kept\"", "1001", "kept", "kept", "kept"]);
    let aside = world.host.run("ls -d /var/lib/autodeploy*/*damaged*")?;
    assert_eq!(aside.stdout, "", "something was set aside");
    Ok(())
}

fn upgrade_and_downgrade(label: &str, trial: Trial) -> Result<()> {
    let (world, old) = machine(label)?;
    let new = shim::put(&world.host, Shim::AddsState)?;
    let crash = |infra: &Infra| infra.service("web", "exit 3");
    let bad = deploy(&world, ("bad", Trial::Undisturbed), crash)?;
    assert_eq!(end_of(&bad.0), "reverted/unhealthy");

    world.forge.infra.unset("wants");
    assert_kept(&world, ("upgrade", trial), &new)?;
    assert_kept(&world, ("after the upgrade", Trial::Undisturbed), &new)?;
    let before = remembered(&world)?;
    assert_kept(&world, ("downgrade", trial), &old)?;
    assert_all_is_read(&world, &before)?;

    // What was refused before all of that is still refused.
    let again = world.forge.push("bad again", |infra| {
        infra.etc("mark", "bad Undisturbed\n")?;
        crash(infra)
    })?;
    assert_eq!(end_of(&world.host.verdict(&again)?), "blocked/blocked");
    Ok(())
}

#[test]
fn a_newer_release_with_more_state_is_kept_and_the_older_one_reads_all_of_it() -> Result<()> {
    upgrade_and_downgrade("newer", Trial::Undisturbed)
}

#[test]
fn a_newer_release_is_kept_after_a_kill_and_so_is_the_way_back_to_the_older_one() -> Result<()> {
    upgrade_and_downgrade("newer-killed", Trial::Killed)
}

#[test]
fn a_newer_release_that_is_reverted_leaves_state_that_the_older_one_reads() -> Result<()> {
    for trial in Trial::BOTH {
        let (world, old) = machine("newer-reverted")?;
        let new = shim::put(&world.host, Shim::AddsState)?;
        assert_kept(&world, ("good", Trial::Undisturbed), &old)?;
        let before = remembered(&world)?;
        let running = world.host.running_system()?;
        let (end, commit) = deploy(&world, ("bad upgrade", trial), |infra| {
            infra.autodeploy(&new)?;
            infra.service("web", "exit 3")
        })?;
        assert_eq!(world.host.outcomes(&commit)?, trial.ends("reverted/unhealthy"), "{end:#}");
        world.assert_settled_on(&running)?;
        // The record is nobody's while a trial is on: only the agent of the newer release wrote.
        let state = from_the_future(&world)?;
        assert_eq!(state[1..], ["1001", "kept", "kept", "kept"], "{trial:?}");
        let after = remembered(&world)?;
        assert!(before.0.iter().all(|one| after.0.contains(one)), "{before:#?}\n{after:#?}");
        world.forge.infra.unset("wants");
        assert_kept(&world, ("good again", Trial::Undisturbed), &old)?;
    }
    Ok(())
}

/// Deploys what breaks autodeploy, undisturbed and killed: it is reverted, and that is told.
fn is_reverted(
    (label, why): (&str, &str),
    breaks: impl Fn(&World, &Infra) -> Result<()>,
) -> Result<()> {
    let (world, release) = machine(label)?;
    for trial in Trial::BOTH {
        let (end, commit) = deploy(&world, (label, trial), |infra| breaks(&world, infra))?;
        assert_eq!(world.host.outcomes(&commit)?, trial.ends("reverted/unhealthy"), "{end:#}");
        world.assert_settled_on(&world.first_toplevel)?;
        for unit in ["autodeploy.service", "autodeploy-activate.path"] {
            assert_eq!(world.host.unit_state(unit)?, "active", "{unit}, {trial:?}");
        }
        let status = world.host.status()?;
        let told = status["deployment"]["message"].as_str().unwrap_or_default();
        assert!(told.contains(why), "{trial:?}: {told}");
        assert!(status["blocked"].to_string().contains(&commit), "{trial:?}: {status:#}");
        let reverts = format!("AUTODEPLOY_EVENT=trial-reverted AUTODEPLOY_COMMIT={commit}");
        let said = world.host.journal(&reverts)?;
        assert_eq!(said.len(), 1, "{trial:?}: {said:#?}");
        assert_eq!(said[0]["AUTODEPLOY_REASON"], "unhealthy");
    }
    for left in ["units", "units-removed", "wants"] {
        world.forge.infra.unset(left);
    }
    world.forge.infra.config(&config(&world.forge.infra))?;
    assert_kept(&world, ("good", Trial::Undisturbed), &release)
}

#[test]
fn a_generation_without_autodeploy_is_reverted() -> Result<()> {
    is_reverted(("without", "`lifeline`"), |_, infra| {
        infra.unset("autodeploy-label");
        Ok(())
    })
}

#[test]
fn a_generation_that_removes_the_units_is_reverted() -> Result<()> {
    is_reverted(("removed", "`lifeline`"), |_, infra| {
        UNITS.iter().try_for_each(|unit| infra.remove_unit(unit))
    })
}

#[test]
fn a_generation_that_masks_the_units_is_reverted() -> Result<()> {
    is_reverted(("masked", "`lifeline`"), |_, infra| {
        UNITS.iter().try_for_each(|unit| infra.mask(unit))
    })
}

#[test]
fn a_generation_whose_configuration_has_unknown_keys_is_reverted() -> Result<()> {
    is_reverted(("unknown", "`lifeline`"), |_, infra| {
        infra.config(&config(infra).replace("poll_interval", "pol_interval"))
    })
}

#[test]
fn a_generation_whose_configuration_has_a_value_of_a_wrong_kind_is_reverted() -> Result<()> {
    is_reverted(("wrong-kind", "`lifeline`"), |_, infra| {
        infra.config(&config(infra).replace("poll_interval = \"2s\"", "poll_interval = 2"))
    })
}

#[test]
fn a_release_whose_activator_crashes_is_reverted() -> Result<()> {
    is_reverted(("crashes", "self-test failed"), |world, infra| {
        infra.autodeploy(&shim::put(&world.host, Shim::ActivatorCrashes)?)
    })
}

#[test]
fn a_release_whose_activator_crashes_only_as_a_service_is_reverted() -> Result<()> {
    is_reverted(("crashes-later", "`autodeploy-activate.service`"), |world, infra| {
        infra.autodeploy(&shim::put(&world.host, Shim::ActivatorCrashesWhenServing)?)
    })
}

#[test]
fn a_release_whose_agent_hangs_before_it_is_ready_is_reverted() -> Result<()> {
    is_reverted(("hangs", "`lifeline`"), |world, infra| {
        infra.autodeploy(&shim::put(&world.host, Shim::AgentHangs)?)
    })
}
