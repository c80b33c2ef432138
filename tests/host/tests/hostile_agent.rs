//! A compromised agent: whatever its user writes, the activator does no more than `docs/security.md`
//! says, and takes the next honest request.

use std::time::Duration;

use anyhow::{Result, ensure};
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::requests::{
    SOON, URL, ask, ask_with, assert_end, assert_settled_on, built, end, prepare, report, trial,
    wait_phase,
};
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use serde_json::json;

const REQUEST: &str = "/run/autodeploy/request.json";
const ACTIVATOR: &str = "autodeploy-activate.service";

/// A machine on which the script that writes the lifeline runs as the agent does: as its user, in
/// its sandbox.
fn machine(label: &str) -> Result<World> {
    let world = World::boot_with(label, HostOptions::default(), |infra, host| {
        prepare(infra, host)?;
        infra.unset("units/autodeploy.service");
        infra.set(
            "units/autodeploy.service.d/script.conf",
            "[Service]\nType=exec\nWatchdogSec=0\nExecStart=\nExecStart=/bin/sh /etc/agent\n",
        )
    })?;
    wait_until("the lifeline", SOON, || Ok(world.host.exists("/run/autodeploy/lifeline.json")))?;
    assert_eq!(world.host.sh("stat -c %U /run/autodeploy/lifeline.json")?, "autodeploy");
    Ok(world)
}

/// What the agent's user does.
fn hostile(world: &World, line: &str) -> Result<String> {
    world.host.run_as("autodeploy", line)?.ok()
}

/// The activator was never killed and never crashed, its directories hold what they should and no
/// more, and its path unit waits for the next request.
fn assert_unharmed(world: &World) -> Result<()> {
    let host = &world.host;
    assert_eq!(host.unit_property(ACTIVATOR, "NRestarts")?, "0");
    assert_eq!(host.unit_property(ACTIVATOR, "Result")?, "success");
    let path = host.unit_state("autodeploy-activate.path")?;
    ensure!(path == "active", "the path unit is {path}");
    assert_eq!(host.sh("ls -A /run/autodeploy-activate")?, "last-taken\nreport.json");
    let kept = host.sh("cd /var/lib/autodeploy-activate; ls -A")?;
    ensure!(["lock", "lock\ntrial.json"].contains(&kept.as_str()), "it keeps {kept}");
    let bytes: u64 = host.sh("du -sb /var/lib/autodeploy-activate | cut -f1")?.parse()?;
    ensure!(bytes < 1 << 20, "its directory has {bytes} bytes");
    Ok(())
}

/// Makes folders in each other, more than a process may have open files.
const DEEP: &str = "import os\nfor _ in range(5000): os.mkdir(\"d\"); os.chdir(\"d\")";

