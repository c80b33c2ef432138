//! What people and machines do while something is going on, and before and after: the table of
//! collisions, drift, reboots that are needed, and who may do what.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use serde_json::json;

const SOON: Duration = Duration::from_secs(60);

/// A machine with this window, to whose repository `prepare` is done as well.
fn with_window(
    label: &str,
    (window, settle): (&str, &str),
    prepare: impl FnOnce(&Infra) -> Result<()>,
) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&infra.default_config(Scheme::Http.url(), window, settle))?;
        prepare(infra)
    })
}

fn push(world: &World, motd: &str) -> Result<String> {
    world.forge.push(motd, |infra| infra.etc("motd", &format!("{motd}\n")))
}

/// Pushes a commit that is kept, and gives it with its closure.
fn kept(world: &World, motd: &str) -> Result<(String, String)> {
    let commit = push(world, motd)?;
    let kept = world.host.verdict(&commit)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    Ok((commit, kept["summary"]["toplevel"].as_str().unwrap_or_default().to_owned()))
}

/// A machine with this `activation.drift`.
fn following_with_drift(label: &str, drift: Option<&str>) -> Result<World> {
    with_window(label, ("8s", "2s"), |infra| match drift {
        Some(drift) => {
            let config = infra.default_config(Scheme::Http.url(), "8s", "2s");
            infra.config(&format!("{config}\n[activation]\ndrift = \"{drift}\"\n"))
        }
        None => Ok(()),
    })
}

/// Keeps a commit, and goes back to the first system as an operator would, past autodeploy.
fn replaced_by_hand(label: &str, drift: Option<&str>) -> Result<(World, String, String)> {
    let world = following_with_drift(label, drift)?;
    let (commit, toplevel) = kept(&world, "one")?;
    world.host.set_profile(&world.first_toplevel)?;
    let output = world.host.switch(&world.first_toplevel, "switch")?;
    assert_eq!(output.code(), 0, "{}", output.stderr);
    Ok((world, commit, toplevel))
}

fn drift_is_shown(world: &World) -> Result<()> {
    wait_until("the drift to be shown", SOON, || {
        Ok(world.host.status()?["drift"] == world.first_toplevel.as_str())
    })?;
    let warnings = world.host.status()?["warnings"].to_string();
    assert!(warnings.contains("by hand"), "{warnings}");
    assert_eq!(world.host.ctl("status --check")?.code(), 1);
    Ok(())
}

#[test]
fn what_was_replaced_by_hand_is_reported_and_the_next_other_closure_goes_over_it() -> Result<()> {
    let (world, commit, _) = replaced_by_hand("drift-report", None)?;
    drift_is_shown(&world)?;
    // Each is a poll of its own, and none of them brings it back.
    for _ in 0..3 {
        let output = world.host.ctl("run-now")?;
        assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    }
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.outcomes(&commit)?, ["kept/healthy"]);
    let (_, next) = kept(&world, "two")?;
    world.assert_settled_on(&next)?;
    assert!(world.host.status()?["drift"].is_null());
    Ok(())
}

