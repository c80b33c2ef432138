//! Carrying out one step: first on disk, then in the world.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::agent::daemon::{Agent, Work};
use crate::agent::history::{Entry, Fact};
use crate::agent::host::Host;
use crate::agent::policy::looked_at;
use crate::agent::rollout::{Birth, Deployment, End, Operation, Seen, Stage, Step, record};
use crate::handover;
use crate::handover::answer::{Answer, Word};
use crate::handover::request::Request;
use crate::model::deployment::{DeploymentId, Kind};
use crate::model::store_path::StorePath;

/// How often it is looked whether the time of a closure that was not kept is over.
const TIDY_ROOTS_AFTER_MS: u64 = 10 * 60 * 1000;

impl<H: Host> Agent<H> {
    /// Carries out a step; false if there was nothing to do, or it could not be written.
    pub(super) fn carry_out(&mut self, step: Step, seen: &Seen) -> bool {
        match step {
            Step::Begin(birth) => self.begin(birth, seen).is_some(),
            Step::Advance(id, Stage::Verifying { lineage }) => {
                self.lineage = Some((id, lineage));
                true
            }
            Step::Advance(id, stage) => self.came(id, stage, seen),
            Step::Work(id, operation) => self.start_work(id, operation),
            Step::Request(id) => self.request(id, seen),
            Step::Supersede(id) => self.supersede(id),
            Step::End(id, end) => self.finish(id, end, seen),
            Step::Rest => false,
        }
    }

    pub(super) fn begin(&mut self, birth: Birth, seen: &Seen) -> Option<DeploymentId> {
        let id = DeploymentId(self.known.next);
        // What a restore brings back is named by no commit.
        let restores = birth.kind == Kind::Follow && birth.commit.is_none();
        let deployment = record::born(birth, id, &seen.now.text());
        let mut entries = vec![Entry::Born(deployment)];
        if restores {
            let answered = seen.world.running.as_ref().map(|running| running.to_string());
            entries.push(Entry::Fact(Fact::DriftAnswered, answered));
        }
        self.write(entries).then_some(id)
    }

    fn came(&mut self, id: DeploymentId, stage: Stage, seen: &Seen) -> bool {
        let live = seen.live.iter().find(|deployment| deployment.id == id).cloned();
        let (Some(live), Some(row)) = (live, self.row(id)) else { return false };
        let deployment = Deployment { stage, ..live };
        let mut entries = record::came(&deployment, row, seen);
        entries.extend(self.dated(id));
        if matches!(deployment.stage, Stage::Fetching | Stage::Resolving { .. }) {
            self.lineage = None;
        }
        self.write(entries)
    }

    fn start_work(&mut self, id: DeploymentId, operation: Operation) -> bool {
        if matches!(operation, Operation::Realise { .. }) {
            self.host.announce();
        }
        let ended = self.host.work(&operation);
        self.work = Some(Work { id, operation, ended });
        true
    }

    fn request(&mut self, id: DeploymentId, seen: &Seen) -> bool {
        let Some(front) = seen.live.iter().find(|deployment| deployment.id == id) else {
            return false;
        };
        let Some(toplevel) = front.stage.toplevel().cloned() else { return false };
        let boot_id = seen.world.boot_id.clone();
        if !self.came(id, Stage::Requested { toplevel: toplevel.clone(), boot_id }, seen) {
            return false;
        }
        self.send_request(front, &toplevel, seen);
        true
    }

    /// Once in each run of the agent; the activator ends it, and says so.
    fn supersede(&mut self, id: DeploymentId) -> bool {
        let (version, answer) = (handover::VERSION, Word::Supersede);
        match self.host.answer(&Answer { version, deployment: id, answer, uid: 0 }) {
            Ok(()) => self.superseding = Some(id),
            Err(error) => self.trouble(format!("{error:#}")),
        }
        true
    }

    /// Writes the request file; one that cannot be written is written again when the activator did
    /// not take it.
    pub(super) fn send_request(&mut self, front: &Deployment, toplevel: &StorePath, seen: &Seen) {
        self.requested_at_ms = Some(seen.now.boottime_ms);
        let Some(expected_running) = seen.world.running.clone() else {
            return self.trouble("`/run/current-system` leads nowhere".to_owned());
        };
        let allowed = self.known.blocked.iter().find(|row| row.toplevel == *toplevel);
        let request = Request {
            version: handover::VERSION,
            deployment: front.id,
            kind: front.kind,
            commit: front.commit.clone(),
            toplevel: toplevel.clone(),
            generation: front.generation,
            expected_running,
            boot_id: seen.world.boot_id.clone(),
            emergency: front.emergency,
            unblocked_by: allowed.and_then(|row| row.unblocked_by),
        };
        if let Err(error) = self.host.request(&request) {
            self.trouble(format!("{error:#}"));
        }
    }

    pub(super) fn finish(&mut self, id: DeploymentId, end: End, seen: &Seen) -> bool {
        let live = seen.live.iter().find(|deployment| deployment.id == id);
        let (Some(live), Some(row)) = (live, self.row(id)) else { return false };
        let mut entries = record::ended(live, &end, row, seen);
        entries.extend(self.dated(id));
        if !self.write(entries) {
            return false;
        }
        if self.work.as_ref().is_some_and(|work| work.id == id) {
            self.host.halt_work();
        }
        self.lineage = self.lineage.take().filter(|(of, _)| *of != id);
        self.keep_roots();
        true
    }

    /// What Git said of the dates of a deployment's commit and of what that was compared with, if it
    /// is news.
    fn dated(&self, id: DeploymentId) -> Option<Entry> {
        let (_, lineage) = self.lineage.as_ref().filter(|(of, _)| *of == id)?;
        let tip = self.row(id)?.commit.as_ref()?;
        let base = lineage.base.as_ref().zip(lineage.base_committed_at);
        let known = self.known.dates.clone();
        let dates = base.map_or(known, |(base, date)| self.known.dates.with(base, date));
        let dates = dates.with(tip, lineage.committed_at);
        (dates != self.known.dates).then(|| Entry::Fact(Fact::Dates, Some(dates.text())))
    }

    /// Keeps the roots of what is live and of the last few that were not kept. What was kept is
    /// rooted by the system profile.
    pub(super) fn keep_roots(&mut self) {
        self.refresh();
        self.roots_tidied_ms = self.host.now().boottime_ms;
        let staying = match self.staying() {
            Ok(staying) => staying,
            Err(error) => return self.trouble(format!("{error:#}")),
        };
        let live = self.known.live.iter().map(|row| DeploymentId(row.id));
        let keep: BTreeSet<_> = live.chain(staying).collect();
        self.host.keep_roots(&keep);
    }

    /// Lets go of what has stayed for long enough.
    pub(super) fn tidy_roots(&mut self, seen: &Seen) {
        if seen.now.boottime_ms.saturating_sub(self.roots_tidied_ms) >= TIDY_ROOTS_AFTER_MS {
            self.keep_roots();
        }
    }

    /// The deployments whose closures stay in the store although they were not kept.
    pub(super) fn staying(&mut self) -> Result<Vec<DeploymentId>> {
        let history = &self.settings.history;
        let (count, keep_for) = (history.keep_failed, history.keep_failed_for);
        let newest = self.host.history().unkept(count)?;
        Ok(looked_at::staying(&newest, keep_for, self.host.now().unix_s))
    }
}
