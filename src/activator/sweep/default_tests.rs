//! What the next boot starts, where a trial found or left it wrong.

use std::collections::VecDeque;

use super::*;
use crate::model::generation::Generation;

fn ends(count: usize, code: i32) -> VecDeque<SwitchEnd> {
    std::iter::repeat_n(SwitchEnd::Code(code), count).collect()
}

/// The loader starts what neither runs nor has the profile, as after a trial that could not undo.
fn stands_apart(fake: &mut Fake) {
    fake.loader = path('b');
    fake.roots.insert(path('b'));
}

#[test]
fn a_default_that_nothing_wants_is_led_back_before_the_switch() {
    let fake = check(
        |fake| {
            stands_apart(fake);
            // The end finds it led back, or the next line would be another one.
            fake.to_new.push_back(SwitchEnd::Code(11));
        },
        "failed lock-held: requested baseline switching ended",
    );
    settled(&fake, 'a');
    assert!(!fake.told.iter().any(|line| line.starts_with("activator-failed")), "{:?}", fake.told);
}

#[test]
fn where_that_cannot_be_done_it_is_told_and_the_trial_goes_on() {
    let fake = check(
        |fake| {
            stands_apart(fake);
            fake.old_boots = ends(9, 1);
            fake.to_new.push_back(SwitchEnd::Code(11));
        },
        "failed lock-held: requested baseline switching ended",
    );
    let line = "activator-failed: the next boot starts something else than what runs: ";
    let told = fake.told.iter().filter(|told| told.starts_with(line)).count();
    assert_eq!(told, 2, "in the baseline and at the end: {:?}", fake.told);
    assert_eq!((fake.running, fake.loader), (path('a'), path('b')));
}

#[test]
fn somebody_who_switches_just_now_is_not_waited_for() {
    let fake = check(
        |fake| {
            stands_apart(fake);
            fake.old_boots = ends(9, 11);
            fake.to_new.push_back(SwitchEnd::Code(11));
        },
        "failed lock-held: requested baseline switching ended",
    );
    assert_eq!(fake.old_boots.len(), 7, "tried once in the baseline and once at the end");
    assert!(!fake.told.iter().any(|line| line.starts_with("activator-failed")), "{:?}", fake.told);
}

/// Each try to keep failed, and then each to undo that.
const NOT_UNDONE: &str = "reverted bootloader: requested baseline switching watching keeping keeping \
                          keeping unkeeping unkeeping unkeeping reverting rechecking ended";

/// Keeping fails once the loader starts the new system; so do the first tries to undo that.
fn half_kept(old_boots: usize) -> Fake {
    check(
        |fake| {
            fake.while_keeping = Some(|fake| {
                fake.current = 41;
                fake.fault(Fault::SetProfile);
            });
            fake.old_boots = ends(old_boots, 1);
        },
        NOT_UNDONE,
    )
}

#[test]
fn what_could_not_be_undone_is_tried_once_more_at_the_end() {
    settled(&half_kept(3), 'a');
}

#[test]
fn where_that_fails_too_the_report_has_what_the_next_boot_starts() {
    let fake = half_kept(4);
    assert_eq!((&fake.running, &fake.loader), (&path('a'), &path('b')));
    let default = fake.report.unwrap().boot_default.unwrap();
    assert_eq!((default.toplevel, default.profile), (path('b'), Some(path('a'))));
}

/// The new system cannot be made the default; the profile cannot be moved back so many times.
fn not_returned(returns_fail: u32) -> Fake {
    check(
        |fake| {
            fake.fault(Fault::BootNew);
            fake.returns_fail = returns_fail;
        },
        NOT_UNDONE,
    )
}

#[test]
fn a_profile_that_could_not_be_moved_back_is_moved_back_at_the_end() {
    settled(&not_returned(3), 'a');
}

#[test]
fn where_that_fails_too_it_is_told() {
    let fake = not_returned(4);
    assert_eq!((&fake.running, &fake.loader), (&path('a'), &path('a')));
    assert_eq!(fake.profile().toplevel, path('b'));
    let line = "activator-failed: the profile still leads to what was not kept: ";
    assert!(fake.told.iter().any(|told| told.starts_with(line)), "{:?}", fake.told);
}

#[test]
fn what_somebody_else_switched_to_meanwhile_is_left_alone() {
    let fake = check(
        |fake| {
            fake.once_watched = Some(|fake| {
                fake.generations.push(Generation { number: 42, toplevel: path('c') });
                (fake.running, fake.current) = (path('c'), 42);
            });
        },
        "interrupted someone-else-switched: requested baseline switching watching ended",
    );
    assert_eq!((&fake.running, &fake.loader), (&path('c'), &path('a')));
}
