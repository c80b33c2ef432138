//! The database on a real disk.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::agent::rollout::{Stage, Under};
use crate::model::deployment::Kind;
use crate::trust::KeysId;

fn commit(letter: char) -> CommitId {
    letter.to_string().repeat(40).parse().unwrap()
}

fn closure(name: &str) -> StorePath {
    format!("/nix/store/{}-{name}", "0".repeat(32)).parse().unwrap()
}

fn deployment(id: u64, stage: Stage) -> Deployment {
    Deployment {
        id: DeploymentId(id),
        kind: Kind::Follow,
        commit: Some(commit('a')),
        generation: None,
        attempts: 2,
        emergency: true,
        subject: Some("a subject".into()),
        started_at: "2026-01-01T00:00:00Z".into(),
        stage,
    }
}

fn end(outcome: Outcome) -> End {
    End::new(outcome, Reason::HEALTHY, "it ended")
}

#[test]
fn every_stage_comes_back_as_it_was_or_one_step_earlier() {
    use crate::agent::rollout::verify::Lineage;
    use crate::model::deployment::Phase;
    let under = Under { base: Some(commit('b')), keys: KeysId::stored("0123") };
    let (toplevel, boot_id) = (closure("one"), "boot".to_owned());
    let drv = Some(closure("one.drv"));
    let stages = [
        Stage::Fetching,
        Stage::Resolving { under: under.clone() },
        Stage::Realising {
            closure: Closure { toplevel: toplevel.clone(), drv },
            under: under.clone(),
        },
        Stage::Held { toplevel: toplevel.clone(), under },
        Stage::Requested { toplevel: toplevel.clone(), boot_id },
        Stage::OnTrial { toplevel, phase: Phase::Watching },
    ];
    let mut history = History::forgotten(1000).unwrap();
    history.record(&[Entry::Born(deployment(1, Stage::Fetching))]).unwrap();
    for stage in stages {
        let stored = deployment(1, stage);
        history.record(&[Entry::Came(stored.clone())]).unwrap();
        assert_eq!(history.known(None).unwrap().live[0].live(), Some(stored));
    }
    let verifying = deployment(2, Stage::Verifying { lineage: Lineage::default() });
    history.record(&[Entry::Born(verifying)]).unwrap();
    let live = history.known(None).unwrap().live[1].live().unwrap();
    assert_eq!(live.stage, Stage::Fetching);
}

#[test]
fn what_was_recorded_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    {
        let opened = History::open(directory.path(), 10).unwrap();
        assert!(opened.fresh && opened.mended.is_none());
        let mut history = opened.history;
        history
            .record(&[
                Entry::Born(deployment(1, Stage::Fetching)),
                Entry::Ended {
                    id: DeploymentId(1),
                    at: "2026-01-01T00:00:10Z".into(),
                    end: end(Outcome::Kept),
                },
                Entry::Fact(Fact::Mark, Some(commit('a').to_string())),
            ])
            .unwrap();
    }
    let opened = History::open(directory.path(), 10).unwrap();
    assert!(!opened.fresh && opened.mended.is_none());
    let known = opened.history.known(Some(&commit('a'))).unwrap();
    assert_eq!((known.live.len(), known.next, known.mark), (0, 2, Some(commit('a'))));
    let verdict = known.of_tip.unwrap().verdict().unwrap();
    assert_eq!(
        (verdict.outcome, verdict.attempts, verdict.ended_at_s),
        (Outcome::Kept, 2, 1767225610)
    );
}

/// Writes something else in the place of the database, and expects it to be kept beside a new one.
#[track_caller]
fn check_set_aside(spoil: impl Fn(&Path), cause: &str) {
    let directory = tempfile::tempdir().unwrap();
    drop(History::open(directory.path(), 10).unwrap());
    let path = directory.path().join(FILE);
    spoil(&path);
    let spoilt = fs::read(&path).unwrap();
    let opened = History::open(directory.path(), 10).unwrap();
    let mended = opened.mended.unwrap();
    assert!(mended.contains(cause), "{mended}");
    assert_eq!(opened.history.known(None).unwrap().next, 1);
    let aside = directory.path().join(format!("{FILE}.damaged-1"));
    assert_eq!(fs::read(aside).unwrap(), spoilt);
    drop(opened.history);
    assert!(History::open(directory.path(), 10).unwrap().mended.is_none());
}

