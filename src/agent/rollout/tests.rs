//! Single decisions, as tables; whole journeys are in `agent/daemon/tests`.

use std::time::Duration;

use super::*;
use crate::agent::rollout::advance::advance;
use crate::agent::rollout::seen::Insist;
use crate::agent::rollout::verify::Lineage;
use crate::config::settings::UnprovedBoot;
use crate::handover::report::{Report, Trial};
use crate::model::failure::Failure;

mod ends;
mod verdicts;

pub(super) fn commit(letter: char) -> CommitId {
    letter.to_string().repeat(40).parse().unwrap()
}

pub(super) fn closure(name: &str) -> StorePath {
    format!("/nix/store/{}-{name}", "0".repeat(32)).parse().unwrap()
}

fn policy() -> Policy {
    let (poll_interval, stale_after) = (Duration::from_secs(60), Duration::from_secs(3600));
    let unproved_boot = UnprovedBoot::Refuse;
    Policy {
        poll_interval,
        stale_after,
        introduction: None,
        max_tip_age: None,
        drift: Drift::Report,
        unproved_boot,
    }
}

pub(super) fn deployment(id: u64, letter: char, stage: Stage) -> Deployment {
    Deployment {
        id: DeploymentId(id),
        kind: Kind::Follow,
        commit: Some(commit(letter)),
        generation: None,
        attempts: 1,
        emergency: false,
        subject: None,
        started_at: String::new(),
        stage,
    }
}

/// A machine that runs what its profile says, with a fresh poll.
pub(super) fn seen(live: Vec<Deployment>) -> Seen {
    let world = World {
        running: Some(closure("base")),
        profile: Some(closure("base")),
        boot_id: "boot".into(),
        report: Some(Default::default()),
        ..World::default()
    };
    let poll = PollSeen { good_at_ms: Some(1_000), error: None };
    let now = Moment { boottime_ms: 2_000, unix_s: 1_000 };
    let tip = Some(commit('a'));
    Seen { now, tip, poll, live, nix_tried: true, world, ..Seen::default() }
}

pub(super) fn held(name: &str) -> Stage {
    Stage::Held { toplevel: closure(name), under: Under::default() }
}

pub(super) fn realising(name: &str) -> Stage {
    Stage::Realising {
        closure: Closure { toplevel: closure(name), drv: None },
        under: Under::default(),
    }
}

/// One word for a step.
fn word(step: Step) -> String {
    match step {
        Step::Supersede(id) => format!("supersede {id}"),
        Step::Begin(birth) => format!("begin {}", birth.attempts),
        Step::Advance(id, stage) => format!("advance {id} {}", stage.phase()),
        Step::Work(id, Operation::Fetch { .. }) => format!("fetch {id}"),
        Step::Work(id, Operation::Resolve { .. }) => format!("resolve {id}"),
        Step::Work(id, Operation::Realise { .. }) => format!("realise {id}"),
        Step::Request(id) => format!("request {id}"),
        Step::End(id, end) => format!("end {id} {} {}", end.outcome, end.reason),
        Step::Rest => "rest".to_owned(),
    }
}

#[track_caller]
fn check(seen: &Seen, expected: &str) {
    assert_eq!(word(decide(seen, &policy())), expected, "{:?}", seen.live);
}

#[test]
fn each_stage_has_its_next_step() {
    let one = |stage| seen(vec![deployment(1, 'a', stage)]);
    check(&seen(vec![]), "begin 1");
    check(&one(Stage::Fetching), "fetch 1");
    check(&one(Stage::Verifying { lineage: Lineage::default() }), "advance 1 resolving");
    check(&one(Stage::Resolving { under: Under::default() }), "resolve 1");
    check(&one(realising("one")), "realise 1");
    check(&one(held("one")), "request 1");
    let boot_id = "boot".to_owned();
    check(&one(Stage::Requested { toplevel: closure("one"), boot_id }), "rest");
}

#[test]
fn only_one_long_operation_runs() {
    for stage in [Stage::Fetching, Stage::Resolving { under: Under::default() }, realising("one")] {
        let busy = seen(vec![deployment(1, 'a', stage)]);
        check(&Seen { working: Some(DeploymentId(1)), ..busy }, "rest");
    }
}

