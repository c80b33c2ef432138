//! Whether a commit may be deployed, from what Git says about where it comes from and who signed
//! what lies between it and the mark: PURE.
//!
//! A verdict holds only for what it was made [`Under`].

use std::fmt;

use crate::agent::rollout::seen::time_text;
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};
use crate::trust::{Examined, Found, KeysId};

/// What a verdict was made under; with other keys or another mark it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Under {
    /// The commit that the tip was compared with: the mark, or the introduction.
    pub base: Option<CommitId>,
    /// The mode and the keys.
    pub keys: KeysId,
}

/// How it is stored: the base, and after a blank the keys. A release that knows no keys reads this
/// as no base at all, and verifies again.
impl fmt::Display for Under {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base.as_ref().map_or("-", CommitId::as_str);
        write!(f, "{base} {}", self.keys)
    }
}

impl Under {
    /// Reads what was stored; also what a release without keys has stored.
    pub fn stored(text: &str) -> Under {
        let (base, keys) = text.split_once(' ').unwrap_or((text, ""));
        Under { base: base.parse().ok(), keys: KeysId::stored(keys) }
    }
}

/// The codes with which a commit is refused, whatever becomes of it: asked again under the same
/// keys and the same mark, the answer is the same.
const REFUSALS: [Reason; 7] = [
    Reason::NOT_A_DESCENDANT,
    Reason::DATE_WENT_BACK,
    Reason::NOT_SIGNED,
    Reason::BAD_SIGNATURE,
    Reason::UNTRUSTED_KEY,
    Reason::UNSUPPORTED_SIGNATURE,
    Reason::TOO_MANY_COMMITS,
];

/// Where a tip comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The commit that it was compared with: the mark, or the introduction.
    pub base: Option<CommitId>,
    /// The tip is the base, or descends from it.
    pub descends: bool,
    /// The base is in the repository.
    pub base_known: bool,
    /// The first line of the tip's message, escaped.
    pub subject: String,
    /// The tip's committer date, in seconds since 1970.
    pub committed_at: i64,
    /// The base's.
    pub base_committed_at: Option<i64>,
    /// What the signatures of the commits from the base (left out) to the tip say, along first
    /// parents, and under which keys.
    pub signed: Examined,
}

impl Lineage {
    /// Returns what a verdict about this is made under.
    pub fn under(&self) -> Under {
        Under { base: self.base.clone(), keys: self.signed.under.clone() }
    }

    /// Says who signed, the signer of the newest commit first; nothing where nobody asked.
    pub fn signers(&self) -> Option<String> {
        match &self.signed.found {
            Found::Good { by, .. } if !by.is_empty() => {
                Some(by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Found::Good { .. }
            | Found::NotAsked
            | Found::Refused { .. }
            | Found::TooMany { .. } => None,
        }
    }
}

/// What a tip has to descend from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The commit.
    pub commit: CommitId,
    /// Why that one.
    pub named: Named,
}

/// Why a tip has to descend from a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It is the mark: the last kept commit of the branch.
    Mark,
    /// `trust.introduction` names it, and nothing was kept yet.
    Introduction,
    /// A person put it in the place of the mark.
    Reanchored,
}

impl Named {
    fn in_words(self) -> &'static str {
        match self {
            Named::Mark => "the last kept commit",
            Named::Introduction => "the commit that `trust.introduction` names",
            Named::Reanchored => "the commit that `autodeployctl reanchor` named",
        }
    }
}

/// Tells whether a reason is one that a commit was refused for.
pub fn is_refusal(reason: &Reason) -> bool {
    REFUSALS.contains(reason)
}

/// Says whether the tip may be deployed after the commit that it was compared with.
///
/// # Errors
/// It may not, and why.
pub fn verdict(tip: &CommitId, lineage: &Lineage, named: Named) -> Result<(), Failure> {
    comes_from(tip, lineage, named)?;
    is_signed(tip, lineage, named)
}

