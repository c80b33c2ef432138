//! The machine itself.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Action, Host, Look, PreSwitchChecks, Proving, Side, Switch};
use crate::activator::checks::configured::Configured;
use crate::activator::checks::lifeline;
use crate::activator::checks::units;
use crate::activator::checks::{Watching, watch};
use crate::activator::judgement::Before;
use crate::activator::record::{self, Baseline, Profile, Record, Trial};
use crate::activator::trial::boot::Unarmed;
use crate::activator::trial::seen::CheckSeen;
use crate::activator::trial::switched::SwitchEnd;
use crate::config::settings::{Paths, Settings};
use crate::effects::awake::Awake;
use crate::effects::boot_unit::BootUnit;
use crate::effects::journal::{self, About};
use crate::effects::notify::{self, AskedToEnd};
use crate::effects::process::Status;
use crate::effects::systemd::Systemd;
use crate::effects::{bootloader, clock, files, network, profile, switch};
use crate::handover::LARGEST_FILE_BYTES;
use crate::handover::answer::{self, Answer, Word};
use crate::handover::report::{self, CheckState, Evidence, Report};
use crate::handover::request::Request;
use crate::model::event::EventKind;
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;

mod baseline;
mod validity;
mod watched;

/// What runs.
pub const RUNNING: &str = "/run/current-system";
/// What was booted.
const BOOTED: &str = "/run/booted-system";
/// Where the roots of a trial are.
const ROOTS: &str = "/nix/var/nix/gcroots/autodeploy";
/// Their names.
const ROOT_NAMES: &[&str] = &["old", "new", "activator"];
/// The root of what the boot loader alone leads to.
const LOOSE: &str = "boot-default";
/// The longest that one wait goes without showing the watchdog that we live.
const BEAT: Duration = Duration::from_secs(1);
/// How long what asks Nix may take before the watchdog ends it: Nix waits for a garbage collection,
/// and each call has a limit of its own, which is shorter.
const NIX_LIMIT: Duration = Duration::from_secs(600);
/// How long the disks may take to write all that they have.
const SYNC_LIMIT: Duration = Duration::from_secs(600);
/// How long a boot may take before a switch goes ahead all the same.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// The machine, as one process of ours sees it.
pub struct Machine {
    settings: Settings,
    systemd: Systemd,
    asked_to_end: AskedToEnd,
    /// What need not be asked of Nix again.
    whole: Vec<StorePath>,
    watching: Option<Watching>,
    awake: Awake,
    wake: (Sender<()>, Receiver<()>),
    /// When the last switch began, and when it ended.
    switched: (Duration, Duration),
}

impl Machine {
    /// Makes a handle on this machine, under its running configuration.
    pub fn new(settings: Settings, asked_to_end: AskedToEnd, whole: Vec<StorePath>) -> Machine {
        let now = clock::monotonic();
        Machine {
            settings,
            systemd: Systemd::new(),
            asked_to_end,
            whole,
            watching: None,
            awake: Awake::default(),
            wake: channel(),
            switched: (now, now),
        }
    }

    fn paths(&self) -> &Paths {
        &self.settings.paths
    }

    /// Where boot loaders find profiles beside the system's; GRUB wants their names as `\w+`.
    fn entry_profile(&self) -> PathBuf {
        self.paths().system_profile.with_file_name("system-profiles").join("autodeploy")
    }

    /// What was said about this deployment; what a newer release may say means nothing.
    fn answer(&self, trial: &Trial) -> Option<Answer> {
        let path = self.paths().runtime_dir.join(answer::FILE);
        let bytes = files::read_limited(&path, LARGEST_FILE_BYTES).ok()??;
        let answer: Answer = serde_json::from_slice(&bytes).ok()?;
        (answer.deployment == trial.request.deployment).then_some(answer)
    }

    /// SIGTERM alone says nothing: only a machine on its way down ends a trial. Where nobody
    /// answers any more, it is on its way down.
    fn is_stopping(&mut self) -> bool {
        self.asked_to_end.came() && self.systemd.state().map_or(true, |state| state == "stopping")
    }
}

impl Host for Machine {
    fn monotonic(&self) -> Duration {
        clock::monotonic()
    }

    fn wall(&self) -> String {
        clock::now_text()
    }

    fn boot_id(&self) -> String {
        clock::boot_id().unwrap_or_default()
    }

    fn save(&mut self, record: &Record) -> Result<()> {
        save(&self.paths().activator_state_dir, record)
    }

