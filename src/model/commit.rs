//! The name of a Git commit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A full object name: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// A text that is not a full commit name.
#[derive(Debug, PartialEq, Eq)]
pub struct NotACommit(String);

impl CommitId {
    /// Returns all digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first eight digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl FromStr for CommitId {
    type Err = NotACommit;

    fn from_str(text: &str) -> Result<Self, NotACommit> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match matches!(text.len(), 40 | 64) && text.bytes().all(digit) {
            true => Ok(CommitId(text.to_owned())),
            false => Err(NotACommit(crate::model::text::escaped(text, 80))),
        }
    }
}

impl TryFrom<String> for CommitId {
    type Error = NotACommit;

    fn try_from(text: String) -> Result<Self, NotACommit> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(commit: CommitId) -> String {
        commit.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Display for NotACommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a full commit name (40 or 64 hexadecimal digits)", self.0)
    }
}

impl std::error::Error for NotACommit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, accepted: bool) {
        assert_eq!(text.parse::<CommitId>().is_ok(), accepted, "{text}");
    }

    #[test]
    fn only_full_lower_case_names_are_commits() {
        check(&"a1".repeat(20), true);
        check(&"0f".repeat(32), true);
        check(&"A1".repeat(20), false);
        check(&"a".repeat(39), false);
        check("", false);
        check("refs/heads/main", false);
        check(&format!("{}\n", "a".repeat(39)), false);
    }

    #[test]
    fn a_bad_name_is_shown_escaped() {
        let error = "\x1b[2J".parse::<CommitId>().unwrap_err().to_string();
        assert_eq!(error, r"`\u{1b}[2J` is not a full commit name (40 or 64 hexadecimal digits)");
    }
}
