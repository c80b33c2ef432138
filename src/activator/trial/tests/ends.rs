//! What an end says, and when a closure that is not to blame is given up all the same.

use std::time::Duration;

use super::{Verdict, check_of, policy, reverting, s, seen};
use crate::activator::trial::ending::{
    kept, not_quite_kept, runs_already, shut_down_after_boot, staged, struck,
};
use crate::activator::trial::phase::{End, Mark, Phase};
use crate::activator::trial::seen::{CheckSeen, Seen, System};
use crate::activator::trial::{Policy, Step, decide};
use crate::handover::report::CheckState::{Green, Pending, Red};
use crate::model::failure::{Failure, Reason};

#[test]
fn an_end_that_made_a_generation_names_it() {
    for end in [kept(7), runs_already(7), staged(7)] {
        assert_eq!(end.generation, Some(7), "{end:?}");
        assert!(end.failure.message.contains("generation 7"), "{end:?}");
    }
}

/// Three interruptions that the environment is blamed for are forgiven, and no fourth.
#[test]
fn the_environment_is_blamed_three_times() {
    let ends = |end: fn(&Policy) -> End| {
        [0, 2, 3, 4].map(|acquittals| {
            let end = end(&Policy { acquittals, ..policy() });
            (end.retry, end.mark)
        })
    };
    let expected = [
        (true, Mark::Acquitted),
        (true, Mark::Acquitted),
        (false, Mark::Refused),
        (false, Mark::Refused),
    ];
    assert_eq!(ends(not_quite_kept), expected);
    assert_eq!(ends(shut_down_after_boot), expected);
}

#[test]
fn what_is_given_up_says_how_it_is_tried_again() {
    let given_up = shut_down_after_boot(&Policy { acquittals: 3, ..policy() });
    assert!(given_up.failure.hint.unwrap().contains("autodeployctl unblock"));
    let forgiven = shut_down_after_boot(&policy());
    assert!(forgiven.failure.hint.unwrap().contains("by itself"));
}

#[test]
fn the_second_interruption_says_that_it_is_not_the_first() {
    let gone = || Failure::new(Reason::POWER_CUT, "the machine was reset");
    let first = struck(gone(), &policy());
    assert_eq!(first.failure.message, "the machine was reset");
    let second = struck(gone(), &Policy { strikes: 1, ..policy() });
    assert_eq!(second.failure.message, "the machine was reset; it was not the first time");
}

/// The first try needs no number.
#[test]
fn a_phase_says_which_try_it_is_from_the_second_on() {
    let said = |tries| Phase::Keeping { tries }.message();
    assert_eq!([0, 1, 2].map(said), ["", "try 2", "try 3"]);
    let back = |tries| reverting(Verdict::Unhealthy, tries).message();
    assert!(!back(0).contains("try"), "{}", back(0));
    assert!(back(1).ends_with(", try 2"), "{}", back(1));
}

/// What is decided about the new system at this time of a window that began at zero.
fn in_the_window(now: Duration, checks: Vec<CheckSeen>) -> Step {
    let seen = Seen { now, checks, ..seen(0, System::New) };
    decide(&Phase::Watching { since: s(0) }, &seen, &policy())
}

#[test]
fn the_window_is_not_slept_over() {
    let short = Duration::from_millis(300);
    for (second, state) in [(60, Green), (300, Red)] {
        let step = in_the_window(s(second) - short, vec![check_of("web", state, 0)]);
        assert_eq!(step, Step::Wait(short), "{state:?}");
    }
}

#[test]
fn what_was_not_healthy_is_named_with_what_it_said() {
    let silent = CheckSeen { message: String::new(), ..check_of("api", Pending, 0) };
    let checks = vec![check_of("web", Red, 0), check_of("db", Green, 299), silent];
    let Step::Enter(Phase::Reverting { cause, .. }) = in_the_window(s(300), checks) else {
        panic!("it is reverted");
    };
    assert_eq!(
        cause.failure.message,
        "the new system was not healthy within 300 s \
         (check `web`: answered 503; check `api` gave no answer)"
    );
}