#[test]
fn whatever_lies_in_a_requests_place_is_taken_away_unread() -> Result<()> {
    let world = machine("hostile-files")?;
    let host = &world.host;
    host.sh("echo '\"not for the agent\"' > /run/secret; chmod 600 /run/secret")?;
    let honest = built(&world, "honest", |infra| infra.etc("honest", "yes\n"))?;
    for (what, line) in [
        ("a link to a secret", "ln -s /run/secret $R"),
        ("a link to /etc/shadow", "ln -s /etc/shadow $R"),
        ("a link to a device", "ln -s /dev/zero $R"),
        ("a pipe", "mkfifo $R"),
        ("a socket", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"'$R'\")'"),
        ("a gigabyte", "truncate -s 1G $R.big; mv $R.big $R"),
        ("a folder", "mkdir -p $R.new/a/b/c; touch $R.new/a/b/c/d; mv $R.new $R"),
        ("a folder that may not be entered", "mkdir -p $R.no/a; chmod 0 $R.no/a; mv $R.no $R"),
        ("a folder with a link out", "mkdir $R.out; ln -s /etc $R.out/etc; mv $R.out $R"),
        (
            "a folder of any depth",
            "mkdir $R.deep; cd $R.deep; python3 -c \"$DEEP\"; cd ..; mv $R.deep $R",
        ),
        ("a name for another file", "echo '\"mine\"' > $R.one; ln $R.one $R"),
        ("nothing", "touch $R"),
        ("no JSON", "echo ']' > $R.new; mv $R.new $R"),
        ("nested", "python3 -c 'print(\"[\" * 1000000)' > $R.new; mv $R.new $R"),
        ("a million numbers", "python3 -c 'print([1] * 300000)' > $R.new; mv $R.new $R"),
        ("no UTF-8", "head -c 1000 /dev/urandom > $R.new; mv $R.new $R"),
        (
            "escapes",
            "printf '{\"version\": \"\\033[2J\\nAUTODEPLOY_OUTCOME=kept\"}' > $R.new; mv $R.new $R",
        ),
    ] {
        hostile(&world, &format!("R={REQUEST}; DEEP='{DEEP}'; {line}"))?;
        // By `test -L` as well: what leads nowhere is there all the same.
        let gone = || Ok(host.run(&format!("test -e {REQUEST} -o -L {REQUEST}"))?.code() == 1);
        wait_until(&format!("the end of {what}"), SOON, gone)?;
    }
    wait_until("the activator's end", SOON, || Ok(host.unit_state(ACTIVATOR)? == "inactive"))?;
    assert_unharmed(&world)?;
    assert!(report(&world)?["trial"].is_null());
    assert_eq!(host.sh("cat /run/secret; stat -c '%a %U' /etc/shadow /etc")?.lines().count(), 3);
    // What was there is named, and nothing of what a link led to.
    let said = host.journal("-t autodeploy-activate AUTODEPLOY_EVENT=request-refused")?;
    ensure!(said.len() >= 10, "{said:#?}");
    for one in &said {
        let message = one["MESSAGE"].as_str().unwrap_or_default();
        ensure!(!message.contains("not for the agent") && !message.contains('\u{1b}'), "{one:#}");
        ensure!(one["AUTODEPLOY_OUTCOME"].is_null(), "{one:#}");
    }
    // What leads nowhere starts nobody, and is no obstacle to the next.
    hostile(&world, &format!("ln -s /nowhere {REQUEST}"))?;
    // Devices, and other people's files under a name of one's own, the kernel refuses.
    for line in ["mknod /run/autodeploy/device b 7 0", "ln /run/secret /run/autodeploy/secret"] {
        assert_ne!(host.run_as("autodeploy", line)?.code(), 0, "{line}");
    }
    ask(&world, 1, &honest)?;
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    assert_settled_on(&world, &honest)
}

#[test]
fn a_link_to_itself_ends_the_path_unit_and_the_activator_starts_it_again() -> Result<()> {
    let world = machine("hostile-link")?;
    let host = &world.host;
    let honest = built(&world, "honest", |infra| infra.etc("honest", "yes\n"))?;
    for (number, name) in [(1, "request.json"), (2, "announced")] {
        let before = host.unit_property("autodeploy-activate.path", "InvocationID")?;
        hostile(&world, &format!("cd /run/autodeploy; ln -s {name} {name}"))?;
        wait_until("another run of the path unit", SOON, || {
            let now = host.unit_property("autodeploy-activate.path", "InvocationID")?;
            let gone = host.run(&format!("test -L /run/autodeploy/{name}"))?.code() == 1;
            Ok(gone && now != before && host.unit_state("autodeploy-activate.path")? == "active")
        })?;
        ask(&world, number, &honest)?;
        let ended = if number == 1 { "kept/healthy" } else { "kept/already-running" };
        assert_end(&end(&world, number)?, &format!("{ended} retry=false"));
    }
    assert_unharmed(&world)
}

