//! All keys together: the settings, the rules between keys, and the warnings.

use std::path::Path;
use std::time::Duration;

use crate::config::checks;
use crate::config::document::Document;
use crate::config::problem::{Complaint, Problem};
use crate::config::reading::Reading;
use crate::config::rule;
use crate::config::settings::{
    Activation, Build, BuildMode, Closures, CollectGarbage, Control, Drift, Health, History,
    LastResort, Paths, Reboot, Settings, Signatures, Source, Trust, UnprovedBoot,
};
use crate::config::span::shown;

/// A socket's path has at most 107 bytes, and `/control` comes after the directory.
const LONGEST_RUNTIME_DIR_BYTES: usize = 99;

/// Reads every key; what is wrong is in the second part, and has its default in the first.
pub fn read(document: Document, host_name: &str) -> (Settings, Vec<Problem>) {
    let mut reading = Reading::new(document);
    let host = host(&mut reading, host_name);
    let mut settings = Settings {
        source: source(&mut reading),
        closures: closures(&mut reading),
        trust: trust(&mut reading),
        build: build(&mut reading, &host),
        activation: activation(&mut reading),
        health: health(&mut reading),
        control: Control { group: text(&mut reading, "control.group") },
        history: history(&mut reading),
        paths: paths(&mut reading),
        warnings: Vec::new(),
        host,
    };
    remote_rules(&mut reading, &settings.source);
    health_rules(&mut reading, &settings.health);
    path_rules(&mut reading, &settings.paths);
    settings.warnings = warnings(&settings);
    (settings, reading.document.problems)
}

/// Returns a text that is required or has a default; what is missing was noted.
fn text(reading: &mut Reading, path: &str) -> String {
    reading.text(path).unwrap_or_default()
}

fn host(reading: &mut Reading, host_name: &str) -> String {
    if let Some(host) = reading.text("host") {
        return host;
    }
    if reading.line("host").is_none()
        && let Err(complaint) = rule::host(host_name)
    {
        let says = format!("is not set, and the machine's host name {}", complaint.says);
        reading.note("host", Complaint::new(says).hint("set `host` to the name in the flake"));
    }
    host_name.to_owned()
}

fn source(reading: &mut Reading) -> Source {
    let introduction = reading.text("trust.introduction");
    Source {
        url: text(reading, "source.url"),
        branch: text(reading, "source.branch"),
        poll_interval: reading.span("source.poll_interval"),
        ssh_key_file: reading.path("source.ssh_key_file"),
        token_file: reading.path("source.token_file"),
        username: text(reading, "source.username"),
        known_hosts_file: reading.path("source.known_hosts_file").unwrap_or_default(),
        stale_after: reading.span("source.stale_after"),
        fetch_timeout: reading.span("source.fetch_timeout"),
        max_fetch_bytes: reading.number("source.max_fetch_bytes"),
        introduction: introduction.and_then(|commit| commit.parse().ok()),
        max_tip_age: reading.span_if_set("trust.max_tip_age"),
    }
}

/// What cannot be made sense of here permits nothing: its default would permit everything.
fn closures(reading: &mut Reading) -> Closures {
    let problems = reading.document.problems.len();
    let any = reading.choice("trust.closures", &[("any", true), ("signed", false)]) == Some(true);
    let understood = reading.document.problems.len() == problems;
    let keys = reading.texts("trust.closure_keys");
    let are_set = reading.line("trust.closure_keys").is_some();
    match any && understood {
        true => {
            if are_set {
                let complaint = Complaint::new("is only used with `trust.closures = \"signed\"`");
                reading.note("trust.closure_keys", complaint);
            }
            Closures::Any
        }
        false => {
            if understood && !are_set {
                let complaint = Complaint::new("is missing, and `trust.closures` is `signed`")
                    .hint("`nix key convert-secret-to-public` prints the key that CI signs with");
                reading.note("trust.closure_keys", complaint);
            }
            Closures::Signed { keys: keys.unwrap_or_default() }
        }
    }
}

