//! What the profile leads to, and what the boot loader starts.

use anyhow::{Result, bail};

use super::Stage;
use crate::activator::host::{Action, Host};
use crate::activator::trial::phase::Way;
use crate::activator::trial::seen::System;
use crate::activator::trial::switched::{LOCK_HELD, SwitchEnd};
use crate::handover::report::went_through;
use crate::model::deployment::Outcome;
use crate::model::event::EventKind;
use crate::model::store_path::StorePath;

impl<H: Host> Stage<'_, H> {
    /// Makes the new system the default, and returns its generation.
    pub(super) fn keep(&mut self) -> Result<u64> {
        let profile = self.profile()?;
        let new = self.trial.request.toplevel.clone();
        let generation = self.host.set_profile(&profile.path, &new)?;
        if self.trial.way == Way::Boot {
            // Its own generation is its entry from here on.
            self.host.disarm(&new)?;
        }
        self.make_default(&new)?;
        self.host.sync()?;
        // The boot default has to be a generation, or a garbage collection could take it.
        match self.host.look(&self.trial).profile {
            Some(now) if now.toplevel != new => {
                bail!("somebody set the profile to `{}` meanwhile", now.toplevel)
            }
            // A profile that cannot be read is believed.
            Some(_) | None => Ok(generation),
        }
    }

    /// Makes the old system the default again.
    pub(super) fn unkeep(&mut self) -> Result<()> {
        let profile = self.profile()?;
        self.host.return_profile(&profile)?;
        self.make_default(&profile.old.toplevel)?;
        self.host.sync()
    }

    /// Writes the boot loader's default, and reads it back.
    pub(super) fn make_default(&mut self, toplevel: &StorePath) -> Result<()> {
        let end = self.switch_patiently(toplevel.clone(), Action::Boot);
        self.is_default(toplevel, &end)
    }

    fn is_default(&mut self, toplevel: &StorePath, end: &SwitchEnd) -> Result<()> {
        if *end != SwitchEnd::Code(0) {
            bail!("`{toplevel}/bin/switch-to-configuration boot`: {}", end.words());
        }
        match self.host.boot_default() {
            Some(default) if default != *toplevel => {
                bail!("the boot loader still starts `{default}`")
            }
            // A loader that cannot be read is believed.
            Some(_) | None => Ok(()),
        }
    }

    /// Makes the old system the default once more, where the profile still leads to the new one and
    /// it could not be undone before.
    pub(super) fn undo_in_passing(&mut self, outcome: Outcome) {
        let look = self.host.look(&self.trial);
        let new = &self.trial.request.toplevel;
        let ours = look.profile.as_ref().is_some_and(|profile| profile.toplevel == *new);
        let undone = went_through(&self.trial.steps, "unkeeping");
        let stays = matches!(outcome, Outcome::Kept | Outcome::Staged) || look.stopping;
        if stays || !ours || !undone || self.system(&look) != System::Old {
            return;
        }
        if let Err(error) = self.unkeep() {
            let message = format!("the profile still leads to what was not kept: {error:#}");
            self.tell(EventKind::ActivatorFailed, &message);
        }
    }

    /// Leads the loader back to what runs, where the profile leads there as well: a trial before
    /// could not, or somebody moved the profile alone. What was prepared for the next boot has the
    /// profile, and is left alone. Where it cannot be done that is told, and nothing waits for it:
    /// what the loader starts was its default before.
    pub(super) fn default_in_passing(&mut self) {
        if let Err(error) = self.default_is_what_runs() {
            let message = format!("the next boot starts something else than what runs: {error:#}");
            self.tell(EventKind::ActivatorFailed, &message);
        }
    }

    fn default_is_what_runs(&mut self) -> Result<()> {
        let look = self.host.look(&self.trial);
        let agreed = look.profile.map(|profile| profile.toplevel).filter(|profile| {
            let runs = look.running.as_ref() == Some(profile);
            runs && !look.stopping
        });
        match (agreed, self.host.boot_default()) {
            (Some(agreed), Some(default)) if default != agreed => {
                match self.switch_once(agreed.clone(), Action::Boot) {
                    // Somebody switches just now: what they leave is theirs, and nobody waits here.
                    LOCK_HELD => Ok(()),
                    end => self.is_default(&agreed, &end).and_then(|()| self.host.sync()),
                }
            }
            _ => Ok(()),
        }
    }
}
