//! A remote that stands still, and a clock that cannot be right: noticed, told once, and told when
//! it is over.

use crate::agent::daemon::Agent;
use crate::agent::history::{Entry, Fact};
use crate::agent::host::Host;
use crate::agent::policy::stale::{self, ClockBack, Stale};
use crate::agent::rollout::{Seen, record, seen};
use crate::model::commit::CommitId;
use crate::model::event::EventKind;

/// The last good poll is written down this often, so that a power cut does not make it look old.
const WRITE_POLL_AFTER_S: u64 = 3600;

impl<H: Host> Agent<H> {
    /// Returns every way in which the remote is stale.
    pub(super) fn stale(&self, seen: &Seen) -> Vec<Stale> {
        let dates = &self.known.dates;
        let dated = |commit: Option<&CommitId>| dates.of(commit);
        let tip = seen.tip.as_ref();
        // Before the first poll of a run it is taken for what was looked at last.
        let tip = tip.or(dates.latest().map(|(commit, _)| commit));
        let mark = seen.mark.as_ref();
        stale::reasons(
            &stale::Sight {
                now_s: seen.now.unix_s,
                unanswered: self.is_unanswered(seen.now),
                branch: &self.settings.source.branch,
                tip: tip.zip(dated(tip)),
                mark: mark.zip(dated(mark)),
                polled_s: self.last_good_s,
                clock_back: self.known.clock_back,
            },
            &self.policy,
        )
    }

    /// No good poll for `source.stale_after`: of this run by a clock that nobody sets, and of the
    /// runs before by the wall clock, too.
    fn is_unanswered(&self, now: seen::Moment) -> bool {
        let stale_after = self.policy.stale_after;
        let long_ago =
            |at: u64| u128::from(now.boottime_ms.saturating_sub(at)) > stale_after.as_millis();
        let Some(good) = self.poll.good_at_ms else {
            let since = self.last_good_s.unwrap_or(self.started.unix_s);
            let by_the_wall = now.unix_s.saturating_sub(since) > stale_after.as_secs() as i64;
            return by_the_wall || long_ago(self.started.boottime_ms);
        };
        long_ago(good)
    }

    /// Tells each way of being stale once, also across restarts, and when it is over.
    pub(super) fn tell_stale(&mut self, seen: &Seen) {
        if !self.known.filled || self.polls.last_ms.is_none() {
            return;
        }
        let now = self.stale(seen);
        let names: Vec<_> = now.iter().map(|stale| stale.kind.as_str()).collect();
        if names.join(" ") == self.known.stale_told {
            return;
        }
        let (at, before) = (seen.now.text(), self.known.stale_told.clone());
        let told: Vec<_> = before.split_whitespace().collect();
        let news = now.iter().filter(|stale| !told.contains(&stale.kind.as_str()));
        let said = |kind, message: String| Entry::Event(record::said_of_all(kind, &at, message));
        let mut entries: Vec<_> =
            news.map(|stale| said(EventKind::RemoteStale, stale.message.clone())).collect();
        entries.extend(told.iter().filter(|told| !names.contains(told)).map(|over| {
            said(EventKind::RemoteFresh, format!("the remote is not stale any more: `{over}`"))
        }));
        let fact = (!names.is_empty()).then(|| names.join(" "));
        entries.push(Entry::Fact(Fact::StaleTold, fact));
        self.write(entries);
        self.refresh();
    }

    /// Looks at the clock at a good poll, before that becomes the last one; returns what is to be
    /// written down.
    pub(super) fn look_at_clock(&mut self, now: seen::Moment) -> Vec<Entry> {
        let (known, last) = (self.known.clock_back, self.last_good_s);
        let back = ClockBack::at_poll(known, last, now.unix_s, self.policy.stale_after);
        let mut entries = Vec::new();
        if back != known {
            entries.push(Entry::Fact(Fact::ClockBack, back.map(ClockBack::text)));
        }
        let written = self.known.last_good_poll.as_deref().map(seen::time_from);
        // Also of a clock that went back.
        let due = |written: i64| now.unix_s.abs_diff(written) >= WRITE_POLL_AFTER_S;
        self.last_good_s = Some(now.unix_s);
        if written.is_none_or(due) {
            entries.extend(self.last_good_entry());
        }
        entries
    }
}
