//! Carries an interruption out, from outside: processes are found in their control groups, and
//! killed with SIGKILL by their ids.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plan::Interruption;
use crate::cgroup;
use crate::host::Host;

const AGENT: &str = "autodeploy.service";
const ACTIVATOR: &str = "autodeploy-activate.service";
const TRIAL: &str = "autodeploy-trial.service";

/// How long what is to be killed is waited for.
const PATIENCE: Duration = Duration::from_secs(12);

/// Whom an interruption wants to be there.
enum Prey {
    /// Every process of these units.
    Units(&'static [&'static str]),
    /// The trial's own process; what it started is left to systemd.
    TrialItself,
    /// `switch-to-configuration` and all that it started.
    Switch,
}

/// Waits until there is something to kill, and kills it; gives the moment, if there was something.
///
/// # Errors
/// The machine has no power.
pub fn kill_processes(host: &Host, interruption: Interruption) -> Result<Option<Instant>> {
    let Some(prey) = prey(interruption) else { return Ok(None) };
    let units = host.control_groups()?.join("system.slice");
    let until = Instant::now() + PATIENCE;
    loop {
        let now = Instant::now();
        let hit = prey.processes(&units).iter().filter(|pid| end(**pid)).count();
        if hit > 0 || now >= until {
            return Ok((hit > 0).then_some(now));
        }
        thread::sleep(Duration::from_micros(500));
    }
}

fn prey(interruption: Interruption) -> Option<Prey> {
    match interruption {
        Interruption::KillTrial => Some(Prey::TrialItself),
        Interruption::KillAgent => Some(Prey::Units(&[AGENT])),
        Interruption::KillActivator => Some(Prey::Units(&[ACTIVATOR])),
        Interruption::KillAll => Some(Prey::Units(&[TRIAL, ACTIVATOR, AGENT])),
        Interruption::KillSwitch => Some(Prey::Switch),
        Interruption::PowerCut
        | Interruption::Reboot
        | Interruption::RestartAgent
        | Interruption::TerminateTrial => None,
    }
}

/// Asks for what is no force; tells whether somebody was there to be asked.
///
/// # Errors
/// The machine has no power.
pub fn ask(host: &Host, interruption: Interruption) -> Result<bool> {
    let line = match interruption {
        Interruption::RestartAgent => format!("systemctl restart {AGENT}"),
        Interruption::TerminateTrial => {
            format!("systemctl kill --kill-whom=main --signal=TERM {TRIAL}")
        }
        _ => return Ok(false),
    };
    Ok(host.run(&line)?.status.success())
}

impl Prey {
    fn processes(&self, units: &Path) -> Vec<i32> {
        let trial = units.join(TRIAL);
        match self {
            Prey::Units(names) => {
                names.iter().flat_map(|name| cgroup::processes(&units.join(name))).collect()
            }
            Prey::TrialItself => {
                let all = cgroup::processes(&trial);
                let of_ours = |pid: &i32| parent(*pid).is_some_and(|it| all.contains(&it));
                all.iter().copied().filter(|pid| !of_ours(pid)).collect()
            }
            Prey::Switch => {
                let all = cgroup::processes(&trial);
                let is_switch = |pid: i32| {
                    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    String::from_utf8_lossy(&line).contains("/bin/switch-to-configuration")
                };
                all.iter().copied().filter(|pid| descends(*pid, &is_switch)).collect()
            }
        }
    }
}

/// Whether a process or one that it descends from is such a one.
fn descends(pid: i32, is_one: &dyn Fn(i32) -> bool) -> bool {
    is_one(pid) || parent(pid).is_some_and(|parent| parent > 1 && descends(parent, is_one))
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Kills a process that lives; one that has ended and waits to be looked at is no prey.
fn end(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let lives = stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z"));
    !stat.is_empty() && lives && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}
