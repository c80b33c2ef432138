//! Whether what ended is looked at or tried again, and when: a tip, and a restore.

use super::*;
use crate::agent::rollout::verdict::{Again, Verdict, again};
use crate::trust::KeysId;

fn verdict(outcome: Outcome, retry: bool) -> Verdict {
    Verdict {
        deployment: DeploymentId(1),
        outcome,
        reason: Reason::INTERNAL,
        message: String::new(),
        hint: None,
        toplevel: Some(closure("one")),
        attempts: 1,
        retry,
        ended_at_s: 990,
        under: None,
    }
}

#[test]
fn p21_a_refusal_holds_only_under_the_keys_that_it_was_made_under() {
    let refused = |reason, keys: &str| Verdict {
        reason,
        under: Some(Under { base: None, keys: KeysId::stored(keys) }),
        ..verdict(Outcome::Failed, false)
    };
    let mut seen = seen(vec![]);
    seen.world.keys = KeysId::stored("these");
    for reason in [Reason::NOT_SIGNED, Reason::UNTRUSTED_KEY, Reason::DATE_WENT_BACK] {
        assert_eq!(again(&refused(reason.clone(), "these"), &seen, &policy()), Again::Never);
        assert_eq!(again(&refused(reason, "others"), &seen, &policy()), Again::Now);
    }
    assert_eq!(again(&refused(Reason::INTERNAL, "others"), &seen, &policy()), Again::Never);
}

#[test]
fn p21_what_was_verified_with_other_keys_is_verified_again_before_anything_comes_of_it() {
    for name in ["one", "base"] {
        let mut one = seen(vec![deployment(1, 'a', held(name))]);
        one.world.keys = KeysId::stored("others");
        check(&one, "fetch 1");
    }
    let mut runs_already = seen(vec![deployment(1, 'a', realising("base"))]);
    runs_already.world.keys = KeysId::stored("others");
    check(&runs_already, "realise 1");
    let lineage = Lineage { descends: true, ..Lineage::default() };
    let mut one = seen(vec![deployment(1, 'a', Stage::Verifying { lineage })]);
    one.world.keys = KeysId::stored("others");
    check(&one, "advance 1 fetching");
}

#[test]
fn what_failed_or_is_retried_counts_on_and_what_begins_anew_does_not() {
    let next = |outcome, retry| verdict(outcome, retry).attempts_after();
    assert_eq!(next(Outcome::Failed, true), 2);
    // A person asked for it again: the pause after the next failure is longer all the same.
    assert_eq!(next(Outcome::Failed, false), 2);
    assert_eq!(next(Outcome::Reverted, true), 2);
    assert_eq!(next(Outcome::Superseded, false), 1);
    assert_eq!(next(Outcome::Blocked, false), 1);
}

#[track_caller]
fn check_again(outcome: Outcome, retry: bool, expected: [Again; 2]) {
    let verdict = verdict(outcome, retry);
    let by_itself = seen(vec![]);
    let mut asked = by_itself.clone();
    asked.insist.now = true;
    let got = [again(&verdict, &by_itself, &policy()), again(&verdict, &asked, &policy())];
    assert_eq!(got, expected, "{outcome} {retry}");

    let blocked = Seen { blocked: Blocked::from([closure("one")]), ..asked };
    assert_eq!(again(&verdict, &blocked, &policy()), Again::Never, "{outcome}");
    let back = Moment { unix_s: 500, ..by_itself.now };
    let clock_went_back = Seen { now: back, ..by_itself };
    if let Again::At(_) = expected[0] {
        assert_eq!(again(&verdict, &clock_went_back, &policy()), Again::Now);
    }
}

#[test]
fn the_same_tip_is_tried_again_by_evidence() {
    use Again::{At, Never, Now};
    check_again(Outcome::Kept, false, [Never, Never]);
    check_again(Outcome::Failed, true, [At(1020), Now]);
    check_again(Outcome::Failed, false, [Never, Now]);
    check_again(Outcome::Reverted, true, [At(1020), Now]);
    check_again(Outcome::Reverted, false, [Now, Now]);
    check_again(Outcome::Blocked, false, [Now, Now]);
    check_again(Outcome::Interrupted, true, [Now, Now]);
    check_again(Outcome::Interrupted, false, [Never, Now]);
    check_again(Outcome::Aborted, false, [Never, Now]);
    check_again(Outcome::RevertFailed, false, [Never, Now]);
    check_again(Outcome::Superseded, false, [Now, Now]);
    check_again(Outcome::Tested, false, [Never, Never]);
    check_again(Outcome::Staged, false, [Never, Never]);
    let mut booted = seen(vec![]);
    booted.world.running = Some(closure("one"));
    assert_eq!(again(&verdict(Outcome::Staged, false), &booted, &policy()), Now);
    assert_eq!(again(&verdict(Outcome::Tested, false), &booted, &policy()), Never);
}

