//! What a restart of the process or of the machine finds, and how it goes on.

use super::*;

#[track_caller]
fn recovered(phase: Phase, rebooted: bool, system: System, expected: &str) {
    let found = Found { rebooted, system, now: s(7) };
    assert_eq!(brief(&recover(phase, &found, &policy())), expected);
}

#[test]
fn a_process_that_was_ended_goes_back_or_finishes() {
    use System::{New, Old, Other};
    let struck = "reverting 0 Interrupted activator-restarted rebooted=false";
    recovered(Phase::Requested, false, Old, "requested");
    recovered(Phase::Baseline, false, Old, "interrupted activator-restarted retry=true None");
    for system in [Old, New] {
        recovered(Phase::Switching, false, system, struck);
        recovered(Phase::Watching { since: s(0) }, false, system, struck);
    }
    recovered(Phase::Keeping { tries: 0 }, false, New, "keeping 1");
    recovered(Phase::Keeping { tries: 2 }, false, New, "unkeeping 0 then revert");
    recovered(unkeeping(0), false, New, "unkeeping 1 then revert");
    recovered(unkeeping(2), false, New, "reverting 0 NotKept unhealthy rebooted=false");
    recovered(
        reverting(Verdict::Unhealthy, 0),
        false,
        New,
        "reverting 1 Unhealthy unhealthy rebooted=false",
    );
    recovered(reverting(Verdict::Unhealthy, 2), false, New, "rebooting 0");
    recovered(rechecking(&[]), false, Old, "rechecking 1 rebooted=false");
    let third = Phase::Rechecking {
        cause: cause(Verdict::Unhealthy, &[]),
        since: s(0),
        rebooted: false,
        tries: 2,
    };
    recovered(third, false, Old, "reverted unhealthy retry=false Refused");
    // Nobody knows whether the wish was heard: it is made again.
    let asked =
        Phase::Rebooting { cause: cause(Verdict::Unhealthy, &[]), tries: 1, asked: Some(s(6)) };
    let found = Found { rebooted: false, system: New, now: s(7) };
    check(&recover(asked, &found, &policy()), &seen(7, New), "Reboot");
    let hands_off = "interrupted someone-else-switched retry=false None";
    for phase in [Phase::Switching, Phase::Keeping { tries: 0 }, reverting(Verdict::Unhealthy, 0)] {
        recovered(phase, false, Other, hands_off);
    }
}

#[test]
fn what_was_being_armed_disarmed_or_staged_goes_on_or_back() {
    use System::{New, Old};
    let disarming = || Phase::Disarming { tries: 0, end: ending::superseded() };
    let staging = || Phase::Staging { tries: 0 };
    for (rebooted, system) in [(false, Old), (false, New), (true, Old)] {
        recovered(
            disarming(),
            rebooted,
            system,
            "disarming 1 then superseded newer-commit retry=false None",
        );
    }
    let back = "reverting 0 Interrupted power-cut rebooted=false";
    recovered(disarming(), true, New, back);
    recovered(Phase::Arming { tries: 0 }, false, Old, "arming 1");
    recovered(Phase::Arming { tries: 0 }, true, Old, "interrupted power-cut retry=true Strike");
    recovered(Phase::Arming { tries: 0 }, true, New, back);
    recovered(staging(), false, Old, "staging 1");
    recovered(staging(), true, New, "staging 1");
    recovered(staging(), true, Old, "unkeeping 0 then interrupted power-cut retry=true None");
    // Three processes that were ended are enough.
    recovered(Phase::Arming { tries: 2 }, false, Old, "failed too-many-attempts retry=true None");
    recovered(
        Phase::Staging { tries: 2 },
        false,
        Old,
        "unkeeping 0 then failed bootloader retry=true None",
    );
    let disarming = Phase::Disarming { tries: 2, end: ending::superseded() };
    recovered(disarming, false, Old, "superseded newer-commit retry=false None");
}

#[test]
fn a_reset_that_does_not_bring_the_old_system_back_while_it_is_looked_at_is_the_last_resort() {
    let broken = "revert-failed old-system-broken retry=false Refused";
    let after = |rebooted| Phase::Rechecking {
        cause: cause(Verdict::Unhealthy, &[]),
        since: s(0),
        rebooted,
        tries: 0,
    };
    for rebooted in [false, true] {
        recovered(after(rebooted), true, System::New, broken);
    }
}

#[test]
fn after_a_reset_the_old_system_runs_and_nothing_is_switched() {
    use System::{New, Old, Other};
    let struck = "interrupted power-cut retry=true Strike";
    recovered(Phase::Requested, true, Old, "interrupted power-cut retry=true None");
    recovered(Phase::Baseline, true, Old, "interrupted power-cut retry=true None");
    recovered(Phase::Switching, true, Old, struck);
    recovered(Phase::Watching { since: s(0) }, true, Old, struck);
    recovered(
        Phase::Keeping { tries: 1 },
        true,
        Old,
        "unkeeping 0 then interrupted power-cut retry=true Acquitted",
    );
    recovered(Phase::Keeping { tries: 0 }, true, New, "keeping 1");
    recovered(unkeeping(0), true, Old, "unkeeping 1 then recheck");
    recovered(unkeeping(2), true, Old, "rechecking 0 rebooted=false");
    recovered(unkeeping(0), true, New, "unkeeping 1 then revert");
    recovered(reverting(Verdict::Unhealthy, 1), true, Old, "rechecking 0 rebooted=false");
    recovered(
        reverting(Verdict::Unhealthy, 0),
        true,
        New,
        "reverting 1 Unhealthy unhealthy rebooted=false",
    );
    recovered(rechecking(&[]), true, Old, "rechecking 1 rebooted=false");
    let rebooting =
        || Phase::Rebooting { cause: cause(Verdict::Unhealthy, &[]), tries: 1, asked: None };
    recovered(rebooting(), true, Old, "rechecking 0 rebooted=true");
    recovered(rebooting(), true, New, "revert-failed old-system-broken retry=false Refused");
    recovered(rebooting(), true, Other, "interrupted someone-else-switched retry=false None");
    recovered(
        Phase::Watching { since: s(0) },
        true,
        Other,
        "interrupted someone-else-switched retry=false None",
    );
}

#[test]
fn a_second_interruption_refuses_the_closure() {
    let found = Found { rebooted: true, system: System::Old, now: s(0) };
    let policy = Policy { strikes: 1, ..policy() };
    let end = recover(Phase::Watching { since: s(0) }, &found, &policy);
    assert_eq!(brief(&end), "interrupted power-cut retry=false Refused");
}
