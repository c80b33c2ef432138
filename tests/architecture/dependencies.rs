//! What is linked: few, and the root part nothing that speaks to the network's libraries of the agent.

use std::collections::BTreeSet;
use std::process::Command;

/// How many crates each program links or runs at build time, built alone, and all of them together.
///
/// Somebody else can put code into our process by each of them. Before you raise a number: is it
/// worth that, and did you read it? A crate of thirty lines is thirty lines of ours.
const MOST: [(&str, &[&str], usize); 4] = [
    ("agent", &["--no-default-features", "--features", "agent"], 258),
    ("activator", ACTIVATOR, THE_ACTIVATORS.len()),
    ("client", &["--no-default-features", "--features", "client"], 80),
    ("all three", &[], 295),
];

const ACTIVATOR: &[&str] = &["--no-default-features", "--features", "activator"];

/// All that runs as root with the activator, or when it is built. What is new here is a decision
/// about root: read it, say in the commit why, and add its name.
const THE_ACTIVATORS: [&str; 84] = [
    "anyhow",
    "async-trait",
    "autocfg",
    "base64",
    "base64ct",
    "bitflags",
    "bytes",
    "cc",
    "cfg-if",
    "cfg_aliases",
    "der",
    "endi",
    "errno",
    "find-msvc-tools",
    "foreign-types",
    "foreign-types-shared",
    "futures-core",
    "futures-io",
    "hex",
    "http",
    "httparse",
    "itoa",
    "jiff",
    "jiff-core",
    "lazy_static",
    "libc",
    "linux-raw-sys",
    "log",
    "memchr",
    "memoffset",
    "native-tls",
    "nix",
    "once_cell",
    "openssl",
    "openssl-macros",
    "openssl-probe",
    "openssl-sys",
    "ordered-stream",
    "pem-rfc7468",
    "percent-encoding",
    "pin-project-lite",
    "pkg-config",
    "proc-macro2",
    "quote",
    "rustix",
    "rustls-pki-types",
    "sd-notify",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_json",
    "serde_repr",
    "serde_spanned",
    "sharded-slab",
    "shlex",
    "signal-hook",
    "signal-hook-registry",
    "socket2",
    "syn",
    "thread_local",
    "toml",
    "toml_datetime",
    "toml_parser",
    "toml_writer",
    "tracing",
    "tracing-attributes",
    "tracing-core",
    "tracing-journald",
    "tracing-subscriber",
    "unicode-ident",
    "ureq",
    "ureq-proto",
    "utf8-zero",
    "uuid",
    "vcpkg",
    "webpki-root-certs",
    "winnow",
    "zbus",
    "zbus_macros",
    "zbus_utils",
    "zcheapstr",
    "zeroize",
    "zmij",
    "zruntime",
];

/// What the fuzzer links and no program.
const THE_FUZZERS: [&str; 3] = ["arbitrary", "autodeploy-fuzz", "libfuzzer-sys"];

/// What the activator must not link: their size, and what they parse.
const NOT_IN_THE_ACTIVATOR: [&str; 14] = [
    "clap",
    "git2",
    "hyper",
    "hyper-util",
    "libgit2-sys",
    "libsqlite3-sys",
    "libssh2-sys",
    "pgp",
    "rusqlite",
    "ssh-key",
    "tokio",
    "tokio-openssl",
    "zlink",
    "zlink-core",
];

/// Returns what Cargo prints about this project; it downloads nothing for that.
#[track_caller]
fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ended = Command::new(cargo)
        .args(arguments)
        .arg("--frozen")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is missing");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// Returns the names of all crates that a build with these flags links, our own left out.
#[track_caller]
fn linked(flags: &[&str]) -> BTreeSet<String> {
    let tree = ["tree", "--package", "autodeploy", "--edges", "normal,build"];
    let crates = cargo(&[&tree[..], &["--prefix", "none", "--format", "{p}"], flags].concat());
    let names = crates.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "autodeploy").map(str::to_owned).collect()
}

#[test]
fn each_program_links_few_crates() {
    for (program, flags, most) in MOST {
        let count = linked(flags).len();
        assert!(count <= most, "{program}: {count} crates, and {most} were thought about");
        assert!(count + 10 > most, "{program}: {count} crates: lower the number from {most}");
    }
}

#[test]
fn what_runs_as_root_is_known_by_name() {
    let linked = linked(ACTIVATOR);
    let known: BTreeSet<_> = THE_ACTIVATORS.map(str::to_owned).into();
    let new: Vec<_> = linked.difference(&known).collect();
    assert_eq!(new, [""; 0], "read them, and add them to the list");
    let gone: Vec<_> = known.difference(&linked).collect();
    assert_eq!(gone, [""; 0], "take them off the list");
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

/// For this platform: what others link may never have been downloaded here.
#[test]
fn every_dependency_may_be_passed_on() {
    let allowed = allowed("allow");
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let text = cargo(&["metadata", "--format-version", "1", "--filter-platform", &platform]);
    let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_met(licence, &allowed), "{}: `{licence}`", package["name"]);
    }
}

#[test]
fn every_dependency_comes_from_the_registry() {
    for (name, _, source) in locked("Cargo.lock") {
        let known = match &source {
            Some(source) => source.starts_with("registry+"),
            None => name.starts_with("autodeploy"),
        };
        assert!(known, "{name}: {source:?}");
    }
}

/// Returns name, version and source of every package of a `Cargo.lock`.
fn locked(path: &str) -> Vec<(String, String, Option<String>)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(path).unwrap();
    let field = |package: &str, name: &str| {
        let after = package.split_once(&format!("\n{name} = \""))?.1;
        Some(after.split_once('"')?.0.to_owned())
    };
    let packages = text.split("[[package]]").skip(1);
    let read = |package: &str| {
        (
            field(package, "name").unwrap(),
            field(package, "version").unwrap(),
            field(package, "source"),
        )
    };
    packages.map(read).collect()
}

#[test]
fn what_is_fuzzed_is_what_is_linked() {
    let ours: BTreeSet<_> = locked("Cargo.lock").into_iter().collect();
    for package in locked("fuzz/Cargo.lock") {
        let (name, version, source) = &package;
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(source.as_deref().is_none_or(|source| source == registry), "{name}: {source:?}");
        let known = ours.contains(&package) || THE_FUZZERS.contains(&name.as_str());
        assert!(
            known,
            "{name} {version} is fuzzed and not linked: `cp Cargo.lock fuzz/Cargo.lock`, then \
             `cargo metadata --manifest-path fuzz/Cargo.toml`"
        );
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
