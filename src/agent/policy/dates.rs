//! When the last commits that were looked at were committed: PURE.
//!
//! Kept as one short text, so that the age of the tip and of the mark is known after a restart
//! without asking Git again.

use crate::agent::rollout::seen::{time_from, time_text};
use crate::model::commit::CommitId;

/// More than can matter at once: the mark, the tip, and tips that a force-push goes back to.
const REMEMBERED: usize = 16;

/// The dates of some commits, in seconds since 1970; the one that was looked at last comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dates(Vec<(CommitId, i64)>);

impl Dates {
    /// Reads what [`Dates::text`] wrote; a line that is not understood is left out.
    pub fn read(text: &str) -> Dates {
        let line = |line: &str| {
            let (commit, date) = line.split_once(' ')?;
            Some((commit.parse().ok()?, time_from(date)))
        };
        Dates(text.lines().filter_map(line).take(REMEMBERED).collect())
    }

    /// Returns a line for each commit.
    pub fn text(&self) -> String {
        let line = |(commit, date): &(CommitId, i64)| format!("{commit} {}\n", time_text(*date));
        self.0.iter().map(line).collect()
    }

    /// Returns the same with the date of one more commit; what was looked at longest ago goes.
    pub fn with(&self, commit: &CommitId, date: i64) -> Dates {
        let others = self.0.iter().filter(|(known, _)| known != commit).cloned();
        let all = [(commit.clone(), date)].into_iter().chain(others);
        Dates(all.take(REMEMBERED).collect())
    }

    /// Returns the commit that was looked at last, with its date.
    pub fn latest(&self) -> Option<(&CommitId, i64)> {
        self.0.first().map(|(commit, date)| (commit, *date))
    }

    /// Returns the date of a commit, if it is remembered.
    pub fn of(&self, commit: Option<&CommitId>) -> Option<i64> {
        self.0.iter().find(|(known, _)| Some(known) == commit).map(|(_, date)| *date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(number: u32) -> CommitId {
        format!("{number:040}").parse().unwrap()
    }

    #[test]
    fn a_date_is_known_after_it_was_written_and_read() {
        let dates = Dates::default().with(&commit(1), 100).with(&commit(2), -7);
        let read = Dates::read(&dates.text());
        assert_eq!(read.latest(), Some((&commit(2), -7)));
        assert_eq!(read, dates);
        assert_eq!((read.of(Some(&commit(1))), read.of(Some(&commit(2)))), (Some(100), Some(-7)));
        assert_eq!((read.of(Some(&commit(3))), read.of(None)), (None, None));
        assert_eq!(Dates::read("nonsense\nmore of it"), Dates::default());
    }

    #[test]
    fn only_the_commits_that_were_looked_at_last_are_remembered() {
        let all = (1..=20).fold(Dates::default(), |dates, n| dates.with(&commit(n), i64::from(n)));
        assert_eq!((all.of(Some(&commit(4))), all.of(Some(&commit(5)))), (None, Some(5)));
        let again = all.with(&commit(5), 6);
        assert_eq!((again.of(Some(&commit(5))), again.0.len()), (Some(6), REMEMBERED));
    }
}
