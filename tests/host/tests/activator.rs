//! The activator on a real machine, fed its requests by hand.
//!
//! The agent is a shell script here: it writes a lifeline, and nothing else. So whatever these
//! cases show is the activator's own doing.

use anyhow::{Result, ensure};
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::requests::{
    SOON, TRIAL, URL, ask, ask_with, assert_end, assert_settled_on, built, end, machine, prepare,
    report, trial, wait_phase,
};
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use serde_json::json;

#[test]
fn an_announcement_starts_the_activator_which_stands_by_and_takes_the_request() -> Result<()> {
    let world = machine("act-announced")?;
    let new = built(&world, "web", |infra| infra.service("web", "exec sleep infinity"))?;
    let main_pid = || world.host.sh("systemctl show -P MainPID autodeploy-activate.service");
    let state = || world.host.unit_state("autodeploy-activate.service");
    wait_until("the activator's end", SOON, || Ok(state()? == "inactive"))?;
    // Whatever lies there is taken away, or systemd would start the activator for ever.
    world.host.sh("mkdir -p /run/autodeploy/announced/and/more")?;
    let gone = || Ok(!world.host.exists("/run/autodeploy/announced"));
    wait_until("the directory's end", SOON, gone)?;
    wait_until("the activator's end", SOON, || Ok(state()? == "inactive"))?;
    world.host.sh("touch /run/autodeploy/announced")?;
    wait_until("the activator", SOON, || Ok(gone()? && state()? == "active"))?;
    let standing_by = main_pid()?;
    let count = "journalctl -q --no-pager -u autodeploy-activate -g '^Started' -o cat | wc -l";
    let started = world.host.sh(count)?;
    ask(&world, 1, &new)?;
    wait_until("the request's end", SOON, || Ok(trial(&world, 1)?.is_some()))?;
    ensure!(standing_by != "0" && world.host.sh(count)? == started, "it was started again");
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    assert_settled_on(&world, &new)
}

#[test]
fn a_good_closure_is_kept_and_a_second_time_there_is_nothing_to_do() -> Result<()> {
    let world = machine("act-keep")?;
    let new = built(&world, "web", |infra| infra.service("web", "exec sleep infinity"))?;
    ask(&world, 1, &new)?;
    let kept = end(&world, 1)?;
    assert_end(&kept, "kept/healthy retry=false");
    assert_eq!(kept["generation"], 2, "{kept:#}");
    assert_eq!(kept["old"]["number"], 1);
    assert_settled_on(&world, &new)?;
    assert_eq!(report(&world)?["boot_default"]["generation"], 2);
    ask(&world, 2, &new)?;
    assert_end(&end(&world, 2)?, "kept/already-running retry=false");
    assert_eq!(world.host.profile()?.generation, 2);
    Ok(())
}

#[test]
fn a_service_that_crashes_after_the_switch_is_reverted_with_evidence() -> Result<()> {
    let world = machine("act-crash")?;
    let old = world.first_toplevel.clone();
    let bad = built(&world, "bad", |infra| {
        infra.service("web", "sleep 1; echo the disk is on fire; exit 7")
    })?;
    ask(&world, 1, &bad)?;
    let reverted = end(&world, 1)?;
    assert_end(&reverted, "reverted/unhealthy retry=false");
    let evidence = reverted["evidence"].to_string();
    assert!(evidence.contains("the disk is on fire"), "{evidence}");
    assert_settled_on(&world, &old)?;
    assert_eq!(report(&world)?["reverted"][0]["toplevel"], bad.as_str());
    // It never comes back by itself, and a person may allow it.
    ask(&world, 2, &bad)?;
    assert_end(&end(&world, 2)?, "blocked/blocked retry=false");
    ask_with(&world, 3, &bad, json!({"unblocked_by": 0}))?;
    assert_end(&end(&world, 3)?, "reverted/unhealthy retry=false");
    Ok(())
}

