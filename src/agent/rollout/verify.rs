//! Whether a commit may be deployed, from what Git says about where it comes from: PURE.
//!
//! Signatures will be looked at here as well, over [`Lineage::first_parents`].

use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};

/// Where a tip comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The commit that it was compared with: the mark, or the introduction.
    pub base: Option<CommitId>,
    /// The tip is the base, or descends from it.
    pub descends: bool,
    /// The base is in the repository.
    pub base_known: bool,
    /// Every commit from the base (left out) to the tip along first parents, newest first.
    pub first_parents: Vec<CommitId>,
    /// The first line of the tip's message, escaped.
    pub subject: String,
    /// The tip's committer date, in seconds since 1970.
    pub committed_at: i64,
    /// The base's.
    pub base_committed_at: Option<i64>,
}

/// Says whether the tip may be deployed after the commit that it was compared with.
///
/// # Errors
/// It may not, and why.
pub fn verdict(tip: &CommitId, lineage: &Lineage) -> Result<(), Failure> {
    let Some(base) = &lineage.base else { return Ok(()) };
    let refused = |reason, message: String| {
        let hint = "if the branch was rewritten on purpose, a person has to say which commit is \
                    to be believed";
        Err(Failure::new(reason, message).hint(hint))
    };
    if !lineage.descends {
        let gone = match lineage.base_known {
            true => "",
            false => ", which the remote does not have any more",
        };
        let message = format!("commit `{tip}` does not descend from `{base}`{gone}");
        return refused(Reason::NOT_A_DESCENDANT, message);
    }
    match lineage.base_committed_at {
        Some(before) if lineage.committed_at < before => {
            let message = format!("the date of commit `{tip}` lies before that of `{base}`");
            refused(Reason::DATE_WENT_BACK, message)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    #[track_caller]
    fn check(base: Option<char>, lineage: Lineage, expected: Result<(), Reason>) {
        let got = verdict(&commit('a'), &Lineage { base: base.map(commit), ..lineage });
        assert_eq!(got.map_err(|failure| failure.reason), expected);
    }

    fn lineage(descends: bool, dates: (i64, i64)) -> Lineage {
        let (committed_at, base) = dates;
        let base_committed_at = Some(base);
        Lineage {
            descends,
            base_known: true,
            committed_at,
            base_committed_at,
            ..Default::default()
        }
    }

    #[test]
    fn a_tip_descends_from_the_mark_and_is_not_older() {
        check(None, lineage(false, (1, 2)), Ok(()));
        check(Some('b'), lineage(true, (2, 2)), Ok(()));
        check(Some('b'), lineage(true, (1, 2)), Err(Reason::DATE_WENT_BACK));
        check(Some('b'), lineage(false, (2, 1)), Err(Reason::NOT_A_DESCENDANT));
    }

    #[test]
    fn a_refusal_names_both_commits() {
        let lineage = Lineage { base: Some(commit('b')), ..Default::default() };
        let failure = verdict(&commit('a'), &lineage).unwrap_err();
        assert_eq!(
            failure.message,
            format!(
                "commit `{}` does not descend from `{}`, which the remote does not have any more",
                commit('a'),
                commit('b')
            )
        );
    }
}
