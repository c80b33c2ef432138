//! The tables of the design: decisions, ends, verdicts, blame, recovery.

use std::time::Duration;

use super::phase::{Cause, End, Phase, Then, Verdict};
use super::recovery::{Found, recover};
use super::seen::{CheckSeen, Seen, System};
use super::switched::SwitchEnd;
use super::*;
use crate::config::settings::Severity;
use crate::handover::report::CheckState::{self, Green, Pending, Red};

mod ends;
mod recovery;

pub(super) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn policy() -> Policy {
    Policy {
        window: s(300),
        settle: s(60),
        way: Way::Switch,
        reboot: Reboot::Never,
        last_resort: LastResort::Reboot,
        strikes: 0,
        acquittals: 0,
        may_hide_a_failure: false,
    }
}

pub(super) fn seen(now: u64, system: System) -> Seen {
    Seen {
        now: s(now),
        system,
        profile_moved: false,
        aborted_by: None,
        superseded: false,
        stopping: false,
        checks: Vec::new(),
        lost: Vec::new(),
    }
}

pub(super) fn check_of(name: &str, state: CheckState, since: u64) -> CheckSeen {
    CheckSeen {
        name: name.to_owned(),
        kind: "http".to_owned(),
        severity: Severity::Required,
        excused: false,
        tells: true,
        state,
        since: s(since),
        message: "answered 503".to_owned(),
    }
}

