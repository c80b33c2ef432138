//! Times as files of keys write them, and as they are shown.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with a `Z` or `UTC` at the end for UTC,
/// otherwise in the machine's time zone; as ssh-keygen(1) has it. Seconds since 1970, never
/// negative.
pub fn absolute(text: &str, zone: &TimeZone) -> Option<i64> {
    let utc = ["Z", "UTC"].iter().find_map(|tail| {
        let (digits, end) = text.split_at_checked(text.len().checked_sub(tail.len())?)?;
        end.eq_ignore_ascii_case(tail).then_some(digits)
    });
    let (digits, zone) = match utc {
        Some(digits) => (digits, &TimeZone::UTC),
        None => (text, zone),
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).unwrap_or("0").parse::<i16>().ok();
    let small = |from, to| number(from, to).and_then(|number| i8::try_from(number).ok());
    let (hour, minute) = (small(8, 10)?, small(10, 12)?);
    // A leap second is what strptime reads; it ends with the second before.
    let second = small(12, 14)?.min(59);
    let civil =
        DateTime::new(number(0, 4)?, small(4, 6)?, small(6, 8)?, hour, minute, second, 0).ok()?;
    let seconds = civil.to_zoned(zone.clone()).ok()?.timestamp().as_second();
    (seconds >= 0).then_some(seconds)
}

/// Returns seconds since 1970 as RFC 3339 in UTC.
pub fn text(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{seconds} s after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, zone: &str, expected: Option<&str>) {
        let zone = TimeZone::posix(zone).unwrap();
        let expected = expected.map(|time| time.parse::<Timestamp>().unwrap().as_second());
        assert_eq!(absolute(text, &zone), expected, "{text}");
    }

    #[test]
    fn times_are_local_unless_they_say_utc() {
        check("20240102", "UTC0", Some("2024-01-02T00:00:00Z"));
        check("20240102", "IST-5:30", Some("2024-01-01T18:30:00Z"));
        check("20240102Z", "IST-5:30", Some("2024-01-02T00:00:00Z"));
        check("202401020304z", "IST-5:30", Some("2024-01-02T03:04:00Z"));
        check("20240102030405UTC", "IST-5:30", Some("2024-01-02T03:04:05Z"));
        check("20240102030405", "CET-1CEST,M3.5.0,M10.5.0/3", Some("2024-01-02T02:04:05Z"));
        check("20240702030405", "CET-1CEST,M3.5.0,M10.5.0/3", Some("2024-07-02T01:04:05Z"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        let wrong = ["", "Z", "2024", "20241301", "20240132", "2024010225", "20240102256000"];
        for text in wrong.into_iter().chain(["2024010a", "+2024010", "20240102ZZ", "19690101Z"]) {
            check(text, "UTC0", None);
        }
    }
}
