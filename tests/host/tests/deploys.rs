//! The main job: a good push is kept, a bad one is reverted, each for its own reason.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::{DEPLOY_KEY, Scheme};
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_good_push_is_kept_and_becomes_the_default() -> Result<()> {
    let mut world = World::following("good", Scheme::Http)?;
    let commit = world.forge.push("web", |infra| infra.service("web", "exec sleep infinity"))?;
    let kept = world.host.verdict(&commit)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    let new = kept["summary"]["toplevel"].as_str().unwrap_or_default().to_owned();
    world.assert_settled_on(&new)?;
    assert_eq!(world.host.profile()?.generation, 2);
    assert_eq!(world.host.unit_state("web.service")?, "active");
    assert_eq!(kept["old_toplevel"], world.first_toplevel.as_str());
    assert_eq!(kept["generation"], 2);
    world.host.nix_store_verify()?;

    world.host.reboot()?;
    world.host.wait_phase("idle")?;
    world.assert_settled_on(&new)?;
    assert_eq!(world.host.outcomes(&commit)?, ["kept/healthy"], "nothing is deployed twice");
    Ok(())
}

#[test]
fn every_transport_brings_a_commit() -> Result<()> {
    for scheme in [Scheme::Https, Scheme::Ssh, Scheme::File] {
        let world = World::following("transport", scheme)?;
        let commit = world.forge.push("etc", |infra| infra.etc("motd", "hello\n"))?;
        let kept = world.host.verdict(&commit)?;
        assert_eq!(end_of(&kept), "kept/healthy", "{scheme:?}: {kept:#}");
    }
    Ok(())
}

#[test]
fn a_service_that_crashes_after_the_switch_is_reverted_with_the_evidence() -> Result<()> {
    let world = World::following("crash", Scheme::Http)?;
    let line = "sleep 1; echo the database is gone >&2; exit 3";
    let commit = world.forge.push("web", |infra| infra.service("web", line))?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.profile()?.generation, 1);
    let evidence = reverted["evidence"].to_string();
    assert!(evidence.contains("web.service"), "{evidence}");
    assert!(evidence.contains("the database is gone"), "{evidence}");

    let status = world.host.status()?;
    assert_eq!(status["blocked"][0]["commit"], commit.as_str());
    let shown = world.host.ctl("show")?.ok()?;
    assert!(shown.contains("the database is gone"), "{shown}");
    Ok(())
}

#[test]
fn a_failing_http_check_reverts_and_a_wanted_one_does_not() -> Result<()> {
    let world = World::following("http-check", Scheme::Http)?;
    let server = "exec python3 -m http.server 8080 --bind 127.0.0.1 --directory /etc/static";
    let check = |severity: &str, path: &str| {
        format!(
            "\n[health.checks.{severity}]\nkind = \"http\"\nseverity = \"{severity}\"\n\
             url = \"http://127.0.0.1:8080/{path}\"\ntimeout = \"2s\"\ninterval = \"500ms\"\n"
        )
    };
    let base = world.forge.infra.default_config(Scheme::Http.url(), "8s", "2s");
    let good = world.forge.push("a wanted check is red", |infra| {
        infra.service("web", server)?;
        infra.config(&(base.clone() + &check("required", "hostname") + &check("wanted", "no")))
    })?;
    let kept = world.host.verdict(&good)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    let states: Vec<String> = kept["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            format!(
                "{}:{}",
                one["name"].as_str().unwrap_or(""),
                one["state"].as_str().unwrap_or("")
            )
        })
        .collect();
    assert!(states.contains(&"wanted:red".into()), "{states:?}");
    assert!(states.contains(&"required:green".into()), "{states:?}");

    let bad = world.forge.push("a required check is red", |infra| {
        infra.config(&(base + &check("required", "not-there")))
    })?;
    let reverted = world.host.verdict(&bad)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    let message = reverted["summary"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`required`") && message.contains("404"), "{message}");
    world.assert_settled_on(kept["summary"]["toplevel"].as_str().unwrap_or_default())
}

#[test]
fn a_commit_that_cuts_the_network_is_reverted_by_the_lifeline() -> Result<()> {
    let world = World::following("cuts", Scheme::Http)?;
    let commit =
        world.forge.push("cuts the network", |infra| infra.remove_unit("host-network.service"))?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    let message = reverted["summary"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`lifeline`"), "{message}");
    world.assert_settled_on(&world.first_toplevel)?;

    let next = world.forge.push("without that", |infra| {
        infra.unset("units-removed");
        infra.etc("motd", "next\n")
    })?;
    assert_eq!(end_of(&world.host.verdict(&next)?), "kept/healthy");
    Ok(())
}

#[test]
fn a_commit_that_breaks_the_resolver_is_reverted() -> Result<()> {
    let world = World::following("dns", Scheme::Http)?;
    let commit =
        world.forge.push("dns", |infra| infra.etc("resolv.conf", "nameserver 127.0.0.9\n"))?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)
}

