//! What is wrong with a configuration, where, and what to write instead.

use crate::model::failure::{Failure, Reason};
use crate::model::text::escaped;

/// One thing that is wrong in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; `None` for what is missing.
    pub line: Option<usize>,
    /// What is wrong, without the place.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// What is wrong with a value; the key and the line are added by whoever looked it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The rest of a sentence that begins with the key.
    pub says: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Complaint {
    /// Makes a complaint without a hint.
    pub fn new(says: impl Into<String>) -> Complaint {
        Complaint { says: says.into(), hint: None }
    }

    /// Adds what to write instead.
    pub fn hint(self, hint: impl Into<String>) -> Complaint {
        Complaint { hint: Some(hint.into()), ..self }
    }
}

impl Problem {
    /// Makes a problem of a complaint about `key`.
    pub fn of(key: &str, line: Option<usize>, complaint: Complaint) -> Problem {
        Problem { line, message: format!("`{key}` {}", complaint.says), hint: complaint.hint }
    }

    /// Returns it with the file in front, as a failure.
    pub fn into_failure(self, path: &str) -> Failure {
        let message = match self.line {
            Some(line) => format!("`{path}` line {line}: {}", self.message),
            None => format!("`{path}`: {}", self.message),
        };
        Failure { reason: Reason::BAD_CONFIGURATION, message, hint: self.hint }
    }

    /// Returns it as one line without the file.
    pub fn into_line(self) -> String {
        match self.line {
            Some(line) => format!("line {line}: {}", self.message),
            None => self.message,
        }
    }
}

/// Returns the one of `known` that was probably meant by `typed`.
pub fn near<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = escaped(typed, 80).replace('-', "_");
    let measured = known.into_iter().map(|name| (distance(&typed, &name.replace('-', "_")), name));
    let (edits, name) = measured.min()?;
    (edits <= 1 + name.len() / 4).then_some(name)
}

/// Counts the edits (insert, remove, replace, swap neighbours) between two short texts.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in [
            ("", "", 0),
            ("abc", "", 3),
            ("pol", "poll", 1),
            ("brnach", "branch", 1),
            ("a", "b", 1),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn only_a_near_name_is_meant() {
        let known = ["branch", "poll_interval", "url"];
        assert_eq!(near("pol_interval", known), Some("poll_interval"));
        assert_eq!(near("poll-interval", known), Some("poll_interval"));
        assert_eq!(near("uri", known), Some("url"));
        assert_eq!(near("webhook", known), None);
        assert_eq!(near("", []), None);
    }
}
