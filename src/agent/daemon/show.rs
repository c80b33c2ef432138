//! What the loop shows: status and deployments over the socket, and a line to systemd.

use crate::agent::daemon::Agent;
use crate::agent::daemon::orders::{Reply, internal, not_found};
use crate::agent::history::Known;
use crate::agent::host::{Host, Notice};
use crate::agent::policy::{Policy, looked_at};
use crate::agent::rollout::{Seen, Stage, seen};
use crate::agent::status;
use crate::config::settings::Settings;
use crate::control::ask::Told;
use crate::control::deployment::Details;
use crate::control::status::Status;

/// No list is longer.
const LONGEST_LIST: u32 = 1000;

impl<H: Host> Agent<H> {
    /// Publishes the status, if anything in it changed.
    pub(super) fn show(&mut self) {
        let seen = self.see();
        let status = self.status_of(&seen);
        let line = self.line(&status);
        if line != self.shown {
            self.host.notify(Notice::Status(line.clone()));
            self.shown = line;
        }
        self.status.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
    }

    pub(super) fn status_of(&self, seen: &Seen) -> Status {
        status::status(&status::Sight {
            settings: &self.settings,
            policy: &self.policy,
            seen,
            known: &self.known,
            last_success_at: self.last_good_s.map(seen::time_text),
            stale: &self.stale(seen),
            activator_unreachable: self.activator_unreachable(seen),
            refused_configuration: self.refused_configuration(),
            troubles: &self.sentences(),
        })
    }

    /// The request was written, reported as not taken, and is still not named.
    fn activator_unreachable(&self, seen: &Seen) -> bool {
        seen.live.first().is_some_and(|front| {
            self.unreachable_told == Some(front.id)
                && matches!(front.stage, Stage::Requested { .. })
                && seen.reported(front.id).is_none()
        })
    }

    pub(super) fn sentences(&self) -> Vec<String> {
        let troubles = self.troubles.iter().map(|(sentence, _)| sentence.clone());
        self.without_history.iter().cloned().chain(troubles).collect()
    }

    /// What `systemctl status` shows.
    fn line(&self, status: &Status) -> String {
        match (&status.deployment, status.phase.as_str()) {
            (Some(deployment), "idle") => {
                let outcome = deployment.outcome.as_deref().unwrap_or("in flight");
                format!("idle; deployment {}: {outcome}", deployment.id)
            }
            (None, "idle") => "idle; nothing was deployed yet".to_owned(),
            (Some(deployment), phase) => format!("deployment {}: {phase}", deployment.id),
            (None, phase) => phase.to_owned(),
        }
    }

    pub(super) fn list(&mut self, limit: u32) -> Reply {
        let rows = self.host.history().newest(limit.min(LONGEST_LIST)).map_err(internal)?;
        Ok(Told::Deployments(rows.iter().map(status::summary).collect()))
    }

    pub(super) fn show_one(&mut self, id: Option<i64>, seen: &Seen) -> Reply {
        let number = id.map(|id| u64::try_from(id).unwrap_or_default());
        let row = self.host.history().deployment(number).map_err(internal)?.ok_or_else(|| {
            let message = match id {
                Some(id) => format!("there is no deployment {id}"),
                None => "there is no deployment yet".to_owned(),
            };
            not_found(message, "`autodeployctl history` lists them")
        })?;
        let events = self.host.history().events(row.id).map_err(internal)?;
        let staying = self.staying().map_err(internal)?;
        let keep_for = self.settings.history.keep_failed_for;
        let stays_until = looked_at::until(&row, &staying, keep_for);
        let details = Details { stays_until, ..status::details(&row, events, seen) };
        Ok(Told::Deployment(Box::new(details)))
    }
}

/// What is said before the first look.
pub(super) fn nothing_yet(settings: &Settings) -> Status {
    let (seen, known) = (Seen::default(), Known::default());
    status::status(&status::Sight {
        settings,
        policy: &Policy::from(settings),
        seen: &seen,
        known: &known,
        last_success_at: None,
        stale: &[],
        activator_unreachable: false,
        refused_configuration: None,
        troubles: &[],
    })
}
