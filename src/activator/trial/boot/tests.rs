//! The tables of a boot trial: what is armed, what is taken back, what a boot brings.

use super::super::phase::Verdict;
use super::super::recovery::{Found, recover};
use super::super::seen::CheckSeen;
use super::super::tests::{brief, brief_step, cause, check_of, every_phase, policy, s, seen};
use super::super::{Done, Proved, advance, decide, unrecorded};
use super::*;
use crate::config::settings::LastResort;
use crate::handover::report::CheckState::{Green, Red};

fn booted() -> Policy {
    Policy { way: Way::Boot, ..policy() }
}

const ARMED: Phase = Phase::Armed { tries: 0, asked: None };

#[track_caller]
fn check(phase: &Phase, seen: &Seen, expected: &str) {
    assert_eq!(brief_step(&decide(phase, seen, &booted())), expected);
}

#[test]
fn the_baseline_says_which_way_it_goes() {
    let after = |proved| brief(&advance(Phase::Baseline, Done::Baseline(proved), s(0), &policy()));
    assert_eq!(after(Proved::NeedsBoot), "arming 0");
    assert_eq!(after(Proved::Unprovable), "staging 0");
}

#[test]
fn what_is_armed_waits_for_a_boot_and_asks_for_it_only_where_it_may() {
    let now = seen(10, System::Old);
    check(&Phase::Arming { tries: 0 }, &now, "Arm");
    check(&ARMED, &now, "wait 1");
    // Somebody who switches to it by hand takes nothing away: the boot is still its trial.
    check(&ARMED, &seen(10, System::New), "wait 1");
    let itself = Policy { reboot: Reboot::WhenNeeded, ..booted() };
    assert_eq!(decide(&ARMED, &now, &itself), Step::Reboot);
    let asked = |tries, at| Phase::Armed { tries, asked: Some(s(at)) };
    assert_eq!(decide(&asked(1, 0), &seen(299, System::Old), &itself), Step::Wait(s(1)));
    assert_eq!(decide(&asked(1, 0), &seen(300, System::Old), &itself), Step::Reboot);
    assert_eq!(decide(&asked(3, 0), &seen(300, System::Old), &itself), Step::Wait(s(1)));
    let after = advance(ARMED, Done::Reboot(Ok(())), s(7), &itself);
    assert_eq!(after, Phase::Armed { tries: 1, asked: Some(s(7)) });
    let after = advance(ARMED, Done::Reboot(Err("nobody".into())), s(7), &itself);
    assert_eq!(after, Phase::Armed { tries: 1, asked: None });
}

#[test]
fn a_shutdown_leaves_what_is_armed_and_ends_what_is_being_armed() {
    let going = Seen { stopping: true, ..seen(10, System::Old) };
    check(&ARMED, &going, "Leave");
    check(
        &Phase::Arming { tries: 0 },
        &going,
        "enter disarming 0 then interrupted shutdown retry=true None",
    );
}

#[test]
fn whatever_ends_it_from_outside_disarms_it_first() {
    let old = || seen(10, System::Old);
    let aborted = Seen { aborted_by: Some(1000), ..old() };
    let superseded = Seen { superseded: true, ..old() };
    let both = Seen { stopping: true, ..aborted.clone() };
    let someone = "interrupted someone-else-switched retry=false None";
    for phase in [Phase::Arming { tries: 1 }, ARMED] {
        let ends = |seen: &Seen, end: &str| {
            check(&phase, seen, &format!("enter disarming 0 then {end}"));
        };
        ends(&aborted, "aborted by-operator retry=false None");
        ends(&both, "aborted by-operator retry=false None");
        ends(&superseded, "superseded newer-commit retry=false None");
        ends(&Seen { profile_moved: true, ..old() }, someone);
        ends(&seen(10, System::Other), someone);
    }
}

#[track_caller]
fn arming(tries: u8, armed: Result<(), Unarmed>, expected: &str) {
    let next = advance(Phase::Arming { tries }, Done::Arm(armed), s(0), &booted());
    assert_eq!(brief(&next), expected);
}

#[test]
fn arming_is_tried_three_times_and_then_taken_back() {
    let failed = || Err(Unarmed::Failed("/boot is full".to_owned()));
    arming(0, Ok(()), "armed 0");
    arming(0, failed(), "arming 1");
    arming(1, failed(), "arming 2");
    arming(2, failed(), "disarming 0 then failed bootloader retry=true None");
    let impossible = Err(Unarmed::Impossible("there is no loader".to_owned()));
    arming(0, impossible, "disarming 0 then failed reboot-needed retry=false None");
}