#[test]
fn a_commit_that_cuts_the_remote_is_reverted_and_a_forge_outage_acquits() -> Result<()> {
    let world = machine("act-line")?;
    let old = world.first_toplevel.clone();
    let cut = built(&world, "cut", |infra| infra.etc("forge-cut", "yes\n"))?;
    ask(&world, 1, &cut)?;
    let reverted = end(&world, 1)?;
    assert_end(&reverted, "reverted/unhealthy retry=false");
    let message = reverted["message"].as_str().unwrap_or_default();
    assert!(message.contains("check `lifeline`"), "{message}");
    assert_settled_on(&world, &old)?;

    let good = built(&world, "good", |infra| {
        infra.unset("etc/forge-cut");
        infra.etc("good", "yes\n")
    })?;
    ask(&world, 2, &good)?;
    wait_phase(&world, 2, "switching")?;
    world.host.write("/run/forge-down", "")?;
    let acquitted = end(&world, 2)?;
    assert_end(&acquitted, "reverted/environment retry=true");
    assert_settled_on(&world, &old)?;
    // While it is down, nothing is begun.
    wait_until("the agent to notice", SOON, || {
        Ok(world.host.read("/run/autodeploy/lifeline.json")?.contains("no route"))
    })?;
    ask(&world, 3, &good)?;
    assert_end(&end(&world, 3)?, "failed/unreachable retry=true");
    world.host.sh("rm /run/forge-down")?;
    wait_until("the agent to notice", SOON, || {
        Ok(!world.host.read("/run/autodeploy/lifeline.json")?.contains("no route"))
    })?;
    ask(&world, 4, &good)?;
    assert_end(&end(&world, 4)?, "kept/healthy retry=false");
    assert_settled_on(&world, &good)
}

#[test]
fn http_tcp_and_command_checks_decide_and_hangs_end() -> Result<()> {
    let world = machine("act-checks")?;
    let old = world.first_toplevel.clone();
    let config = |path: &str| {
        let base = world.forge.infra.default_config(URL, "10s", "2s");
        format!(
            "{base}\n[health.checks.page]\nkind = \"http\"\nurl = \"http://127.0.0.1:8099/{path}\"\n\
             interval = \"500ms\"\ntimeout = \"2s\"\n\
             [health.checks.port]\nkind = \"tcp\"\naddress = \"127.0.0.1:8099\"\ntimeout = \"2s\"\n\
             [health.checks.run]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"test $(id -u) -ne 0\"]\ntimeout = \"2s\"\n"
        )
    };
    let serve = "cd /etc; exec /usr/bin/python3 -m http.server -b 127.0.0.1 8099";
    let good = built(&world, "good", |infra| {
        infra.service("page", serve)?;
        infra.config(&config("hostname"))
    })?;
    ask(&world, 1, &good)?;
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    assert_settled_on(&world, &good)?;

    let bad = built(&world, "bad", |infra| infra.config(&config("missing")))?;
    ask(&world, 2, &bad)?;
    let reverted = end(&world, 2)?;
    assert_end(&reverted, "reverted/unhealthy retry=false");
    let message = reverted["message"].as_str().unwrap_or_default();
    assert!(message.contains("`http://127.0.0.1:8099/missing` answered 404"), "{message}");
    assert_settled_on(&world, &good)?;

    let hangs = built(&world, "hangs", |infra| {
        infra.config(&format!(
            "{}\n[health.checks.stuck]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \
             \"trap '' TERM; sleep 600 & sleep 600\"]\ntimeout = \"1s\"\n",
            config("hostname")
        ))
    })?;
    ask(&world, 3, &hangs)?;
    let reverted = end(&world, 3)?;
    assert_end(&reverted, "reverted/unhealthy retry=false");
    let message = reverted["message"].as_str().unwrap_or_default();
    assert!(message.contains("check `stuck`: took longer than 1 s"), "{message}");
    assert_settled_on(&world, &good)?;
    let left = world.host.run("pgrep -x sleep -a | grep 600")?;
    assert_eq!(left.stdout, "", "a check's processes are left");
    assert_ne!(good, old);
    Ok(())
}

