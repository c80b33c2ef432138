//! The units in `systemd/`: what the design demands of them, and what systemd says to them.

use std::process::Command;

use crate::text;
use crate::unit_file::UnitFile;

const UNITS: [&str; 3] =
    ["autodeploy.service", "autodeploy-activate.service", "autodeploy-activate.path"];

/// What orders units, or lets one take another along.
const TIES: [&str; 9] = [
    "After",
    "Before",
    "Requires",
    "Requisite",
    "BindsTo",
    "PartOf",
    "Wants",
    "Conflicts",
    "RequiresMountsFor",
];

/// What gives a service a mount namespace of its own (systemd.exec(5)).
const NAMESPACES: [&str; 18] = [
    "BindPaths",
    "BindReadOnlyPaths",
    "DynamicUser",
    "InaccessiblePaths",
    "MountFlags",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateMounts",
    "PrivateTmp",
    "PrivateUsers",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelLogs",
    "ProtectKernelTunables",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "TemporaryFileSystem",
];

fn unit(name: &str) -> UnitFile {
    UnitFile::parse(&text(&format!("systemd/{name}")))
}

#[test]
fn no_unit_is_ordered_or_tied_to_another() {
    for name in UNITS {
        for tie in TIES {
            assert_eq!(unit(name).all(&format!("Unit.{tie}")), [""; 0], "{name}: {tie}");
        }
        assert_eq!(unit(name).one("Unit.StartLimitIntervalSec"), "0", "{name}");
        assert_eq!(unit(name).one("Install.WantedBy"), "multi-user.target", "{name}");
    }
}

#[test]
fn the_agent_is_ready_soon_stops_soon_and_comes_back() {
    let agent = unit("autodeploy.service");
    assert_eq!(agent.one("Service.Type"), "notify");
    assert_eq!(agent.one("Service.ExecStart"), "/usr/bin/autodeployd");
    assert_eq!(
        (agent.one("Service.User"), agent.one("Service.Group")),
        ("autodeploy", "autodeploy")
    );
    assert_eq!(agent.one("Service.Restart"), "always");
    assert_eq!(agent.one("Service.RestartPreventExitStatus"), "78");
    assert_eq!(agent.one("Service.TimeoutStopSec"), "5s");
    assert_eq!(agent.one("Service.StateDirectory"), "autodeploy");
    assert_eq!(agent.one("Service.RuntimeDirectory"), "autodeploy");
    assert_eq!(agent.one("Service.RuntimeDirectoryPreserve"), "yes");
    assert_eq!(agent.one("Service.WatchdogSec"), "60s");
    assert_eq!(agent.one("Service.X-RestartIfChanged"), "false");
}

#[test]
fn the_agent_sees_whose_socket_it_is_and_which_boot() {
    let agent = unit("autodeploy.service");
    assert_eq!(agent.all("Service.PrivateUsers"), [""; 0]);
    assert_eq!(agent.all("Service.ProcSubset"), [""; 0]);
    assert_eq!(agent.one("Service.CapabilityBoundingSet"), "");
    assert_eq!(agent.one("Service.NoNewPrivileges"), "yes");
}

#[test]
fn a_switch_never_waits_for_the_activator_and_sees_all_of_the_machine() {
    let activator = unit("autodeploy-activate.service");
    assert_eq!(activator.one("Service.Type"), "exec");
    assert_eq!(activator.one("Service.ExecStart"), "/usr/bin/autodeploy-activate");
    assert_eq!(activator.one("Service.Restart"), "on-failure");
    assert_eq!(activator.one("Unit.X-StopOnRemoval"), "false");
    assert_eq!(activator.one("Service.X-RestartIfChanged"), "false");
    let directories = ["StateDirectory", "RuntimeDirectory", "CacheDirectory", "LogsDirectory"];
    for setting in NAMESPACES.into_iter().chain(directories).chain(["User", "KillMode"]) {
        assert_eq!(activator.all(&format!("Service.{setting}")), [""; 0], "{setting}");
    }
}

#[test]
fn the_path_unit_never_tires() {
    let path = unit("autodeploy-activate.path");
    let watched = ["/run/autodeploy/request.json", "/run/autodeploy/announced"];
    assert_eq!(path.all("Path.PathExists"), watched);
    assert_eq!(path.one("Path.Unit"), "autodeploy-activate.service");
    assert_eq!(path.one("Path.TriggerLimitIntervalSec"), "0");
    assert_eq!(path.one("Unit.OnFailure"), "autodeploy-activate.service");
}

/// Runs `systemd-analyze` over copies of the units whose programs exist.
#[track_caller]
fn analyze(arguments: &[&str], names: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    for name in UNITS {
        let programs = ["/usr/bin/autodeployd", "/usr/bin/autodeploy-activate"];
        let text = programs.iter().fold(text(&format!("systemd/{name}")), |text, program| {
            text.replace(&format!("={program}\n"), "=/bin/true\n")
        });
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let ended = Command::new("systemd-analyze")
        .args(arguments)
        .args(names.iter().map(|name| directory.path().join(name)))
        .env("LC_ALL", "C")
        .output()
        .expect("systemd-analyze is missing: apt-get install systemd");
    let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ended.status.success(), "{}{}", said[0], said[1]);
    said.concat()
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let said = analyze(&["verify", "--man=no", "--recursive-errors=no"], &UNITS);
    // The machine that tests has units of its own to complain about.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("autodeploy")).collect();
    assert_eq!(ours, [""; 0]);
}

#[test]
fn the_agents_exposure_is_at_most_one_and_a_half() {
    let arguments = ["security", "--offline=true", "--threshold=15", "--no-pager"];
    let said = analyze(&arguments, &["autodeploy.service"]);
    assert!(said.contains("Overall exposure level for autodeploy.service"), "{said}");
}
