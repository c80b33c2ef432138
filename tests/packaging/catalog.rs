//! `systemd/autodeploy.catalog` explains every kind of event, and nothing else.

use std::collections::BTreeMap;
use std::process::Command;

use autodeploy::model::event::EventKind;

use crate::{repository, text};

/// The fields that `effects::journal` writes, and the one that every entry has.
const FIELDS: [&str; 7] = [
    "MESSAGE",
    "AUTODEPLOY_EVENT",
    "AUTODEPLOY_DEPLOYMENT",
    "AUTODEPLOY_COMMIT",
    "AUTODEPLOY_CLOSURE",
    "AUTODEPLOY_OUTCOME",
    "AUTODEPLOY_REASON",
];

/// Returns each entry by its id: the lines after it.
fn entries() -> BTreeMap<String, Vec<String>> {
    let mut entries = BTreeMap::<_, Vec<_>>::new();
    let mut id = None;
    for line in text("systemd/autodeploy.catalog").lines() {
        if let Some(next) = line.strip_prefix("-- ") {
            assert!(!entries.contains_key(next), "{next} is there twice");
            id = Some(next.to_owned());
        } else if let Some(id) = &id {
            entries.entry(id.clone()).or_default().push(line.to_owned());
        }
    }
    entries
}

#[test]
fn catalog_and_code_know_the_same_events() {
    let explained: Vec<_> = entries().into_keys().collect();
    let mut known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.message_id()).collect();
    known.sort_unstable();
    assert_eq!(explained, known);
}

#[test]
fn every_entry_says_what_and_what_to_do_with_fields_that_exist() {
    for (id, lines) in entries() {
        let subject = lines[0].strip_prefix("Subject: ").unwrap_or_default();
        assert!(!subject.is_empty() && !subject.ends_with('.'), "{id}: {subject}");
        assert_eq!((lines[1].as_str(), lines[2].as_str()), ("Defined-By: autodeploy", ""), "{id}");
        assert!(lines[3..].iter().any(|line| !line.is_empty()), "{id} explains nothing");
        for line in &lines {
            for field in line.split('@').skip(1).step_by(2) {
                assert!(FIELDS.contains(&field), "{id}: `{field}`");
            }
            assert_eq!(line.matches('@').count() % 2, 0, "{id}: {line}");
        }
    }
}

#[test]
fn the_journal_takes_the_catalog_in() {
    let root = tempfile::tempdir().unwrap();
    let catalogs = root.path().join("usr/lib/systemd/catalog");
    std::fs::create_dir_all(&catalogs).unwrap();
    let from = repository("systemd/autodeploy.catalog");
    std::fs::copy(from, catalogs.join("autodeploy.catalog")).unwrap();
    let journalctl = |arguments: &[&str]| {
        let ended = Command::new("journalctl")
            .arg(format!("--root={}", root.path().display()))
            .args(arguments)
            .output()
            .expect("journalctl is missing: apt-get install systemd");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    journalctl(&["--update-catalog"]);
    assert_eq!(journalctl(&["--list-catalog"]).lines().count(), EventKind::ALL.len());
}