#[test]
fn an_https_check_believes_what_the_host_believes() -> Result<()> {
    let world = World::boot_with("act-https", HostOptions::default(), |infra, host| {
        prepare(infra, host)?;
        // NixOS has the bundle in `/etc`, and nothing where OpenSSL looks for it by itself.
        Ok(std::fs::remove_dir_all(host.root.join("usr/lib/ssl"))?)
    })?;
    wait_until("the lifeline", SOON, || Ok(world.host.exists("/run/autodeploy/lifeline.json")))?;
    let forge = &world.forge;
    std::fs::write(forge.root.join("srv/www/health"), "all is well\n")?;
    forge.stranger_on(8443)?;
    let config = |port: &str| {
        format!(
            "{}\n[health.checks.page]\nkind = \"http\"\nurl = \"https://forge{port}/health\"\n\
             body_contains = \"all is well\"\ninterval = \"500ms\"\ntimeout = \"3s\"\n\
             [health.checks.openssl]\nkind = \"command\"\ntimeout = \"3s\"\ncommand = [\"/bin/sh\", \"-c\", \
             \"openssl s_client -connect forge:443 -verify_return_error < /dev/null\"]\n",
            forge.infra.default_config(URL, "8s", "2s")
        )
    };
    let good = built(&world, "trusted", |infra| infra.config(&config("")))?;
    ask(&world, 1, &good)?;
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    assert_settled_on(&world, &good)?;

    let bad = built(&world, "not trusted", |infra| infra.config(&config(":8443")))?;
    ask(&world, 2, &bad)?;
    let reverted = end(&world, 2)?;
    assert_end(&reverted, "reverted/unhealthy retry=false");
    let message = reverted["message"].as_str().unwrap_or_default();
    assert!(message.contains("certificate verify failed"), "{message}");
    assert_settled_on(&world, &good)
}

#[test]
fn a_switch_that_fails_is_reverted_and_a_held_lock_is_nobodys_fault() -> Result<()> {
    let world = machine("act-switch")?;
    let old = world.first_toplevel.clone();
    let fails = built(&world, "fails", |infra| {
        infra.set("activate-hook", "echo cannot chown >&2; exit 1\n")
    })?;
    ask(&world, 1, &fails)?;
    assert_end(&end(&world, 1)?, "reverted/activation-failed retry=false");
    assert_settled_on(&world, &old)?;

    // Exit 4 takes the place of 2 where a unit failed as well, though it comes up at its next try.
    let hides = built(&world, "hides it", |infra| {
        let line = "test -e /run/once || { touch /run/once; exit 1; }; exec sleep infinity";
        let service = format!("ExecStart=/bin/sh -c '{line}'\nRestart=on-failure\nRestartSec=4\n");
        infra.unit("second.service", &format!("[Service]\nType=exec\n{service}"))
    })?;
    ask(&world, 2, &hides)?;
    assert_end(&end(&world, 2)?, "reverted/activation-failed retry=false");
    assert_settled_on(&world, &old)?;
    let printed = world.host.sh("journalctl --no-pager -t nixos -u autodeploy-trial")?;
    assert!(printed.contains("ended with 4"), "{printed}");

    let good = built(&world, "good", |infra| {
        infra.unset("activate-hook");
        infra.etc("good", "yes\n")
    })?;
    world.host.sh(
        "systemd-run -q --unit=holder flock /run/nixos/switch-to-configuration.lock sleep 600",
    )?;
    wait_until("the lock", SOON, || {
        Ok(world.host.run("flock -n /run/nixos/switch-to-configuration.lock true")?.code() == 1)
    })?;
    ask(&world, 3, &good)?;
    assert_end(&end(&world, 3)?, "failed/lock-held retry=true");
    world.host.sh("systemctl stop holder")?;
    ask(&world, 4, &good)?;
    assert_end(&end(&world, 4)?, "kept/healthy retry=false");
    assert_settled_on(&world, &good)
}

#[test]
fn a_killed_trial_process_reverts_once_forgiven_then_refused() -> Result<()> {
    let world = machine("act-kill")?;
    let old = world.first_toplevel.clone();
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    for (number, expected) in [
        (1, "interrupted/activator-restarted retry=true"),
        (2, "interrupted/activator-restarted retry=false"),
    ] {
        ask(&world, number, &new)?;
        wait_phase(&world, number, "watching")?;
        // Also where a switch resets what failed in the moment in which it ends.
        assert_eq!(world.host.unit_property(TRIAL, "Restart")?, "always");
        world.host.sh(&format!("systemctl kill -s KILL {TRIAL}"))?;
        assert_end(&end(&world, number)?, expected);
        assert_settled_on(&world, &old)?;
    }
    ask(&world, 3, &new)?;
    assert_end(&end(&world, 3)?, "blocked/blocked retry=false");
    Ok(())
}

#[test]
fn a_trial_process_that_is_killed_with_its_switch_under_way_reverts() -> Result<()> {
    let world = machine("act-midway")?;
    let old = world.first_toplevel.clone();
    let hangs = built(&world, "hangs", |infra| infra.set("activate-hook", "sleep 600\n"))?;
    ask(&world, 1, &hangs)?;
    wait_until("the hook", SOON, || {
        Ok(world.host.run("pgrep -x sleep -a | grep 600")?.code() == 0)
    })?;
    world.host.sh(&format!("systemctl kill -s KILL --kill-whom=main {TRIAL}"))?;
    assert_end(&end(&world, 1)?, "interrupted/activator-restarted retry=true");
    assert_settled_on(&world, &old)?;
    assert_eq!(world.host.run("pgrep -x sleep -a | grep 600")?.stdout, "");
    Ok(())
}