fn comes_from(tip: &CommitId, lineage: &Lineage, named: Named) -> Result<(), Failure> {
    let Some(base) = &lineage.base else { return Ok(()) };
    if !lineage.descends {
        let gone = match lineage.base_known {
            true => "",
            false => ", which the branch of the remote does not have",
        };
        let what = named.in_words();
        let message = format!("commit `{tip}` does not descend from `{base}`, {what}{gone}");
        return Err(Failure::new(Reason::NOT_A_DESCENDANT, message).hint(way_on(tip, named)));
    }
    not_back((tip, lineage.committed_at), (tip, lineage, named))
}

fn is_signed(tip: &CommitId, lineage: &Lineage, named: Named) -> Result<(), Failure> {
    match &lineage.signed.found {
        Found::NotAsked | Found::Good { oldest: None, .. } => Ok(()),
        // A date that is set back to when an old key still counted.
        Found::Good { oldest: Some((commit, at)), .. } => {
            not_back((commit, *at), (tip, lineage, named))
        }
        Found::Refused { commit, refusal } => {
            let below = match commit == tip {
                true => String::new(),
                false => format!(", and so not `{}` on top of it", tip.short()),
            };
            let message =
                format!("commit `{commit}` may not be deployed{below}: {}", refusal.sentence());
            let hint = format!("{WHAT_TO_DO}; {}", reanchor(tip));
            Err(Failure::new(refusal.reason(), message).hint(hint))
        }
        Found::TooMany { commits } => {
            let message = format!(
                "{commits} commits lie between `{}` and {}, more than are verified at once",
                tip.short(),
                named.in_words()
            );
            Err(Failure::new(Reason::TOO_MANY_COMMITS, message).hint(reanchor(tip)))
        }
    }
}

const WHAT_TO_DO: &str = "a commit on top does not mend it: push the branch again without that \
                          commit, signed by an allowed key; see `docs/security.md`";

/// The date of a commit may not lie before that of the base.
fn not_back(
    (commit, at): (&CommitId, i64),
    (tip, lineage, named): (&CommitId, &Lineage, Named),
) -> Result<(), Failure> {
    match (lineage.base_committed_at, &lineage.base) {
        (Some(before), Some(base)) if at < before => {
            let (date, before) = (time_text(at), time_text(before));
            let what = named.in_words();
            Err(Failure::new(
                Reason::DATE_WENT_BACK,
                format!(
                    "the date of commit `{commit}`, {date}, lies before that of `{base}`, {what}: \
                     {before}"
                ),
            )
            .hint(way_on(tip, named)))
        }
        _ => Ok(()),
    }
}

fn reanchor(tip: &CommitId) -> String {
    format!("`autodeployctl reanchor {tip} --reason …` believes this commit")
}

