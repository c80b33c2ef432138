//! One pass: observe, decide, and on until there is nothing more to do.

use std::rc::Rc;

use crate::agent::daemon::Agent;
use crate::agent::history::{Entry, Row};
use crate::agent::host::Host;
use crate::agent::policy::TRIAL_STANDS_STILL_MS;
use crate::agent::policy::gates::{self, GateKind};
use crate::agent::rollout::advance::advance;
use crate::agent::rollout::seen::Insist;
use crate::agent::rollout::{
    Deployment, Moment, Seen, Stage, Step, by_hand, decide, record, trial,
};
use crate::model::deployment::{DeploymentId, Phase};
use crate::model::event::EventKind;

/// No pass takes more steps; more would be a fault of ours, and the next look goes on.
const MOST_STEPS: usize = 64;

/// A new database waits this long for the activator's report before it begins with nothing.
const REPORT_WITHIN_MS: u64 = 10_000;

/// And one that replaces a damaged one this long: then there is something to be told.
const LOST_REPORT_WITHIN_MS: u64 = 60_000;

/// Notes when this run of the agent saw the end of a deployment first.
fn note(first_seen: &mut Option<(u64, Moment)>, ended: Option<&Row>, now: Moment) {
    let id = ended.map(|row| row.id);
    if id != first_seen.map(|(id, _)| id) {
        *first_seen = id.map(|id| (id, now));
    }
}

impl<H: Host> Agent<H> {
    /// Does all that can be done now.
    pub(super) fn pass(&mut self) {
        self.forget_troubles();
        for _ in 0..MOST_STEPS {
            self.observe();
            if self.hampered {
                // On the safe side: what cannot be remembered is not begun.
                break;
            }
            let seen = self.see();
            if self.tidy(&seen) {
                continue;
            }
            match self.worked.take() {
                Some((id, result)) => {
                    let step = self.after_work(id, &result, &seen);
                    if !self.carry_out(step, &seen) && self.hampered {
                        // Written later: nothing long is done twice because the disk is full.
                        self.worked = Some((id, result));
                        break;
                    }
                }
                // Under this configuration nothing is begun any more.
                None if self.is_outlived() => break,
                None => {
                    let step = decide(&seen, &self.policy);
                    if !self.carry_out(step, &seen) {
                        break;
                    }
                }
            }
        }
        self.rest();
        self.show();
    }

    /// Looks at the world and at the history.
    fn observe(&mut self) {
        self.refresh();
        let front = self.known.live.first();
        let waits = ["held", Phase::Arming.as_str(), Phase::Armed.as_str()];
        let front = front.filter(|row| waits.contains(&row.phase.as_str()));
        let front = front.and_then(|row| row.toplevel.clone());
        let before = self.world.profile.take();
        self.world = self.host.look(front.as_ref());
        if self.world.profile != before {
            self.profile_since_ms = self.host.now().boottime_ms;
        }
    }

    /// Reads the history again after a change.
    pub(super) fn refresh(&mut self) {
        if !self.outdated {
            return;
        }
        match self.host.history().known(self.tip.as_ref()) {
            Ok(known) => {
                let now = self.host.now();
                note(&mut self.verdict_seen, known.of_tip.as_ref(), now);
                note(&mut self.restored_seen, known.of_restore.as_ref(), now);
                self.known = known;
                self.outdated = false;
            }
            Err(error) => self.trouble(format!("{error:#}")),
        }
    }

    /// Puts together what a decision looks at.
    pub(super) fn see(&self) -> Seen {
        let known = &self.known;
        let blocked = known.blocked.iter().filter(|row| row.unblocked_by.is_none());
        Seen {
            now: self.host.now(),
            requested_at_ms: self.requested_at_ms,
            tip: self.tip.clone().filter(|_| known.filled),
            poll: self.poll.clone(),
            live: known.live.iter().filter_map(|row| self.live(row)).collect(),
            verdict: known.of_tip.as_ref().and_then(Row::verdict),
            verdict_seen: self.verdict_seen.map(|(_, since)| since),
            restored: known.of_restore.as_ref().and_then(Row::verdict),
            restored_seen: self.restored_seen.map(|(_, since)| since),
            mark: known.mark.clone(),
            reanchored: known.reanchored.clone(),
            last_kept: known.last_kept.clone(),
            blocked: blocked.map(|row| row.toplevel.clone()).collect(),
            resolved: known.resolved.clone(),
            superseding: self.superseding,
            working: self.work.as_ref().map(|work| work.id),
            paused: known.paused.clone(),
            drift_answered: known.drift_answered.clone(),
            insist: self.insisted(),
            nix_tried: self.nix.is_some(),
            profile_stands_ms: self.host.now().boottime_ms.saturating_sub(self.profile_since_ms),
            world: self.world.clone(),
        }
    }

    /// Who asked for a run asked for the tip: what was seen before its poll is not tried for that.
    fn insisted(&self) -> Insist {
        let polled = self.run_now.iter().any(|waits| waits.polled.is_some());
        Insist { now: self.insist.now && polled, ..self.insist }
    }