#[test]
fn what_is_resolved_is_not_evaluated_again() {
    let known = Closure { toplevel: closure("one"), drv: None };
    let resolved = Resolved::from([(commit('a'), known)]);
    let one = seen(vec![deployment(1, 'a', Stage::Resolving { under: Under::default() })]);
    check(&Seen { resolved, ..one }, "advance 1 realising");
}

#[test]
fn a_closure_that_runs_and_is_the_default_needs_no_trial() {
    let one = seen(vec![deployment(1, 'a', realising("base"))]);
    check(&one, "end 1 kept already-running");
    let mut only_runs = one.clone();
    only_runs.world.profile = Some(closure("older"));
    check(&only_runs, "realise 1");
}

#[test]
fn a_blocked_closure_is_blocked_at_every_stage() {
    for stage in [realising("one"), held("one")] {
        let one = seen(vec![deployment(1, 'a', stage)]);
        check(&Seen { blocked: Blocked::from([closure("one")]), ..one }, "end 1 blocked blocked");
    }
}

#[test]
fn a_newer_commit_supersedes_what_has_not_begun_to_realise() {
    let older = |stage| seen(vec![deployment(1, 'b', stage)]);
    for stage in [Stage::Fetching, Stage::Resolving { under: Under::default() }] {
        check(&older(stage), "end 1 superseded newer-commit");
    }
    check(&older(realising("one")), "realise 1");
    check(&older(held("one")), "request 1");
    check(
        &Seen { paused: Some("x".into()), ..older(held("one")) },
        "end 1 superseded newer-commit",
    );
}

#[test]
fn an_emergency_passes_the_pause_whoever_said_it() {
    let one = seen(vec![deployment(1, 'a', held("one"))]);
    let paused = Seen { paused: Some("a visit".into()), ..one };
    check(&paused, "rest");
    let insist = Insist { emergency: true, ..Insist::default() };
    check(&Seen { insist, ..paused.clone() }, "request 1");
    let mut begun = paused;
    begun.live[0].emergency = true;
    check(&begun, "request 1");
}

#[test]
fn what_is_realised_behind_a_trial_gives_way_to_a_newer_commit() {
    let boot_id = "boot".to_owned();
    let front = Stage::Requested { toplevel: closure("one"), boot_id };
    let behind = deployment(2, 'b', realising("two"));
    let both = seen(vec![deployment(1, 'a', front), behind]);
    check(&Seen { tip: Some(commit('b')), ..both.clone() }, "realise 2");
    check(&Seen { tip: Some(commit('c')), ..both }, "end 2 superseded newer-commit");
}

#[test]
fn a_trial_starts_only_within_seconds_of_a_good_poll() {
    let one = seen(vec![deployment(1, 'a', held("one"))]);
    let at = |ms| Moment { boottime_ms: ms, unix_s: 1_000 };
    check(&Seen { now: at(6_000), ..one.clone() }, "request 1");
    check(&Seen { now: at(6_001), ..one.clone() }, "rest");
    let error = Some(Failure::new(Reason::UNREACHABLE, "no route"));
    check(&Seen { poll: PollSeen { good_at_ms: Some(1_900), error }, ..one }, "rest");
}

#[test]
fn a_profile_that_somebody_else_set_is_not_taken_away() {
    let one = |profile: &str| {
        let mut one = seen(vec![deployment(1, 'a', held("one"))]);
        one.world.profile = Some(closure(profile));
        Seen { last_kept: Some(closure("kept")), ..one }
    };
    check(&one("staged"), "rest");
    check(&one("base"), "request 1");
    check(&one("kept"), "request 1");
    // Somebody staged what is to be tried anyway.
    check(&one("one"), "request 1");
}