/// Says what a person can do about a refused tip.
fn way_on(tip: &CommitId, named: Named) -> String {
    let reanchor = reanchor(tip);
    match named {
        Named::Mark | Named::Reanchored => format!(
            "if nobody here rewrote the branch, find out who did; if it was on purpose, {reanchor}"
        ),
        Named::Introduction => format!(
            "compare `trust.introduction`, `source.url` and `source.branch` with the repository; \
             {reanchor} instead"
        ),
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
        for named in [Named::Mark, Named::Introduction, Named::Reanchored] {
            let lineage = Lineage { base: base.map(commit), ..lineage.clone() };
            let got = verdict(&commit('a'), &lineage, named);
            assert_eq!(got.map_err(|failure| failure.reason), expected);
        }
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
    fn where_no_commit_is_new_nobody_signed() {
        let found = Found::Good { by: Vec::new(), oldest: None };
        let signed = Examined { found, ..Examined::default() };
        assert_eq!(Lineage { signed, ..Lineage::default() }.signers(), None);
    }

    /// What is said with the letters `a` and `b` in the place of tip and base.
    #[track_caller]
    fn says(lineage: Lineage, named: Named, message: &str, hint: &str) {
        let lineage = Lineage { base: Some(commit('b')), ..lineage };
        let failure = verdict(&commit('a'), &lineage, named).unwrap_err();
        let short = |text: String| {
            text.replace(commit('a').as_str(), "a").replace(commit('b').as_str(), "b")
        };
        assert_eq!(short(failure.message), message);
        let said = short(failure.hint.unwrap());
        assert!(said.contains(hint), "{said}");
        assert!(said.contains("`autodeployctl reanchor a --reason …`"), "{said}");
    }

    #[test]
    fn a_refusal_names_both_commits_why_and_the_way_on() {
        says(
            lineage(false, (2, 1)),
            Named::Mark,
            "commit `a` does not descend from `b`, the last kept commit",
            "find out who did",
        );
        says(
            Lineage { base_known: false, ..lineage(false, (2, 1)) },
            Named::Introduction,
            "commit `a` does not descend from `b`, the commit that `trust.introduction` names, \
             which the branch of the remote does not have",
            "`source.url`",
        );
        says(
            lineage(true, (86_400, 172_800)),
            Named::Reanchored,
            "the date of commit `a`, 1970-01-02T00:00:00Z, lies before that of `b`, the commit \
             that `autodeployctl reanchor` named: 1970-01-03T00:00:00Z",
            "on purpose",
        );
    }

    fn signed(found: Found) -> Lineage {
        let signed = Examined { under: KeysId::stored("keys"), found };
        Lineage { signed, ..lineage(true, (5, 3)) }
    }

    #[test]
    fn p19_one_bad_commit_and_nothing_of_the_range_is_deployed() {
        use crate::trust::Refusal;
        let refused = |letter, refusal| Found::Refused { commit: commit(letter), refusal };
        let key = || "SHA256:x".to_owned();
        let oldest = |at| Found::Good { by: Vec::new(), oldest: Some((commit('e'), at)) };
        check(Some('b'), signed(refused('d', Refusal::Unsigned)), Err(Reason::NOT_SIGNED));
        check(None, signed(refused('a', Refusal::Unsigned)), Err(Reason::NOT_SIGNED));
        let unknown = Refusal::UnknownKey { key: key() };
        check(Some('b'), signed(refused('a', unknown)), Err(Reason::UNTRUSTED_KEY));
        let bad = Refusal::BadSignature { key: key() };
        check(Some('b'), signed(refused('a', bad)), Err(Reason::BAD_SIGNATURE));
        check(Some('b'), signed(Found::TooMany { commits: 5 }), Err(Reason::TOO_MANY_COMMITS));
        check(Some('b'), signed(oldest(3)), Ok(()));
        check(Some('b'), signed(oldest(2)), Err(Reason::DATE_WENT_BACK));
        check(None, signed(Found::Good { by: Vec::new(), oldest: None }), Ok(()));
        // Where it comes from counts first.
        let elsewhere = Lineage { descends: false, ..signed(refused('a', Refusal::Unsigned)) };
        check(Some('b'), elsewhere, Err(Reason::NOT_A_DESCENDANT));
    }

    #[test]
    fn a_refusal_names_the_commit_the_key_and_what_to_do() {
        use crate::trust::Refusal;
        let refusal = Refusal::UnknownKey { key: "SHA256:abc\u{1b}".to_owned() };
        let failure = verdict(
            &commit('a'),
            &signed(Found::Refused { commit: commit('d'), refusal }),
            Named::Mark,
        )
        .unwrap_err();
        assert_eq!(
            failure.message,
            format!(
                "commit `{}` may not be deployed, and so not `aaaaaaaa` on top of it: it is signed \
                 by the key `SHA256:abc\\u{{1b}}`, which is not allowed",
                commit('d')
            )
        );
        assert!(failure.hint.unwrap().contains("a commit on top does not mend it"));
    }

    #[test]
    fn what_a_verdict_was_made_under_is_stored_and_read_again() {
        for base in [None, Some(commit('b'))] {
            let under = Under { base, keys: KeysId::stored("0123") };
            assert_eq!(Under::stored(&under.to_string()), under);
        }
        let before = Under { base: Some(commit('b')), keys: KeysId::default() };
        assert_eq!(Under::stored(commit('b').as_str()), before);
    }
}
