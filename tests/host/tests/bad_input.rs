//! What bad input gets: a clear sentence with a hint, the old system running, the daemon alive.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::package;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(40);

/// After whatever went wrong: a good push is kept.
fn assert_still_deploys(world: &World) -> Result<()> {
    let good = world.forge.push("good", |infra| infra.etc("good", "yes\n"))?;
    let kept = world.host.verdict(&good)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    Ok(())
}

fn last_error(world: &World) -> Result<String> {
    Ok(world.host.status()?["remote"]["last_error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn an_unreachable_remote_is_said_and_comes_back_by_itself() -> Result<()> {
    let mut world = World::following("unreachable", Scheme::Http)?;
    world.forge.stop_servers();
    wait_until("the error", SOON, || Ok(last_error(&world)?.contains("could not")))?;
    let error = last_error(&world)?;
    assert!(error.contains("`http://forge/git/infra.git`"), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");
    world.forge.start_servers()?;
    assert_still_deploys(&world)
}

#[test]
fn a_branch_that_does_not_exist_is_named() -> Result<()> {
    let world = World::boot_with("no-branch", HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), "8s", "2s");
        infra.config(&config.replace("branch = \"main\"", "branch = \"trunk\""))
    })?;
    wait_until("the error", SOON, || Ok(last_error(&world)?.contains("`trunk`")))?;
    world.forge.infra.git(&[
        "push",
        "-q",
        &world.forge.repository().display().to_string(),
        "HEAD:trunk",
    ])?;
    wait_until("the branch to be seen", SOON, || {
        Ok(world.host.status()?["remote"]["tip"] == world.first_commit.as_str())
    })
}

#[test]
fn commits_that_cannot_be_deployed_fail_each_with_its_own_reason() -> Result<()> {
    let world = World::following("bad-commits", Scheme::Http)?;
    let flake = std::fs::read_to_string(world.forge.infra.path.join("flake.nix"))?;
    type Change<'a> = Box<dyn FnOnce(&autodeploy_testhost::infra::Infra) -> Result<()> + 'a>;
    let cases: Vec<(&str, &str, Change)> = vec![
        (
            "a typo",
            "failed/evaluation-failed",
            Box::new(|infra| infra.write("flake.nix", "{ outputs = { self }: { oops }; }")),
        ),
        (
            "does not build",
            "failed/build-failed",
            Box::new(|infra| {
                infra.write("flake.nix", &flake)?;
                infra.write(
                    "stand-in/build-toplevel",
                    "#!/bin/sh\necho no such header >&2\nexit 1\n",
                )
            }),
        ),
        (
            "no such host",
            "failed/no-such-host",
            Box::new(|infra| {
                infra.git(&["checkout", "-q", &world.first_commit, "--", "stand-in"])?;
                infra.write("flake.nix", &flake)?;
                infra.git(&["mv", "hosts/box", "hosts/other"]).map(|_| ())
            }),
        ),
        (
            "no system",
            "failed/not-a-system",
            Box::new(|infra| {
                infra.git(&["mv", "hosts/other", "hosts/box"])?;
                infra.write("stand-in/build-toplevel", "#!/bin/sh\n/usr/bin/mkdir $out\n")
            }),
        ),
        (
            "fails to activate",
            "reverted/activation-failed",
            Box::new(|infra| {
                infra.git(&["checkout", "-q", &world.first_commit, "--", "stand-in"])?;
                infra.set("activate-hook", "echo no >&2; exit 1\n")
            }),
        ),
    ];
    for (message, expected, change) in cases {
        let commit = world.forge.push(message, change)?;
        let end = world.host.verdict(&commit)?;
        assert_eq!(end_of(&end), expected, "{message}: {end:#}");
        assert!(!end["summary"]["message"].as_str().unwrap_or_default().is_empty());
        assert!(end["hint"].is_string(), "{message} has no hint: {end:#}");
        assert_eq!(world.host.running_system()?, world.first_toplevel, "{message}");
        let said = world.host.journal(&format!("-t autodeployd AUTODEPLOY_COMMIT={commit}"))?;
        assert!(!said.is_empty(), "{message}: nothing in the journal");
    }
    world.forge.push("as it was", |infra| {
        infra.unset("activate-hook");
        Ok(())
    })?;
    assert_still_deploys(&world)
}

#[test]
fn a_hung_switch_is_ended_and_reverted() -> Result<()> {
    let world = World::boot_with("hung", HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), "8s", "2s");
        infra.config(&(config + "\n[activation]\nswitch_timeout = \"6s\"\n"))
    })?;
    let commit =
        world.forge.push("hangs", |infra| infra.set("activate-hook", "exec sleep infinity\n"))?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/switch-timeout", "{reverted:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    world.forge.push("no more", |infra| {
        infra.unset("activate-hook");
        Ok(())
    })?;
    assert_still_deploys(&world)
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() -> Result<()> {
    let options = HostOptions { state_bytes: Some(48 << 20), ..HostOptions::default() };
    let world = World::boot_with("full", options, |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&infra.default_config(Scheme::Http.url(), "8s", "2s"))
    })?;
    world.host.wait_phase("idle")?;
    world.host.fill_disk("/var/lib/autodeploy")?;
    world.forge.push("needs room", |infra| infra.etc("motd", &"x".repeat(100_000)))?;
    wait_until("the disk to be named", SOON, || {
        let status = world.host.status()?.to_string();
        Ok(status.contains("no space")
            || status.contains("No space")
            || status.contains("disk is full"))
    })?;
    assert_eq!(world.host.unit_state("autodeploy.service")?, "active");
    world.host.free_disk("/var/lib/autodeploy")?;
    assert_still_deploys(&world)
}

