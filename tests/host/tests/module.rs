//! The NixOS module, the package and the flake, as far as they go where there is no nixpkgs: read by
//! a real Nix, evaluated with a stand-in for the few functions of nixpkgs that they use.

#[path = "../../packaging/unit_file.rs"]
mod unit_file;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autodeploy_testhost::{base, package, place, run};
use serde_json::{Value, json};
use unit_file::UnitFile;

const UNITS: [&str; 3] =
    ["autodeploy.service", "autodeploy-activate.service", "autodeploy-activate.path"];

/// Runs Nix in the base tree, over the repository; nothing of the tree is written to.
fn nix(arguments: &[&str]) -> Result<String> {
    const ENTER: &str = r#"
        tree=$1 repository=$2; shift 2
        mount -t proc proc "$tree/proc"
        mount -t tmpfs tmp "$tree/tmp"
        mount --bind "$repository" "$tree/mnt"
        exec chroot "$tree" env -i HOME=/tmp PATH=/usr/bin nix-instantiate --store dummy:// "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "/bin/sh", "-ec", ENTER, "sh"]);
    command.arg(base::tree()?).arg(place::project()).args(arguments);
    run::run(&mut command, Duration::from_secs(60))?.ok().with_context(|| format!("{arguments:?}"))
}

/// Evaluates an expression in which `it` is the stand-in's answer.
fn evaluated(expression: &str) -> Result<Value> {
    let whole = format!("let it = import /mnt/tests/packaging/stand-in.nix; in {expression}");
    let text = nix(&["--eval", "--strict", "--json", "--expr", &whole])?;
    serde_json::from_str(&text).with_context(|| text)
}

/// Evaluates an attribute of the module's configuration on a machine with `changes`.
fn config(changes: &str, attribute: &str) -> Result<Value> {
    evaluated(&format!("(it.config {changes}).{attribute}"))
}

