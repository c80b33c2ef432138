//! What a kept closure means for what is refused, and for what the next tip has to descend from.

use crate::activator::record::{Record, Trial};
use crate::handover::mark;
use crate::handover::report::Reverted;
use crate::handover::request::Request;
use crate::model::deployment::Kind;
use crate::model::failure::Reason;

impl Record {
    /// A person went back from what was followed: it is refused, or an agent whose history was lost
    /// would bring it back. What was only tested by hand was never followed.
    pub(super) fn leave(&mut self, trial: &Trial, at: &str) {
        let left = trial.left().map(|old| old.toplevel.clone());
        let left = left.filter(|left| *left != trial.request.toplevel);
        if let (Kind::Rollback, Some(left)) = (trial.request.kind, left) {
            let kept = self.last_kept.as_ref().filter(|kept| kept.toplevel == left);
            self.refuse(Reverted {
                commit: kept.and_then(|kept| kept.commit.clone()),
                toplevel: left,
                reason: Reason::BY_OPERATOR,
                since: at.to_owned(),
                deployment: trial.request.deployment,
            });
        }
    }

    /// Returns what the next tip has to descend from, now that this was kept.
    ///
    /// A record of the release before has none: there it was the commit of the last kept closure.
    pub(super) fn mark_after(&self, kept: &Request) -> Option<mark::Mark> {
        match (kept.kind, &kept.commit) {
            (Kind::Follow, Some(commit)) => {
                Some(mark::Mark { commit: Some(commit.clone()), reanchored: None })
            }
            (Kind::Follow | Kind::Rollback, _) => self.mark(),
        }
    }

    /// Returns what the next tip has to descend from, as far as it was ever told.
    pub fn mark(&self) -> Option<mark::Mark> {
        let kept = || self.last_kept.as_ref().and_then(|kept| kept.commit.clone());
        let of_kept = || kept().map(|commit| mark::Mark { commit: Some(commit), reanchored: None });
        self.mark.clone().or_else(of_kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activator::record::tests::{path, record, request};
    use crate::activator::trial::ending;
    use crate::handover::report::Kept;

    /// What the next tip has to descend from after this was kept, on a record that knows `mark`, or
    /// of the release before, which knew only the last kept closure's commit.
    #[track_caller]
    fn marks(kind: Kind, commit: Option<char>, known: Option<mark::Mark>, expected: char) {
        let commit_of = |letter: char| letter.to_string().repeat(40).parse().ok();
        let mut record = record();
        record.mark = known;
        let (toplevel, commit_before) = (path('a'), commit_of('d'));
        record.last_kept =
            Some(Kept { toplevel, commit: commit_before, generation: 6, at: "then".to_owned() });
        let trial = record.trial.as_mut().unwrap();
        let commit = commit.and_then(commit_of);
        trial.request = Request { kind, commit, ..request() };
        record.remember(&ending::kept(7), "now");
        let expected = mark::Mark { commit: commit_of(expected), reanchored: None };
        assert_eq!(record.mark(), Some(expected));
    }

    #[test]
    fn only_a_commit_of_the_branch_moves_the_mark() {
        let reanchored = "e".repeat(40).parse().ok();
        let known = mark::Mark { commit: "f".repeat(40).parse().ok(), reanchored: None };
        marks(Kind::Follow, Some('c'), None, 'c');
        marks(Kind::Follow, Some('c'), Some(known.clone()), 'c');
        marks(Kind::Follow, Some('c'), Some(mark::Mark { reanchored, ..known.clone() }), 'c');
        // Back to an older system, to one without a commit, and what drift is restored to.
        for commit in [Some('b'), None] {
            marks(Kind::Rollback, commit, None, 'd');
            marks(Kind::Rollback, commit, Some(known.clone()), 'f');
        }
        marks(Kind::Follow, None, None, 'd');
        marks(Kind::Follow, None, Some(known), 'f');
    }
}