#[test]
fn drift_that_holds_waits_for_resume() -> Result<()> {
    let (world, _, _) = replaced_by_hand("drift-hold", Some("hold"))?;
    drift_is_shown(&world)?;
    let next = push(&world, "two")?;
    world.host.wait_phase("held")?;
    let output = world.host.ctl("run-now")?;
    assert_eq!(output.code(), 5, "{}{}", output.stdout, output.stderr);
    let status = world.host.status()?;
    assert_eq!(status["gates"][0]["kind"], "drift", "{status:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    world.host.sh("autodeployctl resume")?;
    assert_eq!(end_of(&world.host.verdict(&next)?), "kept/healthy");
    Ok(())
}

#[test]
fn drift_that_is_restored_is_brought_back_at_once() -> Result<()> {
    let (world, _, toplevel) = replaced_by_hand("drift-restore", Some("restore"))?;
    wait_until("the kept system to be back", SOON, || {
        Ok(world.host.profile()?.toplevel == toplevel && world.host.status()?["phase"] == "idle")
    })?;
    world.assert_settled_on(&toplevel)?;
    let newest = &world.host.deployments()?[0];
    assert_eq!(newest["outcome"], "kept", "{newest:#}");
    assert!(newest["commit"].is_null(), "{newest:#}");
    assert!(world.host.status()?["drift"].is_null());
    Ok(())
}

/// A switch has set the profile and runs the new system long before it has started all units and
/// lets go of the lock.
#[test]
fn a_restore_that_meets_a_switch_by_hand_waits_for_its_end() -> Result<()> {
    let world = following_with_drift("drift-locked", Some("restore"))?;
    let (_, toplevel) = kept(&world, "one")?;
    let hold = "flock /run/nixos/switch-to-configuration.lock sleep infinity";
    world.host.sh(&format!("systemd-run --unit=hold -- {hold}"))?;
    world.host.set_profile(&world.first_toplevel)?;
    world.host.sh(&format!("ln -sfn {} /run/current-system", world.first_toplevel))?;
    let ended = |end: &str| -> Result<bool> {
        let newest = &world.host.deployments()?[0];
        Ok(newest["commit"].is_null()
            && newest["outcome"].is_string()
            && end_of(&json!({ "summary": newest })) == end)
    };
    wait_until("the collision", SOON, || ended("failed/lock-held"))?;
    world.host.sh("systemctl stop hold.service")?;
    wait_until("the kept system to be back", SOON, || ended("kept/healthy"))?;
    world.assert_settled_on(&toplevel)
}

#[test]
fn a_block_of_the_closure_on_trial_ends_the_trial_and_stands() -> Result<()> {
    let world = with_window("block-trial", ("40s", "20s"), |_| Ok(()))?;
    let commit = push(&world, "one")?;
    world.host.wait_phase("watching")?;
    world.host.sh(&format!("autodeployctl block {commit}"))?;
    let aborted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&aborted), "aborted/by-operator", "{aborted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.status()?["blocked"][0]["commit"], commit.as_str());
    let again = world.forge.push("the same closure", |infra| infra.write("notes", "x\n"))?;
    assert_eq!(end_of(&world.host.verdict(&again)?), "blocked/blocked");
    Ok(())
}