#[test]
fn a_dropped_deploy_key_is_reverted_though_the_agent_unit_is_unchanged() -> Result<()> {
    let world = World::boot_with("key", HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.etc("autodeploy/deploy_key", &host.read(DEPLOY_KEY)?)?;
        let config = infra.default_config(Scheme::Ssh.url(), "8s", "2s");
        let key = format!("ssh_key_file = \"{DEPLOY_KEY}\"");
        assert!(config.contains(&key), "{config}");
        infra.config(&config.replace(&key, "ssh_key_file = \"/etc/autodeploy/deploy_key\""))
    })?;
    let good = world.forge.push("good", |infra| infra.etc("motd", "hello\n"))?;
    assert_eq!(end_of(&world.host.verdict(&good)?), "kept/healthy");
    let running = world.host.running_system()?;
    let commit = world.forge.push("drops the key", |infra| {
        infra.unset("etc/autodeploy/deploy_key");
        Ok(())
    })?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    world.assert_settled_on(&running)
}

#[test]
fn a_generation_whose_configuration_is_no_toml_is_not_switched_to() -> Result<()> {
    let world = World::following("config", Scheme::Http)?;
    let garbage = world.forge.push("not TOML", |infra| infra.config("this is = not [TOML\n"))?;
    let failed = world.host.verdict(&garbage)?;
    assert_eq!(end_of(&failed), "failed/no-configuration", "{failed:#}");
    world.assert_settled_on(&world.first_toplevel)
}

#[test]
fn a_git_revert_is_followed_without_a_trial() -> Result<()> {
    let world = World::following("git-revert", Scheme::Http)?;
    let bad = world.forge.push("bad", |infra| infra.service("web", "exit 3"))?;
    assert_eq!(end_of(&world.host.verdict(&bad)?), "reverted/unhealthy");
    let revert = world.forge.revert(&bad)?;
    assert_eq!(end_of(&world.host.verdict(&revert)?), "kept/already-running");
    assert_eq!(world.host.profile()?.generation, 1, "no generation is made");

    let nothing = world.forge.push("changes nothing here", |infra| infra.write("notes", "x\n"))?;
    assert_eq!(end_of(&world.host.verdict(&nothing)?), "kept/already-running");
    let switches = world.host.journal("-t nixos")?;
    assert_eq!(
        switches
            .iter()
            .filter(|line| line["MESSAGE"].as_str().unwrap_or("").ends_with("ended with 0"))
            .count(),
        1,
        "only the way back switched: {switches:#?}"
    );
    Ok(())
}

#[test]
fn a_burst_of_pushes_ends_with_the_last_one_running() -> Result<()> {
    let world = World::following("burst", Scheme::Http)?;
    let mut last = String::new();
    for number in 1..=6 {
        last = world.forge.push("burst", |infra| infra.etc("burst", &format!("{number}\n")))?;
    }
    let kept = world.host.verdict(&last)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    assert_eq!(world.host.read("/etc/burst")?, "6");
    world.assert_settled_on(kept["summary"]["toplevel"].as_str().unwrap_or_default())
}

#[test]
fn autodeploy_upgrades_itself() -> Result<()> {
    let world = World::following("upgrade", Scheme::Http)?;
    let label = package::put(&world.host, &package::binaries(), "-next")?;
    let commit = world.forge.push("upgrade", |infra| infra.autodeploy(&label))?;
    let kept = world.host.verdict(&commit)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    assert_eq!(world.host.outcomes(&commit)?.len(), 1, "no attempt is counted");
    let agent = world.host.sh("readlink /proc/$(systemctl show -P MainPID autodeploy)/exe")?;
    assert!(agent.contains("-next/"), "{agent}");

    let next = world.forge.push("after it", |infra| infra.etc("motd", "next\n"))?;
    assert_eq!(end_of(&world.host.verdict(&next)?), "kept/healthy");
    Ok(())
}

#[test]
fn run_now_waits_for_the_verdict_and_exits_honestly() -> Result<()> {
    let world = World::boot_with("run-now", HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), "8s", "2s");
        infra.config(&config.replace("poll_interval = \"2s\"", "poll_interval = \"1h\""))
    })?;
    let host = &world.host;
    let run_now = || host.run("autodeployctl run-now");
    // One that comes before the network is up is tried again a minute later.
    let first_polls = Duration::from_secs(100);
    wait_until("a good poll", first_polls, || Ok(!host.status()?["remote"]["tip"].is_null()))?;
    wait_until("idle", SOON, || Ok(host.status()?["phase"] == "idle"))?;
    assert_eq!(run_now()?.code(), 0, "nothing to do is no failure");

    world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    let output = run_now()?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("kept"), "{}", output.stdout);

    world.forge.push("bad", |infra| infra.service("web", "exit 3"))?;
    let output = run_now()?;
    assert_eq!(output.code(), 4, "{}{}", output.stdout, output.stderr);

    host.sh("systemctl stop autodeploy.service")?;
    let output = host.run("autodeployctl status")?;
    assert_eq!(output.code(), 3, "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("hint: "), "{}", output.stderr);
    Ok(())
}