#[test]
fn requests_for_what_may_not_be_tried_change_nothing() -> Result<()> {
    let world = machine("hostile-wishes")?;
    let host = &world.host;
    let honest = built(&world, "honest", |infra| infra.etc("honest", "yes\n"))?;
    let drv = host.sh(&format!("nix-store -q --deriver {honest}"))?;
    let part = host.sh(&format!("readlink {honest}/systemd"))?;
    let built_by_it = hostile(&world, "cd; echo x > f; nix-store --add f")?;
    let gone = format!("/nix/store/{}-nixos-system-box", "a".repeat(32));
    for (number, toplevel, expected) in [
        (1, gone.as_str(), "failed/invalid-path retry=false"),
        (2, drv.as_str(), "failed/not-a-system retry=false"),
        (3, part.as_str(), "failed/not-a-system retry=false"),
        (4, built_by_it.as_str(), "failed/not-a-system retry=false"),
    ] {
        ask(&world, number, toplevel)?;
        assert_end(&end(&world, number)?, expected);
    }
    // What is no name of a store path at all is not even recorded.
    for (number, toplevel) in [(5, "/etc"), (6, "/nix/store/../../tmp"), (7, "/nix/store"), (8, "")]
    {
        ask(&world, number, toplevel)?;
        wait_until("the request's end", SOON, || Ok(!host.exists(REQUEST)))?;
        assert!(trial(&world, number)?.is_none(), "{toplevel}");
    }
    for (number, more) in [
        (9, json!({"boot_id": "00000000-0000-0000-0000-000000000000"})),
        (10, json!({"expected_running": honest})),
    ] {
        ask_with(&world, number, &honest, more)?;
        assert_end(&end(&world, number)?, "failed/stale-request retry=true");
    }
    assert_settled_on(&world, &world.first_toplevel)?;
    assert_unharmed(&world)
}

/// Writes requests and announcements for eight seconds, and says how many.
const LOOP: &str = r#"
import os, time
os.chdir("/run/autodeploy")
end, count = time.monotonic() + 8, 0
while time.monotonic() < end:
    with open("r.new", "w") as file:
        file.write("]")
    os.rename("r.new", "request.json")
    open("announced", "w").close()
    count += 1
print(count)
"#;

#[test]
fn a_loop_of_requests_takes_a_second_each_and_an_honest_one_is_served_afterwards() -> Result<()> {
    let world = machine("hostile-loop")?;
    let host = &world.host;
    let honest = built(&world, "honest", |infra| infra.etc("honest", "yes\n"))?;
    let starts = || -> Result<u64> {
        let count = format!("journalctl -q --no-pager -u {ACTIVATOR} -g '^Started' -o cat | wc -l");
        Ok(host.sh(&count)?.parse()?)
    };
    let before = starts()?;
    // Thousands of each, as fast as they can be written.
    let began = host.sh("cut -d. -f1 /proc/uptime")?.parse::<u64>()?;
    host.write("/opt/loop.py", LOOP)?;
    let written = hostile(&world, "python3 /opt/loop.py")?;
    let quiet = || {
        let left = host.exists(REQUEST) || host.exists("/run/autodeploy/announced");
        // The last announcement may have come with a request or alone, and then it is stood by.
        let state = host.unit_state(ACTIVATOR)?;
        Ok(!left && ["active", "inactive"].contains(&state.as_str()))
    };
    wait_until("the last of them", SOON, quiet)?;
    let took = host.sh("cut -d. -f1 /proc/uptime")?.parse::<u64>()? + 1 - began;
    let started = starts()? - before;
    ensure!(written.parse::<u64>()? >= 1000, "only {written} were written");
    ensure!(started >= 2 && started <= took + 2, "{started} starts in {took} s");
    let refused = host.journal("-t autodeploy-activate AUTODEPLOY_EVENT=request-refused")?;
    ensure!(refused.len() as u64 <= took + 2, "{} refused in {took} s", refused.len());
    assert_unharmed(&world)?;
    ask(&world, 1, &honest)?;
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    assert_settled_on(&world, &honest)
}

