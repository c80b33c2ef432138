//! What an operator or another tool does past autodeploy: it is noticed, recorded and shown, and the
//! way back leads to what ran, whatever number that has.

use std::time::Duration;

use anyhow::{Result, ensure};
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(60);
const PROFILE: &str = "/nix/var/nix/profiles/system";

fn machine(label: &str) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&infra.default_config(Scheme::Http.url(), "8s", "2s"))
    })
}

/// Builds a system that the branch never had.
fn built_by_hand(world: &World, motd: &str) -> Result<String> {
    let infra = &world.forge.infra;
    infra.git(&["checkout", "-q", "-B", "by-hand"])?;
    infra.etc("motd", &format!("{motd}\n"))?;
    let commit = infra.commit(motd)?;
    let toplevel = world.build(&commit)?;
    infra.git(&["checkout", "-q", "main"])?;
    Ok(toplevel)
}

fn switch(world: &World, toplevel: &str, action: &str) -> Result<()> {
    let output = world.host.switch(toplevel, action)?;
    ensure!(output.code() == 0, "{}{}", output.stdout, output.stderr);
    Ok(())
}

/// `nixos-rebuild switch`
fn rebuild_switch(world: &World, toplevel: &str) -> Result<()> {
    world.host.set_profile(toplevel)?;
    switch(world, toplevel, "switch")
}

/// `nixos-rebuild switch --rollback`, and `nix-env --switch-generation` with a switch after it.
fn go_to(world: &World, how: &str) -> Result<()> {
    world.host.sh(&format!("nix-env -p {PROFILE} {how}"))?;
    switch(world, &world.host.profile()?.toplevel, "switch")
}

fn motd(world: &World, text: &str) -> Result<String> {
    world.forge.push(text, |infra| infra.etc("motd", &format!("{text}\n")))
}

/// The messages of the events of a kind, oldest first.
fn told(world: &World, kind: &str) -> Result<Vec<String>> {
    let lines = world.host.journal(&format!("-t autodeployd AUTODEPLOY_EVENT={kind}"))?;
    Ok(lines.iter().map(|line| line["MESSAGE"].as_str().unwrap_or_default().to_owned()).collect())
}

fn told_in_the_end(world: &World, kind: &str, count: usize) -> Result<Vec<String>> {
    wait_until(
        &format!("event {count} of {kind}"),
        SOON,
        || Ok(told(world, kind)?.len() >= count),
    )?;
    told(world, kind)
}

/// What runs, what the profile leads to with its number, and what boots.
fn what_is(world: &World) -> Result<(String, u64, String, String)> {
    let (profile, default) = (world.host.profile()?, world.host.boot_default()?);
    Ok((world.host.running_system()?, profile.generation, profile.toplevel, default.toplevel))
}

fn bad_push_lands_on(
    world: &World,
    text: &str,
    before: &(String, u64, String, String),
) -> Result<()> {
    let bad = world.forge.push(text, |infra| {
        infra.etc("motd", &format!("bad {text}\n"))?;
        infra.service("web", "exit 3")
    })?;
    let reverted = world.host.verdict(&bad)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    assert_eq!(reverted["old_toplevel"], before.0.as_str());
    assert_eq!(&what_is(world)?, before);
    Ok(())
}

#[test]
fn after_going_back_and_forth_by_hand_a_revert_lands_on_what_ran() -> Result<()> {
    let world = machine("drift-forth")?;
    for text in ["two", "three"] {
        let commit = motd(&world, text)?;
        assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    }
    let kept = world.host.running_system()?;
    let running = built_by_hand(&world, "six")?;
    for text in ["four", "five"] {
        rebuild_switch(&world, &built_by_hand(&world, text)?)?;
    }
    assert_eq!(world.host.generations()?.len(), 5);
    go_to(&world, "--rollback")?;
    go_to(&world, "--switch-generation 1")?;
    go_to(&world, "--switch-generation 5")?;
    world.host.sh(&format!("nix-env -p {PROFILE} --delete-generations 3"))?;
    go_to(&world, "--switch-generation 2")?;
    let before = what_is(&world)?;
    assert_eq!(before.1, 2);
    wait_until("the drift", SOON, || Ok(world.host.status()?["drift"] == before.0.as_str()))?;
    bad_push_lands_on(&world, "one", &before)?;

    // What runs is not even what its own profile leads to: `nixos-rebuild test` came last.
    rebuild_switch(&world, &kept)?;
    assert_eq!(world.host.profile()?.generation, 6);
    switch(&world, &running, "test")?;
    let before = what_is(&world)?;
    assert_eq!(before, (running.clone(), 6, kept.clone(), kept));
    bad_push_lands_on(&world, "two", &before)?;

    // Also when the default was set already: a loader that fails after that.
    let bad = world.forge.push("no default", |infra| {
        infra.unset("units/web.service");
        infra.unset("wants");
        infra.set("stand-in/install-bootloader", "#!/bin/sh\nexit 1\n")
    })?;
    let reverted = world.host.verdict(&bad)?;
    assert_eq!(end_of(&reverted), "reverted/bootloader", "{reverted:#}");
    assert_eq!(what_is(&world)?, before);
    assert_eq!(world.host.status()?["drift"], running.as_str(), "it is drift as before");
    Ok(())
}

