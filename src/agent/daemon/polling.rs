//! Polls, what they show to the activator (the lifeline), and the probes that belong to it.

use std::time::Duration;

use crate::agent::daemon::Agent;
use crate::agent::history::Entry;
use crate::agent::host::{Host, NoAnswer, Probe, Probed};
use crate::agent::policy::gates::{self, GateKind};
use crate::agent::policy::pace::{self, Urgency};
use crate::agent::rollout::{Operation, Seen, Stage, record};
use crate::handover;
use crate::handover::lifeline::{Lifeline, Poll};
use crate::model::commit::CommitId;
use crate::model::event::EventKind;
use crate::model::failure::Failure;

/// The limit on one poll.
const POLL_LIMIT: Duration = Duration::from_secs(30);

/// And on one while a trial is watched.
const TRIAL_POLL_LIMIT: Duration = Duration::from_secs(10);

/// A probe that did not find what it has to is tried again after this time during a trial.
const PROBE_AGAIN_MS: u64 = 3_000;

/// And after this time when nothing waits for it.
const IDLE_PROBE_AGAIN_MS: u64 = 60_000;

/// What was asked of the repository about a tip, and the answer.
pub(super) struct Contained {
    tip: CommitId,
    of: Vec<CommitId>,
    contains: Vec<CommitId>,
}

impl<H: Host> Agent<H> {
    fn urgency(&self, seen: &Seen) -> Urgency {
        let waits_for_poll = || {
            let front = seen.live.first()?;
            let Stage::Held { toplevel, .. } = &front.stage else { return None };
            let closed = gates::closed(front, toplevel, seen, &self.policy);
            let only = closed.iter().all(|gate| gate.kind == GateKind::RemoteUnreachable);
            Some(only && !closed.is_empty() && self.polls.failures == 0)
        };
        let somebody_waits = self.run_now.iter().any(|waits| waits.polled.is_none());
        if somebody_waits || self.reanchoring_waits_for_poll() {
            Urgency::Now
        } else if seen.window_may_be_open() || waits_for_poll().unwrap_or(false) {
            Urgency::Trial
        } else {
            Urgency::Usual
        }
    }

    /// When the next poll is due, in milliseconds since boot.
    pub(super) fn next_poll(&self, seen: &Seen) -> u64 {
        let interval = self.policy.poll_interval;
        pace::next_poll(&self.polls, self.urgency(seen), self.start, interval)
    }

    pub(super) fn begin_poll(&mut self, seen: &Seen) {
        if self.polling.is_some() || seen.now.boottime_ms < self.next_poll(seen) {
            return;
        }
        let limit = match seen.window_may_be_open() {
            true => TRIAL_POLL_LIMIT,
            false => POLL_LIMIT,
        };
        self.poll_again = false;
        self.polling = Some(self.host.poll(limit));
    }

    /// Takes in the answer of the remote.
    pub(super) fn polled(&mut self, answer: Result<CommitId, NoAnswer>) {
        self.polling = None;
        let now = self.host.now();
        self.polls.last_ms = Some(now.boottime_ms);
        self.polls.jitter = self.host.chance();
        let polled = match answer {
            Ok(tip) => {
                self.answered(tip);
                Ok(())
            }
            Err(none) => {
                self.unanswered(&none);
                Err(none.failure)
            }
        };
        // Who asked after this poll began waits for the next one.
        if !self.poll_again {
            for waits in &mut self.run_now {
                waits.polled.get_or_insert_with(|| polled.clone());
            }
            if let Some(waits) = &mut self.reanchoring {
                waits.polled.get_or_insert(polled);
            }
        }
        self.look_at_configuration();
        self.write_lifeline();
    }

    fn answered(&mut self, tip: CommitId) {
        let now = self.host.now();
        let recovered = self.polls.failures > 0;
        (self.polls.failures, self.polls.retry_after) = (0, None);
        self.poll.good_at_ms = Some(now.boottime_ms);
        self.poll.error = None;
        let mut entries = self.look_at_clock(now);
        if recovered {
            let message = "the remote answers again";
            let said = record::said_of_all(EventKind::PollRecovered, &now.text(), message);
            entries.push(Entry::Event(said));
        }
        if self.tip.as_ref() != Some(&tip) {
            self.tip = Some(tip.clone());
            self.outdated = true;
            self.refresh();
            let live = self.known.live.iter().any(|row| row.commit.as_ref() == Some(&tip));
            if !live && self.known.of_tip.is_none() {
                let branch = &self.settings.source.branch;
                let message = format!("`{branch}` is at `{tip}` now");
                let mut said = record::said_of_all(EventKind::NewTip, &now.text(), message);
                said.commit = Some(tip);
                entries.push(Entry::Event(said));
            }
        }
        if !entries.is_empty() {
            self.write(entries);
        }
    }