/// Reads who signs; a file of keys is there to be used.
fn trust(reading: &mut Reading) -> Trust {
    let allowed_signers_file = reading.path("trust.allowed_signers_file");
    let openpgp_keyring_file = reading.path("trust.openpgp_keyring_file");
    let modes = [Signatures::Off, Signatures::Tip, Signatures::EveryCommit];
    let chosen = reading.choice("trust.signatures", &modes.map(|mode| (mode.as_str(), mode)));
    let has_keys = allowed_signers_file.is_some() || openpgp_keyring_file.is_some();
    let named = ["trust.allowed_signers_file", "trust.openpgp_keyring_file"];
    let has_line = named.iter().any(|key| reading.line(key).is_some());
    let signatures = match chosen {
        Some(mode @ (Signatures::Tip | Signatures::EveryCommit)) if !has_keys && !has_line => {
            let says = format!("is `{}`, and no file of keys is named", mode.as_str());
            let hint = format!("set `{}` or `{}`", named[0], named[1]);
            reading.note("trust.signatures", Complaint::new(says).hint(hint));
            mode
        }
        Some(mode) => mode,
        None if has_keys => Signatures::EveryCommit,
        None => Signatures::Off,
    };
    Trust { signatures, allowed_signers_file, openpgp_keyring_file }
}

fn build(reading: &mut Reading, host: &str) -> Build {
    let modes = [("auto", BuildMode::Auto), ("evaluate", BuildMode::Evaluate)];
    let collects = [("never", CollectGarbage::Never), ("when-full", CollectGarbage::WhenFull)];
    let collects = reading.choice("build.collect_garbage", &collects);
    let default = || format!("nixosConfigurations.\"{host}\".config.system.build.toplevel");
    Build {
        mode: reading.choice("build.mode", &modes).unwrap_or(BuildMode::Auto),
        attribute: reading.text("build.attribute").unwrap_or_else(default),
        subdirectory: text(reading, "build.subdirectory"),
        submodules: reading.flag("build.submodules"),
        substitute_only: reading.flag("build.substitute_only"),
        evaluation_timeout: reading.span("build.evaluation_timeout"),
        evaluation_memory: reading.number("build.evaluation_memory"),
        build_timeout: reading.span("build.build_timeout"),
        reserve: reading.number("build.reserve"),
        collect_garbage: collects.unwrap_or(CollectGarbage::Never),
    }
}

fn activation(reading: &mut Reading) -> Activation {
    let reboots = [("never", Reboot::Never), ("when-needed", Reboot::WhenNeeded)];
    let reboot = reading.choice("activation.reboot", &reboots);
    let unproved = [("refuse", UnprovedBoot::Refuse), ("allow", UnprovedBoot::Allow)];
    let unproved_boot = reading.choice("activation.unproved_boot", &unproved);
    let resorts = [("reboot", LastResort::Reboot), ("alarm", LastResort::Alarm)];
    let last_resort = reading.choice("activation.last_resort", &resorts);
    let drifts = [("report", Drift::Report), ("hold", Drift::Hold), ("restore", Drift::Restore)];
    Activation {
        switch_timeout: reading.span("activation.switch_timeout"),
        reboot: reboot.unwrap_or(Reboot::Never),
        last_resort: last_resort.unwrap_or(LastResort::Reboot),
        unproved_boot: unproved_boot.unwrap_or(UnprovedBoot::Refuse),
        drift: reading.choice("activation.drift", &drifts).unwrap_or(Drift::Report),
    }
}

fn health(reading: &mut Reading) -> Health {
    Health {
        window: reading.span("health.window"),
        settle: reading.span("health.settle"),
        checks: checks::read(reading),
    }
}

fn history(reading: &mut Reading) -> History {
    let mut count = |key: &str| reading.number(key).try_into().unwrap_or(u32::MAX);
    let (keep, keep_failed) = (count("history.keep"), count("history.keep_failed"));
    History { keep, keep_failed, keep_failed_for: reading.span("history.keep_failed_for") }
}

fn paths(reading: &mut Reading) -> Paths {
    let mut path = |key: &str| reading.path(key).unwrap_or_default();
    Paths {
        state_dir: path("paths.state_dir"),
        activator_state_dir: path("paths.activator_state_dir"),
        runtime_dir: path("paths.runtime_dir"),
        report_dir: path("paths.report_dir"),
        system_profile: path("paths.system_profile"),
        nix_bin: path("paths.nix_bin"),
    }
}

