//! How long to wait before the next poll and before the next try: PURE.
//!
//! Moments are milliseconds since boot. The jitter comes in as a fraction from 0 to 1.

use std::time::Duration;

use crate::model::deployment::Outcome;
use crate::model::failure::Reason;

/// While a trial is watched the remote is asked this often: its window is short.
pub const WATCHING_POLL: Duration = Duration::from_secs(3);

/// While the activator works its report is looked at this often.
pub const REPORT_LOOK: Duration = Duration::from_millis(200);

/// And this often while nothing is expected of it.
pub const IDLE_LOOK: Duration = Duration::from_secs(5);

/// The first poll after a boot comes within this time, so that machines that came back together
/// do not ask together.
const FIRST_POLL: Duration = Duration::from_secs(10);

/// The first poll that fails is followed by the next after this time, or the interval if that is
/// shorter: after a boot the network may be there a moment later than we are.
const FIRST_FAILURE: Duration = Duration::from_secs(60);

/// A failing poll is never further apart than this, unless the interval itself is.
const LONGEST_POLL_PAUSE: Duration = Duration::from_secs(15 * 60);

/// No retry is further apart than this.
const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How this run of the agent has fared with the remote.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Polls {
    /// When the last one ended; none yet.
    pub last_ms: Option<u64>,
    /// How many failed in a row.
    pub failures: u32,
    /// The remote asked for this pause.
    pub retry_after: Option<Duration>,
    /// From 0 to 1, drawn anew for each poll.
    pub jitter: f64,
}

/// What the next poll is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// To notice that the branch moved.
    Usual,
    /// To show the lifeline of a trial, or to open the gate of one.
    Trial,
    /// Somebody said so.
    Now,
}

/// Where this run of the agent began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is the first of this boot.
    Boot,
    /// The agent ran before in this boot.
    Restart,
}

/// Returns when the next poll is due.
pub fn next_poll(polls: &Polls, urgency: Urgency, start: Start, interval: Duration) -> u64 {
    let Some(last) = polls.last_ms else {
        return match (start, urgency) {
            (Start::Boot, Urgency::Usual) => (FIRST_POLL.as_millis() as f64 * polls.jitter) as u64,
            (Start::Boot | Start::Restart, _) => 0,
        };
    };
    let asked = polls.retry_after.unwrap_or_default();
    let pause = match urgency {
        Urgency::Now => Duration::ZERO,
        Urgency::Trial => WATCHING_POLL.min(interval).max(asked),
        Urgency::Usual if polls.failures == 0 => jittered(interval, polls.jitter),
        Urgency::Usual => {
            let longest = LONGEST_POLL_PAUSE.max(interval);
            let first = FIRST_FAILURE.min(interval);
            jittered(doubled(first, polls.failures, longest), polls.jitter).max(asked)
        }
    };
    last.saturating_add(pause.as_millis() as u64)
}

/// Plus or minus a fifth.
fn jittered(pause: Duration, jitter: f64) -> Duration {
    pause.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
}

/// `first` after the first failure, twice that after the second, and so on up to `longest`.
fn doubled(first: Duration, failures: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// Returns the pause before the same commit is tried again, after its try number `attempts`.
pub fn retry_pause(reason: &Reason, outcome: Outcome, attempts: u32) -> Duration {
    let first = match outcome {
        Outcome::Interrupted => Duration::from_secs(2),
        Outcome::Failed if *reason == Reason::LOCK_HELD => Duration::from_secs(5),
        Outcome::Reverted | Outcome::Failed => Duration::from_secs(30),
        Outcome::Kept
        | Outcome::RevertFailed
        | Outcome::Blocked
        | Outcome::Staged
        | Outcome::Tested
        | Outcome::Superseded
        | Outcome::Aborted => LONGEST_RETRY_PAUSE,
    };
    doubled(first, attempts.max(1), LONGEST_RETRY_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[track_caller]
    fn check(polls: Polls, urgency: Urgency, expected_s: u64) {
        let due = next_poll(&polls, urgency, Start::Restart, MINUTE);
        assert_eq!(due, expected_s * 1000, "{polls:?} {urgency:?}");
    }

    fn polls(failures: u32) -> Polls {
        Polls { last_ms: Some(100_000), failures, retry_after: None, jitter: 0.5 }
    }

    #[test]
    fn a_good_poll_is_followed_by_the_interval_plus_or_minus_a_fifth() {
        check(polls(0), Urgency::Usual, 160);
        check(Polls { jitter: 0.0, ..polls(0) }, Urgency::Usual, 148);
        check(Polls { jitter: 1.0, ..polls(0) }, Urgency::Usual, 172);
    }

    #[test]
    fn failures_double_the_pause_up_to_a_cap() {
        check(polls(1), Urgency::Usual, 160);
        check(polls(2), Urgency::Usual, 220);
        check(polls(4), Urgency::Usual, 580);
        check(polls(5), Urgency::Usual, 1000);
        check(polls(4_000_000), Urgency::Usual, 1000);
        let hourly = |failures| {
            next_poll(&polls(failures), Urgency::Usual, Start::Restart, 60 * MINUTE) / 1000 - 100
        };
        assert_eq!([0, 1, 2, 7, 9].map(hourly), [3600, 60, 120, 3600, 3600]);
    }

    #[test]
    fn a_remote_that_asks_for_a_pause_gets_it_also_during_a_trial() {
        let asked = Polls { retry_after: Some(Duration::from_secs(90)), ..polls(1) };
        check(asked, Urgency::Usual, 190);
        check(asked, Urgency::Trial, 190);
        check(asked, Urgency::Now, 100);
    }

    #[test]
    fn a_trial_is_watched_every_few_seconds_whatever_failed() {
        check(polls(0), Urgency::Trial, 103);
        check(polls(9), Urgency::Trial, 103);
        let interval = Duration::from_secs(1);
        assert_eq!(next_poll(&polls(0), Urgency::Trial, Start::Restart, interval), 101_000);
    }

    #[test]
    fn the_first_poll_comes_at_once_after_a_restart_and_soon_after_a_boot() {
        let none = Polls { last_ms: None, jitter: 0.7, ..polls(0) };
        let due = |start, urgency| next_poll(&none, urgency, start, MINUTE);
        assert_eq!(due(Start::Restart, Urgency::Usual), 0);
        assert_eq!(due(Start::Boot, Urgency::Usual), 7_000);
        assert_eq!(due(Start::Boot, Urgency::Now), 0);
    }

    #[test]
    fn retries_grow_up_to_an_hour() {
        let pause = |reason, outcome, attempts| retry_pause(&reason, outcome, attempts).as_secs();
        assert_eq!(pause(Reason::EVALUATION_FAILED, Outcome::Failed, 1), 30);
        assert_eq!(pause(Reason::EVALUATION_FAILED, Outcome::Failed, 3), 120);
        assert_eq!(pause(Reason::EVALUATION_FAILED, Outcome::Failed, 50), 3600);
        assert_eq!(pause(Reason::ENVIRONMENT, Outcome::Reverted, 2), 60);
        assert_eq!(pause(Reason::LOCK_HELD, Outcome::Failed, 1), 5);
        assert_eq!(pause(Reason::POWER_CUT, Outcome::Interrupted, 1), 2);
    }
}
