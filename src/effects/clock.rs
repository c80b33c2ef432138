//! The clocks and the kernel's boot id.
//!
//! Three clocks for three questions: the wall clock for people, `CLOCK_BOOTTIME` for comparing
//! moments across processes of one boot, `CLOCK_MONOTONIC` for windows (a suspend neither ends nor
//! stretches one: it stands still meanwhile).

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

/// Returns the wall clock's time as RFC 3339 in UTC, with whole seconds.
pub fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the wall clock's time and the time zone of whoever reads it (`TZ`, else the machine's).
pub fn local() -> (jiff::Timestamp, jiff::tz::TimeZone) {
    (jiff::Timestamp::now(), jiff::tz::TimeZone::system())
}

/// Returns the wall clock's time in seconds since 1970.
pub fn unix_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Returns the milliseconds since boot, suspend included.
pub fn boottime_ms() -> u64 {
    reading(ClockId::CLOCK_BOOTTIME).as_millis() as u64
}

/// Returns the time since boot without suspend.
pub fn monotonic() -> Duration {
    reading(ClockId::CLOCK_MONOTONIC)
}

/// Reads a clock that Linux always has; 0 would make every deadline pass, which is the safe side.
fn reading(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Returns the kernel's name for this boot.
///
/// # Errors
/// `/proc` is not mounted.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read `{path}`"))?;
    Ok(text.trim().to_owned())
}