#[test]
fn each_switch_by_hand_is_told_once_with_its_number_and_so_is_its_end() -> Result<()> {
    let world = machine("drift-told")?;
    let commit = motd(&world, "kept")?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    let kept = world.host.running_system()?;

    let other = built_by_hand(&world, "other")?;
    rebuild_switch(&world, &other)?;
    let seen = told_in_the_end(&world, "drift-seen", 1)?;
    assert!(seen[0].contains("(generation 3) by hand"), "{seen:?}");
    let test = built_by_hand(&world, "third")?;
    switch(&world, &test, "test")?;
    let seen = told_in_the_end(&world, "drift-seen", 2)?;
    assert!(!seen[1].contains("generation"), "{seen:?}");
    let status = world.host.status()?;
    assert_eq!(status["drift"], test.as_str(), "{status:#}");
    assert!(status["running"]["generation"].is_null(), "{status:#}");
    assert_eq!(status["boot_default"]["toplevel"], other.as_str(), "{status:#}");

    world.host.sh("systemctl restart autodeploy.service")?;
    go_to(&world, "--rollback")?;
    assert_eq!(world.host.running_system()?, kept);
    told_in_the_end(&world, "drift-over", 1)?;
    let status = world.host.status()?;
    assert!(status["drift"].is_null() && status["staged"].is_null(), "{status:#}");
    assert_eq!(told(&world, "drift-seen")?.len(), 2, "none of it was told twice");
    Ok(())
}

#[test]
fn what_happened_while_the_agent_was_not_there_is_noticed_when_it_is() -> Result<()> {
    let mut world = machine("drift-away")?;
    let commit = motd(&world, "kept")?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    world.host.sh("systemctl stop autodeploy.service")?;
    let other = built_by_hand(&world, "other")?;
    rebuild_switch(&world, &other)?;
    world.host.sh("systemctl start autodeploy.service")?;
    told_in_the_end(&world, "drift-seen", 1)?;
    assert_eq!(world.host.status()?["drift"], other.as_str());

    // `nixos-rebuild boot`, and a power cut after it.
    let staged = built_by_hand(&world, "staged")?;
    world.host.set_profile(&staged)?;
    switch(&world, &staged, "boot")?;
    let seen = told_in_the_end(&world, "staged-by-hand", 1)?;
    assert!(seen[0].contains("(generation 4) by hand"), "{seen:?}");
    let status = world.host.status()?;
    assert_eq!(status["staged"], staged.as_str(), "{status:#}");
    assert!(status["warnings"].to_string().contains("the next boot"), "{status:#}");
    assert!(status["boot_default"].is_null(), "nobody has looked since: {status:#}");
    assert_eq!(world.host.ctl("status --check")?.code(), 1);
    let next = motd(&world, "next")?;
    world.host.wait_phase("held")?;
    let status = world.host.status()?;
    assert_eq!(status["gates"][0]["kind"], "staged-by-hand", "{status:#}");

    world.host.power_cut()?;
    world.host.boot_again()?;
    assert_eq!(world.host.booted_system()?, staged);
    let kept = world.host.verdict(&next)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    assert_eq!(kept["old_toplevel"], staged.as_str());
    let status = world.host.status()?;
    assert!(status["drift"].is_null() && status["staged"].is_null(), "{status:#}");
    Ok(())
}
