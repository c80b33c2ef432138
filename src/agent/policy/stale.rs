//! Whether the remote stands still or was cut off, and whether the clock can be right: PURE.
//!
//! Whoever stands between this machine and the forge can keep it from every fix by letting nothing
//! new through, and can make old things look new by setting the clock back. Neither can be stopped
//! from here; it can be noticed.

use crate::agent::policy::Policy;
use crate::agent::rollout::seen::{time_from, time_text};
use crate::config::span::shown;
use crate::model::commit::CommitId;
use std::time::Duration;

/// Clocks of developers are ahead of ours by as much, in seconds.
pub const TOLERANCE_S: i64 = 5 * 60;

/// The ways of being stale, by their names in `status --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No good poll for `source.stale_after`.
    NoAnswer,
    /// No new commit for `trust.max_tip_age`.
    OldTip,
    /// The clock is behind something that it has seen.
    ClockBehind,
}

impl Kind {
    /// Returns the name in `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NoAnswer => "no-answer",
            Kind::OldTip => "old-tip",
            Kind::ClockBehind => "clock-behind",
        }
    }
}

/// One way in which the remote is stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Which.
    pub kind: Kind,
    /// One sentence.
    pub message: String,
    /// What to type or to look at.
    pub hint: String,
}

/// A commit, and its committer date in seconds since 1970.
pub type Dated<'a> = (&'a CommitId, i64);

/// What tells whether the remote is stale.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The wall clock, in seconds since 1970.
    pub now_s: i64,
    /// There was no good poll for `source.stale_after`.
    pub unanswered: bool,
    /// The branch that is followed.
    pub branch: &'a str,
    /// The tip, if its date is known.
    pub tip: Option<Dated<'a>>,
    /// The mark, if its date is known.
    pub mark: Option<Dated<'a>>,
    /// The last good poll, in seconds since 1970.
    pub polled_s: Option<i64>,
    /// The clock went back, and was not right again since.
    pub clock_back: Option<ClockBack>,
}

/// Returns every way in which the remote is stale; empty if it is not.
pub fn reasons(sight: &Sight<'_>, policy: &Policy) -> Vec<Stale> {
    let all = [no_answer(sight, policy), old_tip(sight, policy), clock_behind(sight)];
    all.into_iter().flatten().collect()
}

fn no_answer(sight: &Sight<'_>, policy: &Policy) -> Option<Stale> {
    sight.unanswered.then(|| Stale {
        kind: Kind::NoAnswer,
        message: format!(
            "the remote has not answered for more than `source.stale_after`, {}",
            shown(policy.stale_after)
        ),
        hint: "`autodeployctl status` shows the last error; a key that ran out and a forge that \
               moved look like this"
            .to_owned(),
    })
}

fn old_tip(sight: &Sight<'_>, policy: &Policy) -> Option<Stale> {
    let (Some((tip, date)), Some(limit)) = (sight.tip, policy.max_tip_age) else { return None };
    let age = u64::try_from(sight.now_s.saturating_sub(date)).ok()?;
    let branch = sight.branch;
    (age > limit.as_secs()).then(|| Stale {
        kind: Kind::OldTip,
        message: format!(
            "the tip of `{branch}`, commit `{tip}`, is of {}, which is longer ago than \
             `trust.max_tip_age`, {}",
            time_text(date),
            shown(limit)
        ),
        hint: format!(
            "compare it with the tip of `{branch}` at the forge, from another machine: if there is \
             a newer one, somebody keeps it from this machine"
        ),
    })
}

/// Of all that the clock is behind, the newest is named.
fn clock_behind(sight: &Sight<'_>) -> Option<Stale> {
    let commit = |(commit, date): Dated<'_>| (date, format!("the date of commit `{commit}`"));
    let poll = |date| (date, "an earlier poll".to_owned());
    let seen = [
        sight.mark.map(commit),
        sight.tip.map(commit),
        sight.polled_s.map(poll),
        sight.clock_back.map(|back| poll(back.from_s)),
    ];
    let newest = seen.into_iter().flatten().max_by_key(|(date, _)| *date);
    let (date, what) = newest.filter(|(date, _)| is_behind(sight.now_s, *date))?;
    let (now, date) = (time_text(sight.now_s), time_text(date));
    Some(Stale {
        kind: Kind::ClockBehind,
        message: format!("the clock of this machine, {now}, is behind {what}, {date}"),
        hint: "`timedatectl` shows whether the clock is set over the network; if it is right, the \
               other date is wrong: a commit from the future keeps those after it from being \
               deployed"
            .to_owned(),
    })
}

fn is_behind(now_s: i64, seen_s: i64) -> bool {
    now_s.saturating_add(TOLERANCE_S) < seen_s
}

/// The wall clock went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockBack {
    /// The last time before, in seconds since 1970.
    pub from_s: i64,
    /// When that was first seen, by the clock that went back.
    pub since_s: i64,
}

impl ClockBack {
    /// Reads what [`ClockBack::text`] wrote.
    pub fn read(text: &str) -> Option<ClockBack> {
        let (from, since) = text.split_once(' ')?;
        Some(ClockBack { from_s: time_from(from), since_s: time_from(since) })
    }

    /// Returns both times.
    pub fn text(self) -> String {
        format!("{} {}", time_text(self.from_s), time_text(self.since_s))
    }