#[test]
fn disarming_is_tried_three_times_and_then_said() {
    let after = |tries, done: Result<(), String>| {
        let phase = Phase::Disarming { tries, end: ending::superseded() };
        advance(phase, Done::Disarm(done), s(0), &booted())
    };
    assert_eq!(brief(&after(0, Ok(()))), "superseded newer-commit retry=false None");
    assert_eq!(
        brief(&after(1, Err("read-only".to_owned()))),
        "disarming 2 then superseded newer-commit retry=false None"
    );
    let Phase::Ended(end) = after(2, Err("read-only".to_owned())) else { panic!("not ended") };
    assert!(end.failure.message.ends_with("could not be taken back: read-only"), "{end:?}");
    assert!(end.failure.hint.unwrap().contains("`bootctl set-oneshot"));
}

#[test]
fn what_nothing_proves_is_staged_or_taken_back() {
    let after = |tries, done: Result<u64, String>| {
        brief(&advance(Phase::Staging { tries }, Done::Keep(done), s(0), &policy()))
    };
    assert_eq!(after(0, Ok(7)), "staged staged-unproved retry=false None");
    assert_eq!(after(1, Err("full".to_owned())), "staging 2");
    assert_eq!(
        after(2, Err("full".to_owned())),
        "unkeeping 0 then failed bootloader retry=true None"
    );
}

#[test]
fn what_was_staged_and_booted_and_is_taken_back_does_not_stay() {
    let then = || Then::End(ending::failed(Cause::bootloader("full").failure, true));
    let step = |system| {
        let phase = Phase::Unkeeping { tries: 1, then: then() };
        brief_step(&decide(&phase, &seen(9, system), &policy()))
    };
    assert_eq!(step(System::New), "enter unkeeping 1 then revert");
    for stays in [System::Old, System::Both, System::Other] {
        assert_eq!(step(stays), "Unkeep");
    }
}

#[track_caller]
fn watched(now: u64, checks: &[CheckSeen], expected: &str) {
    let seen = Seen { checks: checks.to_vec(), ..seen(now, System::New) };
    check(&Phase::Watching { since: s(5) }, &seen, expected);
}

#[test]
fn a_boot_trial_is_judged_like_any_other_and_goes_back_by_a_reboot() {
    watched(65, &[check_of("web", Green, 0)], "enter keeping 0");
    watched(305, &[check_of("web", Red, 0)], "enter rebooting 0");
    let watching = Phase::Watching { since: s(5) };
    let aborted = Seen { aborted_by: Some(1000), ..seen(10, System::New) };
    check(&watching, &aborted, "enter rebooting 0");
    let moved = Seen { profile_moved: true, ..seen(10, System::New) };
    let ended = "enter disarming 0 then interrupted someone-else-switched retry=false None";
    check(&watching, &moved, ended);
    // The last resort is another matter: it may be forbidden, and this way back is not.
    let alarm = Policy { last_resort: LastResort::Alarm, ..booted() };
    let red = Seen { checks: vec![check_of("web", Red, 0)], ..seen(305, System::New) };
    assert_eq!(brief_step(&decide(&watching, &red, &alarm)), "enter rebooting 0");
}

#[test]
fn a_shutdown_in_the_window_of_a_boot_trial_is_counted() {
    let going = Seen { stopping: true, ..seen(10, System::New) };
    let ended = |acquittals| {
        let policy = Policy { acquittals, ..booted() };
        brief_step(&decide(&Phase::Watching { since: s(5) }, &going, &policy))
    };
    assert_eq!(ended(2), "enter disarming 0 then interrupted shutdown retry=true Acquitted");
    assert_eq!(ended(3), "enter disarming 0 then interrupted shutdown retry=false Refused");
}

#[test]
fn what_cannot_be_kept_is_undone_and_rebooted_away() {
    let keeping = Phase::Keeping { tries: 2 };
    let undone = advance(keeping, Done::Keep(Err("full".to_owned())), s(0), &booted());
    assert_eq!(brief(&undone), "unkeeping 0 then revert");
    assert_eq!(brief(&advance(undone, Done::Unkeep(Ok(())), s(0), &booted())), "rebooting 0");
    let kept = advance(Phase::Keeping { tries: 0 }, Done::Keep(Ok(7)), s(0), &booted());
    assert_eq!(brief(&kept), "kept healthy retry=false Cleared");
}

#[track_caller]
fn found(phase: Phase, rebooted: bool, system: System, expected: &str) {
    let found = Found { rebooted, system, now: s(9) };
    let next = recover(phase.clone(), &found, &booted());
    assert_eq!(brief(&next), expected, "{phase:?} {found:?}");
}