#[test]
fn abort_ends_what_has_not_been_kept_and_is_not_on_its_way_back() {
    use crate::agent::rollout::collisions::{Abort, abort};
    let check = |stage: Stage, expected: &str| {
        let shown = format!("{stage:?}");
        let got = match abort(&seen(vec![deployment(1, 'a', stage)]), None) {
            Ok(Abort::Here(id, end)) => format!("here {id} {}", end.outcome),
            Ok(Abort::Tell(id)) => format!("tell {id}"),
            Ok(Abort::Nothing(id)) => format!("nothing {id}"),
            Err(_) => "refused".to_owned(),
        };
        assert_eq!(got, expected, "{shown}");
    };
    let on_trial = |phase| Stage::OnTrial { toplevel: closure("one"), phase };
    check(Stage::Fetching, "here 1 aborted");
    check(held("one"), "here 1 aborted");
    for phase in [Phase::Baseline, Phase::Switching, Phase::Watching, Phase::Arming, Phase::Armed] {
        check(on_trial(phase), "tell 1");
    }
    check(on_trial(Phase::Keeping), "refused");
    check(on_trial(Phase::Reverting), "nothing 1");
    check(on_trial(Phase::Rebooting), "nothing 1");
}

/// A deployment of `a` that waits for its boot, and what is behind it.
fn armed(behind: Stage) -> Seen {
    let stage = Stage::OnTrial { toplevel: closure("one"), phase: Phase::Armed };
    let live = vec![deployment(1, 'a', stage), deployment(2, 'b', behind)];
    let mut seen = Seen { tip: Some(commit('b')), ..seen(live) };
    seen.world.report = Some(report_of(Phase::Armed));
    seen
}

pub(super) fn report_of(phase: Phase) -> std::rc::Rc<Report> {
    Report { trial: Some(reported(1, "one", phase)), ..Report::default() }.into()
}

pub(super) fn reported(id: u64, name: &str, phase: Phase) -> Trial {
    Trial {
        deployment: DeploymentId(id),
        kind: Kind::Follow,
        commit: None,
        toplevel: closure(name),
        old: None,
        ran_before: None,
        phase,
        steps: Vec::new(),
        outcome: None,
        reason: None,
        message: String::new(),
        hint: None,
        retry: false,
        generation: None,
        checks: Vec::new(),
        evidence: Vec::new(),
        started_at: String::new(),
        finished_at: None,
    }
}

#[test]
fn a_trial_is_that_of_a_deployment_by_its_number_and_its_closure() {
    let on_trial = Stage::OnTrial { toplevel: closure("one"), phase: Phase::Watching };
    let mut one = seen(vec![deployment(1, 'a', on_trial)]);
    assert!(one.being_tried());
    for (id, name, ours) in [(1, "one", true), (1, "two", false), (2, "one", false)] {
        let trial = Some(reported(id, name, Phase::Watching));
        one.world.report = Some(Report { trial, ..Report::default() }.into());
        assert_eq!(one.reported(DeploymentId(1)).is_some(), ours, "{id} {name}");
    }
    check(&one, "end 1 interrupted record-unreadable");
    // What cannot be read says nothing.
    one.world.report = None;
    check(&one, "rest");
}

#[test]
fn a_request_is_unanswered_after_a_while() {
    use crate::agent::policy::REQUEST_TAKEN_WITHIN_MS;
    use crate::agent::rollout::trial::unanswered;
    let boot_id = "boot".to_owned();
    let stage = Stage::Requested { toplevel: closure("one"), boot_id };
    let mut one = seen(vec![deployment(1, 'a', stage)]);
    one.requested_at_ms = Some(one.now.boottime_ms);
    assert!(!unanswered(&one));
    one.now.boottime_ms += REQUEST_TAKEN_WITHIN_MS;
    assert!(unanswered(&one));
    one.live[0].stage = held("one");
    assert!(!unanswered(&one));
}

#[test]
fn what_waits_for_its_boot_gives_way_to_a_newer_commit_that_could_go() {
    check(&armed(held("two")), "supersede 1");
    check(&Seen { superseding: Some(DeploymentId(1)), ..armed(held("two")) }, "rest");
    check(&Seen { superseding: Some(DeploymentId(7)), ..armed(held("two")) }, "supersede 1");
    // As long as the newer one could not go either, nothing is taken away.
    check(&armed(realising("two")), "realise 2");
    check(&Seen { paused: Some("a visit".into()), ..armed(held("two")) }, "rest");
    check(&Seen { nix_tried: false, ..armed(held("two")) }, "rest");
    let blocked = Blocked::from([closure("two")]);
    check(&Seen { blocked, ..armed(held("two")) }, "end 2 blocked blocked");
    let mut asked = armed(held("two"));
    asked.live[0].kind = Kind::Rollback;
    check(&asked, "rest");
    let mut watched = armed(held("two"));
    watched.live[0].stage = Stage::OnTrial { toplevel: closure("one"), phase: Phase::Watching };
    watched.world.report = Some(report_of(Phase::Watching));
    check(&watched, "rest");
}

