//! The baseline: the machine before the switch, and the proof that there is a way back.

use std::path::Path;
use std::time::Duration;

use super::{BOOTED, Machine, RUNNING, before};
use crate::activator::checks::lifeline::{self, Wanted};
use crate::activator::checks::units;
use crate::activator::host::{Host, Proving};
use crate::activator::judgement::{Remote, freeze, shared};
use crate::activator::record::{Baseline, Boot, Profile, Proof, Trial};
use crate::activator::trial::boot;
use crate::config::settings::{Settings, UnprovedBoot};
use crate::effects::{boot_room, bootloader, closure, evidence, network, profile};
use crate::handover::report::Evidence;
use crate::handover::request::Request;
use crate::model::deployment::Kind;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;

/// How many units are described when a switch failed: the journal is read for each, and the revert
/// waits.
const DESCRIBED: usize = 3;

/// Why nothing can be tried, and whether it may be tried again.
type Refused = (Failure, bool);

impl Machine {
    pub(super) fn baseline(&mut self, request: &Request) -> Proving {
        match self.try_baseline(request) {
            Ok(proof) => Proving::Proved(Box::new(proof)),
            Err((failure, retry)) => Proving::Refused { failure, retry },
        }
    }

    fn try_baseline(&mut self, request: &Request) -> Result<Proof, Refused> {
        let (running, profile) = self.way_back().map_err(|failure| (failure, false))?;
        // Nix takes its time; meanwhile the rest is looked at.
        let validity = self.validity(&running, &profile, &request.toplevel);
        let boot =
            self.boot(&running, &profile, &request.toplevel).map_err(|failure| (failure, false))?;
        has_boot_room(&request.toplevel).map_err(|failure| (failure, true))?;
        let new = self.new_settings(request).map_err(|failure| (failure, false))?;
        let lifeline_was_green =
            self.lifeline_before(request).map_err(|failure| (failure, true))?;
        let prober = profile::own_program().unwrap_or_default();
        let before = crate::activator::judgement::Before {
            lifeline_was_green,
            ..before(shared(&self.settings, &new), &prober)
        };
        let units = self.systemd.units().map_err(|error| {
            let message = format!("could not list the units: {error:#}");
            (
                Failure::new(Reason::INTERNAL, message).hint("does `systemctl list-units` answer?"),
                true,
            )
        })?;
        let active = units.iter().filter(|unit| unit.active == "active");
        validity.join().unwrap_or_else(|_| Err((crashed(), true)))?;
        Ok(Proof {
            baseline: Baseline {
                failed_units: units::bad(&units),
                active_units: active.map(|unit| unit.name.clone()).collect(),
                default_route: network::has_default_route(),
                resolver: network::has_resolver(),
                running,
            },
            judgement: freeze(request, &self.settings, &new, &before),
            profiles: vec![profile],
            boot,
        })
    }

    /// Why it has to be booted and whether that can be tried; `None` where a switch does.
    fn boot(
        &self,
        running: &StorePath,
        profile: &Profile,
        new: &StorePath,
    ) -> Result<Option<Boot>, Failure> {
        let reasons = boot_reasons(running, new);
        // What runs and is the default needs no trial; somebody switched to it by hand.
        if reasons.is_empty() || (running == new && profile.old.toplevel == *new) {
            return Ok(None);
        }
        match (bootloader::why_never_once(), self.settings.activation.unproved_boot) {
            (None, _) => Ok(Some(Boot { reasons, provable: true })),
            (Some(_), UnprovedBoot::Allow) => Ok(Some(Boot { reasons, provable: false })),
            (Some(why), UnprovedBoot::Refuse) => {
                Err(boot::unarmable(&format!("{} differs; {why}", reasons.join(", "))))
            }
        }
    }