#[test]
fn a_damaged_clone_is_fetched_anew() -> Result<()> {
    let damages = [
        ("objects missing", "find .git/objects -type f -delete"),
        ("garbage in the configuration", "echo '[[[' > .git/config"),
        ("garbage in HEAD", "head -c 100 /dev/urandom > .git/HEAD"),
        (
            "truncated packs",
            "for f in $(find .git/objects -type f); do chmod u+w $f; truncate -s 10 $f; done",
        ),
        ("gone", "rm -rf .git"),
    ];
    let world = World::following("damaged-clone", Scheme::Http)?;
    assert_still_deploys(&world)?;
    for (what, damage) in damages {
        world.host.sh(&format!("cd /var/lib/autodeploy/repository && {damage}"))?;
        let commit = world.forge.push(what, |infra| infra.etc("motd", &format!("{what}\n")))?;
        wait_until(what, Duration::from_secs(90), || {
            Ok(world.host.outcomes(&commit)?.last().is_some_and(|last| last == "kept/healthy"))
        })
        .inspect_err(|_| world.host.tell_all())?;
    }
    Ok(())
}

/// The agent's database cannot be used: what was blocked stays so, by the activator's record.
fn a_database_is_set_aside(label: &str, damage: &str) -> Result<()> {
    let world = World::following(label, Scheme::Http)?;
    let bad = world.forge.push("bad", |infra| infra.service("web", "exit 3"))?;
    assert_eq!(end_of(&world.host.verdict(&bad)?), "reverted/unhealthy");
    world.host.sh(&format!(
        "systemctl stop autodeploy.service
         cd /var/lib/autodeploy
         {damage}
         systemctl start autodeploy.service"
    ))?;
    assert!(world.host.run("ls /var/lib/autodeploy")?.stdout.contains("damaged"));
    let status = world.host.status()?;
    assert_eq!(status["blocked"][0]["commit"], bad.as_str(), "{status:#}");
    assert!(status["warnings"].to_string().contains("set aside"), "{status:#}");
    let good = world.forge.push("good", |infra| infra.service("web", "exec sleep infinity"))?;
    assert_eq!(end_of(&world.host.verdict(&good)?), "kept/healthy");
    Ok(())
}

#[test]
fn a_damaged_database_is_set_aside_and_filled_from_the_record() -> Result<()> {
    let damage = "for f in *.sqlite*; do head -c 8192 /dev/urandom > $f; done";
    a_database_is_set_aside("damaged-database", damage)
}

#[test]
fn a_database_of_a_newer_major_release_is_set_aside_and_filled_from_the_record() -> Result<()> {
    let newer = "python3 -c 'import sqlite3
db = sqlite3.connect(\"history.sqlite\")
db.execute(\"pragma user_version = 2000\")'";
    a_database_is_set_aside("newer-database", newer)
}

#[test]
fn a_damaged_record_is_set_aside_and_reported() -> Result<()> {
    let world = World::following("damaged-record", Scheme::Http)?;
    assert_still_deploys(&world)?;
    let record = "/var/lib/autodeploy-activate/trial.json";
    for damage in ["echo garbage", "head -c 40 $f.old", "echo '{\"version\": 99}'", "true"] {
        world.host.sh(&format!(
            "f={record}; cp $f $f.old; {damage} > $f; rm $f.old
             systemctl restart autodeploy-activate.service"
        ))?;
        wait_until("it is set aside", SOON, || {
            Ok(world.host.run(&format!("ls {record}.damaged-*"))?.code() == 0)
        })?;
        wait_until("it is reported", SOON, || {
            Ok(world.host.status()?["warnings"].to_string().contains("record"))
        })?;
        world.host.sh(&format!("rm {record}.damaged-*"))?;
        let good = world.forge.push(damage, |infra| infra.etc("motd", damage))?;
        assert_eq!(end_of(&world.host.verdict(&good)?), "kept/healthy", "{damage}");
    }
    Ok(())
}

#[test]
fn an_unknown_configuration_key_is_an_error_with_a_hint() -> Result<()> {
    let world = World::following("unknown-key", Scheme::Http)?;
    world.host.sh("cp --remove-destination $(readlink -f /etc/autodeploy/config.toml) /etc/autodeploy/config.toml; sed -i s/poll_interval/pol_interval/ /etc/autodeploy/config.toml")?;
    let output = world.host.run("autodeployctl check-config")?;
    assert_eq!(output.code(), 1, "{}{}", output.stdout, output.stderr);
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(text.contains("unknown key `pol_interval`"), "{text}");
    assert!(text.contains("did you mean `poll_interval`?"), "{text}");
    world.host.run("systemctl restart autodeploy.service")?;
    wait_until("the agent to give up", SOON, || {
        Ok(world.host.unit_property("autodeploy.service", "ExecMainStatus")? == "78"
            && world.host.unit_state("autodeploy.service")? == "failed")
    })?;
    let said = world.host.journal("-u autodeploy.service")?;
    assert!(said.iter().any(|line| line["MESSAGE"].to_string().contains("pol_interval")));
    Ok(())
}

#[test]
fn a_forced_push_behind_the_mark_is_refused_with_both_commits_named() -> Result<()> {
    let world = World::following("forced", Scheme::Http)?;
    let kept = world.forge.push("kept", |infra| infra.etc("motd", "kept\n"))?;
    assert_eq!(end_of(&world.host.verdict(&kept)?), "kept/healthy");
    let other = world.forge.force_push("another history", |infra| infra.etc("motd", "other\n"))?;
    let refused = world.host.verdict(&other)?;
    assert_eq!(end_of(&refused), "failed/not-a-descendant", "{refused:#}");
    let message = refused["summary"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&kept[..8]) && message.contains(&other[..8]), "{message}");
    assert_eq!(world.host.read("/etc/motd")?, "kept");
    Ok(())
}