    fn unanswered(&mut self, none: &NoAnswer) {
        self.polls.failures = self.polls.failures.saturating_add(1);
        self.polls.retry_after = none.retry_after;
        let reason = none.failure.reason.clone();
        let news = self.poll.error.as_ref().is_none_or(|before| before.reason != reason);
        self.poll.error = Some(none.failure.clone());
        if news {
            let at = self.host.now().text();
            let message = none.failure.message.clone();
            let mut said = record::said_of_all(EventKind::PollFailed, &at, message);
            said.reason = Some(reason);
            let entries = self.last_good_entry().into_iter().chain([Entry::Event(said)]);
            let entries = entries.collect();
            self.write(entries);
        }
    }

    /// Which commits on trial the lifeline has to speak of.
    fn on_trial(&self) -> Vec<CommitId> {
        let seen = self.see();
        let commit = match self.known.live.first().filter(|_| seen.being_tried()) {
            Some(row) => row.commit.clone(),
            None => seen.trial_of_the_report().and_then(|trial| trial.commit.clone()),
        };
        commit.into_iter().collect()
    }

    /// Shows what this run of the agent has reached. Written after every poll, because the
    /// activator looks at its age before it begins, and at what it says until the end.
    fn write_lifeline(&mut self) {
        let tip = self.tip.clone().filter(|_| self.poll.error.is_none());
        let mut contains = self.on_trial();
        contains.retain(|commit| {
            let found = self.contains.as_ref().filter(|found| Some(&found.tip) == tip.as_ref());
            let contained = found.is_some_and(|found| found.contains.contains(commit));
            Some(commit) == tip.as_ref() || contained
        });
        let lifeline = Lifeline {
            version: handover::VERSION,
            invocation_id: self.host.invocation_id(),
            boot_id: self.world.boot_id.clone(),
            poll: self.polls.last_ms.map(|at_boottime_ms| Poll {
                at_boottime_ms,
                url: self.settings.source.url.clone(),
                branch: self.settings.source.branch.clone(),
                tip,
                contains,
                error: self.poll.error.as_ref().map(|failure| failure.message.clone()),
            }),
            nix: self.nix.clone(),
        };
        if let Err(error) = self.host.lifeline(&lifeline) {
            self.trouble(format!("{error:#}"));
        }
    }

    /// Asks what only the agent can tell: once per run whether Nix does its part (the activator
    /// looks at that before a switch as well as after it: what was green before tells afterwards
    /// whose fault it is), and during a trial what the tip contains.
    pub(super) fn begin_probe(&mut self, seen: &Seen) {
        let pause = match seen.window_may_be_open() {
            true => PROBE_AGAIN_MS,
            false => IDLE_PROBE_AGAIN_MS,
        };
        let early = |at: u64| seen.now.boottime_ms.saturating_sub(at) < pause;
        if self.probing.is_some() || self.probed_at_ms.is_some_and(early) {
            return;
        }
        if let Some(probe) = self.wanted_probe(seen) {
            self.probed_at_ms = Some(seen.now.boottime_ms);
            self.probing = Some(self.host.probe(&probe));
        }
    }

    /// Nix first: as long as that is missing, nothing else would make the lifeline whole.
    fn wanted_probe(&self, seen: &Seen) -> Option<Probe> {
        if self.nix.as_ref().is_none_or(|reach| reach.error.is_some()) {
            return Some(Probe::Nix);
        }
        let tip = self.tip.clone().filter(|_| seen.window_may_be_open())?;
        let of: Vec<_> = self.on_trial().into_iter().filter(|commit| *commit != tip).collect();
        let known = self.contains.as_ref().is_some_and(|found| found.tip == tip && found.of == of);
        // Two fetches at once would be in each other's way; the one that runs brings the objects.
        let fetching =
            self.work.as_ref().is_some_and(|w| matches!(w.operation, Operation::Fetch { .. }));
        (!of.is_empty() && !known && !fetching).then_some(Probe::Contains { tip, of })
    }

    /// Takes in what a probe found, and shows it.
    pub(super) fn probed(&mut self, answer: Probed) {
        self.probing = None;
        match answer {
            Probed::Nix(reach) => {
                let good = reach.error.is_none();
                self.nix = Some(reach);
                self.probed_at_ms = self.probed_at_ms.filter(|_| !good);
            }
            Probed::Contains { tip, of, contains: Ok(contains) } => {
                self.contains = Some(Contained { tip, of, contains });
                self.probed_at_ms = None;
            }
            Probed::Contains { contains: Err(Failure { message, .. }), .. } => {
                tracing::warn!("could not tell what the tip contains: {message}");
            }
        }
        self.write_lifeline();
    }
}
