//! What is accepted, and what another generation's file comes to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::*;
use settings::{
    BuildMode, Check, Closures, CollectGarbage, Drift, LastResort, Probe, Reboot, Severity,
    Signatures,
};

mod refusals;
mod table;

const LEAST: &str = "[source]\nurl = \"file:///srv/infra\"\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[track_caller]
fn accepted(text: &str) -> Settings {
    strict(text, PATH, "box").unwrap_or_else(|failure| panic!("{failure}\n{text}"))
}

#[test]
fn the_defaults_are_the_contract() {
    let settings = accepted(LEAST);
    assert_eq!(settings.host, "box");
    assert_eq!(settings.source.branch, "main");
    assert_eq!(settings.source.poll_interval, seconds(60));
    assert_eq!((settings.source.ssh_key_file, settings.source.token_file), (None, None));
    assert_eq!(settings.source.username, "git");
    assert_eq!(settings.source.known_hosts_file, Path::new("/etc/ssh/ssh_known_hosts"));
    assert_eq!(settings.source.stale_after, seconds(86_400));
    assert_eq!(settings.source.fetch_timeout, seconds(600));
    assert_eq!(settings.source.max_fetch_bytes, 2 << 30);
    assert_eq!(settings.source.introduction, None);
    assert_eq!(settings.build.mode, BuildMode::Auto);
    assert_eq!(
        settings.build.attribute,
        "nixosConfigurations.\"box\".config.system.build.toplevel"
    );
    assert_eq!(settings.build.subdirectory, "");
    assert!(!settings.build.submodules && !settings.build.substitute_only);
    assert_eq!(settings.build.evaluation_timeout, seconds(900));
    assert_eq!(settings.build.build_timeout, seconds(21_600));
    assert_eq!(settings.build.reserve, 256 << 20);
    assert_eq!(settings.build.collect_garbage, CollectGarbage::Never);
    assert_eq!(settings.activation.switch_timeout, seconds(600));
    assert_eq!(settings.activation.reboot, Reboot::Never);
    assert_eq!(settings.activation.last_resort, LastResort::Reboot);
    assert_eq!(settings.activation.drift, Drift::Report);
    assert_eq!(settings.health.window, seconds(300));
    assert_eq!(settings.health.settle, seconds(60));
    assert_eq!(settings.health.checks, BTreeMap::new());
    assert_eq!(settings.control.group, "wheel");
    assert_eq!(settings.history.keep, 1000);
    assert_eq!(settings.history.keep_failed, 3);
    assert_eq!(settings.history.keep_failed_for, seconds(7 * 86_400));
    assert_eq!(settings.paths.state_dir, Path::new("/var/lib/autodeploy"));
    assert_eq!(settings.paths.activator_state_dir, Path::new("/var/lib/autodeploy-activate"));
    assert_eq!(settings.paths.runtime_dir, Path::new("/run/autodeploy"));
    assert_eq!(settings.paths.report_dir, Path::new("/run/autodeploy-activate"));
    assert_eq!(settings.paths.system_profile, Path::new("/nix/var/nix/profiles/system"));
    assert_eq!(settings.paths.nix_bin, Path::new("/run/current-system/sw/bin"));
}

#[test]
fn what_is_set_is_what_counts() {
    let settings = accepted(
        r#"
        host = "web-1"
        trust.introduction = "0123456789012345678901234567890123456789"
        build = { mode = "evaluate", subdirectory = "hosts", submodules = true, collect_garbage = "when-full", reserve = "2GiB" }
        activation.drift = "hold"
        activation.last_resort = "alarm"
        history = { keep = 5, keep_failed = 0, keep_failed_for = "1h" }
        [source]
        url = "ssh://git@git.example.org/infra"
        ssh_key_file = "/run/keys/deploy"
        branch = "release/25.11"
        poll_interval = "1h 30min"
        max_fetch_bytes = 1048576
        [health]
        window = "2min"
        settle = "0s"
        "#,
    );
    assert_eq!(settings.host, "web-1");
    assert_eq!(settings.source.introduction.unwrap().short(), "01234567");
    assert_eq!(settings.build.mode, BuildMode::Evaluate);
    assert!(settings.build.attribute.contains("\"web-1\""));
    assert_eq!((settings.build.subdirectory.as_str(), settings.build.submodules), ("hosts", true));
    assert_eq!(settings.build.collect_garbage, CollectGarbage::WhenFull);
    assert_eq!(settings.build.reserve, 2 << 30);
    assert_eq!(settings.activation.drift, Drift::Hold);
    assert_eq!(settings.activation.last_resort, LastResort::Alarm);
    assert_eq!((settings.history.keep, settings.history.keep_failed), (5, 0));
    assert_eq!(settings.history.keep_failed_for, seconds(3600));
    assert_eq!(settings.source.ssh_key_file.unwrap(), Path::new("/run/keys/deploy"));
    assert_eq!(settings.source.poll_interval, seconds(5400));
    assert_eq!(settings.source.max_fetch_bytes, 1 << 20);
    assert_eq!((settings.health.window, settings.health.settle), (seconds(120), seconds(0)));
}