#[test]
fn a_process_that_was_ended_finds_what_it_had_armed() {
    found(Phase::Arming { tries: 0 }, false, System::Old, "arming 1");
    let tired = "disarming 0 then failed too-many-attempts retry=true None";
    found(Phase::Arming { tries: 2 }, false, System::Old, tired);
    found(ARMED, false, System::Old, "armed 0");
    let disarming = |tries| Phase::Disarming { tries, end: ending::superseded() };
    let superseded = "superseded newer-commit retry=false None";
    found(disarming(0), false, System::Old, &format!("disarming 1 then {superseded}"));
    found(disarming(0), false, System::Other, &format!("disarming 1 then {superseded}"));
    found(disarming(2), false, System::Old, superseded);
    found(Phase::Watching { since: s(5) }, false, System::New, "rebooting 0");
    found(Phase::Staging { tries: 0 }, false, System::Old, "staging 1");
}

#[test]
fn a_boot_brings_the_window_or_the_old_system_and_its_verdict() {
    found(ARMED, true, System::New, "watching");
    let Phase::Watching { since } =
        recover(ARMED, &Found { rebooted: true, system: System::New, now: s(9) }, &booted())
    else {
        panic!("not watching")
    };
    assert_eq!(since, s(9));
    let not_started = "disarming 0 then failed bootloader-did-not-start-it retry=true Strike";
    found(ARMED, true, System::Old, not_started);
    let someone = "disarming 0 then interrupted someone-else-switched retry=false None";
    found(ARMED, true, System::Other, someone);
    let struck = "disarming 0 then interrupted power-cut retry=true Strike";
    found(Phase::Watching { since: s(5) }, true, System::Old, struck);
    found(
        Phase::Rebooting { cause: cause(Verdict::Unhealthy, &["web"]), tries: 1, asked: None },
        true,
        System::Old,
        "rechecking 0 rebooted=true",
    );
}

#[test]
fn a_new_system_that_the_record_did_not_send_is_rebooted_away() {
    found(Phase::Arming { tries: 0 }, true, System::New, "rebooting 0");
    let disarming = Phase::Disarming { tries: 0, end: ending::superseded() };
    found(disarming, true, System::New, "rebooting 0");
    found(Phase::Watching { since: s(5) }, true, System::New, "rebooting 0");
    // And when that brings it again, a person has to look.
    found(
        Phase::Rebooting { cause: cause(Verdict::Unhealthy, &[]), tries: 1, asked: None },
        true,
        System::New,
        "disarming 0 then revert-failed old-system-broken retry=false Refused",
    );
}

#[test]
fn a_reset_while_a_boot_is_being_armed_is_one_strike_and_arms_nothing_again() {
    let struck = "disarming 0 then interrupted power-cut retry=true Strike";
    found(Phase::Arming { tries: 0 }, true, System::Old, struck);
    let twice = Policy { strikes: 1, ..booted() };
    let at = Found { rebooted: true, system: System::Old, now: s(9) };
    for phase in [ARMED, Phase::Arming { tries: 0 }] {
        let end = brief(&recover(phase, &at, &twice));
        assert!(end.ends_with("retry=false Refused"), "{end}");
    }
    let dropped = "unkeeping 0 then interrupted power-cut retry=true None";
    let staging = recover(Phase::Staging { tries: 0 }, &at, &policy());
    assert_eq!(brief(&staging), dropped);
}

#[test]
fn what_cannot_be_written_down_is_not_armed() {
    let next = |phase| unrecorded(&phase, "read-only", &booted()).map(|phase| brief(&phase));
    let failed = "failed internal retry=true None";
    assert_eq!(next(Phase::Arming { tries: 0 }).unwrap(), failed);
    assert_eq!(next(Phase::Arming { tries: 1 }).unwrap(), format!("disarming 0 then {failed}"));
    assert_eq!(next(ARMED).unwrap(), format!("disarming 0 then {failed}"));
    assert_eq!(next(Phase::Staging { tries: 0 }).unwrap(), failed);
    assert_eq!(next(Phase::Staging { tries: 1 }).unwrap(), format!("unkeeping 0 then {failed}"));
    assert_eq!(next(Phase::Keeping { tries: 0 }).unwrap(), "rebooting 0");
}

/// From every phase, however the machine answers: nothing but keeping ends a boot trial without
/// its having been disarmed.
#[test]
fn a_boot_trial_never_ends_armed() {
    let ends = |from: &Phase, next: &Phase| {
        let may = matches!(from, Phase::Keeping { .. } | Phase::Disarming { .. } | Phase::Ended(_));
        assert!(may || !matches!(next, Phase::Ended(_)), "{from:?} to {next:?}");
    };
    for phase in every_phase() {
        for system in [System::Old, System::New, System::Both, System::Other] {
            for (stopping, aborted_by) in [(false, None), (true, None), (false, Some(1))] {
                let seen = Seen { stopping, aborted_by, ..seen(1000, system) };
                if let Step::Enter(next) = decide(&phase, &seen, &booted()) {
                    ends(&phase, &next);
                }
            }
            for rebooted in [false, true] {
                let found = Found { rebooted, system, now: s(0) };
                ends(&phase, &recover(phase.clone(), &found, &booted()));
            }
        }
    }
}