#[test]
fn abort_while_reverting_has_nothing_to_do_and_without_a_trial_says_so() -> Result<()> {
    let world = with_window("abort-late", ("8s", "2s"), |infra| {
        infra.set("activate-hook", "test -e /run/quick || sleep 8\n")
    })?;
    world.host.sh("touch /run/quick")?;
    let bad = world.forge.push("bad", |infra| infra.service("web", "exit 3"))?;
    world.host.wait_phase("watching")?;
    world.host.sh("rm /run/quick")?;
    world.host.wait_phase("reverting")?;
    let output = world.host.ctl("abort")?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(end_of(&world.host.verdict(&bad)?), "reverted/unhealthy");

    let output = world.host.ctl("abort")?;
    assert_eq!(output.code(), 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("no deployment is in flight"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: "), "{}", output.stderr);
    Ok(())
}

#[test]
fn rollback_to_a_number_goes_there_and_blocks_what_it_leaves() -> Result<()> {
    let world = with_window("rollback-number", ("8s", "2s"), |_| Ok(()))?;
    kept(&world, "one")?;
    let (commit, left) = kept(&world, "two")?;
    assert_eq!(world.host.profile()?.generation, 3);
    let output = world.host.ctl("rollback 1")?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    world.assert_settled_on(&world.first_toplevel)?;
    let newest = &world.host.deployments()?[0];
    let shown = world.host.deployment(&newest["id"])?;
    assert_eq!(shown["kind"], "rollback", "{shown:#}");
    assert_eq!(shown["generation"], world.host.profile()?.generation, "{shown:#}");
    let blocked = world.host.status()?["blocked"].clone();
    assert_eq!(blocked[0]["toplevel"], left.as_str(), "{blocked:#}");
    assert_eq!(blocked[0]["commit"], commit.as_str(), "{blocked:#}");
    let output = world.host.ctl("rollback 77")?;
    assert_eq!(output.code(), 1, "{}{}", output.stdout, output.stderr);
    kept(&world, "three").map(|_| ())
}

#[test]
fn pause_during_a_trial_lets_it_go_on_and_holds_the_next() -> Result<()> {
    let world = with_window("pause-trial", ("40s", "8s"), |_| Ok(()))?;
    let first = push(&world, "one")?;
    world.host.wait_phase("watching")?;
    world.host.sh("autodeployctl pause --reason 'the fair is on'")?;
    let second = push(&world, "two")?;
    assert_eq!(end_of(&world.host.verdict(&first)?), "kept/healthy");
    world.host.wait_phase("held")?;
    assert_eq!(world.host.status()?["deployment"]["commit"], second.as_str());
    assert_eq!(world.host.status()?["gates"][0]["kind"], "paused");
    world.host.sh("autodeployctl resume")?;
    assert_eq!(end_of(&world.host.verdict(&second)?), "kept/healthy");
    Ok(())
}

#[test]
fn a_newer_commit_is_got_ready_during_a_trial_and_gives_way_to_an_even_newer_one() -> Result<()> {
    let world = with_window("newer", ("90s", "35s"), |_| Ok(()))?;
    let first = push(&world, "one")?;
    world.host.wait_phase("watching")?;
    let second = push(&world, "two")?;
    wait_until("the second to be ready", SOON, || {
        let all = world.host.deployments()?;
        let Some(one) = all.iter().find(|one| one["commit"] == second.as_str()) else {
            return Ok(false);
        };
        let shown = world.host.deployment(&one["id"])?;
        Ok(shown["phase"] == "held" && shown["events"].to_string().contains("closure-realised"))
    })?;
    assert_eq!(world.host.outcomes(&first)?, [""; 0], "the trial is still on");
    let third = push(&world, "three")?;
    assert_eq!(end_of(&world.host.verdict(&second)?), "superseded/newer-commit");
    assert_eq!(world.host.outcomes(&first)?, [""; 0], "the trial is still on");
    assert_eq!(end_of(&world.host.verdict(&first)?), "kept/healthy");
    assert_eq!(end_of(&world.host.verdict(&third)?), "kept/healthy");
    assert_eq!(world.host.read("/etc/motd")?, "three");
    Ok(())
}

#[test]
fn an_operators_reboots_in_the_window_are_held_against_nobody() -> Result<()> {
    let mut world = with_window("operator-reboots", ("40s", "12s"), |_| Ok(()))?;
    let commit = push(&world, "one")?;
    // Twice: the second strike of a power cut would block it.
    for count in 1..=2 {
        world.host.wait_phase("watching")?;
        world.host.reboot()?;
        let ended = world.host.verdict_number(&commit, count)?;
        assert_eq!(end_of(&ended), "interrupted/shutdown", "{ended:#}");
        assert_eq!(world.host.booted_system()?, world.first_toplevel);
        assert_eq!(world.host.status()?["blocked"].as_array().map(Vec::len), Some(0));
    }
    let kept = world.host.verdict_number(&commit, 3)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    Ok(())
}

#[test]
fn what_cannot_be_armed_for_a_boot_is_held_until_one_comes_that_need_not() -> Result<()> {
    let world = World::boot_with("kernel", HostOptions::default(), |infra, host| {
        // A machine without EFI variables: its loader can start nothing just once.
        std::fs::write(host.outside("/boot/no-efi"), "")?;
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&infra.default_config(Scheme::Http.url(), "8s", "2s"))
    })?;
    let kernel = world.forge.push("kernel", |infra| infra.set("kernel", "another kernel\n"))?;
    world.host.wait_phase("held")?;
    let output = world.host.ctl("run-now")?;
    assert_eq!(output.code(), 5, "{}{}", output.stdout, output.stderr);
    let status = world.host.status()?;
    assert_eq!(status["gates"][0]["kind"], "reboot-needed", "{status:#}");
    assert_eq!(status["reboot_needed"]["needed"], true, "{status:#}");
    assert!(status["reboot_needed"]["reasons"].to_string().contains("kernel"), "{status:#}");
    assert_eq!(world.host.ctl("status --check")?.code(), 1);
    world.assert_settled_on(&world.first_toplevel)?;

    let next = world.forge.push("without it", |infra| {
        infra.unset("kernel");
        infra.etc("motd", "next\n")
    })?;
    assert_eq!(end_of(&world.host.verdict(&next)?), "kept/healthy");
    assert_eq!(world.host.outcomes(&kernel)?, ["superseded/newer-commit"]);
    assert_eq!(world.host.status()?["reboot_needed"]["needed"], false);
    Ok(())
}

#[test]
fn anybody_looks_and_only_the_group_acts() -> Result<()> {
    let world = with_window("rights", ("8s", "2s"), |_| Ok(()))?;
    let host = &world.host;
    wait_until("the first poll", SOON, || Ok(!host.status()?["remote"]["tip"].is_null()))?;
    let output = host.run_as("bob", "autodeployctl status")?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    let output = host.run_as("bob", "autodeployctl run-now")?;
    assert_eq!(output.code(), 1, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("`wheel`"), "{}", output.stderr);
    let output = host.run_as("alice", "autodeployctl run-now")?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);

    let socket = "/run/autodeploy/control";
    let interface = "org.autodeploy.Control";
    let text = host.run_as("bob", &format!("varlinkctl introspect {socket} {interface}"))?.ok()?;
    assert!(text.contains("method GetStatus"), "{text}");
    let call = |method: &str| format!("varlinkctl call {socket} {interface}.{method} '{{}}'");
    let status: serde_json::Value =
        serde_json::from_str(&host.run_as("bob", &call("GetStatus"))?.ok()?)?;
    assert_eq!(status["running"]["toplevel"], world.first_toplevel.as_str(), "{status:#}");
    let refused = host.run_as("bob", &call("Pause"))?;
    assert_ne!(refused.code(), 0);
    assert!(refused.stderr.contains("NotAllowed"), "{}", refused.stderr);
    assert_eq!(host.status()?["gates"].as_array().map(Vec::len), Some(0), "nothing is paused");
    Ok(())
}

