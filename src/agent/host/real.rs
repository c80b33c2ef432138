//! The real machine. Short things are done at once; what takes time runs on a blocking thread.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Mutex;

use crate::agent::handover::Handover;
use crate::agent::history::{History, Said};
use crate::agent::host::configuration::Configuration;
use crate::agent::host::work::Workshop;
use crate::agent::host::{Configured, Host, Later, NoAnswer, Notice, Probe, Probed};
use crate::agent::plan;
use crate::agent::rollout::{Done, Moment, Operation, World};
use crate::config::settings::Settings;
use crate::effects::halt::Halt;
use crate::effects::journal::{self, About};
use crate::effects::remote::{RefPoll, Remote};
use crate::effects::{clock, files, key_files, system};
use crate::handover::answer::Answer;
use crate::handover::lifeline::{Lifeline, NixReach};
use crate::handover::mark::Mark;
use crate::handover::request::Request;
use crate::model::commit::CommitId;
use crate::model::deployment::DeploymentId;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// What the agent does to the machine that it runs on.
pub struct RealHost {
    history: History,
    handover: Handover,
    workshop: Workshop,
    poll: Rc<Mutex<RefPoll>>,
    remote: Remote,
    halt: Halt,
    profile: PathBuf,
    boot_id: String,
    invocation_id: String,
    configuration: Configuration,
    keys: key_files::Watched,
}

impl RealHost {
    /// Puts everything together; touches nothing. `settings` are those of `configuration`.
    pub fn new(
        settings: &Settings,
        configuration: Configuration,
        history: History,
        boot_id: String,
    ) -> Result<RealHost> {
        let workshop = Workshop::new(std::env::current_exe()?, settings);
        Ok(RealHost {
            history,
            handover: Handover::new(&settings.paths),
            poll: Rc::new(Mutex::new(RefPoll::new(workshop.git()))),
            workshop,
            remote: Remote::from(&settings.source),
            halt: Halt::default(),
            profile: settings.paths.system_profile.clone(),
            boot_id,
            invocation_id: std::env::var("INVOCATION_ID").unwrap_or_default(),
            configuration,
            keys: key_files::Watched::new(settings.trust.clone()),
        })
    }

    /// Tells whether an agent ran before in this boot.
    pub fn ran_before(&self) -> bool {
        self.handover.ran_before(&self.boot_id)
    }
}

/// Runs something on a blocking thread.
async fn aside<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let lost = |_| Err(Failure::new(Reason::INTERNAL, "an operation did not come to its end"));
    tokio::task::spawn_blocking(job).await.unwrap_or_else(lost)
}

fn boot_parts(toplevel: &Path) -> plan::BootParts {
    let mut parts = system::parts(toplevel);
    let systemd = parts.links.remove("systemd").as_deref().and_then(plan::version_of);
    plan::BootParts {
        kernel: parts.links.remove("kernel"),
        initrd: parts.links.remove("initrd"),
        modules: parts.links.remove("kernel-modules"),
        parameters: parts.parameters,
        interface: parts.interface,
        systemd,
        inhibitors: parts.inhibitors,
    }
}

/// Where nobody says what was booted (a container), it is taken for what runs.
fn reboot_reasons(target: &StorePath) -> Vec<String> {
    let running = boot_parts(Path::new(system::RUNNING));
    let booted = match system::leads_to(Path::new(system::BOOTED)) {
        Some(booted) => boot_parts(booted.as_path()),
        None => running.clone(),
    };
    plan::reboot_reasons(&booted, &running, &boot_parts(target.as_path()))
}

impl Host for RealHost {
    fn now(&self) -> Moment {
        Moment { boottime_ms: clock::boottime_ms(), unix_s: clock::unix_s() }
    }

    fn chance(&mut self) -> f64 {
        system::chance()
    }