pub(super) fn cause(verdict: Verdict, suspects: &[&str]) -> Cause {
    Cause {
        verdict,
        failure: Failure::new(Reason::UNHEALTHY, "it was not healthy"),
        suspects: suspects.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn reverting(verdict: Verdict, tries: u8) -> Phase {
    Phase::Reverting { cause: cause(verdict, &[]), tries, rebooted: false }
}

fn rechecking(suspects: &[&str]) -> Phase {
    Phase::Rechecking {
        cause: cause(Verdict::Unhealthy, suspects),
        since: s(0),
        rebooted: false,
        tries: 0,
    }
}

/// A phase in one word, with the parts that a table cares about.
pub(super) fn brief(phase: &Phase) -> String {
    match phase {
        Phase::Ended(End { outcome, failure, retry, mark, .. }) => {
            format!("{outcome} {} retry={retry} {mark:?}", failure.reason)
        }
        Phase::Keeping { tries } => format!("keeping {tries}"),
        Phase::Unkeeping { tries, then } => {
            let then = match then {
                Then::Revert(_) => "revert".to_owned(),
                Then::Recheck(_) => "recheck".to_owned(),
                Then::End(end) => brief(&Phase::Ended(end.clone())),
            };
            format!("unkeeping {tries} then {then}")
        }
        Phase::Reverting { cause, tries, rebooted } => {
            format!(
                "reverting {tries} {:?} {} rebooted={rebooted}",
                cause.verdict, cause.failure.reason
            )
        }
        Phase::Rechecking { tries, rebooted, .. } => {
            format!("rechecking {tries} rebooted={rebooted}")
        }
        Phase::Rebooting { tries, .. } => format!("rebooting {tries}"),
        Phase::Arming { tries } => format!("arming {tries}"),
        Phase::Armed { tries, .. } => format!("armed {tries}"),
        Phase::Staging { tries } => format!("staging {tries}"),
        Phase::Disarming { tries, end } => {
            format!("disarming {tries} then {}", brief(&Phase::Ended(end.clone())))
        }
        other => other.name().to_owned(),
    }
}

pub(super) fn brief_step(step: &Step) -> String {
    match step {
        Step::Enter(phase) => format!("enter {}", brief(phase)),
        Step::Wait(time) => format!("wait {}", time.as_secs_f64()),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn check(phase: &Phase, seen: &Seen, expected: &str) {
    assert_eq!(brief_step(&decide(phase, seen, &policy())), expected);
}

#[test]
fn before_the_window_each_phase_has_one_thing_to_do() {
    let now = seen(0, System::Old);
    check(&Phase::Requested, &now, "enter baseline");
    check(&Phase::Baseline, &now, "TakeBaseline");
    check(&Phase::Switching, &now, "Switch");
    check(&Phase::Keeping { tries: 0 }, &now, "Keep");
    let then = Then::Recheck(cause(Verdict::NotKept, &[]));
    check(&Phase::Unkeeping { tries: 0, then }, &now, "Unkeep");
    check(&reverting(Verdict::Unhealthy, 0), &now, "Revert");
    check(&Phase::Ended(ending::kept(1)), &now, "Finish");
}

#[test]
fn an_abort_before_the_switch_ends_it_without_blame() {
    let aborted = Seen { aborted_by: Some(1000), ..seen(0, System::Old) };
    for phase in [Phase::Baseline, Phase::Switching] {
        check(&phase, &aborted, "enter aborted by-operator retry=false None");
    }
}

#[test]
fn a_shutdown_counts_nothing_and_reverts_nothing() {
    let going = Seen { stopping: true, ..seen(10, System::New) };
    let ended = "enter interrupted shutdown retry=true None";
    for phase in
        [Phase::Requested, Phase::Baseline, Phase::Switching, Phase::Watching { since: s(0) }]
    {
        check(&phase, &going, ended);
    }
    check(&reverting(Verdict::Unhealthy, 0), &going, "Leave");
    check(&rechecking(&["web"]), &going, "Leave");
    // What proved itself is still made the default on the way down.
    check(&Phase::Keeping { tries: 0 }, &going, "Keep");
}

#[track_caller]
fn watched(now: u64, checks: &[CheckSeen], expected: &str) {
    let seen = Seen { checks: checks.to_vec(), ..seen(now, System::New) };
    check(&Phase::Watching { since: s(0) }, &seen, expected);
}

#[test]
fn a_closure_is_kept_when_everything_required_was_green_for_settle() {
    let green = |since| check_of("web", Green, since);
    watched(59, &[green(0)], "wait 1");
    watched(60, &[green(0)], "enter keeping 0");
    watched(60, &[green(0), check_of("api", Green, 30)], "wait 1");
    watched(90, &[green(0), check_of("api", Green, 30)], "enter keeping 0");
    watched(60, &[], "wait 1");
}

#[test]
fn an_unhealthy_closure_is_given_until_the_deadline() {
    let red = || check_of("web", Red, 0);
    watched(299, &[red()], "wait 1");
    watched(300, &[red()], "enter reverting 0 Unhealthy unhealthy rebooted=false");
    watched(
        300,
        &[check_of("web", Pending, 0)],
        "enter reverting 0 Unhealthy unhealthy rebooted=false",
    );
    watched(300, &[], "enter reverting 0 Unhealthy unhealthy rebooted=false");
}

#[test]
fn settle_has_to_end_inside_the_window() {
    watched(301, &[check_of("web", Green, 240)], "enter keeping 0");
    watched(299, &[check_of("web", Green, 241)], "wait 1");
    watched(
        301,
        &[check_of("web", Green, 241)],
        "enter reverting 0 Unhealthy unhealthy rebooted=false",
    );
}

#[test]
fn settle_begins_with_the_window_and_not_before() {
    let watching = Phase::Watching { since: s(100) };
    let green = |now| Seen { checks: vec![check_of("web", Green, 10)], ..seen(now, System::New) };
    check(&watching, &green(159), "wait 1");
    check(&watching, &green(160), "enter keeping 0");
}

#[test]
fn what_is_wanted_or_excused_decides_nothing() {
    let wanted = CheckSeen { severity: Severity::Wanted, ..check_of("disk", Red, 0) };
    let excused = CheckSeen { excused: true, ..check_of("old", Red, 0) };
    watched(60, &[check_of("web", Green, 0), wanted.clone(), excused], "enter keeping 0");
    watched(60, &[wanted], "wait 1");
}

#[test]
fn a_switch_by_somebody_else_is_not_fought() {
    let hands_off = "enter interrupted someone-else-switched retry=false None";
    let watching = Phase::Watching { since: s(0) };
    check(&watching, &seen(1, System::Other), hands_off);
    check(&watching, &seen(1, System::Old), hands_off);
    check(&watching, &Seen { profile_moved: true, ..seen(1, System::New) }, hands_off);
    check(&reverting(Verdict::Unhealthy, 0), &seen(1, System::Other), hands_off);
    check(&rechecking(&[]), &seen(1, System::New), hands_off);
}

#[test]
fn an_abort_in_the_window_reverts_at_once() {
    let aborted = Seen { aborted_by: Some(0), ..seen(1, System::New) };
    let watching = Phase::Watching { since: s(0) };
    check(&watching, &aborted, "enter reverting 0 Aborted by-operator rebooted=false");
}

#[track_caller]
fn switched(end: SwitchEnd, system: System, expected: &str) {
    let next = advance(Phase::Switching, Done::Switch(end, system), s(5), &policy());
    assert_eq!(brief(&next), expected);
}

#[test]
fn what_may_hide_a_failed_activation_is_switched_to_once_more_before_it_is_kept() {
    let unsure = Policy { may_hide_a_failure: true, ..policy() };
    let green = vec![check_of("web", Green, 5)];
    let watching = Phase::Watching { since: s(0) };
    let at = |now| Seen { checks: green.clone(), ..seen(now, System::New) };
    assert_eq!(decide(&watching, &at(64), &unsure), Step::Wait(s(1)));
    assert_eq!(decide(&watching, &at(65), &unsure), Step::Switch);
    assert_eq!(decide(&watching, &at(65), &policy()), Step::Enter(Phase::Keeping { tries: 0 }));
    #[track_caller]
    fn again(end: SwitchEnd, expected: &str) {
        let watching = Phase::Watching { since: s(0) };
        let next = advance(watching, Done::Switch(end, System::New), s(65), &policy());
        assert_eq!(brief(&next), expected);
    }
    again(SwitchEnd::Code(2), "reverting 0 NotSwitched activation-failed rebooted=false");
    for code in [0, 4, 11, 100] {
        again(SwitchEnd::Code(code), "keeping 0");
    }
    again(SwitchEnd::Signal(9), "keeping 0");
}

#[test]
fn every_end_of_the_switch_means_one_thing() {
    use SwitchEnd::{Code, NotStarted, Signal, TimedOut};
    let broken = "reverting 0 NotSwitched switch-failed rebooted=false";
    switched(Code(0), System::New, "watching");
    switched(Code(4), System::New, "watching");
    switched(Code(0), System::Old, broken);
    switched(Code(11), System::Old, "failed lock-held retry=true None");
    switched(Code(11), System::New, broken);
    switched(Code(100), System::Old, "arming 0");
    switched(Code(1), System::Old, broken);
    switched(Code(101), System::New, broken);
    switched(Code(2), System::New, "reverting 0 NotSwitched activation-failed rebooted=false");
    switched(Signal(9), System::Old, broken);
    let limit = s(600);
    switched(
        TimedOut { limit },
        System::New,
        "reverting 0 NotSwitched switch-timeout rebooted=false",
    );
    switched(NotStarted("no such file".to_owned()), System::Old, broken);
    switched(Code(0), System::Other, "interrupted someone-else-switched retry=false None");
}

#[test]
fn keeping_is_tried_three_times_and_then_undone() {
    let failed = || Done::Keep(Err("no space left".to_owned()));
    let next = |tries| brief(&advance(Phase::Keeping { tries }, failed(), s(0), &policy()));
    assert_eq!(next(0), "keeping 1");
    assert_eq!(next(1), "keeping 2");
    assert_eq!(next(2), "unkeeping 0 then revert");
    let kept = advance(Phase::Keeping { tries: 0 }, Done::Keep(Ok(7)), s(0), &policy());
    assert_eq!(brief(&kept), "kept healthy retry=false Cleared");
}

#[test]
fn undoing_goes_on_to_the_revert_also_when_it_fails() {
    let then = || Then::Revert(Cause::bootloader("full"));
    let next = |tries, done| {
        brief(&advance(
            Phase::Unkeeping { tries, then: then() },
            Done::Unkeep(done),
            s(0),
            &policy(),
        ))
    };
    assert_eq!(next(0, Err("full".to_owned())), "unkeeping 1 then revert");
    let reverting = "reverting 0 NotKept bootloader rebooted=false";
    assert_eq!(next(2, Err("full".to_owned())), reverting);
    assert_eq!(next(0, Ok(())), reverting);
    let Then::Revert(said) = then().not_undone("no `nix-env`") else { panic!() };
    let words = "; profile or boot default could not be led back: no `nix-env`";
    assert!(said.failure.message.ends_with(words), "{}", said.failure.message);
    let hint = said.failure.hint.unwrap();
    assert!(hint.starts_with("is /boot full?") && hint.contains("; `nix-env -p"), "{hint}");
}

#[track_caller]
fn reverted(tries: u8, rebooted: bool, resort: LastResort, expected: &str) {
    let phase = Phase::Reverting { cause: cause(Verdict::Unhealthy, &[]), tries, rebooted };
    let policy = Policy { last_resort: resort, ..policy() };
    let next = advance(phase, Done::Revert(SwitchEnd::Code(2), System::New), s(0), &policy);
    assert_eq!(brief(&next), expected);
}

#[test]
fn reverting_is_tried_three_times_and_then_the_last_resort_once() {
    reverted(0, false, LastResort::Reboot, "reverting 1 Unhealthy unhealthy rebooted=false");
    reverted(2, false, LastResort::Reboot, "rebooting 0");
    let alarm = "revert-failed old-system-broken retry=false Refused";
    reverted(2, false, LastResort::Alarm, alarm);
    reverted(2, true, LastResort::Reboot, alarm);
    let back = Done::Revert(SwitchEnd::Code(4), System::Old);
    let next = advance(reverting(Verdict::Unhealthy, 0), back, s(0), &policy());
    assert_eq!(brief(&next), "rechecking 0 rebooted=false");
}

#[test]
fn a_reboot_of_last_resort_says_what_was_wrong_with_both_systems() {
    let broken = Done::Revert(SwitchEnd::Code(2), System::New);
    let next = advance(reverting(Verdict::Unhealthy, 2), broken, s(0), &policy());
    let of_the_new = cause(Verdict::Unhealthy, &[]).failure.message;
    let of_the_old = "could not activate the old system: exit status 2";
    assert_eq!(next.message(), format!("back into the old system: {of_the_new}; {of_the_old}"));
}

#[test]
fn a_reboot_that_does_not_come_is_asked_for_three_times() {
    let phase =
        |tries, asked| Phase::Rebooting { cause: cause(Verdict::Unhealthy, &[]), tries, asked };
    check(&phase(0, None), &seen(0, System::New), "Reboot");
    check(&phase(1, Some(s(0))), &seen(299, System::New), "wait 1");
    check(&phase(1, Some(s(0))), &seen(300, System::New), "Reboot");
    let given_up = "enter revert-failed too-many-attempts retry=false Refused";
    check(&phase(3, Some(s(0))), &seen(300, System::New), given_up);
    check(&phase(3, None), &seen(0, System::New), given_up);
    check(&phase(1, Some(s(0))), &Seen { stopping: true, ..seen(1, System::New) }, "Leave");
    let asked = advance(phase(0, None), Done::Reboot(Ok(())), s(9), &policy());
    assert_eq!(asked, phase(1, Some(s(9))));
}

#[track_caller]
fn rechecked(now: u64, suspects: &[&str], checks: &[CheckSeen], expected: &str) {
    let seen = Seen { checks: checks.to_vec(), ..seen(now, System::Old) };
    check(&rechecking(suspects), &seen, expected);
}

#[test]
fn the_old_system_convicts_or_acquits() {
    let convicted = "enter reverted unhealthy retry=false Refused";
    let acquitted = "enter reverted environment retry=true Acquitted";
    let web = |state| check_of("web", state, 0);
    let api = |state| check_of("api", state, 0);
    rechecked(1, &["web"], &[web(Pending)], "wait 1");
    rechecked(1, &["web"], &[web(Red)], "wait 1");
    rechecked(1, &["web"], &[web(Green)], convicted);
    rechecked(300, &["web"], &[web(Red)], acquitted);
    rechecked(1, &["web", "api"], &[web(Red), api(Green)], convicted);
    rechecked(300, &["web", "api"], &[web(Red), api(Red)], acquitted);
    rechecked(0, &[], &[web(Red)], convicted);
}

#[test]
fn the_fourth_acquittal_refuses_the_closure() {
    let seen = Seen { checks: vec![check_of("web", Red, 0)], ..seen(300, System::Old) };
    let policy = Policy { acquittals: 3, ..policy() };
    let step = decide(&rechecking(&["web"]), &seen, &policy);
    assert_eq!(brief_step(&step), "enter reverted environment retry=false Refused");
}

#[test]
fn a_local_fact_that_is_not_back_leads_to_the_last_resort_at_the_deadline() {
    let lost = |now| Seen { lost: vec!["unit `web.service`".to_owned()], ..seen(now, System::Old) };
    check(&rechecking(&[]), &lost(299), "wait 1");
    check(&rechecking(&[]), &lost(300), "enter rebooting 0");
    let after = Phase::Rechecking {
        cause: cause(Verdict::Unhealthy, &[]),
        since: s(0),
        rebooted: true,
        tries: 0,
    };
    check(&after, &lost(300), "enter revert-failed local-fact-lost retry=false Refused");
}

#[track_caller]
fn blamed(verdict: Verdict, strikes: u32, expected: &str) {
    let policy = Policy { strikes, ..policy() };
    let phase = Phase::Ended(ending::convicted(&cause(verdict, &[]), &policy));
    assert_eq!(brief(&phase), expected);
}

#[test]
fn every_bad_end_has_something_to_type_and_a_good_one_has_not() {
    let bare = || Failure::new(Reason::UNHEALTHY, "it was not healthy");
    let verdicts = [
        Verdict::Unhealthy,
        Verdict::NotSwitched,
        Verdict::Aborted,
        Verdict::Interrupted,
        Verdict::NotKept,
        Verdict::Environment,
    ];
    for counted in [0, 3] {
        let policy = Policy { strikes: counted, acquittals: counted, ..policy() };
        let mut ends = vec![
            ending::failed(bare(), true),
            ending::failed(bare(), false),
            ending::aborted_early(0),
            ending::shut_down(),
            ending::someone_else(),
            ending::dropped(bare()),
            ending::not_quite_kept(&policy),
            ending::revert_failed(bare()),
            ending::acquitted(&cause(Verdict::Unhealthy, &["web"]), &["web"], &policy),
        ];
        ends.extend(verdicts.map(|verdict| ending::convicted(&cause(verdict, &[]), &policy)));
        for end in ends {
            let hint = end.failure.hint.unwrap_or_default();
            assert!(hint.contains('`'), "{}: `{hint}`", end.failure.message);
            let tried_again = hint.contains("by itself");
            assert!(end.retry || !tried_again, "{}: `{hint}`", end.failure.message);
        }
    }
    assert_eq!(ending::kept(7).failure.hint, None);
    assert_eq!(ending::runs_already(7).failure.hint, None);
    let own = ending::failed(bare().hint("`df`"), true);
    assert_eq!(own.failure.hint.unwrap(), "`df`");
}

#[test]
fn each_verdict_has_its_end() {
    blamed(Verdict::Unhealthy, 0, "reverted unhealthy retry=false Refused");
    blamed(Verdict::NotSwitched, 0, "reverted unhealthy retry=false Refused");
    blamed(Verdict::Aborted, 0, "aborted unhealthy retry=false Refused");
    blamed(Verdict::Interrupted, 0, "interrupted unhealthy retry=true Strike");
    blamed(Verdict::Interrupted, 1, "interrupted unhealthy retry=false Refused");
    blamed(Verdict::NotKept, 0, "reverted unhealthy retry=true Strike");
    blamed(Verdict::NotKept, 1, "reverted unhealthy retry=false Refused");
    blamed(Verdict::Environment, 5, "reverted unhealthy retry=true None");
}

#[test]
fn restarts_alone_never_go_round_for_ever() {
    for system in [System::Old, System::New, System::Both, System::Other] {
        for (rebooted, way) in [(false, Way::Switch), (true, Way::Switch), (true, Way::Boot)] {
            for start in every_phase() {
                ends(start, &Found { rebooted, system, now: s(0) }, &Policy { way, ..policy() });
            }
        }
    }
}

#[track_caller]
fn ends(start: Phase, found: &Found, policy: &Policy) {
    let mut phase = start.clone();
    let ended = (0..40).any(|_| {
        phase = recover(phase.clone(), found, policy);
        // What is armed waits as long as it has to; the others are ended by what they do, and not
        // by restarts of the process.
        let waits = matches!(phase, Phase::Armed { .. }) && !found.rebooted;
        waits || matches!(phase, Phase::Ended(_) | Phase::Rebooting { .. } | Phase::Requested)
    });
    assert!(ended, "{start:?} {found:?} {policy:?}");
}

#[test]
fn an_impossible_pair_leaves_the_phase_alone() {
    for phase in every_phase() {
        let done = Done::Switch(SwitchEnd::Code(0), System::New);
        if !matches!(phase, Phase::Switching | Phase::Watching { .. }) {
            assert_eq!(advance(phase.clone(), done, s(0), &policy()), phase);
        }
    }
}

#[test]
fn a_phase_survives_the_disk() {
    for phase in every_phase() {
        let json = serde_json::to_string(&phase).unwrap();
        assert_eq!(serde_json::from_str::<Phase>(&json).unwrap(), phase);
    }
}

#[test]
fn nothing_goes_forward_without_a_record() {
    let next = |phase: Phase| unrecorded(&phase, "read-only", &policy()).map(|phase| brief(&phase));
    assert_eq!(next(Phase::Switching).unwrap(), "failed internal retry=true None");
    assert_eq!(
        next(Phase::Keeping { tries: 0 }).unwrap(),
        "reverting 0 Environment internal rebooted=false"
    );
    // What is on disk says `keeping` already: it may be kept by now.
    assert_eq!(next(Phase::Keeping { tries: 1 }), None);
    assert_eq!(next(reverting(Verdict::Unhealthy, 0)), None);
}

/// Every phase, with every count that it can hold.
pub(super) fn every_phase() -> Vec<Phase> {
    let mut all = vec![
        Phase::Requested,
        Phase::Baseline,
        Phase::Switching,
        Phase::Watching { since: s(0) },
        Phase::Ended(ending::kept(1)),
    ];
    for tries in 0..=4 {
        for rebooted in [false, true] {
            let cause = cause(Verdict::Unhealthy, &["web"]);
            all.push(Phase::Reverting { cause: cause.clone(), tries, rebooted });
            all.push(Phase::Rechecking { cause, since: s(0), rebooted, tries });
        }
        all.push(Phase::Keeping { tries });
        all.push(unkeeping(tries));
        all.push(Phase::Arming { tries });
        all.push(Phase::Armed { tries, asked: None });
        all.push(Phase::Disarming { tries, end: ending::superseded() });
        all.push(Phase::Staging { tries });
        all.push(Phase::Rebooting { cause: cause(Verdict::Unhealthy, &[]), tries, asked: None });
    }
    all
}

fn unkeeping(tries: u8) -> Phase {
    Phase::Unkeeping { tries, then: Then::Revert(cause(Verdict::NotKept, &[])) }
}
