//! Times as people read them: in their own zone, and relative where that says more.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::client::render::words;

/// When and where something is rendered.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The time now.
    pub now: Timestamp,
    /// The reader's time zone.
    pub zone: TimeZone,
}

impl Moment {
    /// Returns date and time to the second; what is no time is returned as it is.
    pub fn at(&self, time: &str) -> String {
        self.formatted(time, "%Y-%m-%d %H:%M:%S")
    }

    /// Returns date and time to the minute.
    pub fn minute(&self, time: &str) -> String {
        self.formatted(time, "%Y-%m-%d %H:%M")
    }

    /// Returns the time of day.
    pub fn clock(&self, time: &str) -> String {
        self.formatted(time, "%H:%M:%S")
    }

    fn formatted(&self, time: &str, format: &str) -> String {
        match time.parse::<Timestamp>() {
            Ok(time) => time.to_zoned(self.zone.clone()).strftime(format).to_string(),
            Err(_) => words::line(time),
        }
    }

    /// Returns `5 min ago`, or `in 5 min`.
    pub fn ago(&self, time: &str) -> String {
        let Ok(time) = time.parse::<Timestamp>() else { return words::line(time) };
        let seconds = self.now.as_second() - time.as_second();
        match seconds {
            0 => "now".to_owned(),
            1.. => format!("{} ago", rough(seconds)),
            _ => format!("in {}", rough(-seconds)),
        }
    }
}

/// Returns the time between two moments, or up to now; nothing if one is no time.
pub fn took(from: &str, to: Option<&str>, now: Timestamp) -> String {
    let parsed = |text: &str| text.parse::<Timestamp>().ok();
    let end = to.map_or(Some(now), parsed);
    match (parsed(from), end) {
        (Some(from), Some(to)) => exact((to.as_second() - from.as_second()).max(0)),
        _ => String::new(),
    }
}

/// One unit, because more would be noise.
fn rough(seconds: i64) -> String {
    match seconds {
        ..=89 => format!("{seconds} s"),
        90..=5_399 => format!("{} min", (seconds + 30) / 60),
        5_400..=129_599 => format!("{} h", (seconds + 1_800) / 3_600),
        129_600.. => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

/// Two units, the smaller one left out when it is 0.
fn exact(seconds: i64) -> String {
    let two = |large: i64, unit: &str, small: i64, part: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        ..=59 => format!("{seconds} s"),
        60..=3_599 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        86_400.. => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures::moment;

    #[track_caller]
    fn check(time: &str, expected: &str) {
        assert_eq!(moment().ago(time), expected);
    }

    #[test]
    fn ages_have_one_unit() {
        check("2025-11-21T12:00:00Z", "now");
        check("2025-11-21T11:59:48Z", "12 s ago");
        check("2025-11-21T11:58:30Z", "2 min ago");
        check("2025-11-21T11:00:00Z", "60 min ago");
        check("2025-11-21T09:00:00Z", "3 h ago");
        check("2025-11-19T12:00:00Z", "2 days ago");
        check("2025-11-21T12:05:00Z", "in 5 min");
        check("never\x07", r"never\u{7}");
    }

    #[track_caller]
    fn check_took(from: &str, to: &str, expected: &str) {
        assert_eq!(took(from, Some(to), moment().now), expected);
    }

    #[test]
    fn durations_have_two_units() {
        check_took("2025-11-21T11:00:00Z", "2025-11-21T11:00:42Z", "42 s");
        check_took("2025-11-21T11:00:00Z", "2025-11-21T11:02:05Z", "2 min 5 s");
        check_took("2025-11-21T11:00:00Z", "2025-11-21T11:02:00Z", "2 min");
        check_took("2025-11-21T09:00:00Z", "2025-11-21T11:02:00Z", "2 h 2 min");
        check_took("2025-11-19T09:00:00Z", "2025-11-21T11:02:00Z", "2 d 2 h");
        // A clock that was set back in between.
        check_took("2025-11-21T11:00:42Z", "2025-11-21T11:00:00Z", "0 s");
        check_took("2025-11-21T11:00:42Z", "x", "");
        assert_eq!(took("2025-11-21T11:59:00Z", None, moment().now), "1 min");
    }

    #[test]
    fn times_are_in_the_readers_zone() {
        assert_eq!(moment().at("2025-11-21T11:00:05Z"), "2025-11-21 12:00:05");
        assert_eq!(moment().minute("2025-11-21T11:00:05Z"), "2025-11-21 12:00");
        assert_eq!(moment().clock("2025-11-21T11:00:05Z"), "12:00:05");
        assert_eq!(moment().at("soon"), "soon");
    }
}
