//! The architecture invariants of `docs/architecture.md`, held against the sources.
//!
//! A rule that does not fit a file has that file in its list of exceptions, with the reason. An
//! exception that nothing needs any more is an error too.

// Helpers of tests are not `#[test]` functions themselves, and may fail just as loudly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dependencies;
mod source;

use std::path::Path;
use std::sync::OnceLock;

use source::Source;

/// Rooms and files that decide and never touch the world. A folder stands for all in it.
const PURE: [&str; 23] = [
    "src/model.rs",
    "src/model/",
    "src/config.rs",
    "src/config/",
    "src/handover.rs",
    "src/handover/",
    "src/control.rs",
    "src/control/ask.rs",
    "src/control/deployment.rs",
    "src/control/status.rs",
    "src/agent/rollout.rs",
    "src/agent/rollout/",
    "src/agent/policy.rs",
    "src/agent/policy/",
    "src/agent/plan.rs",
    "src/agent/plan/",
    "src/agent/status.rs",
    "src/activator/trial.rs",
    "src/activator/trial/",
    "src/activator/judgement.rs",
    "src/activator/request.rs",
    "src/trust.rs",
    "src/trust/",
];

/// What a pure file may not name: the world, a clock, a log, an output.
const IMPURE: [&str; 17] = [
    "crate::effects",
    "tokio",
    "std::fs",
    "std::process",
    "std::net",
    "std::env",
    "std::thread",
    "std::os",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "tracing",
    "println",
    "eprintln",
    "print",
    "dbg",
];

/// Files over 400 lines, with the reason.
const LONG_FILES: [(&str, &str); 2] = [
    ("src/activator/conduct.rs", "every phase of a trial beside the others, a function each"),
    ("src/agent/rollout.rs", "all that the agent decides, in the order in which it decides"),
];

/// Where `std::fs` stands outside of `effects`, with the reason.
const OPENS_FILES: [(&str, &str); 2] = [
    ("src/activator/checks/transient.rs", "reads the pipe that it gave to a unit; opens no path"),
    ("src/agent/history/open.rs", "sets what SQLite keeps beside the database aside with it"),
];

/// Where a clock of `std::time` stands outside of `effects`, with the reason.
const READS_CLOCKS: [(&str, &str); 1] =
    [("src/activator/checks/transient.rs", "gives up waiting for a unit; decides nothing by it")];

fn sources() -> &'static [Source] {
    static READ: OnceLock<Vec<Source>> = OnceLock::new();
    READ.get_or_init(|| source::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")))
}

/// Returns the sources and the tests.
fn all_rust() -> impl Iterator<Item = &'static Source> {
    static TESTS: OnceLock<Vec<Source>> = OnceLock::new();
    let read = || source::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    sources().iter().chain(TESTS.get_or_init(read))
}

fn in_room(path: &str, room: &str) -> bool {
    path == format!("src/{room}.rs") || path.starts_with(&format!("src/{room}/"))
}

/// Fails with every place where one of `words` stands in a file that `applies`, exceptions apart.
#[track_caller]
fn absent(words: &[&str], exceptions: &[(&str, &str)], applies: impl Fn(&Source) -> bool) {
    let mut unused: Vec<_> = exceptions.iter().map(|(path, _)| *path).collect();
    let mut places = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test() && applies(source)) {
        let lines = source.lines_with(words);
        match exceptions.iter().any(|(path, _)| *path == source.path) && !lines.is_empty() {
            true => unused.retain(|path| *path != source.path),
            false => places.extend(lines.iter().map(|line| format!("{}:{line}", source.path))),
        }
    }
    assert_eq!(places, [""; 0], "one of {words:?}");
    assert_eq!(unused, [""; 0], "exceptions that nothing needs");
}

#[test]
fn pure_files_do_not_touch_the_world() {
    let pure = |path: &str| {
        PURE.iter().any(|one| path == *one || (one.ends_with('/') && path.starts_with(one)))
    };
    absent(&IMPURE, &[], |source| pure(&source.path));
    for one in PURE {
        let there = sources().iter().any(|source| source.path.starts_with(one));
        assert!(there, "`{one}` is in the list of pure files and is not there");
    }
}

