//! What the documents name exists: commands, keys, reasons, gates, phases, events, make targets.
//!
//! `docs/configuration.md` is held against the table of keys beside that table.

// Helpers of tests are not `#[test]` functions themselves, and may fail just as loudly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use autodeploy::activator::trial::phase::Phase;
use autodeploy::client::args::Arguments;
use autodeploy::config::keys::KEYS;
use autodeploy::model::event::EventKind;
use autodeploy::model::failure::Reason;
use clap::Parser;

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "docs/architecture.md",
    "docs/configuration.md",
    "docs/contributing.md",
    "docs/operations.md",
    "docs/security.md",
    "docs/trial.md",
];

#[track_caller]
fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns what stands between backticks, and the lines after a prompt.
fn quoted(path: &str) -> Vec<String> {
    let text = text(path);
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if let Some(typed) = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "))
            && in_block
        {
            found.push(typed.split("  #").next().unwrap_or_default().trim().to_owned());
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

fn all_quoted() -> impl Iterator<Item = (&'static str, String)> {
    DOCUMENTS.iter().flat_map(|path| quoted(path).into_iter().map(|one| (*path, one)))
}

/// Returns the first cells of the table under a heading, each without its backticks.
#[track_caller]
fn first_cells(path: &str, heading: &str) -> Vec<String> {
    let text = text(path);
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect(heading);
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with("| "));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().replace('`', "")).collect()
}

#[test]
fn every_command_can_be_typed() {
    let mut count = 0;
    for (path, typed) in all_quoted() {
        if let Some((_, words)) = typed.split_once("autodeployctl ")
            && typed.starts_with("autodeployctl ")
        {
            let words = words.replace('\'', "");
            let line = ["autodeployctl"].into_iter().chain(words.split_whitespace());
            let parsed = Arguments::try_parse_from(line);
            assert!(parsed.is_ok(), "{path}: `{typed}`: {}", parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count > 25, "{count}");
}

#[test]
fn every_key_is_known() {
    let sections = ["source.", "trust.", "build.", "activation.", "health.", "control.", "paths."];
    for (path, quoted) in all_quoted() {
        let name = quoted.split([' ', '=']).next().unwrap_or_default();
        if sections.iter().any(|section| name.starts_with(section)) {
            let known = |key: &str| key == name || key.starts_with(&format!("{name}."));
            assert!(KEYS.iter().any(|key| known(key.name)), "{path}: `{quoted}`");
        }
    }
}

#[test]
fn every_reason_is_explained_in_the_same_words() {
    let operations = text("docs/operations.md");
    let listed = first_cells("docs/operations.md", "Reasons");
    let known: Vec<_> = Reason::ALL.iter().map(|(code, _)| *code).collect();
    assert_eq!(listed, known);
    for (code, meaning) in Reason::ALL {
        let row = format!("| `{code}` | {meaning} |\n");
        assert!(operations.contains(&row), "missing: {row}");
    }
}

#[test]
fn what_is_said_to_an_operator_in_trouble_is_a_reason_or_an_outcome() {
    let told = first_cells("docs/operations.md", "When something is wrong");
    assert!(told.len() > 10);
    for one in told.iter().flat_map(|cell| cell.split(", ")) {
        let is_reason = Reason::ALL.iter().any(|(code, _)| *code == one);
        let is_outcome = autodeploy::model::deployment::Outcome::from_name(one).is_some();
        assert!(is_reason || is_outcome, "`{one}`");
    }
}

#[test]
fn the_gates_are_those_of_the_agent() {
    let source = text("src/agent/policy/gates.rs");
    let names = source.lines().filter_map(|line| {
        let (kind, name) = line.trim().strip_prefix("GateKind::")?.split_once(" => \"")?;
        kind.chars().all(char::is_alphabetic).then(|| name.trim_end_matches("\",").to_owned())
    });
    let names: Vec<_> = names.collect();
    assert_eq!(first_cells("docs/operations.md", "What holds a trial back"), names);
}

#[test]
fn the_phases_are_those_of_the_activator() {
    let nonsense = serde_json::json!({ "name": "nonsense" });
    let said = serde_json::from_value::<Phase>(nonsense).unwrap_err().to_string();
    let names: Vec<_> = said.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert_eq!(first_cells("docs/trial.md", "Phases"), names);
}

#[test]
fn every_event_of_an_example_exists() {
    let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    let asked: Vec<_> = all_quoted()
        .filter_map(|(_, typed)| Some(typed.split_once("AUTODEPLOY_EVENT=")?.1.to_owned()))
        .collect();
    assert_eq!(asked.len(), 2);
    for event in asked {
        assert!(names.contains(&event.trim()), "`{event}`");
    }
}

#[test]
fn every_make_target_exists() {
    let makefile = text("Makefile");
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    let targets: Vec<_> = targets.split(' ').collect();
    for (path, typed) in all_quoted() {
        if let Some(words) = typed.strip_prefix("make ") {
            let target = words.split(' ').next().unwrap();
            assert!(targets.contains(&target), "{path}: `{typed}`");
        }
    }
}

/// Returns the text of every Rust file below a folder.
fn rust(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_security_leans_on_exists() {
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        rust(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut sources);
    }
    let is_name = |one: &&String| {
        one.matches('_').count() >= 4
            && one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let named: Vec<_> =
        quoted("docs/security.md").into_iter().filter(|one| is_name(&one)).collect();
    assert!(named.len() > 15, "{}", named.len());
    for name in named {
        let lies = |indent: &str| sources.contains(&format!("#[test]\n{indent}fn {name}()"));
        assert!(lies("") || lies("    "), "`{name}`");
    }
}