const CHECKS: &str = r#"
[health.checks.web]
kind = "http"
url = "http://[::1]/health"
expected_status = [200, "301-302"]
body_contains = "ok"
timeout = "2s"

[health.checks.ssh]
kind = "tcp"
address = "127.0.0.1:22"
severity = "wanted"
user = "nobody"

[health.checks.app]
kind = "command"
command = ["/usr/bin/true", "--really"]
interval = "500ms"

[health.checks.base]
kind = "units"
units = ["web.service", "web.socket"]

[health.checks.gone]
kind = "tcp"
address = "127.0.0.1:23"
enable = false
"#;

#[test]
fn a_check_has_what_its_kind_needs() {
    let checks = accepted(&format!("{LEAST}{CHECKS}")).health.checks;
    assert_eq!(checks.keys().collect::<Vec<_>>(), ["app", "base", "ssh", "web"]);
    let plain = |probe| Check {
        probe,
        severity: Severity::Required,
        timeout: seconds(10),
        interval: seconds(5),
        user: None,
    };
    let web = Probe::Http {
        url: "http://[::1]/health".to_owned(),
        expected_status: vec![(200, 200), (301, 302)],
        body_contains: Some("ok".to_owned()),
    };
    assert_eq!(checks["web"], Check { timeout: seconds(2), ..plain(web) });
    let ssh = Probe::Tcp { address: "127.0.0.1:22".to_owned() };
    let (severity, user) = (Severity::Wanted, Some("nobody".to_owned()));
    assert_eq!(checks["ssh"], Check { severity, user, ..plain(ssh) });
    let app = Probe::Command { command: vec!["/usr/bin/true".to_owned(), "--really".to_owned()] };
    assert_eq!(checks["app"], Check { interval: Duration::from_millis(500), ..plain(app) });
    let units = vec!["web.service".to_owned(), "web.socket".to_owned()];
    assert_eq!(checks["base"], plain(Probe::Units { units }));
}