/// Whether a tip `a` that was judged against `judged` is looked at again when `base` is what it has
/// to descend from.
#[track_caller]
fn looked_at_again(outcome: Outcome, judged: Option<char>, base: Option<char>, expected: bool) {
    let reason = match outcome {
        Outcome::Failed => Reason::NOT_A_DESCENDANT,
        _ => Reason::INTERNAL,
    };
    let under = Some(Under { base: judged.map(commit), keys: KeysId::default() });
    let verdict = Verdict { reason, under, ..verdict(outcome, false) };
    let blocked = Blocked::from([closure("one")]);
    let seen = Seen { blocked, mark: base.map(commit), ..seen(vec![]) };
    let got = again(&verdict, &seen, &policy());
    let expected = if expected { Again::Now } else { Again::Never };
    assert_eq!(got, expected, "{outcome} {judged:?} {base:?}");
}

#[test]
fn a_verdict_holds_only_against_what_it_was_made_against() {
    for outcome in [Outcome::Failed, Outcome::Reverted, Outcome::Blocked] {
        looked_at_again(outcome, Some('b'), Some('b'), false);
        looked_at_again(outcome, Some('b'), Some('c'), true);
        looked_at_again(outcome, Some('b'), Some('a'), true);
        looked_at_again(outcome, Some('b'), None, false);
        looked_at_again(outcome, None, Some('b'), true);
    }
    // What was kept is compared unless it is the mark itself.
    looked_at_again(Outcome::Kept, Some('b'), Some('a'), false);
    looked_at_again(Outcome::Kept, Some('b'), Some('b'), true);
    looked_at_again(Outcome::Kept, Some('b'), None, false);
    for outcome in [Outcome::Aborted, Outcome::RevertFailed, Outcome::Interrupted] {
        looked_at_again(outcome, Some('b'), Some('c'), false);
    }
}

/// A pause goes on by the clock that nobody sets; its end is shown by the one on the wall.
#[test]
fn a_pause_goes_on_whoever_sets_the_clock_meanwhile() {
    // Ended at 990 and seen at 1000, with a pause of half a minute.
    let after = |boottime_s: u64, unix_s: i64| {
        let first_seen = Moment { boottime_ms: 2_000, unix_s: 1_000 };
        let now = Moment { boottime_ms: 2_000 + boottime_s * 1_000, unix_s };
        let later = Seen { now, verdict_seen: Some(first_seen), ..seen(vec![]) };
        again(&verdict(Outcome::Failed, true), &later, &policy())
    };
    assert_eq!(after(0, 1_000), Again::At(1_020));
    assert_eq!(after(19, 1_019), Again::At(1_020));
    assert_eq!(after(19, 1_021), Again::At(1_020), "parts of a second do not count");
    assert_eq!(after(20, 1_020), Again::Now);
    // Set to an hour later, and to an hour earlier.
    assert_eq!(after(10, 4_610), Again::At(4_620));
    assert_eq!(after(10, -2_590), Again::At(-2_580));
    assert_eq!(after(20, -2_580), Again::Now);
}

#[test]
fn what_was_replaced_by_hand_is_restored_where_that_is_wanted_and_possible() {
    let restore = Policy { drift: Drift::Restore, ..policy() };
    let drifted = Seen { tip: None, last_kept: Some(closure("kept")), ..seen(vec![]) };
    let step = |seen: &Seen, policy: &Policy| word(decide(seen, policy));
    assert_eq!(step(&drifted, &restore), "begin 1");
    assert_eq!(step(&drifted, &policy()), "rest");
    let answered = Seen { drift_answered: Some(closure("base")), ..drifted.clone() };
    assert_eq!(step(&answered, &restore), "rest");
    let blocked = Seen { blocked: Blocked::from([closure("kept")]), ..drifted };
    assert_eq!(step(&blocked, &restore), "rest");
    // What failed for a reason that passes is tried again after its pause, and nothing else is.
    let tried = |retry: bool, toplevel: &str, ended_at_s: i64| {
        let ended = verdict(Outcome::Failed, retry);
        let reason = Reason::LOCK_HELD;
        let toplevel = Some(closure(toplevel));
        let restored = Some(Verdict { reason, toplevel, ended_at_s, ..ended });
        Seen { restored, ..answered.clone() }
    };
    let now = answered.now.unix_s;
    assert_eq!(step(&tried(true, "kept", now - 4), &restore), "rest");
    assert_eq!(step(&tried(true, "kept", now - 5), &restore), "begin 2");
    assert_eq!(step(&tried(false, "kept", now - 5), &restore), "rest");
    assert_eq!(step(&tried(true, "older", now - 5), &restore), "rest");
    assert_eq!(step(&tried(true, "kept", now - 5), &policy()), "rest");
}