/// What a compromised agent can do, and no setting of today stops: said in `docs/security.md`.
#[test]
fn a_hostile_agent_can_bring_an_older_system_of_this_host_and_lie_about_the_remote() -> Result<()> {
    let world = machine("hostile-can")?;
    // Nothing of what it says about the remote is true from here on.
    world.forge.cut()?;
    let hole = built(&world, "with a hole", |infra| infra.etc("hole", "yes\n"))?;
    let mended = built(&world, "mended", |infra| {
        infra.unset("etc/hole");
        infra.etc("mended", "yes\n")
    })?;
    for (number, toplevel) in [(1, &hole), (2, &mended), (3, &hole)] {
        ask(&world, number, toplevel)?;
        assert_end(&end(&world, number)?, "kept/healthy retry=false");
        assert_settled_on(&world, toplevel)?;
    }
    // A system that was reverted, unblocked in somebody's name; the record says in whose.
    let bad = built(&world, "bad", |infra| infra.service("web", "sleep 1; exit 7"))?;
    ask(&world, 4, &bad)?;
    assert_end(&end(&world, 4)?, "reverted/unhealthy retry=false");
    ask(&world, 5, &bad)?;
    assert_end(&end(&world, 5)?, "blocked/blocked retry=false");
    ask_with(&world, 6, &bad, json!({"unblocked_by": 0, "emergency": true}))?;
    assert_end(&end(&world, 6)?, "kept/healthy retry=false");
    let told = world.host.journal("-t autodeploy-activate AUTODEPLOY_EVENT=request-taken")?;
    let said = "took a request, as an emergency, its closure unblocked by uid 0";
    assert!(told.iter().any(|one| one["MESSAGE"] == said), "{told:#?}");
    // Ending a trial in root's name.
    ask(&world, 7, &mended)?;
    wait_phase(&world, 7, "watching")?;
    let abort = json!({"version": 1, "deployment": 7, "answer": "abort", "uid": 0}).to_string();
    hostile(&world, &format!("cd /run/autodeploy; echo '{abort}' > a; mv a answer.json"))?;
    assert_end(&end(&world, 7)?, "aborted/by-operator retry=false");
    // And what it cannot: keeping in somebody's name what is not healthy.
    let worse = built(&world, "worse", |infra| {
        infra.remove_unit("web.service")?;
        infra.service("api", "sleep 1; exit 8")
    })?;
    ask(&world, 8, &worse)?;
    wait_phase(&world, 8, "watching")?;
    let confirm = json!({"version": 1, "deployment": 8, "answer": "confirm", "uid": 0}).to_string();
    hostile(&world, &format!("cd /run/autodeploy; echo '{confirm}' > a; mv a answer.json"))?;
    assert_end(&end(&world, 8)?, "reverted/unhealthy retry=false");
    assert_unharmed(&world)
}

#[test]
fn answers_and_lifelines_that_are_none_end_no_trial_and_start_none() -> Result<()> {
    let world = machine("hostile-answers")?;
    let host = &world.host;
    let honest = built(&world, "honest", |infra| infra.etc("honest", "yes\n"))?;
    ask(&world, 1, &honest)?;
    wait_phase(&world, 1, "watching")?;
    for line in [
        "rm -f answer.json; ln -s /etc/shadow answer.json",
        "rm -f answer.json; mkfifo answer.json",
        "rm -f answer.json; mkdir answer.json; touch answer.json/x",
        "rm -rf answer.json; truncate -s 1G answer.json",
        "rm -rf answer.json; echo '{\"version\":1,\"deployment\":99,\"answer\":\"abort\",\"uid\":0}' > answer.json",
        "rm -rf answer.json; echo '{\"version\":1,\"deployment\":1,\"answer\":\"burn\",\"uid\":0}' > answer.json",
    ] {
        hostile(&world, &format!("cd /run/autodeploy; {line}"))?;
        // One look at it at least, which comes every second.
        std::thread::sleep(Duration::from_millis(1100));
        let on = trial(&world, 1)?;
        ensure!(on.is_some_and(|trial| trial["reason"].as_str() != Some("by-operator")), "{line}");
    }
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    // A lifeline that is not one is no lifeline: the next is not green, and goes back.
    host.sh("systemctl stop autodeploy")?;
    hostile(&world, "cd /run/autodeploy; rm -rf lifeline.json answer.json; mkfifo lifeline.json")?;
    let config = world.forge.infra.default_config(URL, "4s", "1s");
    let next = built(&world, "next", |infra| {
        infra.config(&config)?;
        infra.etc("agent", "#!/bin/sh\nsleep infinity\n")
    })?;
    ask(&world, 2, &next)?;
    assert_end(&end(&world, 2)?, "reverted/unhealthy retry=false");
    assert_settled_on(&world, &honest)?;
    assert_unharmed(&world)
}
