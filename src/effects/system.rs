//! The running NixOS system as anybody may read it: links, and what only a boot can change.
//!
//! Reads follow the links of the store; nothing is written, and what is missing is absent.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::effects::files;
use crate::model::store_path::StorePath;

/// What was activated last.
pub const RUNNING: &str = "/run/current-system";

/// What was booted.
pub const BOOTED: &str = "/run/booted-system";

/// No file of a toplevel that is read here is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// What of a system only a boot can change, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Where these links of the toplevel lead to: `kernel`, `initrd`, `kernel-modules`, `systemd`.
    pub links: BTreeMap<&'static str, String>,
    /// The text of `kernel-params`.
    pub parameters: Option<String>,
    /// The text of `init-interface-version`.
    pub interface: Option<String>,
    /// `switch-inhibitors`, each value as JSON.
    pub inhibitors: BTreeMap<String, String>,
}

/// Returns the store path that a link leads to.
pub fn leads_to(link: &Path) -> Option<StorePath> {
    fs::read_link(link).ok()?.to_str()?.parse().ok()
}

/// Returns where a profile leads to, and the number of that generation.
pub fn profile(link: &Path) -> Option<(StorePath, Option<u64>)> {
    let target = fs::read_link(link).ok()?;
    let name = target.file_name()?.to_str()?.to_owned();
    if let Some(direct) = target.to_str().and_then(|text| text.parse().ok()) {
        return Some((direct, None));
    }
    let number = name.strip_suffix("-link").and_then(|name| name.rsplit('-').next()?.parse().ok());
    Some((leads_to(&link.parent()?.join(target))?, number))
}

/// Returns what a generation of a profile leads to.
pub fn generation(link: &Path, number: u64) -> Option<StorePath> {
    let name = format!("{}-{number}-link", link.file_name()?.to_str()?);
    leads_to(&link.parent()?.join(name))
}

/// Reads what of a system only a boot can change.
pub fn parts(toplevel: &Path) -> Parts {
    let text = |name: &str| {
        // A toplevel is read-only and of root's making; links inside it are what it is made of.
        let path = fs::canonicalize(toplevel.join(name)).ok()?;
        let bytes = files::read_limited(&path, LONGEST).ok()??;
        String::from_utf8(bytes).ok()
    };
    let link = |name: &'static str| {
        let target = fs::read_link(toplevel.join(name)).ok()?;
        Some((name, target.to_str()?.to_owned()))
    };
    let names = ["kernel", "initrd", "kernel-modules", "systemd"];
    let json = text("switch-inhibitors").and_then(|text| serde_json::from_str(&text).ok());
    let inhibitors: BTreeMap<String, serde_json::Value> = json.unwrap_or_default();
    Parts {
        links: names.into_iter().filter_map(link).collect(),
        parameters: text("kernel-params").map(|text| text.trim().to_owned()),
        interface: text("init-interface-version").map(|text| text.trim().to_owned()),
        inhibitors: inhibitors.into_iter().map(|(key, value)| (key, value.to_string())).collect(),
    }
}

/// Returns the machine's own name.
///
/// # Errors
/// The kernel does not tell, or it is not text.
pub fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("could not ask for the host name")?;
    name.into_string().ok().context("the host name is not text")
}

/// Draws a number from 0 to 1; good enough to spread machines in time, and for nothing else.
pub fn chance() -> f64 {
    let drawn = RandomState::new().build_hasher().finish() >> 11;
    drawn as f64 / (1_u64 << 53) as f64
}

/// Returns the entries of a directory that are named by a number, in no order; none if it cannot
/// be read.
pub fn numbered(directory: &Path) -> Vec<(u64, PathBuf)> {
    let number = |path: &Path| path.file_name()?.to_str()?.parse().ok();
    let paths = files::inside(directory).into_iter();
    paths.filter_map(|path| Some((number(&path)?, path))).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BASE: &str = "/nix/store/00000000000000000000000000000000-base";

    #[test]
    fn a_profile_leads_through_its_generation_to_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink(BASE, at("system-7-link")).unwrap();
        symlink("system-7-link", at("system")).unwrap();
        let base: StorePath = BASE.parse().unwrap();
        assert_eq!(profile(&at("system")), Some((base.clone(), Some(7))));
        assert_eq!(generation(&at("system"), 7), Some(base));
        assert_eq!(generation(&at("system"), 8), None);
        assert_eq!(profile(&at("other")), None);
    }

    #[test]
    fn the_parts_of_a_toplevel_are_read_and_missing_ones_are_absent() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(parts(directory.path()), Parts::default());
        symlink("/nix/store/k/bzImage", at("kernel")).unwrap();
        fs::write(at("kernel-params"), "quiet\n").unwrap();
        fs::write(at("init-interface-version"), "systemd 2").unwrap();
        fs::write(at("switch-inhibitors"), r#"{"dbus":"broker","n":1}"#).unwrap();
        let parts = parts(directory.path());
        assert_eq!(parts.links, BTreeMap::from([("kernel", "/nix/store/k/bzImage".to_owned())]));
        assert_eq!(parts.parameters.as_deref(), Some("quiet"));
        assert_eq!(parts.interface.as_deref(), Some("systemd 2"));
        assert_eq!(parts.inhibitors["dbus"], r#""broker""#);
        assert_eq!(parts.inhibitors["n"], "1");
    }

    #[test]
    fn only_entries_that_are_numbers_are_numbered() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["7", "reach", "7x"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(numbered(directory.path()), [(7, directory.path().join("7"))]);
        assert_eq!(numbered(&directory.path().join("gone")), []);
    }

    #[test]
    fn chances_lie_between_nothing_and_one() {
        assert!((0..100).map(|_| chance()).all(|drawn| (0.0..1.0).contains(&drawn)));
    }
}
