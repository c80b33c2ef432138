//! Sizes: `"2GiB"`, `"500 MB"`.

/// Every unit with its length in bytes.
const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a whole number with its unit, in bytes; `None` if that is not what the text is.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*length)
}

/// Writes a size in the largest binary unit that divides it.
pub fn shown(bytes: u64) -> String {
    let binary = UNITS.iter().rev().filter(|(name, _)| *name == "B" || name.ends_with("iB"));
    let fits = binary.into_iter().find(|(_, length)| bytes.is_multiple_of(*length) && bytes > 0);
    match fits {
        Some((name, length)) => format!("{}{name}", bytes / length),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, bytes: Option<u64>) {
        assert_eq!(parse(text), bytes, "{text}");
    }

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        check("2GiB", Some(2 << 30));
        check(" 500 MB ", Some(500_000_000));
        check("0B", Some(0));
        check("500", None);
        check("1.5GiB", None);
        check("2gib", None);
        check("GiB", None);
        check("-1B", None);
        check("99999999999TiB", None);
    }

    #[test]
    fn shown_takes_the_largest_unit_that_divides() {
        assert_eq!(shown(2 << 30), "2GiB");
        assert_eq!(shown(1_000), "1000B");
        assert_eq!(shown(0), "0B");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes: u64) {
            prop_assert_eq!(parse(&shown(bytes)), Some(bytes));
        }
    }
}