    /// What Git said is not stored: it is asked again after a restart.
    fn live(&self, row: &Row) -> Option<Deployment> {
        let deployment = row.live()?;
        let lineage = self.lineage.as_ref().filter(|(id, _)| *id == deployment.id);
        Some(match (&deployment.stage, lineage) {
            (Stage::Fetching, Some((_, lineage))) => Deployment {
                stage: Stage::Verifying { lineage: lineage.clone() },
                subject: Some(lineage.subject.clone()),
                ..deployment
            },
            _ => deployment,
        })
    }

    pub(super) fn row(&self, id: DeploymentId) -> Option<&Row> {
        self.known.live.iter().find(|row| row.id == id.0)
    }

    fn after_work(
        &mut self,
        id: DeploymentId,
        result: &Result<crate::agent::rollout::Done, crate::model::failure::Failure>,
        seen: &Seen,
    ) -> Step {
        use crate::agent::rollout::Done;
        if let Ok(Done::Fetched { mended: Some(sentence), .. }) = result {
            let at = seen.now.text();
            let said = record::said_of_all(EventKind::StateMended, &at, sentence);
            self.write(vec![Entry::Event(said)]);
        }
        match seen.live.iter().find(|deployment| deployment.id == id) {
            Some(deployment) => {
                advance(deployment, result.clone(), seen.anchor(&self.policy).as_ref())
            }
            // It was superseded or aborted meanwhile.
            None => Step::Rest,
        }
    }

    /// Brings the history in line with what is seen; true if something was written.
    fn tidy(&mut self, seen: &Seen) -> bool {
        let at = seen.now.text();
        let report = seen.world.report.as_deref();
        let waited = seen.now.boottime_ms.saturating_sub(self.started.boottime_ms);
        let patience = match self.known.mended {
            Some(_) => LOST_REPORT_WITHIN_MS,
            None => REPORT_WITHIN_MS,
        };
        if !self.known.filled && (report.is_some() || waited >= patience) {
            return self.write(record::filled(report, &at, self.known.next));
        }
        if let Some(entry) = report.and_then(|report| record::counts_on(report, self.known.next)) {
            return self.write(vec![entry]);
        }
        match by_hand::news(&self.known, seen) {
            entries if entries.is_empty() => false,
            entries => self.write(entries),
        }
    }

    /// Nothing more can be done now: says what is waited for, and starts what only looks.
    fn rest(&mut self) {
        let seen = self.see();
        self.ask_again(&seen);
        self.look_after_the_trial(&seen);
        self.tell_held(&seen);
        self.tell_stale(&seen);
        self.hand_over_mark(&seen);
        self.tidy_roots(&seen);
        self.answer_run_now(&seen);
        self.go_on_reanchoring(&seen);
        self.begin_poll(&seen);
        self.begin_probe(&seen);
    }

    /// A request that was not taken is written again, because a path unit may have missed it.
    fn ask_again(&mut self, seen: &Seen) {
        let Some(front) = seen.live.first().filter(|_| trial::unanswered(seen)) else { return };
        if self.unreachable_told != Some(front.id) {
            let message = "the activator did not take the request within 10 s";
            let at = seen.now.text();
            let said = record::said(EventKind::ActivatorUnreachable, front, &at, message);
            self.write(vec![Entry::Event(said)]);
            self.unreachable_told = Some(front.id);
        }
        if let Stage::Requested { toplevel, boot_id } = &front.stage
            && *boot_id == seen.world.boot_id
        {
            self.send_request(front, toplevel, seen);
        }
    }

    /// Has the activator started when the report of a trial stands still.
    ///
    /// systemd starts a trial's process again however it ends, unless its unit was stopped by
    /// another one. The activator goes on with what nobody is at work on, and an announcement is
    /// all that starts it; where the trial only takes its time, nothing comes of it.
    fn look_after_the_trial(&mut self, seen: &Seen) {
        let now = seen.now.boottime_ms;
        let report = seen.world.report.as_ref().filter(|report| trial::is_at_work(report));
        let known = self.trial_stands.take();
        let Some(report) = report.cloned() else { return };
        let same = known.filter(|(known, _)| Rc::ptr_eq(known, &report));
        let since = same.map_or(now, |(_, since)| since);
        let still = now.saturating_sub(since) >= TRIAL_STANDS_STILL_MS;
        if still {
            self.host.announce();
        }
        self.trial_stands = Some((report, if still { now } else { since }));
    }

    fn tell_held(&mut self, seen: &Seen) {
        let Some(front) = seen.live.first() else { return };
        let Stage::Held { toplevel, .. } = &front.stage else { return };
        let closed = gates::closed(front, toplevel, seen, &self.policy);
        // A poll that is due opens this one in a moment.
        let lasting = |gate: &&gates::Gate| {
            gate.kind != GateKind::RemoteUnreachable || seen.poll.error.is_some()
        };
        let kinds: Vec<_> = closed.iter().filter(lasting).map(|gate| gate.kind.as_str()).collect();
        let told = Some((front.id, kinds.join(" ")));
        if kinds.is_empty() || self.held_told == told {
            return;
        }
        let why: Vec<_> = closed.iter().map(|gate| gate.message.as_str()).collect();
        let message = format!("held back: {}", why.join("; "));
        let at = seen.now.text();
        let said = record::said(EventKind::DeploymentHeld, front, &at, message);
        if self.write(vec![Entry::Event(said)]) {
            self.held_told = told;
        }
    }
}
