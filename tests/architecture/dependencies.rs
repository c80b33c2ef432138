//! What is linked: few, and the root part nothing that speaks to the network's libraries of the agent.

use std::collections::BTreeSet;
use std::process::Command;

/// Every crate that is linked or runs at build time. A new one is a decision: read it, then raise this.
const MOST_DEPENDENCIES: usize = 210;

/// The same for the activator alone, which is root.
const MOST_OF_THE_ACTIVATOR: usize = 85;

/// What the activator must not link: their size, and what they parse.
const NOT_IN_THE_ACTIVATOR: [&str; 12] = [
    "clap",
    "git2",
    "hyper",
    "hyper-util",
    "libgit2-sys",
    "libsqlite3-sys",
    "libssh2-sys",
    "rusqlite",
    "tokio",
    "tokio-openssl",
    "zlink",
    "zlink-core",
];

/// Returns the names of all crates that a build with these flags links, our own left out.
#[track_caller]
fn linked(flags: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ended = Command::new(cargo)
        .args(["tree", "--frozen", "--package", "autodeploy", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(flags)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is missing");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let crates = String::from_utf8(ended.stdout).unwrap();
    let names = crates.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "autodeploy").map(str::to_owned).collect()
}

#[test]
fn there_are_few_dependencies() {
    let count = linked(&[]).len();
    assert!(count <= MOST_DEPENDENCIES, "{count} crates");
}

#[test]
fn the_root_part_links_little_and_nothing_of_the_agents() {
    let linked = linked(&["--no-default-features", "--features", "activator"]);
    assert!(linked.len() <= MOST_OF_THE_ACTIVATOR, "{} crates", linked.len());
    for name in NOT_IN_THE_ACTIVATOR {
        assert!(!linked.contains(name), "the activator links `{name}`");
    }
}

#[test]
fn the_client_links_nothing_that_acts() {
    let linked = linked(&["--no-default-features", "--features", "client"]);
    for name in ["git2", "rusqlite", "zbus", "openssl"] {
        assert!(!linked.contains(name), "the client links `{name}`");
    }
}

/// Returns the words in quotes of a list in `deny.toml`.
#[track_caller]
fn allowed(list: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, after) = text.split_once(&format!("\n{list} = [")).unwrap();
    let (words, _) = after.split_once(']').unwrap();
    words.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Says whether a licence expression can be met: every part of an AND by one of an OR.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    let one = |name: &str| allowed.iter().any(|known| known == name.trim());
    expression.split(" AND ").all(|part| part.split(" OR ").any(one))
}

#[test]
fn every_dependency_may_be_passed_on_and_comes_from_the_registry() {
    let allowed = allowed("allow");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ended = Command::new(cargo)
        .args(["metadata", "--frozen", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is missing");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_met(licence, &allowed), "{}: `{licence}`", package["name"]);
        let source = package["source"].as_str().unwrap_or_default();
        assert!(source.starts_with("registry+"), "{}: {source}", package["name"]);
    }
}

#[test]
fn a_licence_is_met_by_one_of_each_part() {
    let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
    for (expression, met) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 OR MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
