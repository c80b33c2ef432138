//! When: the numbers and rules that say how fast, how often and under which conditions: PURE.
//!
//! [`pace`] is about time, [`gates`] about what holds a trial back, [`looked_at`] about what stays
//! in the store for a person to look at, [`stale`] about a remote that stands still and a clock that
//! cannot be right, [`dates`] about what commits say of when they were made.

use std::time::Duration;

use crate::config::settings::{Drift, Settings, UnprovedBoot};
use crate::model::commit::CommitId;

pub mod dates;
pub mod gates;
pub mod looked_at;
pub mod pace;
pub mod stale;

/// A trial starts only within this time of a good poll: who cannot reach the remote before the
/// trial could not tell afterwards whether the trial cut it off.
pub const FRESH_POLL_MS: u64 = 5_000;

/// The activator's report names a request within this time, or the activator is out of order.
pub const REQUEST_TAKEN_WITHIN_MS: u64 = 10_000;

/// How long the report of a trial that is on may stand still before the activator is started, to
/// look after a trial whose process is gone for good.
pub const TRIAL_STANDS_STILL_MS: u64 = 600_000;

/// An interrupted trial is tried once more.
pub const INTERRUPTIONS_ALLOWED: u32 = 1;

/// What the configuration says about when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `source.poll_interval`
    pub poll_interval: Duration,
    /// `source.stale_after`
    pub stale_after: Duration,
    /// `trust.introduction`
    pub introduction: Option<CommitId>,
    /// `trust.max_tip_age`
    pub max_tip_age: Option<Duration>,
    /// `activation.drift`
    pub drift: Drift,
    /// `activation.unproved_boot`
    pub unproved_boot: UnprovedBoot,
}

impl From<&Settings> for Policy {
    fn from(settings: &Settings) -> Policy {
        Policy {
            poll_interval: settings.source.poll_interval,
            stale_after: settings.source.stale_after,
            introduction: settings.source.introduction.clone(),
            max_tip_age: settings.source.max_tip_age,
            drift: settings.activation.drift,
            unproved_boot: settings.activation.unproved_boot,
        }
    }
}
