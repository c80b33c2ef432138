//! `autodeploy-trial.service`: the transient unit that the trial runs in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use zbus::Variant;

use crate::activator::checks::lifeline::PATH_UNIT;
use crate::effects::profile;
use crate::effects::systemd::{Property, Systemd, exec, exit_codes, span, texts};

/// Its name.
const TRIAL: &str = "autodeploy-trial.service";

/// Tells whether the trial unit is there, also between two restarts of it.
pub fn is_on(systemd: &mut Systemd) -> bool {
    systemd
        .loaded(TRIAL)
        .is_ok_and(|unit| unit.is_some_and(|it| !matches!(&*it.active, "inactive" | "failed")))
}

/// Starts the unit that waits for requests again if it has failed; one that was stopped by a person,
/// or is gone, stays so.
///
/// systemd gives it up when it cannot watch its paths, which the agent can bring about by a link
/// that leads to itself; what lay there is taken away by now.
///
/// # Errors
/// It stays failed.
pub fn wait_for_requests_again(systemd: &mut Systemd) -> Result<()> {
    let failed = systemd.loaded(PATH_UNIT)?.is_some_and(|unit| unit.active == "failed");
    if failed { systemd.restart(PATH_UNIT) } else { Ok(()) }
}

/// Returns the path that a file has in the store; what leads nowhere stays as it is.
pub fn real_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Starts the trial process in its transient unit.
///
/// The configuration is named by the path that it has in the store: after the switch,
/// `/etc/autodeploy/config.toml` is the new generation's.
///
/// # Errors
/// It was not started.
pub fn start_trial(systemd: &mut Systemd, config: &Path) -> Result<()> {
    let program = profile::own_program()?;
    let config = real_path(config);
    let command: Vec<String> = [program, "--trial".into(), "--config".into(), config]
        .iter()
        .map(|part: &PathBuf| part.to_string_lossy().into_owned())
        .collect();
    let unit = trial_unit(&command);
    let with_pauses: Vec<_> = unit.iter().cloned().chain(growing_pauses()).collect();
    // Before systemd 254 there are no such properties, and a unit with them is refused.
    systemd.start_transient(TRIAL, &with_pauses).or_else(|_| systemd.start_transient(TRIAL, &unit))
}

/// A trial that was killed goes back at once; one that cannot even begin costs nothing.
fn growing_pauses() -> [Property; 2] {
    [("RestartSteps", Variant::new(10_u32)), ("RestartMaxDelayUSec", span(Duration::from_secs(30)))]
}

fn trial_unit(command: &[String]) -> Vec<Property> {
    let text = |text: &str| Variant::new(text.to_owned());
    vec![
        ("Description", text("A system on trial")),
        ("ExecStart", exec(command)),
        // READY comes at once; nothing may wait for the end of a trial.
        ("Type", text("notify")),
        ("NotifyAccess", text("main")),
        // Not `on-failure`: a switch resets what failed, and where that comes between the end of a
        // killed process and that of its unit, the unit has ended well, and nobody goes on.
        ("Restart", text("always")),
        ("RestartPreventExitStatus", exit_codes(&[0])),
        ("RestartUSec", span(Duration::from_millis(200))),
        ("StartLimitIntervalUSec", span(Duration::ZERO)),
        ("WatchdogUSec", span(Duration::from_secs(60))),
        ("RefuseManualStop", Variant::new(true)),
        // Without the default dependencies: they require `sysinit.target`, and whatever a switch
        // stops of that would stop the trial that has to revert it. A shutdown still ends it.
        ("DefaultDependencies", Variant::new(false)),
        ("Conflicts", texts(&["shutdown.target"])),
        ("Before", texts(&["shutdown.target"])),
        ("IgnoreOnIsolate", Variant::new(true)),
        // A shutdown asks the trial and not the switch that it runs: keeping may end well.
        ("KillMode", text("mixed")),
        ("TimeoutStopUSec", span(Duration::from_secs(60))),
        ("WorkingDirectory", text("/")),
        ("OOMScoreAdjust", Variant::new(-900_i32)),
        ("SyslogIdentifier", text("autodeploy-activate")),
        ("CollectMode", text("inactive-or-failed")),
    ]
}
