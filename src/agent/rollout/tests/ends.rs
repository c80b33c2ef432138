//! What ends without a trial, and what is said of it.

use super::{
    Blocked, Kind, Seen, Step, check, closure, commit, decide, deployment, held, policy, seen,
};

#[test]
fn what_is_blocked_says_what_allows_it_again() {
    let one = seen(vec![deployment(1, 'a', held("one"))]);
    let step = decide(&Seen { blocked: Blocked::from([closure("one")]), ..one }, &policy());
    let Step::End(_, end) = step else { panic!("it ends: {step:?}") };
    assert_eq!(
        end.hint.as_deref(),
        Some(format!("`autodeployctl unblock {}` allows it again", closure("one")).as_str())
    );
}

/// What a person goes back to was verified when it came; a mark that moved on since changes nothing.
#[test]
fn a_rollback_to_what_runs_asks_for_no_verdict() {
    let mut back = deployment(1, 'a', held("base"));
    back.kind = Kind::Rollback;
    let moved_on = Seen { mark: Some(commit('b')), ..seen(vec![back]) };
    check(&moved_on, "end 1 kept already-running");
}
