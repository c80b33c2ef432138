//! Observers that know nothing of autodeploy: what runs, what is kept, what boots next.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Host;

/// What a profile points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileLink {
    pub generation: u64,
    pub toplevel: String,
}

/// An entry of the boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderEntry {
    /// The file's name.
    pub name: String,
    /// The closure, found by `init=`.
    pub toplevel: String,
}

impl Host {
    /// The closure that was activated last.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn running_system(&self) -> Result<String> {
        self.link("/run/current-system")
    }

    /// The closure that was booted.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn booted_system(&self) -> Result<String> {
        self.link("/run/booted-system")
    }

    fn link(&self, path: &str) -> Result<String> {
        let target = fs::read_link(self.outside(path));
        let target = target.with_context(|| format!("could not read the link `{path}`"))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// The id of this boot; nspawn gives a new one at every start.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn boot_id(&self) -> Result<String> {
        self.read("/proc/sys/kernel/random/boot_id")
    }

    /// What the profile `system` points to; also without power.
    ///
    /// # Errors
    /// Fails when there is no profile.
    pub fn profile(&self) -> Result<ProfileLink> {
        let folder = self.root.join("nix/var/nix/profiles");
        let link = fs::read_link(folder.join("system")).context("no system profile")?;
        let name = link.to_string_lossy().into_owned();
        let generation = number(&name).with_context(|| format!("odd profile link `{name}`"))?;
        let toplevel = fs::read_link(folder.join(&name))?.to_string_lossy().into_owned();
        Ok(ProfileLink { generation, toplevel })
    }

    /// The generations of the profile `system`: number → closure; also without power.
    ///
    /// # Errors
    /// Fails when there are no profiles.
    pub fn generations(&self) -> Result<BTreeMap<u64, String>> {
        let folder = self.root.join("nix/var/nix/profiles");
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&folder)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(number) = number(&name) {
                found.insert(number, fs::read_link(entry.path())?.to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }

    /// The loader's default, read from its files; also without power.
    ///
    /// # Errors
    /// Fails when there is none.
    pub fn boot_default(&self) -> Result<LoaderEntry> {
        let text = self.read("/boot/loader/loader.conf")?;
        let name = field(&text, "default").context("loader.conf names no default")?;
        self.loader_entries()?
            .into_iter()
            .find(|entry| entry.name == name)
            .with_context(|| format!("the loader's default `{name}` is not there"))
    }

    /// The loader's entries, by name; also without power.
    ///
    /// # Errors
    /// Fails when there are none.
    pub fn loader_entries(&self) -> Result<Vec<LoaderEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.outside("/boot/loader/entries"))?.flatten() {
            // Gone since it was listed: an installer is at work.
            let Ok(text) = fs::read_to_string(entry.path()) else { continue };
            let options = field(&text, "options").unwrap_or_default();
            let init =
                options.split(' ').find_map(|word| word.strip_prefix("init=")).unwrap_or_default();
            entries.push(LoaderEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                toplevel: init.trim_end_matches("/init").to_string(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Proves every path of the Nix store by its hash.
    ///
    /// # Errors
    /// Fails with what Nix says when one is damaged.
    pub fn nix_store_verify(&self) -> Result<()> {
        let limit = Duration::from_secs(120);
        self.run_limited("nix-store --verify --check-contents", limit)?
            .ok()
            .context("the Nix store is damaged")?;
        Ok(())
    }

    /// Journal entries as objects; `arguments` as for `journalctl`, which reads all boots.
    ///
    /// # Errors
    /// Fails when `journalctl` does.
    pub fn journal(&self, arguments: &str) -> Result<Vec<serde_json::Value>> {
        let text =
            self.sh(&format!("journalctl --no-pager --quiet --all --output=json {arguments}"))?;
        text.lines()
            .map(|line| serde_json::from_str(line).context("a journal line is not JSON"))
            .collect()
    }

    /// A property of a unit as `systemctl show -P` has it.
    ///
    /// # Errors
    /// Fails when `systemctl` does.
    pub fn unit_property(&self, unit: &str, property: &str) -> Result<String> {
        self.sh(&format!("systemctl show -P {property} -- '{unit}'"))
    }

    /// The active state of a unit: `active`, `failed`, `inactive` …
    ///
    /// # Errors
    /// Fails when `systemctl` does.
    pub fn unit_state(&self, unit: &str) -> Result<String> {
        self.unit_property(unit, "ActiveState")
    }
}

fn number(link: &str) -> Option<u64> {
    link.strip_prefix("system-")?.strip_suffix("-link")?.parse().ok()
}

fn field(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        line.strip_prefix(key)?.strip_prefix(' ').map(|value| value.trim().to_string())
    })
}