    /// What runs, and the profile: both have to be able to come back.
    fn way_back(&self) -> Result<(StorePath, Profile), Failure> {
        let lost = |what: String| {
            Failure::new(Reason::NO_WAY_BACK, format!("there would be no way back: {what}")).hint(
                "`nixos-rebuild switch` by hand makes the running system and its profile whole",
            )
        };
        let running =
            profile::store_path(Path::new(RUNNING)).map_err(|error| lost(format!("{error:#}")))?;
        let path = self.paths().system_profile.clone();
        let old = profile::current(&path).map_err(|error| lost(format!("{error:#}")))?;
        // What runs is what a revert brings back, and the default where the new one runs already.
        for one in [&running, &old.toplevel] {
            let program = one.join("bin/switch-to-configuration");
            if !closure::is_executable(&program) {
                return Err(lost(format!("`{}` cannot be run", program.display())));
            }
        }
        Ok((running, Profile::system(path, old)))
    }

    fn new_settings(&self, request: &Request) -> Result<Settings, Failure> {
        let text = closure::configuration(&request.toplevel)?;
        let (settings, _) = crate::config::lenient(&text, &self.settings.host)
            .map_err(|failure| failure.or_hint(closure::how_to_check(&request.toplevel)))?;
        Ok(settings)
    }

    /// Whether the running agent has its lifeline. A remote that does not answer right now would
    /// make any verdict worthless: nothing is begun.
    fn lifeline_before(&mut self, request: &Request) -> Result<bool, Failure> {
        let lifeline = lifeline::read(&self.settings.paths.runtime_dir);
        let asked = request.kind == Kind::Follow;
        let error = lifeline.as_ref().and_then(|it| it.poll.as_ref()?.error.clone());
        if let (true, Some(error)) = (asked, error) {
            let error = crate::model::text::escaped(&error, 300);
            let message = format!("the remote is not in reach, so nothing was begun: {error}");
            return Err(Failure::new(Reason::UNREACHABLE, message)
                .hint("it is tried again by itself; `autodeployctl status` shows the remote"));
        }
        let wanted = Wanted {
            remote: Remote {
                url: self.settings.source.url.clone(),
                branch: self.settings.source.branch.clone(),
                unchanged: true,
                asked,
            },
            commit: None,
            boot_id: self.boot_id(),
            after: Duration::ZERO,
        };
        Ok(lifeline::was_good(&wanted, lifeline.as_ref()))
    }

    /// A failed switch has had no window: the units that are failed now, and were not before.
    pub(super) fn after_a_failed_switch(&mut self, trial: &Trial) -> Vec<Evidence> {
        let before = trial.proof.as_ref().map(|proof| proof.baseline.failed_units.clone());
        let before = before.unwrap_or_default();
        let bad = self.systemd.units().map(|units| units::bad(&units)).unwrap_or_default();
        bad.iter()
            .filter(|name| !before.contains(name) && !units::is_ours(name))
            .take(DESCRIBED)
            .map(|name| evidence::of_unit(&mut self.systemd, name))
            .collect()
    }
}

fn crashed() -> Failure {
    Failure::new(Reason::INTERNAL, "the look at the Nix store ended in the middle")
}

/// Refuses what could not be made the default: the room is looked for before anything changes.
fn has_boot_room(new: &StorePath) -> Result<(), Failure> {
    let Some(room) = boot_room::look(new.as_path()).filter(|room| room.needs > room.left) else {
        return Ok(());
    };
    let message = format!(
        "no room for `{}` in `{}`: {} KiB are needed for what is not there yet, and {} KiB are left",
        new.name(),
        room.place.display(),
        room.needs.div_ceil(1024),
        room.left / 1024
    );
    Err(Failure::new(Reason::NO_SPACE, message).hint(
        "`nix-collect-garbage -d`, then `/run/current-system/bin/switch-to-configuration boot`, \
         takes the kernels of old generations away",
    ))
}

/// Why a system has to be booted; empty where a switch does.
fn boot_reasons(running: &StorePath, new: &StorePath) -> Vec<String> {
    let booted = closure::boot_facts(Path::new(BOOTED));
    let running = closure::boot_facts(running.as_path());
    closure::needs_boot(&booted, &running, &closure::boot_facts(new.as_path()))
}
