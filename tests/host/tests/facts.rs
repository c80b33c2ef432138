//! Facts of systemd and Nix that the design leans on, each tried on a booted host.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_oneshot_unit_of_the_target_deadlocks_with_the_switch_that_it_runs() -> Result<()> {
    let world = World::boot_with("deadlock", HostOptions::default(), |infra, _| {
        for kind in ["oneshot", "exec"] {
            let text = format!(
                "[Unit]\nConditionPathExists=/root/switch-{kind}\n\n[Service]\nType={kind}\n\
                 ExecStart=/bin/sh -c 'exec /run/current-system/bin/switch-to-configuration test'\n"
            );
            infra.unit(&format!("switch-{kind}.service"), &text)?;
        }
        Ok(())
    })?;
    let host = &world.host;
    host.write("/root/switch-exec", "")?;
    host.sh("systemctl start switch-exec.service")?;
    wait_until("the switch in a unit of type exec to end", SOON, || {
        Ok(host.unit_property("switch-exec.service", "SubState")? == "dead")
    })?;
    assert_eq!(host.unit_property("switch-exec.service", "Result")?, "success");

    host.write("/root/switch-oneshot", "")?;
    host.sh("systemctl start --no-block switch-oneshot.service")?;
    let waits = "systemctl list-jobs --no-legend";
    wait_until("the target's job to wait for the unit that waits for it", SOON, || {
        let jobs = host.sh(waits)?;
        Ok(jobs.contains("multi-user.target") && jobs.contains("switch-oneshot.service"))
    })?;
    // A level that must not come: as long as nobody ends it, it stands.
    let ended = wait_until("an end that does not come", Duration::from_secs(5), || {
        Ok(host.sh(waits)?.is_empty())
    });
    assert!(ended.is_err(), "the deadlock resolved itself");
    assert_eq!(host.unit_state("switch-oneshot.service")?, "activating");
    Ok(())
}

#[test]
fn after_a_daemon_reload_only_a_transient_unit_is_restarted_as_it_was() -> Result<()> {
    let service = "[Unit]\nX-StopOnRemoval=false\n\n[Service]\nExecStart=/bin/sleep 100000\n\
                   Restart=on-failure\nRestartSec=100ms\n";
    let world = World::boot_with("restart", HostOptions::default(), |infra, _| {
        for name in ["removed", "masked", "stays"] {
            infra.unit(&format!("{name}.service"), service)?;
        }
        Ok(())
    })?;
    let host = &world.host;
    host.sh(
        "systemd-run --unit=transient -p Restart=on-failure -p RestartSec=100ms -- sleep 100000",
    )?;
    let commit = world.forge.push("removed and masked", |infra| {
        infra.remove_unit("removed.service")?;
        infra.mask("masked.service")
    })?;
    // Masking stops unless the old file says otherwise; all four still run after the switch.
    assert_eq!(host.switch(&world.build(&commit)?, "test")?.code(), 0);
    let units = ["removed.service", "masked.service", "stays.service", "transient.service"];
    let pids: Vec<String> =
        units.iter().map(|unit| host.unit_property(unit, "MainPID")).collect::<Result<_>>()?;
    assert!(pids.iter().all(|pid| pid != "0"), "{pids:?}");
    for pid in &pids {
        host.sh(&format!("kill -KILL {pid}"))?;
    }
    for (unit, pid) in units.iter().zip(&pids) {
        let comes_back = ["stays.service", "transient.service"].contains(unit);
        wait_until(&format!("{unit} to settle"), SOON, || {
            let now = host.unit_property(unit, "MainPID")?;
            Ok(if comes_back { now != "0" && now != *pid } else { now == "0" })
        })?;
        if !comes_back {
            assert_ne!(host.unit_property(unit, "SubState")?, "auto-restart", "{unit}");
            assert_eq!(host.unit_property(unit, "Restart")?, "no", "{unit}");
        }
    }
    Ok(())
}