#[test]
fn what_is_no_whole_database_of_this_major_version_is_set_aside_and_kept() {
    check_set_aside(|path| fs::write(path, "hello").unwrap(), "file is not a database");
    let truncated = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    check_set_aside(truncated, "could not open");
    let sql = |sql: &'static str| {
        move |path: &Path| Connection::open(path).unwrap().execute_batch(sql).unwrap()
    };
    check_set_aside(sql("pragma application_id = 7"), "not a history of autodeploy");
    check_set_aside(sql("pragma user_version = 2000"), "version is 2000, which is too new");
}

#[test]
fn a_newer_minor_version_is_used_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    drop(History::open(directory.path(), 10).unwrap());
    let newer = "alter table deployment add column mood text; pragma user_version = 1001;";
    Connection::open(directory.path().join(FILE)).unwrap().execute_batch(newer).unwrap();
    let opened = History::open(directory.path(), 10).unwrap();
    assert_eq!(opened.mended, None);
    let mut history = opened.history;
    history.record(&[Entry::Born(deployment(1, Stage::Fetching))]).unwrap();
    assert_eq!(history.known(None).unwrap().live.len(), 1);
}

#[test]
fn a_directory_that_is_not_there_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let error = History::open(&directory.path().join("gone"), 10).err().unwrap();
    assert!(format!("{error:#}").contains("unable to open database file"), "{error:#}");
}

#[test]
fn an_entry_that_cannot_be_written_undoes_the_others() {
    let mut history = History::forgotten(1000).unwrap();
    let born = || Entry::Born(deployment(1, Stage::Fetching));
    history.record(&[born()]).unwrap();
    let fact = Entry::Fact(Fact::Paused, Some("x".into()));
    assert!(history.record(&[fact, born()]).is_err());
    assert_eq!(history.known(None).unwrap().paused, None);
}

#[test]
fn the_oldest_are_forgotten_but_never_the_last_kept_nor_a_number() {
    let mut history = History::forgotten(1000).unwrap();
    history.keep = 3;
    for id in 1..=8 {
        let outcome = match id {
            2 => Outcome::Kept,
            _ => Outcome::Failed,
        };
        let at = "2026-01-01T00:00:10Z".to_owned();
        let event = crate::agent::rollout::record::said(
            EventKind::NewTip,
            &deployment(id, Stage::Fetching),
            &at,
            "x",
        );
        let born = Entry::Born(deployment(id, Stage::Fetching));
        let ended = Entry::Ended { id: DeploymentId(id), at, end: end(outcome) };
        history.record(&[born, Entry::Event(event), ended]).unwrap();
    }
    let left: Vec<_> = history.newest(100).unwrap().iter().map(|row| row.id).collect();
    assert_eq!(left, [8, 7, 6, 2]);
    assert_eq!(history.events(1).unwrap(), []);
    assert_eq!(history.events(2).unwrap().len(), 1);
    assert_eq!(history.known(None).unwrap().next, 9);
}

#[test]
fn an_unblocked_closure_stays_known_until_it_is_blocked_again() {
    let mut history = History::forgotten(1000).unwrap();
    let row = BlockedRow {
        toplevel: closure("bad"),
        commit: Some(commit('a')),
        reason: Reason::UNHEALTHY,
        since: "2026-01-01T00:00:00Z".into(),
        deployment: Some(DeploymentId(1)),
        unblocked_by: None,
    };
    history.record(&[Entry::Blocked(row.clone())]).unwrap();
    assert_eq!(history.known(None).unwrap().blocked, std::slice::from_ref(&row));
    history.record(&[Entry::Unblocked(closure("bad"), 1000)]).unwrap();
    assert_eq!(history.known(None).unwrap().blocked[0].unblocked_by, Some(1000));
    history.record(&[Entry::Blocked(row.clone())]).unwrap();
    assert_eq!(history.known(None).unwrap().blocked, [row]);
}