    fn publish(&mut self, report: &Report) -> Result<()> {
        publish(&self.paths().report_dir, report)
    }

    fn tell(&mut self, kind: EventKind, about: About<'_>, message: &str) {
        journal::record(kind, about, message);
    }

    fn say(&mut self, status: &str) {
        notify::beat();
        notify::status(status);
    }

    fn look(&mut self, trial: &Trial) -> Look {
        notify::beat();
        let answer = self.answer(trial);
        let said = |word: Word| answer.as_ref().filter(|answer| answer.answer == word);
        Look {
            running: profile::store_path(Path::new(RUNNING)).ok(),
            profile: self.generation(),
            aborted_by: said(Word::Abort).map(|answer| answer.uid),
            superseded: said(Word::Supersede).is_some(),
            stopping: self.is_stopping(),
        }
    }

    fn generation(&mut self) -> Option<Generation> {
        profile::current(&self.paths().system_profile).ok()
    }

    fn boot_default(&mut self) -> Option<StorePath> {
        bootloader::default()
    }

    fn why_never_once(&mut self) -> Option<String> {
        bootloader::why_never_once()
    }

    fn prove(&mut self, request: &Request) -> Proving {
        notify::beating(NIX_LIMIT, || self.baseline(request))
    }

    fn lost(&mut self, baseline: &Baseline) -> Vec<String> {
        let mut lost = Vec::new();
        match self.systemd.units() {
            Ok(units) => lost.extend(
                units::bad(&units)
                    .into_iter()
                    .filter(|name| baseline.active_units.contains(name))
                    .map(|name| format!("unit `{name}` is failed")),
            ),
            Err(error) => lost.push(format!("systemd does not answer: {error:#}")),
        }
        if baseline.default_route && !network::has_default_route() {
            lost.push("there is no default route".to_owned());
        }
        if baseline.resolver && !network::has_resolver() {
            lost.push("there is no resolver".to_owned());
        }
        lost
    }

    fn root(&mut self, trial: &Trial) -> Result<()> {
        let roots = Path::new(ROOTS);
        let own = profile::own_closure();
        let systems = [("old", trial.old()), ("new", &trial.request.toplevel)];
        let named: Vec<_> =
            systems.into_iter().chain(own.iter().map(|it| ("activator", it))).collect();
        profile::root(roots, &named)
    }

    fn unroot(&mut self, loose: Option<&StorePath>) {
        unroot(loose);
    }

    fn await_boot(&mut self) {
        let until = clock::monotonic() + BOOT_LIMIT;
        let starting = |state: Result<String>| {
            state.is_ok_and(|state| state == "initializing" || state == "starting")
        };
        while starting(self.systemd.state()) && clock::monotonic() < until {
            self.wait(Duration::from_millis(500));
        }
    }

    fn switch(&mut self, switch: &Switch) -> SwitchEnd {
        let action = match switch.action {
            Action::Test => "test",
            Action::Boot => "boot",
        };
        self.awake.hold();
        let checked = switch.checks == PreSwitchChecks::Run;
        let began = clock::monotonic();
        let limits = (checked, switch.limit);
        let ended = switch::run(&switch.toplevel, action, limits, &mut notify::beat);
        if switch.action == Action::Test {
            self.switched = (began, clock::monotonic());
        }
        match ended {
            Ok(Status::Code(code)) => SwitchEnd::Code(code),
            Ok(Status::Signal(signal)) => SwitchEnd::Signal(signal),
            Ok(Status::TimedOut | Status::Stopped) => SwitchEnd::TimedOut { limit: switch.limit },
            Err(error) => SwitchEnd::NotStarted(format!("{error:#}")),
        }
    }

    fn make_entry(&mut self, toplevel: &StorePath) -> Result<()> {
        let (nix_bin, entry) = (&self.paths().nix_bin, self.entry_profile());
        notify::beating(NIX_LIMIT, || {
            // Always its first generation: the boot menu shows no older ones of it.
            profile::remove(&entry)?;
            profile::set(nix_bin, &entry, toplevel).map(drop)
        })
    }

    fn leave_word(&mut self, trial: &Trial) {
        let put = profile::own_program().and_then(|program| {
            // Its path in the store: after the boot, `/etc` is the new system's.
            let config = trial.config.clone().unwrap_or_else(|| crate::config::PATH.into());
            BootUnit::of_this_machine().put(&program, &config)
        });
        if let Err(error) = put {
            let message = format!("the boot trial leans on the new system's own units: {error:#}");
            journal::record(EventKind::ActivatorFailed, About::default(), &message);
        }
    }