#[test]
fn what_is_reset_while_it_ends_has_ended_well_and_only_always_restarts_it() -> Result<()> {
    let world = World::boot("reset-while-ending")?;
    let host = &world.host;
    // Somebody who does not end with the main process holds its unit up.
    let line = "(trap '' TERM; exec sleep 5) & exec sleep 100000";
    let restarts = [
        ("if-failed", "-p Restart=on-failure"),
        ("if-not-done", "-p Restart=always -p RestartPreventExitStatus=0"),
    ];
    let mut pids = Vec::new();
    for (unit, restart) in restarts {
        let run = format!("systemd-run --unit={unit} {restart} -p RestartSec=100ms");
        host.sh(&format!("{run} -- /bin/sh -c \"{line}\""))?;
        pids.push(host.unit_property(&format!("{unit}.service"), "MainPID")?);
    }
    host.sh(&format!("kill -KILL {}", pids.join(" ")))?;
    for (unit, _) in restarts {
        wait_until("the end to begin", SOON, || {
            Ok(host.unit_property(&format!("{unit}.service"), "SubState")? == "stop-sigterm")
        })?;
    }
    // As every switch does.
    host.sh("systemctl reset-failed")?;
    wait_until("a restart", SOON, || {
        let now = host.unit_property("if-not-done.service", "MainPID")?;
        Ok(now != "0" && now != pids[1])
    })?;
    wait_until("an end", SOON, || Ok(host.unit_state("if-failed.service")? == "inactive"))?;
    let comes_back = wait_until("a restart that does not come", Duration::from_secs(2), || {
        Ok(host.unit_property("if-failed.service", "MainPID")? != "0")
    });
    assert!(comes_back.is_err(), "it was restarted");
    Ok(())
}

#[test]
fn a_path_unit_dies_of_five_quick_starts_unless_the_limit_is_off() -> Result<()> {
    let service = |name: &str, limit: &str| {
        format!("[Unit]\n{limit}\n[Service]\nType=exec\nExecStart=/bin/rm -f /run/{name}-request\n")
    };
    let path = |name: &str, limit: &str| {
        format!("[Unit]\n{limit}\n[Path]\nPathExists=/run/{name}-request\n")
    };
    let world = World::boot_with("path-unit", HostOptions::default(), |infra, _| {
        for (name, limit) in [("limited", ""), ("unlimited", "StartLimitIntervalSec=0")] {
            infra.set(&format!("units/{name}.service"), &service(name, limit))?;
            infra.unit(&format!("{name}.path"), &path(name, limit))?;
        }
        Ok(())
    })?;
    let host = &world.host;
    let ask = |name: &str| -> Result<bool> {
        host.write(&format!("/run/{name}-request"), "")?;
        let taken = wait_until("the request to be taken", Duration::from_secs(2), || {
            Ok(!host.exists(&format!("/run/{name}-request")))
        });
        Ok(taken.is_ok())
    };
    let taken: Vec<bool> = (0..7).map(|_| ask("unlimited")).collect::<Result<_>>()?;
    assert_eq!(taken, [true; 7]);
    let taken: Vec<bool> = (0..7).map(|_| ask("limited")).collect::<Result<_>>()?;
    assert_eq!(taken, [true, true, true, true, true, false, false]);
    assert_eq!(host.unit_state("limited.path")?, "failed");
    assert_eq!(host.unit_state("unlimited.path")?, "active");
    Ok(())
}

#[test]
fn an_unprivileged_user_evaluates_and_builds_from_objects_without_a_work_tree() -> Result<()> {
    let world = World::boot("unprivileged")?;
    let commit = world.forge.push("web", |infra| infra.service("web", "exec sleep infinity"))?;
    let attribute = "nixosConfigurations.\"box\".config.system.build.toplevel";
    let script = format!(
        "set -e
         git init -q clone
         git -C clone fetch -q http://forge/git/infra.git main
         git -C clone update-ref refs/heads/main {commit}
         test -z \"$(ls clone)\"
         nix build --no-update-lock-file --out-link root --print-out-paths \
             'git+file://'$HOME'/clone?rev={commit}#{attribute}'"
    );
    let toplevel = world.host.run_as("autodeploy", &script)?.ok()?;
    assert_eq!(toplevel, world.build(&commit)?);
    assert_eq!(
        world.host.sh("nix-store --gc --print-roots | grep -c /var/lib/autodeploy/root")?,
        "1"
    );
    let denied = world.host.run_as(
        "bob",
        "nix-store --query --requisites /run/current-system; nix store info --store daemon",
    )?;
    assert_ne!(denied.code(), 0, "bob is not an allowed user");
    Ok(())
}