#[test]
fn a_commit_that_masks_the_units_is_reverted_though_the_trial_process_is_killed() -> Result<()> {
    let world = machine("act-mask")?;
    let old = world.first_toplevel.clone();
    let masks = built(&world, "masks", |infra| {
        for unit in
            ["autodeploy-activate.service", "autodeploy-activate.path", "autodeploy.service"]
        {
            infra.mask(unit)?;
        }
        Ok(())
    })?;
    ask(&world, 1, &masks)?;
    wait_phase(&world, 1, "watching")?;
    world.host.sh(&format!("systemctl kill -s KILL {TRIAL}"))?;
    assert_end(&end(&world, 1)?, "interrupted/activator-restarted retry=true");
    assert_settled_on(&world, &old)?;
    wait_until("the path unit", SOON, || {
        Ok(world.host.unit_state("autodeploy-activate.path")? == "active")
    })
}

#[test]
fn a_power_cut_in_the_window_brings_the_old_system_and_is_tried_once_more() -> Result<()> {
    let mut world = machine("act-power")?;
    let old = world.first_toplevel.clone();
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    world.host.power_cut()?;
    world.host.boot()?;
    let cut = end(&world, 1)?;
    assert_end(&cut, "interrupted/power-cut retry=true");
    assert_settled_on(&world, &old)?;
    wait_until("the lifeline", SOON, || Ok(world.host.exists("/run/autodeploy/lifeline.json")))?;
    ask(&world, 2, &new)?;
    assert_end(&end(&world, 2)?, "kept/healthy retry=false");
    assert_settled_on(&world, &new)?;
    world.host.nix_store_verify()
}

#[test]
fn a_reboot_by_an_operator_in_the_window_counts_nothing() -> Result<()> {
    let mut world = machine("act-reboot")?;
    let old = world.first_toplevel.clone();
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    world.host.reboot()?;
    assert_end(&end(&world, 1)?, "interrupted/shutdown retry=true");
    assert_settled_on(&world, &old)
}

