//! Time spans as systemd writes them: `90s`, `5min`, `1h 30min`, `1.5h`.
//!
//! The units and their lengths are those of systemd.time(7). Two things of it are left out on
//! purpose: a number without a unit (systemd reads seconds, people mean minutes), and `infinity`
//! (nothing here may be without a limit).

use std::time::Duration;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// Every unit by its names, with its length in nanoseconds.
const UNITS: &[(&[&str], u128)] = &[
    (&["ns", "nsec"], 1),
    (&["us", "usec", "µs", "μs"], 1_000),
    (&["ms", "msec"], 1_000_000),
    (&["s", "sec", "second", "seconds"], NANOSECONDS_PER_SECOND),
    (&["m", "min", "minute", "minutes"], 60 * NANOSECONDS_PER_SECOND),
    (&["h", "hr", "hour", "hours"], 3_600 * NANOSECONDS_PER_SECOND),
    (&["d", "day", "days"], 86_400 * NANOSECONDS_PER_SECOND),
    (&["w", "week", "weeks"], 604_800 * NANOSECONDS_PER_SECOND),
    (&["M", "month", "months"], 2_629_800 * NANOSECONDS_PER_SECOND),
    (&["y", "year", "years"], 31_557_600 * NANOSECONDS_PER_SECOND),
];

/// The units that [`shown`] uses, longest first.
const SHOWN: &[(&str, u128)] = &[
    ("d", 86_400 * NANOSECONDS_PER_SECOND),
    ("h", 3_600 * NANOSECONDS_PER_SECOND),
    ("min", 60 * NANOSECONDS_PER_SECOND),
    ("s", NANOSECONDS_PER_SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// No span is longer; about 292 years, as in systemd.
const LONGEST_NANOSECONDS: u128 = u64::MAX as u128 / 2;

/// Why a text is not a time span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotASpan {
    /// Nothing but blanks.
    Empty,
    /// A number that no unit follows.
    NoUnit,
    /// Something that is no unit.
    UnknownUnit(String),
    /// No number where one has to be.
    NotANumber,
    /// Longer than can be counted.
    TooLong,
}

/// Reads a time span: numbers, each with its unit, added up; blanks between them are allowed.
///
/// # Errors
/// The text is not a time span.
pub fn parse(text: &str) -> Result<Duration, NotASpan> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NotASpan::Empty);
    }
    let mut sum: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        sum = sum.checked_add(part(number, unit)?).ok_or(NotASpan::TooLong)?;
        rest = after.trim_start();
    }
    match sum <= LONGEST_NANOSECONDS {
        true => Ok(Duration::from_nanos(sum as u64)),
        false => Err(NotASpan::TooLong),
    }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Returns the length of one number with its unit, in nanoseconds.
fn part(number: &str, unit: &str) -> Result<u128, NotASpan> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) || number == "." {
        return Err(NotASpan::NotANumber);
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(NotASpan::NotANumber);
    }
    if unit.is_empty() {
        return Err(NotASpan::NoUnit);
    }
    let known = UNITS.iter().find(|(names, _)| names.contains(&unit));
    let (_, length) = known.ok_or_else(|| NotASpan::UnknownUnit(unit.to_owned()))?;
    let whole: u128 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| NotASpan::TooLong)?,
    };
    let whole = whole.checked_mul(*length).ok_or(NotASpan::TooLong)?;
    whole.checked_add(fraction_of(fraction, *length)).ok_or(NotASpan::TooLong)
}

/// Returns `0.<digits>` of a length, rounded down; digits beyond a nanosecond count for nothing.
fn fraction_of(digits: &str, length: u128) -> u128 {
    let digits = &digits[..digits.len().min(18)];
    let numerator: u128 = digits.parse().unwrap_or(0);
    numerator * length / 10_u128.pow(digits.len() as u32)
}

/// Writes a span the way [`parse`] reads it, in the longest units that fit: `1min 30s`.
pub fn shown(span: Duration) -> String {
    let mut rest = span.as_nanos();
    let mut words = Vec::new();
    for (unit, length) in SHOWN {
        if rest >= *length {
            words.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    match words.is_empty() {
        true => "0s".to_owned(),
        false => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, milliseconds: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, why: NotASpan) {
        assert_eq!(parse(text), Err(why), "{text}");
    }

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        check("90s", 90_000);
        check("5min", 300_000);
        check("1h 30min", 5_400_000);
        check("1h30min", 5_400_000);
        check(" 2 h ", 7_200_000);
        check("55s500ms", 55_500);
        check("1.5h", 5_400_000);
        check(".5s", 500);
        check("2.s", 2_000);
        check("300ms20s 5day", 432_020_300);
        check("1w", 604_800_000);
        check("1y 12month", 63_115_200_000);
        check("2M 2m", 5_259_720_000);
        check("1500us 500000ns", 2);
        check("1µs 1μs 998usec", 1);
        check("0s", 0);
    }

    #[test]
    fn what_is_not_a_span_is_told_apart() {
        refused("", NotASpan::Empty);
        refused("  ", NotASpan::Empty);
        refused("90", NotASpan::NoUnit);
        refused("1h 30", NotASpan::NoUnit);
        refused("5 minuten", NotASpan::UnknownUnit("minuten".to_owned()));
        refused("5Min", NotASpan::UnknownUnit("Min".to_owned()));
        refused("infinity", NotASpan::NotANumber);
        refused("min", NotASpan::NotANumber);
        refused(".s", NotASpan::NotANumber);
        refused("1.2.3s", NotASpan::NotANumber);
        refused("-5s", NotASpan::NotANumber);
        refused("5s,", NotASpan::NotANumber);
        refused("300y", NotASpan::TooLong);
        refused(&format!("{}s", "9".repeat(60)), NotASpan::TooLong);
    }

    #[test]
    fn shown_is_short_and_exact() {
        let shown = |milliseconds| shown(Duration::from_millis(milliseconds));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(90_500), "1min 30s 500ms");
        assert_eq!(shown(172_800_000), "2d");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanoseconds in 0..=LONGEST_NANOSECONDS as u64) {
            let span = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse(&shown(span)), Ok(span));
        }

        #[test]
        fn no_text_panics(text in "\\PC*", span in "[0-9. a-zµ]{0,40}") {
            let _ = (parse(&text), parse(&span));
        }
    }
}