    fn look(&mut self, front: Option<&StorePath>) -> World {
        let (profile, profile_generation) = match system::profile(&self.profile) {
            Some((toplevel, number)) => (Some(toplevel), number),
            None => (None, None),
        };
        let (report, report_error) = match self.handover.report() {
            Ok(report) => (report, None),
            Err(sentence) => (None, Some(sentence)),
        };
        World {
            running: system::leads_to(Path::new(system::RUNNING)),
            profile,
            profile_generation,
            boot_id: self.boot_id.clone(),
            report,
            report_error,
            reboot_reasons: front.map(reboot_reasons).unwrap_or_default(),
            keys: self.keys.look(),
        }
    }

    fn generation(&mut self, number: u64) -> Option<StorePath> {
        system::generation(&self.profile, number)
    }

    fn poll(&mut self, limit: Duration) -> Later<Result<CommitId, NoAnswer>> {
        let (poll, remote) = (self.poll.clone(), self.remote.clone());
        Box::pin(async move {
            let answer = poll.lock().await.tip(&remote, limit).await;
            answer.map(|polled| polled.tip).map_err(|failure| NoAnswer {
                failure: failure.failure,
                retry_after: failure.retry_after,
            })
        })
    }

    fn work(&mut self, operation: &Operation) -> Later<Result<Done, Failure>> {
        self.halt = Halt::default();
        let workshop = self.workshop.under(&self.halt);
        let operation = operation.clone();
        Box::pin(aside(move || workshop.carry_out(&operation)))
    }

    fn halt_work(&mut self) {
        self.halt.halt();
    }

    fn probe(&mut self, probe: &Probe) -> Later<Probed> {
        let (workshop, probe) = (self.workshop.clone(), probe.clone());
        match probe {
            Probe::Nix => Box::pin(async move {
                let reach = aside(move || Ok(workshop.reach())).await;
                Probed::Nix(reach.unwrap_or_else(|failure| not_reached(&failure)))
            }),
            Probe::Contains { tip, of } => Box::pin(async move {
                let (asked_tip, asked_of) = (tip.clone(), of.clone());
                let contains = aside(move || workshop.contains(&asked_tip, &asked_of)).await;
                Probed::Contains { tip, of, contains }
            }),
        }
    }

    fn announce(&mut self) {
        if let Err(error) = self.handover.announce() {
            tracing::debug!("{error:#}");
        }
    }

    fn request(&mut self, request: &Request) -> Result<()> {
        self.handover.request(request)
    }

    fn answer(&mut self, answer: &Answer) -> Result<()> {
        self.handover.answer(answer)
    }

    fn mark(&mut self, mark: &Mark) -> Result<()> {
        self.handover.mark(mark)
    }

    fn lifeline(&mut self, lifeline: &Lifeline) -> Result<()> {
        self.handover.lifeline(lifeline)
    }

    fn configuration(&mut self) -> Configured {
        self.configuration.look()
    }

    fn keep_roots(&mut self, keep: &BTreeSet<DeploymentId>) {
        for (id, root) in system::numbered(self.workshop.roots()) {
            if !keep.contains(&DeploymentId(id))
                && let Err(error) = files::remove(&root)
            {
                tracing::warn!("{error:#}");
            }
        }
    }

    fn tell(&mut self, said: &Said) {
        let about = About {
            deployment: said.deployment,
            commit: said.commit.as_ref(),
            closure: said.closure.as_ref(),
            outcome: said.outcome,
            reason: said.reason.as_ref(),
        };
        journal::record(said.kind, about, &said.message);
    }

    fn notify(&mut self, notice: Notice) {
        use sd_notify::NotifyState;
        // Without systemd there is nobody to tell, and that is no fault.
        let _ = match &notice {
            Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
            // A line end would begin the next message.
            Notice::Status(line) => sd_notify::notify(&[NotifyState::Status(&escaped(line, 500))]),
            Notice::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        };
    }

    fn history(&mut self) -> &mut History {
        &mut self.history
    }

    fn invocation_id(&self) -> String {
        self.invocation_id.clone()
    }
}

fn not_reached(failure: &Failure) -> NixReach {
    NixReach {
        at_boottime_ms: clock::boottime_ms(),
        root_made: false,
        evaluator_started: None,
        error: Some(failure.message.clone()),
    }
}