#[test]
fn only_effects_start_programs_open_files_and_read_clocks() {
    let outside = |source: &Source| !in_room(&source.path, "effects");
    absent(&["process::Command", "Command::new", "tokio::process"], &[], outside);
    absent(&["std::fs", "tokio::fs", "OpenOptions"], &OPENS_FILES, outside);
    absent(&["SystemTime", "Timestamp::now"], &[], outside);
    // In agent and client tokio's clock counts, which tests can stop.
    let stopped = ["std::time::Instant", "std::time::{Duration, Instant}"];
    absent(&stopped, &READS_CLOCKS, outside);
    absent(&["Instant"], &READS_CLOCKS, |source| in_room(&source.path, "activator"));
}

#[test]
fn only_the_files_of_git_name_git2() {
    absent(&["git2"], &[], |source| !in_room(&source.path, "effects/git"));
}

#[test]
fn rooms_know_only_those_below_them() {
    let apart = [
        ("activator", &["crate::agent", "crate::client", "crate::control"][..]),
        ("agent", &["crate::activator", "crate::client"]),
        ("client", &["crate::activator", "crate::agent"]),
        ("effects", &["crate::activator", "crate::agent", "crate::client", "crate::control"]),
        ("control", &["crate::activator", "crate::agent", "crate::client", "crate::effects"]),
        ("handover", &["crate::activator", "crate::agent", "crate::client", "crate::control"]),
        ("config", &["crate::activator", "crate::agent", "crate::client", "crate::handover"]),
        ("model", &["crate::activator", "crate::agent", "crate::client", "crate::config"]),
        ("trust", &["crate::activator", "crate::agent", "crate::client", "crate::config"]),
    ];
    for (room, others) in apart {
        absent(others, &[], |source| in_room(&source.path, room));
    }
}

#[test]
fn nothing_of_a_program_is_there_for_the_fuzzer() {
    let outside =
        |source: &Source| !in_room(&source.path, "fuzzing") && source.path != "src/lib.rs";
    absent(&["fuzzing"], &[], outside);
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains("\ndefault = [\"agent\", \"activator\", \"client\"]\n"));
    assert!(manifest.contains("\nfuzzing = []\n"));
}

#[test]
fn only_config_knows_defaults_and_the_toml_of_it() {
    absent(&["toml"], &[], |source| source.path != "src/config/document.rs");
}

#[test]
fn every_file_says_what_it_is() {
    for source in all_rust() {
        let first = source.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 12, "{}: `{first}`", source.path);
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut unused: Vec<_> = LONG_FILES.iter().map(|(path, _)| *path).collect();
    for source in sources() {
        let lines = source.tested().lines().count();
        let excepted = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        let limit = if excepted || source.is_test() { 600 } else { 400 };
        assert!(lines <= limit, "{} has {lines} lines", source.path);
        if excepted && lines > 400 {
            unused.retain(|path| *path != source.path);
        }
    }
    assert_eq!(unused, [""; 0], "exceptions that nothing needs");
}

#[test]
fn a_binary_only_calls_its_room() {
    let binaries: Vec<_> =
        sources().iter().filter(|source| source.path.starts_with("src/bin/")).collect();
    assert_eq!(binaries.len(), 3);
    for source in binaries {
        assert!(source.text.lines().count() <= 50, "{}", source.path);
    }
}

#[test]
fn names_say_what_things_are() {
    for source in sources() {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        let vague = ["mod.rs", "utils.rs", "util.rs", "helpers.rs", "common.rs", "types.rs"];
        assert!(!vague.contains(&name), "{}", source.path);
        for (number, line) in source.tested().lines().enumerate() {
            let declared = ["struct ", "enum ", "trait ", "type "].iter().find_map(|keyword| {
                let (before, after) = line.split_once(keyword)?;
                before.trim_start_matches("pub").trim().is_empty().then_some(after)
            });
            let declared: String =
                declared.unwrap_or_default().chars().take_while(|c| c.is_alphanumeric()).collect();
            let empty = ["Manager", "Handler", "Helper", "Util", "Utils"];
            let says_nothing = empty.iter().any(|word| declared.ends_with(word));
            assert!(!says_nothing, "{}:{}: `{declared}`", source.path, number + 1);
        }
    }
}

#[test]
fn nothing_is_unfinished_and_no_test_is_passed_over() {
    let unfinished =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ign", "ore"), concat!("X", "XX")];
    for source in all_rust() {
        for word in unfinished {
            assert!(!source.text.contains(word), "{}: `{word}`", source.path);
        }
        assert!(
            !source.code.contains("::*;\n") || !source.code.contains("pub use"),
            "{}",
            source.path
        );
    }
}