#[test]
fn somebody_elses_switch_in_the_window_is_not_fought() -> Result<()> {
    let world = machine("act-else")?;
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    let other = built(&world, "other", |infra| infra.etc("other", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    world.host.set_profile(&other)?;
    world.host.switch(&other, "switch")?;
    assert_end(&end(&world, 1)?, "interrupted/someone-else-switched retry=false");
    assert_settled_on(&world, &other)
}

#[test]
fn an_abort_reverts_and_a_second_request_changes_nothing() -> Result<()> {
    let world = machine("act-abort")?;
    let old = world.first_toplevel.clone();
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    let next = built(&world, "next", |infra| infra.etc("next", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    ask(&world, 2, &next)?;
    wait_until("the second request to be taken", SOON, || {
        Ok(!world.host.exists("/run/autodeploy/request.json"))
    })?;
    assert!(trial(&world, 1)?.is_some_and(|trial| trial["outcome"].is_null()));
    let answer = json!({"version": 1, "deployment": 1, "answer": "abort", "uid": 1000});
    world.host.write("/run/autodeploy/answer.json", &answer.to_string())?;
    assert_end(&end(&world, 1)?, "aborted/by-operator retry=false");
    assert_settled_on(&world, &old)
}

#[test]
fn a_trial_whose_unit_is_gone_goes_on_under_the_old_configuration() -> Result<()> {
    let world = World::boot_with("act-gone", HostOptions::default(), |infra, host| {
        prepare(infra, host)?;
        infra.set("activate-hook", "while [ -e /run/hold ]; do sleep 0.1; done\n")
    })?;
    let (host, old) = (&world.host, world.first_toplevel.clone());
    wait_until("the lifeline", SOON, || Ok(host.exists("/run/autodeploy/lifeline.json")))?;
    let before = host.sh("realpath /etc/autodeploy/config.toml")?;
    let new = built(&world, "another branch", |infra| {
        infra.config(&infra.default_config("http://forge/git/other.git", "8s", "2s"))
    })?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    assert_ne!(host.sh("realpath /etc/autodeploy/config.toml")?, before);
    host.write("/run/hold", "")?;
    // Gone for good: not even restarted.
    let drop_in = format!("/run/systemd/system/{TRIAL}.d");
    host.sh(&format!("mkdir -p {drop_in}; printf '[Service]\nRestart=no\n' > {drop_in}/no.conf"))?;
    host.sh(&format!("systemctl daemon-reload; systemctl kill -s KILL {TRIAL}"))?;
    wait_until("the unit to be gone", SOON, || Ok(host.unit_state(TRIAL)? == "inactive"))?;
    host.sh(&format!("rm -r {drop_in}; systemctl daemon-reload"))?;
    // What the agent does when the report stands still.
    host.sh("touch /run/autodeploy/announced")?;
    wait_phase(&world, 1, "reverting")?;
    let command = host.unit_property(TRIAL, "ExecStart")?;
    assert!(command.contains(&format!("--trial --config {before} ")), "{command}");
    host.sh("rm /run/hold")?;
    assert_end(&end(&world, 1)?, "interrupted/activator-restarted retry=true");
    assert_settled_on(&world, &old)
}

#[test]
fn a_report_that_cannot_be_written_stops_no_way_back() -> Result<()> {
    let world = machine("act-mute")?;
    let host = &world.host;
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    let drop_in = format!("/run/systemd/system/{TRIAL}.d");
    host.sh(&format!("mkdir -p {drop_in}; printf '[Service]\nRestart=no\n' > {drop_in}/no.conf"))?;
    host.sh(&format!("systemctl daemon-reload; systemctl kill -s KILL {TRIAL}"))?;
    wait_until("the unit to be gone", SOON, || Ok(host.unit_state(TRIAL)? == "inactive"))?;
    host.sh(&format!("rm -r {drop_in}; systemctl daemon-reload"))?;
    // Neither can a request be taken, nor a report be written.
    host.sh("rm -r /run/autodeploy-activate; touch /run/autodeploy-activate")?;
    host.sh("systemctl start autodeploy-activate")?;
    wait_until("the old system", SOON, || Ok(host.running_system()? == world.first_toplevel))?;
    // The trial stays until it could say how it ended: nobody would ever learn of it otherwise.
    wait_until("the word that it cannot be said", SOON, || {
        let told = "journalctl -q -o cat -t autodeploy-activate -g 'could not write how the trial'";
        Ok(!host.run(told)?.stdout.is_empty())
    })?;
    ensure!(host.profile()?.toplevel == world.first_toplevel);
    ensure!(host.boot_default()?.toplevel == world.first_toplevel);
    host.sh("rm /run/autodeploy-activate")?;
    assert_end(&end(&world, 1)?, "interrupted/activator-restarted retry=true");
    assert_settled_on(&world, &world.first_toplevel)
}

#[test]
fn a_trial_process_waits_for_whoever_holds_its_record() -> Result<()> {
    let world = machine("act-lock")?;
    let (host, old) = (&world.host, world.first_toplevel.clone());
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    let first = host.unit_property(TRIAL, "MainPID")?;
    assert_eq!(host.unit_property(TRIAL, "RestartSteps")?, "10");
    assert_eq!(host.unit_property(TRIAL, "RestartMaxDelayUSec")?, "30s");
    host.sh("systemd-run -q --unit=holder flock /var/lib/autodeploy-activate/lock sleep 601")?;
    host.sh(&format!("systemctl kill -s KILL {TRIAL}"))?;
    wait_until("the lock to be held", SOON, || {
        Ok(host.run("pgrep -x sleep -a | grep 601")?.code() == 0)
    })?;
    wait_until("another trial process", SOON, || {
        let now = host.unit_property(TRIAL, "MainPID")?;
        Ok(now != "0" && now != first && host.unit_state(TRIAL)? == "active")
    })?;
    // A request that comes meanwhile is refused, and the trial stays where it was.
    let refused = "journalctl -q -o cat AUTODEPLOY_EVENT=request-refused";
    ask(&world, 2, &new)?;
    wait_until("the refusal", SOON, || Ok(!host.sh(refused)?.is_empty()))?;
    assert!(trial(&world, 1)?.is_some_and(|trial| trial["phase"] == "watching"));
    host.sh("systemctl stop holder")?;
    assert_end(&end(&world, 1)?, "interrupted/activator-restarted retry=true");
    assert_settled_on(&world, &old)
}

#[test]
fn a_kept_rollback_refuses_what_it_left() -> Result<()> {
    let world = machine("act-back")?;
    let old = world.first_toplevel.clone();
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    ask_with(&world, 2, &old, json!({"kind": "rollback"}))?;
    assert_end(&end(&world, 2)?, "kept/healthy retry=false");
    assert_settled_on(&world, &old)?;
    let refused = report(&world)?["reverted"].clone();
    assert_eq!(refused[0]["toplevel"], new.as_str(), "{refused:#}");
    assert_eq!(refused[0]["reason"], "by-operator", "{refused:#}");
    ask(&world, 3, &new)?;
    assert_end(&end(&world, 3)?, "blocked/blocked retry=false");
    Ok(())
}

#[test]
fn a_request_that_comes_again_changes_nothing() -> Result<()> {
    let world = machine("act-again")?;
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    let repeated = |count: usize| {
        wait_until(&format!("repeat {count} to be told"), SOON, || {
            let event = "AUTODEPLOY_EVENT=request-repeated";
            let told = world.host.sh(&format!("journalctl -q -o cat {event}"))?;
            Ok(told.lines().count() == count)
        })
    };
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    ask(&world, 1, &new)?;
    repeated(1)?;
    let kept = end(&world, 1)?;
    assert_end(&kept, "kept/healthy retry=false");
    assert_settled_on(&world, &new)?;
    ask(&world, 1, &new)?;
    repeated(2)?;
    assert_eq!(end(&world, 1)?, kept);
    assert!(!world.host.exists("/run/autodeploy/request.json"));
    Ok(())
}

#[test]
fn what_is_no_request_is_taken_away_and_nothing_happens() -> Result<()> {
    let world = machine("act-junk")?;
    let old = world.first_toplevel.clone();
    for junk in ["ln -s /etc/shadow", "mkfifo", "mkdir -p", "truncate -s 1G", "echo nonsense >"] {
        world.host.sh(&format!("{junk} /run/autodeploy/request.json"))?;
        wait_until(&format!("`{junk}` to be taken"), SOON, || {
            Ok(world.host.run("ls /run/autodeploy/request.json")?.code() != 0)
        })?;
    }
    let gone = built(&world, "gone", |infra| {
        infra.unset("etc/autodeploy/config.toml");
        Ok(())
    })?;
    ask(&world, 2, &gone)?;
    assert_end(&end(&world, 2)?, "failed/no-configuration retry=false");
    ask_with(&world, 3, &gone, json!({"boot_id": "another"}))?;
    assert_end(&end(&world, 3)?, "failed/stale-request retry=true");
    assert_settled_on(&world, &old)
}

#[test]
fn a_damaged_record_is_set_aside_and_said() -> Result<()> {
    let world = machine("act-damaged")?;
    let record = "/var/lib/autodeploy-activate/trial.json";
    world.host.sh("mkdir -p /var/lib/autodeploy-activate")?;
    world.host.write(record, "{\"version\": 2}")?;
    world.host.sh("systemctl restart autodeploy-activate")?;
    wait_until("the warning", SOON, || {
        Ok(report(&world)?["warnings"].to_string().contains("of version 2"))
    })?;
    assert!(world.host.exists(&format!("{record}.damaged-1")));
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    assert_settled_on(&world, &new)
}

#[test]
fn a_loader_that_cannot_be_written_is_undone_and_reverted() -> Result<()> {
    let world = machine("act-boot")?;
    let old = world.first_toplevel.clone();
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    world.host.write("/boot/broken", "")?;
    assert_end(&end(&world, 1)?, "reverted/bootloader retry=true");
    world.host.sh("rm /boot/broken")?;
    assert_settled_on(&world, &old)
}

#[test]
fn the_trial_lives_in_no_namespace_of_its_own() -> Result<()> {
    let world = machine("act-ns")?;
    let new = built(&world, "new", |infra| infra.etc("new", "yes\n"))?;
    ask(&world, 1, &new)?;
    wait_phase(&world, 1, "watching")?;
    let pid = world.host.unit_property(TRIAL, "MainPID")?;
    let differs = world.host.sh(&format!(
        "for kind in mnt net pid ipc uts user; do \
         [ \"$(readlink /proc/1/ns/$kind)\" = \"$(readlink /proc/{pid}/ns/$kind)\" ] || echo $kind; done; \
         readlink /proc/{pid}/cwd"
    ))?;
    assert_eq!(differs, "/");
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    Ok(())
}