#[test]
fn a_status_may_be_one_a_range_or_a_list() {
    let expected = |value: &str| {
        let check = format!("{LEAST}[health.checks.w]\nkind = \"http\"\nurl = \"http://h/\"\n");
        match accepted(&format!("{check}{value}")).health.checks["w"].probe.clone() {
            Probe::Http { expected_status, .. } => expected_status,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(expected(""), [(200, 299)]);
    assert_eq!(expected("expected_status = 404"), [(404, 404)]);
    assert_eq!(expected("expected_status = \"200-204\""), [(200, 204)]);
    assert_eq!(expected("expected_status = [\"503\", 200]"), [(503, 503), (200, 200)]);
}

#[test]
fn what_weakens_a_machine_is_a_warning() {
    let count = |text: &str| accepted(text).warnings.len();
    assert_eq!(count(LEAST), 2);
    assert_eq!(count(&format!("{LEAST}{CHECKS}")), 1);
    let wanted = "[health.checks.a]\nkind = \"tcp\"\naddress = \"h:1\"\nseverity = \"wanted\"";
    assert_eq!(count(&format!("{LEAST}{wanted}")), 2);
    assert_eq!(count("[source]\nurl = \"http://h/x\"\ntoken_file = \"/run/t\""), 4);
    let warnings = accepted(&format!("{LEAST}[trust]\nsignatures = \"off\"")).warnings;
    assert!(warnings[0].starts_with("`trust.signatures` is `off`"), "{warnings:?}");
}

#[test]
fn a_file_of_keys_is_there_to_be_used() {
    let with = |trust: &str| accepted(&format!("{LEAST}[trust]\n{trust}")).trust;
    assert_eq!(with("").signatures, Signatures::Off);
    let ssh = with("allowed_signers_file = \"/etc/keys\"");
    assert_eq!(ssh.signatures, Signatures::EveryCommit);
    assert_eq!(ssh.allowed_signers_file.as_deref(), Some(Path::new("/etc/keys")));
    let pgp = with("openpgp_keyring_file = \"/etc/ring\"\nsignatures = \"tip\"");
    assert_eq!(pgp.signatures, Signatures::Tip);
    assert_eq!(pgp.openpgp_keyring_file.as_deref(), Some(Path::new("/etc/ring")));
    let off = with("openpgp_keyring_file = \"/etc/ring\"\nsignatures = \"off\"");
    assert_eq!(off.signatures, Signatures::Off);
    let warned = |trust: &str| {
        let warnings = accepted(&format!("{LEAST}[trust]\n{trust}")).warnings;
        warnings.into_iter().find(|one| one.contains("trust.signatures"))
    };
    assert_eq!(warned("allowed_signers_file = \"/etc/keys\""), None);
    let tip = warned("allowed_signers_file = \"/etc/keys\"\nsignatures = \"tip\"").unwrap();
    assert!(tip.contains("what lies below a signed commit is not looked at"), "{tip}");
}

#[test]
fn another_generations_file_is_read_as_far_as_it_goes() {
    let text = format!(
        "{LEAST}webhook = true\n[health]\nwindow = \"2min\"\nsettle = \"later\"\n[new]\n[activation]\n\
         drift = \"fight\"\nswitch_timeout = \"20min\"\n[trust]\nsignatures = \"every-commit\"\n\
         [health.checks.brain]\nkind = \"thought\"\n[health.checks.web]\nkind = \"http\"\n\
         [health.checks.ok]\nkind = \"tcp\"\naddress = \"h:1\"\nretries = 3\n"
    );
    let (settings, passed_over) = lenient(&text, "box").unwrap();
    assert_eq!(settings.health.window, seconds(120));
    assert_eq!(settings.health.settle, seconds(60));
    assert_eq!(settings.activation.drift, Drift::Report);
    assert_eq!(settings.activation.switch_timeout, seconds(1200));
    let checks = &settings.health.checks;
    assert_eq!(checks["brain"].probe, Probe::Unknown { name: "thought".to_owned() });
    assert_eq!(checks["brain"].severity, Severity::Wanted);
    assert_eq!(checks["web"].probe, Probe::Unknown { name: "http".to_owned() });
    assert_eq!(checks["web"].severity, Severity::Wanted);
    assert_eq!(checks["ok"].severity, Severity::Required);
    assert_eq!(
        passed_over,
        [
            "line 3: unknown key `webhook`",
            "line 6: `health.settle` is `later`: not a time span",
            "line 7: unknown key `new`",
            "line 9: `activation.drift` is `fight`: must be `report`, `hold`, `restore`",
            "line 12: `trust.signatures` is `every-commit`, and no file of keys is named",
            "line 14: `health.checks.brain.kind` is `thought`: must be `http`, `tcp`, `command`, \
             `units` (not yet: `resources`, `journal`, `confirm`)",
            "line 15: `health.checks.web.url` is missing",
            "line 20: unknown key `retries`",
        ]
    );
}

#[test]
fn a_file_belongs_to_the_host_that_it_names_and_to_none_if_that_is_no_name() {
    let host = |text: &str, hostname: &str| host_of(text, hostname).unwrap();
    assert_eq!(host("host = \"web\"", "box"), "web");
    assert_eq!(host(LEAST, "box"), "box");
    assert_eq!(host(LEAST, ""), "");
    for not_a_name in ["5", "\"\"", "\"a b\"", "[\"box\"]", "{ name = \"box\" }"] {
        assert_eq!(host(&format!("host = {not_a_name}\n{LEAST}"), "box"), "", "{not_a_name}");
    }
    assert!(host_of("host =", "box").is_err());
}

const KEY: &str = "ci-1:pCKqu0PXXl721uOEbrg+BpsZB6HokY9PMrgbgGw5Zrc=";

#[test]
fn signed_closures_need_keys_and_keys_need_signed_closures() {
    let signed = format!("{LEAST}[trust]\nclosures = \"signed\"\nclosure_keys = [\"{KEY}\"]\n");
    let settings = accepted(&signed);
    assert_eq!(settings.closures, Closures::Signed { keys: vec![KEY.to_owned()] });
    assert!(settings.warnings[1].contains("`build.substitute_only` is `false`"));
    let substituted = accepted(&format!("{signed}[build]\nsubstitute_only = true\n"));
    assert!(!substituted.warnings.iter().any(|one| one.contains("substitute_only")));
    assert_eq!(accepted(LEAST).closures, Closures::Any);
}

#[test]
fn what_cannot_be_made_sense_of_permits_no_closure() {
    let none = Closures::Signed { keys: Vec::new() };
    let trust =
        |lines: &str| lenient(&format!("{LEAST}[trust]\n{lines}"), "box").unwrap().0.closures;
    for value in ["\"twice-signed\"", "true", "[\"signed\"]"] {
        assert_eq!(trust(&format!("closures = {value}")), none, "{value}");
    }
    assert_eq!(trust("closures = \"signed\""), none);
    assert_eq!(trust("closures = \"signed\"\nclosure_keys = [\"x:y\"]"), none);
    let keys = vec![KEY.to_owned()];
    let unknown = format!("closures = \"twice-signed\"\nclosure_keys = [\"{KEY}\"]");
    assert_eq!(trust(&unknown), Closures::Signed { keys });
}

#[test]
fn an_empty_file_of_another_generation_is_readable() {
    let (settings, passed_over) = lenient("", "box").unwrap();
    assert_eq!(settings.host, "box");
    assert_eq!(settings.source.url, "");
    assert_eq!(passed_over, ["`source.url` is missing"]);
}