    fn arm(&mut self, toplevel: &StorePath, default: &StorePath) -> Result<(), Unarmed> {
        match bootloader::why_never_once() {
            Some(why) => Err(Unarmed::Impossible(why)),
            None => bootloader::arm(toplevel, default)
                .map_err(|error| Unarmed::Failed(format!("{error:#}"))),
        }
    }

    fn disarm(&mut self, toplevel: &StorePath) -> Result<()> {
        bootloader::disarm(toplevel)?;
        BootUnit::of_this_machine().remove()?;
        profile::remove(&self.entry_profile())
    }

    fn restart_agent(&mut self) {
        // A generation without the agent is for the lifeline to notice.
        if let Err(error) = self.systemd.restart(lifeline::AGENT) {
            journal::record(EventKind::ActivatorFailed, About::default(), &format!("{error:#}"));
        }
    }

    fn set_profile(&mut self, path: &Path, toplevel: &StorePath) -> Result<u64> {
        let nix_bin = &self.paths().nix_bin;
        notify::beating(NIX_LIMIT, || profile::set(nix_bin, path, toplevel))
    }

    fn return_profile(&mut self, profile: &Profile) -> Result<()> {
        let nix_bin = &self.paths().nix_bin;
        notify::beating(NIX_LIMIT, || profile::lead_back(nix_bin, &profile.path, &profile.old))
    }

    fn sync(&mut self) -> Result<()> {
        notify::beating(SYNC_LIMIT, nix::unistd::sync);
        match self.paths().system_profile.parent() {
            Some(profiles) => files::sync(profiles),
            None => Ok(()),
        }
    }

    fn reboot(&mut self) -> Result<()> {
        self.systemd.reboot()
    }

    fn watch(&mut self, trial: &Trial, side: Side) {
        self.awake.hold();
        self.watching = None;
        self.watching = Some(watch(self.watched(trial, side), &self.wake.0));
    }

    fn unwatch(&mut self) {
        self.watching = None;
    }

    fn checks(&mut self) -> Vec<CheckSeen> {
        self.watching.as_ref().map(Watching::checks).unwrap_or_default()
    }

    fn evidence(&mut self, trial: &Trial) -> Vec<Evidence> {
        match &self.watching {
            // Collected when it turned red: nobody waits for it now.
            Some(watching) => watching.evidence(),
            None => self.after_a_failed_switch(trial),
        }
    }

    fn wait(&mut self, at_most: Duration) {
        let mut left = at_most;
        loop {
            notify::beat();
            let part = left.min(BEAT);
            match self.wake.1.recv_timeout(part) {
                Err(RecvTimeoutError::Timeout) if left > part => left -= part,
                _ => return,
            }
        }
    }
}

/// Writes the record.
///
/// # Errors
/// The old one is still there.
pub fn save(directory: &Path, record: &Record) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(record).context("could not write the record")?;
    files::make_directory(directory, 0o700)?;
    files::write_durably(&directory.join(record::FILE), &bytes, 0o600)
}

/// Writes the report.
///
/// # Errors
/// The old one is still there.
pub fn publish(directory: &Path, report: &Report) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(report).context("could not write the report")?;
    files::make_directory(directory, 0o755)?;
    files::write_durably(&directory.join(report::FILE), &bytes, 0o644)
}

/// Removes the roots of a trial, as [`Host::unroot`]; without a trial as well.
pub fn unroot(loose: Option<&StorePath>) {
    let roots = Path::new(ROOTS);
    match loose {
        // What cannot be rooted now has the roots of its trial for longer.
        Some(loose) if profile::root(roots, &[(LOOSE, loose)]).is_err() => return,
        Some(_) => {}
        None => profile::unroot(roots, &[LOOSE]),
    }
    profile::unroot(roots, ROOT_NAMES);
}

/// Collects the state of the checks before the switch.
fn before(shared: Vec<(String, crate::config::settings::Check)>, prober: &Path) -> Before {
    let rounds: Vec<_> = shared
        .into_iter()
        .map(|(name, check)| {
            let prober = prober.to_owned();
            std::thread::spawn(move || {
                let good = Configured::new(&name, &check, &prober).look_once().good;
                (name, if good { CheckState::Green } else { CheckState::Red })
            })
        })
        .collect();
    let checks = rounds.into_iter().filter_map(|round| round.join().ok()).collect();
    Before { checks, lifeline_was_green: false }
}