fn remote_rules(reading: &mut Reading, source: &Source) {
    if source.url.starts_with("ssh://")
        && source.ssh_key_file.is_none()
        && reading.line("source.ssh_key_file").is_none()
    {
        let hint = "an SSH agent is not asked: name the file of a private key without passphrase";
        let complaint = Complaint::new("is missing, and `source.url` is `ssh://`").hint(hint);
        reading.note("source.ssh_key_file", complaint);
    }
    if source.token_file.is_some() && !source.url.starts_with("http") && !source.url.is_empty() {
        let complaint = Complaint::new("is only used with `https://`");
        reading.note("source.token_file", complaint);
    }
    if source.stale_after < source.poll_interval {
        let says = format!(
            "is `{}`: must not be below `source.poll_interval`, which is `{}`",
            shown(source.stale_after),
            shown(source.poll_interval)
        );
        reading.note("source.stale_after", Complaint::new(says));
    }
}

fn health_rules(reading: &mut Reading, health: &Health) {
    below_window(reading, "health.settle", (health.settle, health.window));
    for (name, check) in &health.checks {
        let path = format!("health.checks.{name}.timeout");
        below_window(reading, &path, (check.timeout, health.window));
    }
}

fn below_window(reading: &mut Reading, path: &str, (given, window): (Duration, Duration)) {
    if given >= window {
        let says = format!(
            "is `{}`: must be below `health.window`, which is `{}`",
            shown(given),
            shown(window)
        );
        // Of two keys, the one that was written down is to be changed.
        let at = if reading.line(path).is_some() { path } else { "health.window" };
        let line = reading.line(at);
        let problem = Problem::of(path, line, Complaint::new(says));
        reading.document.problems.push(problem);
    }
}

/// The agent may write in its own directories; nothing of the activator's may lie in them.
fn path_rules(reading: &mut Reading, paths: &Paths) {
    let agents = [("paths.state_dir", &paths.state_dir), ("paths.runtime_dir", &paths.runtime_dir)];
    let roots = [
        ("paths.activator_state_dir", &paths.activator_state_dir),
        ("paths.report_dir", &paths.report_dir),
    ];
    for (key, directory) in roots {
        for (other_key, other) in agents {
            if directory.starts_with(other) || other.starts_with(directory) {
                let says = format!("and `{other_key}` must not lie in each other");
                reading.note(key, Complaint::new(says).hint("only root may write to the first"));
            }
        }
    }
    if length(&paths.runtime_dir) > LONGEST_RUNTIME_DIR_BYTES {
        let says = format!("must be at most {LONGEST_RUNTIME_DIR_BYTES} bytes long");
        reading.note("paths.runtime_dir", Complaint::new(says));
    }
}

fn length(path: &Path) -> usize {
    path.as_os_str().len()
}

/// Says what is allowed and still not good.
fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let whoever = "whoever can push to the branch decides what this machine runs";
    match settings.trust.signatures {
        Signatures::Off => warnings.push(format!("`trust.signatures` is `off`: {whoever}")),
        Signatures::Tip => warnings.push(
            "`trust.signatures` is `tip`: what lies below a signed commit is not looked at"
                .to_owned(),
        ),
        Signatures::EveryCommit => {}
    }
    if settings.source.url.starts_with("http://") {
        let who = "anybody between this machine and the remote";
        warnings.push(format!("`source.url` is `http://`: {who} can change what is deployed"));
        if settings.source.token_file.is_some() {
            warnings.push(format!("`source.url` is `http://`: {who} can read the token"));
        }
    }
    if settings.closures != Closures::Any && !settings.build.substitute_only {
        warnings.push(
            "`trust.closures` is `signed` and `build.substitute_only` is `false`: what this machine \
             builds itself is refused"
                .to_owned(),
        );
    }
    if settings.health.only_built_in_decide() {
        warnings.push(
            "no check but the built-in ones decides: see `health.checks` in the documentation"
                .to_owned(),
        );
    }
    warnings
}