fn agents_run(world: &World) -> Result<String> {
    world.host.unit_property("autodeploy.service", "InvocationID")
}

fn run_is_another(world: &World, than: &str) -> Result<()> {
    wait_until("another run of the agent", SOON, || {
        let active = world.host.unit_state("autodeploy.service")? == "active";
        Ok(active && agents_run(world)? != than)
    })
}

#[test]
fn after_a_switch_by_hand_the_agent_runs_with_the_configuration_that_lies_there() -> Result<()> {
    let world = with_window("by-hand", ("8s", "2s"), |_| Ok(()))?;
    let config = world.forge.infra.default_config(Scheme::Http.url(), "8s", "2s");
    world.host.sh("autodeployctl pause")?;
    let commit = world.forge.push("next", |infra| {
        infra.config(&config.replace("branch = \"main\"", "branch = \"next\""))
    })?;
    let toplevel = world.build(&commit)?;
    let before = agents_run(&world)?;
    world.host.set_profile(&toplevel)?;
    let output = world.host.switch(&toplevel, "switch")?;
    assert_eq!(output.code(), 0, "{}", output.stderr);
    run_is_another(&world, &before)?;
    assert_eq!(world.host.status()?["remote"]["branch"], "next");

    // An edit that no agent would start with: this one goes on, and says so.
    let file = "/etc/autodeploy/config.toml";
    let now = agents_run(&world)?;
    let edit = format!("cp --remove-destination $(readlink -f {file}) {file}.new");
    world.host.sh(&format!("{edit}; echo 'brunch = 1' >> {file}.new; mv -f {file}.new {file}"))?;
    let warns = || Ok(world.host.status()?["warnings"].to_string().contains("`brunch`"));
    wait_until("the warning", SOON, warns)?;
    assert_eq!(agents_run(&world)?, now);
    let told = world.host.journal("AUTODEPLOY_EVENT=configuration-refused")?;
    assert_eq!(told.len(), 1, "{told:#?}");

    world.host.sh(&format!("sed -i '/brunch/d; s/^branch = .*/branch = \"main\"/' {file}"))?;
    run_is_another(&world, &now)?;
    let status = world.host.status()?;
    assert_eq!(status["remote"]["branch"], "main");
    assert!(!status["warnings"].to_string().contains("`brunch`"), "{status:#}");
    Ok(())
}