    /// Says at a good poll whether the clock has gone back since the last one.
    ///
    /// A clock that goes on from where it went back to is believed after `believed_after`: it was
    /// ahead before, and a person had that time to look. What commits say is believed for longer.
    pub fn at_poll(
        known: Option<ClockBack>,
        last_s: Option<i64>,
        now_s: i64,
        believed_after: Duration,
    ) -> Option<ClockBack> {
        let back = last_s.filter(|last| is_behind(now_s, *last)).map(|last| {
            let from_s = known.map_or(last, |known| known.from_s.max(last));
            ClockBack { from_s, since_s: now_s }
        });
        let patience = i64::try_from(believed_after.as_secs()).unwrap_or(i64::MAX);
        let lasts = |known: &ClockBack| {
            is_behind(now_s, known.from_s) && now_s.saturating_sub(known.since_s) < patience
        };
        back.or_else(|| known.filter(lasts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{Drift, UnprovedBoot};

    const DAY: i64 = 86_400;

    fn policy() -> Policy {
        Policy {
            poll_interval: Duration::from_secs(60),
            stale_after: Duration::from_secs(3600),
            introduction: None,
            max_tip_age: Some(Duration::from_secs(30 * DAY as u64)),
            drift: Drift::Report,
            unproved_boot: UnprovedBoot::Refuse,
        }
    }

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    /// What is said on day 100, with these days of the tip, the mark and the last poll.
    #[track_caller]
    fn check(tip: Option<i64>, mark: Option<i64>, polled: Option<i64>, expected: &[Kind]) {
        let (a, b) = (commit('a'), commit('b'));
        let sight = Sight {
            now_s: 100 * DAY,
            unanswered: false,
            branch: "main",
            tip: tip.map(|day| (&a, day * DAY)),
            mark: mark.map(|day| (&b, day * DAY)),
            polled_s: polled.map(|day| day * DAY),
            clock_back: None,
        };
        let kinds = |sight: &Sight<'_>, policy: &Policy| -> Vec<Kind> {
            reasons(sight, policy).into_iter().map(|stale| stale.kind).collect()
        };
        assert_eq!(kinds(&sight, &policy()), expected);
        let unanswered = kinds(&Sight { unanswered: true, ..sight }, &policy());
        assert_eq!(unanswered, [&[Kind::NoAnswer], expected].concat());
        let without_limit = kinds(&sight, &Policy { max_tip_age: None, ..policy() });
        assert!(!without_limit.contains(&Kind::OldTip));
    }

    #[test]
    fn a_branch_without_a_new_commit_is_stale_only_where_there_is_a_limit() {
        check(Some(70), Some(70), Some(100), &[]);
        check(Some(69), Some(69), Some(100), &[Kind::OldTip]);
        check(None, Some(1), Some(100), &[]);
    }

    #[test]
    fn a_clock_is_behind_the_newest_of_what_it_has_seen() {
        check(Some(101), Some(99), Some(100), &[Kind::ClockBehind]);
        check(Some(99), Some(101), Some(100), &[Kind::ClockBehind]);
        check(Some(99), Some(99), Some(101), &[Kind::ClockBehind]);
        check(None, None, None, &[]);
    }

    #[test]
    fn a_developers_clock_may_be_some_minutes_ahead() {
        let tip = commit('a');
        let behind = |seconds: i64| {
            let sight = Sight {
                now_s: 1_000_000,
                unanswered: false,
                branch: "main",
                tip: Some((&tip, 1_000_000 + seconds)),
                mark: None,
                polled_s: None,
                clock_back: None,
            };
            reasons(&sight, &policy())
        };
        assert_eq!(behind(TOLERANCE_S), []);
        let told = behind(TOLERANCE_S + 1);
        assert_eq!(
            told[0].message,
            format!(
                "the clock of this machine, 1970-01-12T13:46:40Z, is behind the date of commit \
                 `{tip}`, 1970-01-12T13:51:41Z"
            )
        );
    }

    /// What is known after a good poll on day `now`, if the last one was on day `last`.
    #[track_caller]
    fn polled(known: Option<(i64, i64)>, last: i64, now: i64, expected: Option<(i64, i64)>) {
        let of = |(from, since): (i64, i64)| ClockBack { from_s: from * DAY, since_s: since * DAY };
        let believed_after = Duration::from_secs(2 * DAY as u64);
        let known = known.map(of);
        let got = ClockBack::at_poll(known, Some(last * DAY), now * DAY, believed_after);
        assert_eq!(got, expected.map(of));
        assert_eq!(got.and_then(|back| ClockBack::read(&back.text())), got);
    }

    #[test]
    fn a_clock_that_went_back_is_told_until_it_is_right_again_or_was_so_for_long() {
        polled(None, 100, 100, None);
        polled(None, 100, 101, None);
        polled(None, 100, 90, Some((100, 90)));
        polled(Some((100, 90)), 90, 91, Some((100, 90)));
        // Right again, or believed.
        polled(Some((100, 90)), 91, 100, None);
        polled(Some((100, 90)), 91, 92, None);
        // And back once more.
        polled(Some((100, 90)), 91, 80, Some((100, 80)));
        polled(Some((100, 90)), 95, 94, Some((100, 94)));
        assert_eq!(ClockBack::at_poll(None, None, 0, Duration::ZERO), None);
    }
}
