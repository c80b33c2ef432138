//! Reading what a system closure says about itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::effects::files;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// No file of a closure that is read here is larger, in bytes.
const LARGEST: u64 = 4 << 20;

/// Where a closure keeps its configuration of autodeploy.
pub const CONFIGURATION: &str = "etc/autodeploy/config.toml";

/// Names the first thing that every NixOS system has and this path has not.
///
/// `nixos-version` is looked at because a profile that was once set to something else boots no
/// more (NixOS/nix#13367).
pub fn lacks(toplevel: &StorePath) -> Option<&'static str> {
    let is_there = |name: &&str| !toplevel.join(name).exists();
    ["nixos-version", "etc"].into_iter().find(|name| is_there(name)).or_else(|| {
        let program = "bin/switch-to-configuration";
        (!is_executable(&toplevel.join(program))).then_some(program)
    })
}

/// Tells whether root could run it.
pub fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Reads a closure's configuration of autodeploy.
///
/// # Errors
/// There is none, or it is no text.
pub fn configuration(toplevel: &StorePath) -> Result<String, Failure> {
    let path = toplevel.join(CONFIGURATION);
    read(&path).map_err(|cause| {
        let message = format!("could not read `{}`: {cause}", path.display());
        Failure::new(Reason::NO_CONFIGURATION, message).hint(
            "a commit that removes autodeploy is not deployed by autodeploy; \
             `docs/operations.md` says how it is removed",
        )
    })
}

/// Reads which host a closure says that it is for: `host` of its configuration, else the name that
/// it gives its machine; empty where it has neither, or a `host` that is none.
///
/// # Errors
/// It has no configuration, or one that cannot be read.
pub fn host(toplevel: &StorePath) -> Result<String, Failure> {
    let text = configuration(toplevel)?;
    // Never our own name: what does not say for whom it is would be for everybody.
    let hostname = hostname(toplevel).unwrap_or_default();
    let read = crate::config::host_of(&text, &hostname);
    read.map_err(|failure| failure.or_hint(how_to_check(toplevel)))
}

/// Returns what a person types to see all that is wrong with it.
pub fn how_to_check(toplevel: &StorePath) -> String {
    format!("`autodeployctl check-config {toplevel}/{CONFIGURATION}`")
}

/// Follows links, which in `etc` lead into the store.
fn read(path: &Path) -> Result<String, String> {
    let real = fs::canonicalize(path).map_err(|error| error.to_string())?;
    match files::read_limited(&real, LARGEST) {
        Ok(Some(bytes)) => String::from_utf8(bytes).map_err(|error| error.to_string()),
        Ok(None) => Err("there is none".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Reads a closure's `etc/hostname`.
pub fn hostname(toplevel: &StorePath) -> Option<String> {
    let text = read(&toplevel.join("etc/hostname")).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// What decides whether a closure can be switched to, or has to be booted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootFacts {
    /// Name and content or target of what only a boot changes; what is not there is left out.
    pub parts: Vec<(&'static str, String)>,
    /// systemd's major version.
    pub systemd: Option<String>,
    /// How PID 1 is to be told of a switch; another one ends a switch with 100.
    pub interface: Option<String>,
    /// `switch-inhibitors`, by name.
    pub inhibitors: Vec<(String, String)>,
}

/// Reads the boot facts of a system, given by its path or by a link to it.
pub fn boot_facts(system: &Path) -> BootFacts {
    let links = ["kernel", "initrd", "kernel-modules"].into_iter().filter_map(|name| {
        let target = fs::canonicalize(system.join(name)).ok()?;
        Some((name, target.to_string_lossy().into_owned()))
    });
    let parameters = read(&system.join("kernel-params")).ok().map(|text| ("kernel-params", text));
    let systemd = fs::canonicalize(system.join("systemd")).ok();
    BootFacts {
        parts: links.chain(parameters).collect(),
        systemd: systemd.and_then(|path| major(path.file_name()?.to_str()?)),
        interface: read(&system.join("init-interface-version")).ok(),
        inhibitors: read(&system.join("switch-inhibitors"))
            .map(|text| inhibitors(&text))
            .unwrap_or_default(),
    }
}

/// `257` of `<hash>-systemd-257.9`.
pub(crate) fn major(name: &str) -> Option<String> {
    let version = name.split_once("systemd-")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some(digits).filter(|digits| !digits.is_empty())
}

pub(crate) fn inhibitors(text: &str) -> Vec<(String, String)> {
    let read: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).unwrap_or_default();
    read.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

/// Says why a system has to be booted: `booted` and `running` are what is there, `new` what is to
/// be. Empty when it can be switched to.
pub fn needs_boot(booted: &BootFacts, running: &BootFacts, new: &BootFacts) -> Vec<String> {
    let differs = |(name, value): &(&'static str, String)| {
        let before = booted.parts.iter().find(|(known, _)| known == name);
        before.is_some_and(|(_, before)| before != value).then(|| (*name).to_owned())
    };
    let mut reasons: Vec<_> = new.parts.iter().filter_map(differs).collect();
    if let (Some(before), Some(after)) = (&running.systemd, &new.systemd)
        && before != after
    {
        reasons.push(format!("systemd {before} → {after}"));
    }
    if running.interface.is_some() && new.interface.is_some() && running.interface != new.interface
    {
        reasons.push("init interface".to_owned());
    }
    let inhibited = new.inhibitors.iter().filter(|(name, value)| {
        running.inhibitors.iter().any(|(known, before)| known == name && before != value)
    });
    reasons.extend(inhibited.map(|(name, _)| format!("inhibitor `{}`", escaped(name, 60))));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kernel: &str, systemd: &str, inhibitor: &str) -> BootFacts {
        BootFacts {
            parts: vec![("kernel", kernel.to_owned())],
            systemd: major(systemd),
            interface: Some("systemd 2".to_owned()),
            inhibitors: inhibitors(inhibitor),
        }
    }

    #[test]
    fn what_only_a_boot_changes_is_named() {
        let old = facts("k1", "x-systemd-257.8", r#"{"dbus": "a"}"#);
        let check = |new: BootFacts, expected: &[&str]| {
            assert_eq!(needs_boot(&old, &old, &new), expected);
        };
        check(old.clone(), &[]);
        check(facts("k2", "x-systemd-257.9", r#"{"other": 1}"#), &["kernel"]);
        check(facts("k1", "x-systemd-258.1", "{}"), &["systemd 257 → 258"]);
        check(facts("k1", "x-systemd-257.8", r#"{"dbus": "b"}"#), &["inhibitor `dbus`"]);
        check(BootFacts::default(), &[]);
        let interface = Some("systemd 3".to_owned());
        check(BootFacts { interface, ..old.clone() }, &["init interface"]);
    }

    #[test]
    fn a_system_is_known_by_what_it_has() {
        let none: StorePath = format!("/nix/store/{}-none", "a".repeat(32)).parse().unwrap();
        assert_eq!(lacks(&none), Some("nixos-version"));
        assert_eq!(configuration(&none).unwrap_err().reason, Reason::NO_CONFIGURATION);
    }
}
