//! An outside observer: looks at the machine's links, profile and loader files from outside, and at
//! the Nix store. It knows nothing of autodeploy: not its record, not its status, not its units.
//!
//! What counts as lost is decided here alone: a place that leads neither to the old nor to the new
//! system, a default that cannot boot, a damaged store.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::host::Host;

/// Where everything of a machine that names a system leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// `/run/current-system`, and what `/etc` is made of; `None` without power.
    pub running: Option<Running>,
    /// The profile `system`.
    pub profile: String,
    /// The entry that the loader starts.
    pub default: String,
}

/// What was activated last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// `/run/current-system`
    pub system: String,
    /// `/etc/static`, without the `/etc` at its end.
    pub etc: String,
}

impl Sight {
    /// Looks at a machine, with power or without.
    ///
    /// # Errors
    /// A place leads nowhere, or to what cannot boot.
    pub fn of(host: &Host) -> Result<Sight> {
        let running = match host.leader() {
            Ok(_) => Some(Running {
                system: leads_to(&host.outside("/run/current-system"))?,
                etc: leads_to(&host.outside("/etc/static"))?.trim_end_matches("/etc").to_owned(),
            }),
            Err(_) => None,
        };
        let sight =
            Sight { running, profile: host.profile()?.toplevel, default: loader_default(host)? };
        for toplevel in [&sight.profile, &sight.default] {
            let init = host.root.join(toplevel.trim_start_matches('/')).join("init");
            ensure!(init.exists(), "`{toplevel}` cannot boot: it has no init");
        }
        Ok(sight)
    }

    /// The places with their names.
    fn places(&self) -> Vec<(&'static str, &str)> {
        let running = self.running.iter().flat_map(|running| {
            [("running system", running.system.as_str()), ("/etc", running.etc.as_str())]
        });
        running
            .chain([("profile", self.profile.as_str()), ("boot default", &self.default)])
            .collect()
    }

    /// Proves that every place leads to one of these systems.
    ///
    /// # Errors
    /// One leads elsewhere; the message names it.
    pub fn is_one_of(&self, systems: &[&str]) -> Result<()> {
        for (place, leads_to) in self.places() {
            ensure!(
                systems.contains(&leads_to),
                "lost: the {place} is `{leads_to}`, which is none of {systems:#?}"
            );
        }
        Ok(())
    }

    /// Whether every place leads to this system.
    pub fn is_all(&self, system: &str) -> bool {
        self.places().iter().all(|(_, leads_to)| *leads_to == system)
    }

    /// Whether this system was activated in whole, and the other is the profile and the default.
    pub fn is_trial_of(&self, new: &str, old: &str) -> bool {
        let runs = self.running.as_ref().is_some_and(|it| it.system == new && it.etc == new);
        runs && self.profile == old && self.default == old
    }
}

/// Proves the store's database, and that every path of it is there.
///
/// # Errors
/// Fails with what Nix says.
pub fn verify_store(host: &Host) -> Result<()> {
    let output = host.run("nix-store --verify")?;
    let said = format!("{}{}", output.stdout, output.stderr);
    output.ok().context("the Nix store is damaged")?;
    // A path that is gone is taken out of the database with a word, and no exit status.
    ensure!(!said.contains("disappeared"), "lost: the Nix store lost a path: {said}");
    Ok(())
}

fn leads_to(link: &Path) -> Result<String> {
    let to = fs::read_link(link).with_context(|| format!("lost: no link `{}`", link.display()))?;
    Ok(to.to_string_lossy().into_owned())
}

fn loader_default(host: &Host) -> Result<String> {
    let path = host.outside("/boot/loader/loader.conf");
    let read = || fs::read_to_string(&path).context("lost: no loader.conf");
    let mut text = read()?;
    loop {
        let name = text.lines().find_map(|line| line.strip_prefix("default "));
        let name = name.context("lost: loader.conf names no default")?.trim();
        let entries = host.loader_entries()?;
        if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
            return Ok(entry.toplevel.clone());
        }
        // Two files cannot be read at once: another default may have been written in between.
        let now = read()?;
        ensure!(now != text, "lost: the default `{name}` is not there");
        text = now;
    }
}