#[test]
fn what_has_to_be_booted_goes_where_one_boot_can_be_armed() {
    let needs = |never_once: Option<&str>| {
        let mut one = seen(vec![deployment(1, 'a', held("one"))]);
        one.world.reboot_reasons = vec!["the kernel differs".to_owned()];
        let never_once = never_once.map(str::to_owned);
        one.world.report = Some(Report { never_once, ..Report::default() }.into());
        one
    };
    check(&needs(None), "request 1");
    check(&needs(Some("there is no loader")), "rest");
    let gates = policy::gates::of_the_tip(&needs(Some("there is no loader")), &policy());
    assert_eq!(
        gates[0].message,
        "the closure has to be booted (the kernel differs), and no single boot of it can be \
         armed: there is no loader"
    );
    let allowed = Policy { unproved_boot: UnprovedBoot::Allow, ..policy() };
    let step = decide(&needs(Some("there is no loader")), &allowed);
    assert_eq!(step, Step::Request(DeploymentId(1)));
}

#[test]
fn what_we_staged_ourselves_holds_nothing_back() {
    let staged = |outcome| {
        let mut one = seen(vec![deployment(2, 'a', held("two"))]);
        one.world.profile = Some(closure("one"));
        let trial = Trial { outcome: Some(outcome), ..reported(1, "one", Phase::Idle) };
        one.world.report = Some(Report { trial: Some(trial), ..Report::default() }.into());
        one
    };
    check(&staged(Outcome::Staged), "request 2");
    check(&staged(Outcome::Failed), "rest");
}

#[test]
fn a_trial_waits_until_nix_was_tried() {
    let one = seen(vec![deployment(1, 'a', held("one"))]);
    check(&Seen { nix_tried: false, ..one }, "rest");
}

#[test]
fn what_was_verified_against_another_mark_is_looked_at_again() {
    let one = seen(vec![deployment(1, 'a', held("one"))]);
    check(&Seen { mark: Some(commit('b')), ..one }, "fetch 1");
    let lineage = Lineage { base: Some(commit('c')), descends: true, ..Lineage::default() };
    let one = seen(vec![deployment(1, 'a', Stage::Verifying { lineage })]);
    check(&Seen { mark: Some(commit('b')), ..one }, "advance 1 fetching");
}

#[test]
fn a_request_that_another_boot_has_forgotten_goes_back_to_the_gates() {
    let requested = |boot_id: &str| {
        let boot_id = boot_id.to_owned();
        seen(vec![deployment(1, 'a', Stage::Requested { toplevel: closure("one"), boot_id })])
    };
    check(&requested("boot"), "rest");
    check(&requested("earlier"), "advance 1 held");
    let mut silent = requested("earlier");
    silent.world.report = None;
    check(&silent, "rest");
}

#[test]
fn an_impossible_result_leaves_a_deployment_alone() {
    let one = deployment(1, 'a', held("one"));
    assert_eq!(advance(&one, Ok(Done::Realised), None), Step::Rest);
    let boot_id = "boot".to_owned();
    let asked = deployment(1, 'a', Stage::Requested { toplevel: closure("one"), boot_id });
    let failure = Failure::new(Reason::INTERNAL, "x");
    assert_eq!(advance(&asked, Err(failure), None), Step::Rest);
}

#[test]
fn another_hosts_closure_does_not_become_ours_by_waiting() {
    let one = deployment(1, 'a', realising("one"));
    for (reason, retry) in [(Reason::WRONG_HOST, false), (Reason::BUILD_FAILED, true)] {
        let step = advance(&one, Err(Failure::new(reason, "it failed")), None);
        let Step::End(_, end) = step else { panic!("{step:?}") };
        assert_eq!((end.outcome, end.retry), (Outcome::Failed, retry));
    }
}