fn nix_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "nix") {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn every_nix_file_parses() -> Result<()> {
    let project = place::project();
    let mut files = nix_files(&project)?;
    assert_eq!(files.len(), 3, "{files:?}");
    files.extend(nix_files(&project.join("tests/nixos"))?);
    files.extend(nix_files(&project.join("tests/packaging"))?);
    for file in files {
        let inside = Path::new("/mnt").join(file.strip_prefix(&project)?);
        nix(&["--parse", &inside.to_string_lossy()])?;
    }
    Ok(())
}

#[test]
fn the_module_installs_the_units_of_the_package_and_adds_only_what_nixos_needs() -> Result<()> {
    assert_eq!(config("{ }", "systemd.packages")?, json!(["/made/autodeploy"]));
    let services = config("{ }", "systemd.services")?;
    let paths = config("{ }", "systemd.paths")?;
    let of = |unit: &str| match unit.rsplit_once('.') {
        Some((name, "service")) => services[name].clone(),
        Some((name, _)) => paths[name].clone(),
        None => Value::Null,
    };
    for name in UNITS {
        let text = fs::read_to_string(place::project().join("systemd").join(name))?;
        let unit = UnitFile::parse(&text);
        let added = of(name);
        // NixOS passes over [Install], and says the same in an option.
        assert_eq!(added["wantedBy"], json!(unit.all("Install.WantedBy")), "{name}");
        let keys: Vec<_> = added.as_object().context("a unit")?.keys().collect();
        let expected =
            if name == "autodeploy.service" { vec!["path", "wantedBy"] } else { vec!["wantedBy"] };
        assert_eq!(keys, expected, "{name}: a setting belongs into systemd/{name}");
    }
    assert_eq!(services.as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(paths.as_object().map(serde_json::Map::len), Some(1));
    let path = json!(["/made/nix", "/made/git", "/made/openssh"]);
    assert_eq!(services["autodeploy"]["path"], path);
    Ok(())
}

#[test]
fn credentials_are_loaded_by_the_agents_unit_and_a_change_of_one_restarts_it() -> Result<()> {
    let with = r#"{ services.autodeploy.credentials = { key = "/run/keys/deploy"; token = "/run/keys/t"; }; }"#;
    let services = config(with, "systemd.services")?;
    assert_eq!(
        services["autodeploy"]["serviceConfig"],
        json!({ "LoadCredential": ["key:/run/keys/deploy", "token:/run/keys/t"] })
    );
    let restarts = &services["autodeploy-credentials"]["serviceConfig"];
    let line = "/made/systemd/bin/systemctl --no-block try-restart autodeploy.service";
    assert_eq!(*restarts, json!({ "Type": "exec", "ExecStart": line }));
    let path = config(with, "systemd.paths.autodeploy-credentials")?;
    assert_eq!(
        path,
        json!({
            "pathConfig": { "PathChanged": ["/run/keys/deploy", "/run/keys/t"] },
            "unitConfig": { "StartLimitIntervalSec": 0 },
            "wantedBy": ["multi-user.target"],
        })
    );
    Ok(())
}

#[test]
fn user_files_and_nix_are_what_the_units_and_the_other_generation_expect() -> Result<()> {
    let agent =
        UnitFile::parse(&fs::read_to_string(place::project().join("systemd/autodeploy.service"))?);
    let user = config("{ }", "users.users")?;
    let name = agent.one("Service.User");
    assert_eq!(user[name]["group"], agent.one("Service.Group"));
    assert_eq!(user[name]["isSystemUser"], true);
    let home = format!("HOME={}", user[name]["home"].as_str().unwrap_or_default());
    assert_eq!(agent.one("Service.Environment"), home);
    assert_eq!(config("{ }", "users.groups")?, json!({ name: {} }));
    assert_eq!(
        config("{ }", "environment.etc")?,
        json!({
            "autodeploy/autodeploy-activate": { "source": "/made/autodeploy/bin/autodeploy-activate" },
            "autodeploy/config.toml": { "source": "/made/autodeploy-config.toml" },
        })
    );
    assert_eq!(
        config("{ }", "nix.settings")?,
        json!({ "extra-allowed-users": [name], "narinfo-cache-negative-ttl": 0 })
    );
    assert_eq!(config("{ }", "boot.kernelParams")?, json!(["panic=30"]));
    let check =
        evaluated(r#"(it.config { }).environment.etc."autodeploy/config.toml".source.script"#)?;
    let check = check.as_str().context("a script")?;
    assert!(
        check.contains("/made/autodeploy/bin/autodeployd --check-config /made/autodeploy.toml"),
        "{check}"
    );
    Ok(())
}

#[test]
fn a_module_that_is_not_enabled_does_nothing() -> Result<()> {
    let disabled = "{ services.autodeploy.enable = false; services.openssh.enable = true; }";
    assert_eq!(evaluated(&format!("it.config {disabled}"))?, json!({}));
    Ok(())
}

#[test]
fn what_must_not_be_beside_it_is_refused() -> Result<()> {
    #[track_caller]
    fn check(changes: &str, about: &str) -> Result<()> {
        let assertions = config(changes, "assertions")?;
        let failed: Vec<_> = assertions
            .as_array()
            .context("a list")?
            .iter()
            .filter(|one| one["assertion"] != true)
            .collect();
        let message = match failed[..] {
            [] => "",
            [one] => one["message"].as_str().unwrap_or_default(),
            _ => bail!("{failed:?}"),
        };
        assert!(
            message.contains(about) && message.is_empty() == about.is_empty(),
            "{changes}: {message}"
        );
        Ok(())
    }
    check("{ }", "")?;
    check("{ services.comin.enable = false; }", "")?;
    check("{ services.comin.enable = true; }", "services.comin")?;
    check("{ system.autoUpgrade.enable = true; }", "system.autoUpgrade")?;
    check(r#"{ nix.settings.trusted-users = [ "root" "autodeploy" ]; }"#, "trusted-users")?;
    let kept = r#"{ services.autodeploy.credentials.key = "/run/keys/deploy"; }"#;
    check(kept, "")?;
    let stored = r#"{ services.autodeploy.credentials.key = "${builtins.storeDir}/x-key"; }"#;
    check(stored, "credentials")?;
    check("{ nix.enable = false; }", "nix.enable")
}

#[test]
fn a_machine_with_sshd_has_a_check_for_it() -> Result<()> {
    #[track_caller]
    fn check(sshd: &str, address: Value) -> Result<()> {
        let changes = format!("{{ services.openssh = {{ {sshd} }}; }}");
        let checks = config(&changes, "services.autodeploy.settings.health.checks")?;
        assert_eq!(checks["sshd"]["address"], address, "{sshd}");
        Ok(())
    }
    check("enable = false;", Value::Null)?;
    check("enable = true;", json!("127.0.0.1:22"))?;
    check("enable = true; ports = [ 2222 22 ];", json!("127.0.0.1:2222"))?;
    let listening = |address: &str, port: &str| {
        format!("enable = true; listenAddresses = [ {{ addr = \"{address}\"; port = {port}; }} ];")
    };
    check(&listening("10.0.0.1", "null"), json!("10.0.0.1:22"))?;
    check(&listening("0.0.0.0", "2022"), json!("127.0.0.1:2022"))?;
    check(&listening("::", "22"), json!("[::1]:22"))?;
    check(&listening("fd00::1", "22"), json!("[fd00::1]:22"))
}

/// Writes settings as TOML: its values are those of JSON, but for null and nested tables.
fn toml(settings: &Value, table: &str) -> String {
    let mut lines = String::new();
    for (name, value) in settings.as_object().into_iter().flatten() {
        let key = format!("{table}{name}");
        match value {
            Value::Object(_) => lines.push_str(&toml(value, &format!("{key}."))),
            value => lines.push_str(&format!("{key} = {value}\n")),
        }
    }
    lines
}

#[test]
fn what_the_module_writes_is_accepted_by_the_agent() -> Result<()> {
    let agent = package::binaries().join("autodeployd");
    let checked = |text: &str| {
        let file = place::target().join(format!("module-{}.toml", std::process::id()));
        fs::write(&file, text)?;
        let mut command = Command::new(&agent);
        let ended = run::run(command.arg("--check-config").arg(&file), Duration::from_secs(10));
        fs::remove_file(&file)?;
        ended
    };
    let ssh = config("{ services.openssh.enable = true; }", "services.autodeploy.settings")?;
    let text = toml(&evaluated("it.settings { }")?, "") + &toml(&ssh, "");
    let ended = checked(&text)?;
    assert_eq!(ended.code(), 0, "{text}{}", ended.stderr);
    assert!(text.contains("health.checks.sshd.address = \"127.0.0.1:22\"\n"), "{text}");
    let refused = checked(&format!("{text}pol_interval = \"1min\"\n"))?;
    assert_ne!(refused.code(), 0);
    assert!(refused.stderr.contains("unknown key `pol_interval`"), "{}", refused.stderr);
    Ok(())
}

/// Returns the typed options by their full key, each with its default if that is a text.
fn typed_options(options: &Value, table: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for (name, option) in options.as_object().into_iter().flatten() {
        let key = format!("{table}{name}");
        match option["isOption"] == true {
            true => found.push((key, option["default"].as_str().map(str::to_owned))),
            false => found.extend(typed_options(option, &format!("{key}."))),
        }
    }
    found
}

#[test]
fn the_typed_options_are_keys_with_the_defaults_of_the_agent() -> Result<()> {
    let documentation = fs::read_to_string(place::project().join("docs/configuration.md"))?;
    let options = typed_options(&evaluated("it.options.settings.type.options")?, "");
    assert_eq!(options.len(), 13, "{options:?}");
    for (key, default) in options {
        // One that takes names has no row of its own, and the host name is the machine's.
        let row = documentation.lines().find(|line| line.starts_with(&format!("| `{key}")));
        let row = row.with_context(|| format!("`{key}` is not in docs/configuration.md"))?;
        if let Some(default) = default.filter(|_| key != "host") {
            assert!(row.contains(&format!("| `{default}` |")), "`{key}`: {row}");
        }
    }
    Ok(())
}

#[test]
fn the_package_installs_units_catalog_pages_and_completions() -> Result<()> {
    const STANDING_IN: &str = r#"
        installManPage() { mkdir -p "$out/share/man/man1"; cp "$@" "$out/share/man/man1"; }
        installShellCompletion() { mkdir -p "$out/completions"; cp "$4" "$out/completions/$3.${1#--}"; }
    "#;
    const CLIENT: &str = "#!/bin/sh\ncase $1 in man) touch \"$2/autodeployctl.1\";; completions) echo \"$2\";; esac\n";
    let script = evaluated("it.postInstall")?;
    let work = place::target().join(format!("package-{}", std::process::id()));
    let out = work.join("out");
    run::shell(&format!(
        "mkdir -p '{0}/source' '{0}/out/bin'; cp -r '{1}/systemd' '{0}/source'",
        work.display(),
        place::project().display()
    ))?;
    fs::write(out.join("bin/autodeployctl"), CLIENT)?;
    run::shell(&format!("chmod +x '{}/bin/autodeployctl'", out.display()))?;
    let mut install = Command::new("bash");
    install.args(["-euc", &format!("{STANDING_IN}{}", script.as_str().context("a script")?)]);
    install.current_dir(work.join("source")).env("out", &out);
    run::run(&mut install, Duration::from_secs(20))?.ok()?;

    for name in UNITS {
        let theirs = fs::read_to_string(out.join("lib/systemd/system").join(name))?;
        let ours = fs::read_to_string(place::project().join("systemd").join(name))?;
        let expected = ours.replace("=/usr/bin/", &format!("={}/bin/", out.display()));
        assert_eq!(theirs, expected, "{name}");
        assert!(!theirs.contains("/usr/bin"), "{name}");
    }
    for file in [
        "lib/systemd/catalog/autodeploy.catalog",
        "share/man/man1/autodeployctl.1",
        "completions/autodeployctl.bash",
        "completions/autodeployctl.fish",
        "completions/autodeployctl.zsh",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    fs::remove_dir_all(&work)?;
    Ok(())
}

#[test]
fn the_flake_offers_the_package_the_module_a_shell_and_every_machine_test() -> Result<()> {
    let flake = evaluated("it.flake")?;
    assert_eq!(flake["systems"], json!(["aarch64-linux", "x86_64-linux"]));
    assert_eq!(flake["checks"], json!(["clippy", "nixos-push-deploys", "package"]));
    assert_eq!(flake["module"], true);
    let cargo = fs::read_to_string(place::project().join("Cargo.toml"))?;
    let version = evaluated("it.version")?;
    assert!(cargo.contains(&format!("\nversion = {version}\n")), "{version}");
    Ok(())
}
