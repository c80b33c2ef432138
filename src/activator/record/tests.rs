//! Records that are read, written, damaged and of other releases.

use super::*;
use crate::activator::host::fake::proof;
use crate::activator::trial::ending;
use crate::model::deployment::{DeploymentId, Kind, Outcome};
use crate::model::failure::{Failure, Reason};

/// A store path whose hash is one letter over and over.
pub fn path(letter: char) -> StorePath {
    format!("/nix/store/{}-nixos-system-box", letter.to_string().repeat(32)).parse().unwrap()
}

/// A request from `a` to `b`.
pub fn request() -> Request {
    Request {
        version: 1,
        deployment: DeploymentId(4),
        kind: Kind::Follow,
        commit: Some("c".repeat(40).parse().unwrap()),
        toplevel: path('b'),
        generation: None,
        expected_running: path('a'),
        boot_id: "boot-1".to_owned(),
        emergency: false,
        unblocked_by: None,
    }
}

/// A record in which that request is on trial.
pub fn record() -> Record {
    let trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
    Record { trial: Some(trial), ..Record::default() }
}

fn end(mark: Mark) -> End {
    End {
        outcome: Outcome::Reverted,
        failure: Failure::new(Reason::UNHEALTHY, "it was red"),
        retry: false,
        mark,
        generation: None,
    }
}

#[test]
fn fields_of_a_newer_release_survive_a_round_trip() {
    let mut json = serde_json::to_value(record()).unwrap();
    json["from_the_future"] = Value::from(1);
    json["trial"]["also"] = Value::from("yes");
    let read = parse(json.to_string().as_bytes()).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written, json);
}

#[track_caller]
fn check(bytes: &str, readable: bool) {
    assert_eq!(parse(bytes.as_bytes()).is_ok(), readable, "{bytes}");
}

#[test]
fn what_is_damaged_or_newer_is_not_guessed_at() {
    check(r#"{"version": 1}"#, true);
    check(r#"{"version": 2}"#, false);
    check(r#"{"version": 1, "trial": {"phase": "from the future"}}"#, false);
    check(r#"{"version": 1, "trial""#, false);
    check("", false);
    check("[]", false);
}

#[test]
fn a_refused_closure_stays_refused_until_it_is_cleared() {
    let mut record = record();
    record.remember(&end(Mark::Refused), "now");
    let refused = record.refuses(&path('b')).unwrap();
    assert_eq!((refused.reason.clone(), refused.deployment), (Reason::UNHEALTHY, DeploymentId(4)));
    assert_eq!(record.refuses(&path('a')), None);
    record.remember(&end(Mark::Refused), "later");
    assert_eq!(record.reverted.len(), 1);
    record.clear(&path('b'));
    assert_eq!(record.refuses(&path('b')), None);
}

#[test]
fn strikes_and_acquittals_are_counted_per_closure_and_forgotten_when_kept() {
    let mut record = record();
    record.remember(&end(Mark::Strike), "now");
    record.remember(&end(Mark::Acquitted), "now");
    record.remember(&end(Mark::Acquitted), "now");
    let policy = record.policy(record.trial.as_ref().unwrap());
    assert_eq!((policy.strikes, policy.acquittals), (1, 2));
    record.remember(&ending::kept(7), "now");
    assert_eq!(record.counts, []);
    assert_eq!(record.last_kept.unwrap().generation, 7);
}

/// A kept trial of a kind to `new`, on a machine whose default is `default` and that runs
/// `running`: what is refused afterwards.
#[track_caller]
fn leaves(kind: Kind, new: char, (default, running): (char, char), expected: &[char]) {
    let mut record = record();
    let commit = Some("d".repeat(40).parse().unwrap());
    record.last_kept =
        Some(Kept { toplevel: path('b'), commit, generation: 6, at: "then".to_owned() });
    let trial = record.trial.as_mut().unwrap();
    trial.request = Request { kind, toplevel: path(new), ..request() };
    let default = Generation { number: 6, toplevel: path(default) };
    trial.proof = Some(proof(default, path(running)));
    record.remember(&end(Mark::Refused), "before");
    assert!(record.refuses(&path(new)).is_some());
    record.remember(&ending::kept(7), "now");
    let refused: Vec<_> = record.reverted.iter().map(|one| one.toplevel.clone()).collect();
    assert_eq!(refused, expected.iter().map(|one| path(*one)).collect::<Vec<_>>());
    for one in &record.reverted {
        assert_eq!((&one.reason, one.deployment), (&Reason::BY_OPERATOR, DeploymentId(4)));
        assert_eq!(one.commit.is_some(), one.toplevel == path('b'));
    }
}

#[test]
fn a_kept_rollback_refuses_what_it_leaves() {
    leaves(Kind::Rollback, 'a', ('b', 'b'), &['b']);
    leaves(Kind::Rollback, 'a', ('c', 'c'), &['c']);
    // It runs already, and stays allowed.
    leaves(Kind::Rollback, 'b', ('b', 'b'), &[]);
    // Tested by hand.
    leaves(Kind::Rollback, 'a', ('b', 'c'), &[]);
    leaves(Kind::Follow, 'a', ('b', 'b'), &[]);
}

#[test]
fn a_rollback_that_is_not_kept_refuses_itself_alone() {
    let mut record = record();
    let trial = record.trial.as_mut().unwrap();
    trial.request = Request { kind: Kind::Rollback, ..request() };
    trial.proof = Some(proof(Generation { number: 6, toplevel: path('a') }, path('a')));
    record.remember(&end(Mark::Refused), "now");
    assert_eq!((record.refuses(&path('a')), record.reverted.len()), (None, 1));
}

#[test]
fn a_warning_is_said_until_something_is_kept() {
    let mut record = Record { warnings: vec!["it was set aside".to_owned()], ..record() };
    for mark in [Mark::None, Mark::Strike, Mark::Acquitted, Mark::Refused] {
        record.remember(&end(mark), "now");
        assert_eq!(record.warnings.len(), 1, "{mark:?}");
    }
    record.remember(&ending::kept(7), "now");
    assert_eq!(record.warnings.len(), 0);
}

#[test]
fn the_story_of_a_trial_is_bounded() {
    let mut trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
    for _ in 0..200 {
        trial.enter(Phase::Keeping { tries: 1 }, "boot-1", "now");
    }
    assert_eq!(trial.steps.len(), STEPS);
    assert_eq!(trial.steps[0].phase, "requested");
    assert_eq!(trial.finished_at, None);
    trial.enter(Phase::Ended(ending::kept(1)), "boot-1", "now");
    assert_eq!(trial.finished_at.unwrap(), "now");
}

#[test]
fn what_a_revert_brings_back_is_what_ran_or_else_the_default() {
    let mut trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
    assert_eq!(*trial.old(), path('a'));
    let default = Generation { number: 6, toplevel: path('c') };
    trial.proof = Some(proof(default.clone(), path('a')));
    assert_eq!(*trial.old(), path('a'));
    // It runs already, and was never the default.
    trial.proof = Some(proof(default, path('b')));
    assert_eq!(*trial.old(), path('c'));
}
