//! systemd-boot: its files on the EFI partition, and the variables that it shares with the system.
//!
//! What an entry looks like is written down in the Boot Loader Specification, what the variables
//! mean in the Boot Loader Interface (both by the UAPI group); what NixOS makes of them is in
//! nixpkgs' `systemd-boot-builder.py`. Of the three ways to choose an entry the one-shot variable
//! beats the default variable, and that beats `loader.conf`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::init;
use crate::effects::process::Program;
use crate::model::pattern;
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// Where NixOS mounts the partitions that systemd-boot reads: entries may lie on one and
/// `loader.conf` on the other.
const PLACES: &[&str] = &["/boot", "/efi", "/boot/efi"];

/// Where the kernel shows the EFI variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The running system's program. EFI variables are write-protected files with a few rules of their
/// own, which it knows.
const BOOTCTL: &str = "/run/current-system/sw/bin/bootctl";

/// The vendor of all variables of the Boot Loader Interface.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// `LoaderFeatures`: the loader knows one-shot entries.
const KNOWS_ONCE: u64 = 1 << 3;

/// The limit on one run of `bootctl`; firmware may take its time to write.
const LIMIT: Duration = Duration::from_secs(60);

/// What systemd-boot has on this machine.
pub struct SystemdBoot {
    places: Vec<PathBuf>,
    variables: PathBuf,
    bootctl: PathBuf,
}

impl SystemdBoot {
    /// Looks where NixOS puts it.
    pub fn of_this_machine() -> SystemdBoot {
        SystemdBoot {
            places: PLACES.iter().map(PathBuf::from).collect(),
            variables: VARIABLES.into(),
            bootctl: BOOTCTL.into(),
        }
    }

    /// Tells whether it has entries here.
    pub fn is_there(&self) -> bool {
        self.places.iter().any(|place| place.join("loader/entries").is_dir())
    }

    /// Tells whether it started what runs now.
    pub fn has_started_us(&self) -> bool {
        self.text_of("LoaderInfo").is_some_and(|info| info.starts_with("systemd-boot"))
    }

    /// Reads the default; `None` if what it would start cannot be told.
    pub fn default(&self) -> Option<StorePath> {
        let wanted = match self.text_of("LoaderEntryDefault") {
            Some(beats_the_file) => beats_the_file,
            None => configured(&self.loader_conf()?)?,
        };
        let entries = self.entries();
        let mut matching = entries.iter().filter(|(name, _)| matches(&wanted, name));
        // With a pattern, which of several it starts depends on its own ordering of versions.
        match (matching.next(), matching.next()) {
            (Some((_, text)), None) => started_by(text),
            _ => None,
        }
    }

    /// Says why no single boot can be armed here; `None` if one can.
    pub fn why_never_once(&self) -> Option<String> {
        if !self.has_started_us() {
            return Some("systemd-boot did not start this machine".to_owned());
        }
        let features = self.variable("LoaderFeatures").and_then(|bytes| bytes.try_into().ok());
        if features.is_some_and(|bytes| u64::from_le_bytes(bytes) & KNOWS_ONCE == 0) {
            return Some("this systemd-boot cannot start an entry just once".to_owned());
        }
        if let Some(name) = self.text_of("LoaderEntryDefault") {
            let name = escaped(&name, 100);
            return Some(format!(
                "the EFI variable `LoaderEntryDefault` is `{name}` and beats `loader.conf`; \
                 `bootctl set-default \"\"` takes it away"
            ));
        }
        if let Some(counted) = self.entries().keys().find(|name| is_counted(name)) {
            return Some(format!(
                "systemd-boot counts the boots of `{counted}`, and so tries what is new by itself"
            ));
        }
        (!self.bootctl.exists()).then(|| format!("there is no `{}`", self.bootctl.display()))
    }

    /// Arms one boot of the entry of `new`, and reads it back.
    ///
    /// # Errors
    /// Nothing is armed, or it could not be read back.
    pub fn arm(&self, new: &StorePath, default: &StorePath) -> Result<()> {
        match self.default() {
            Some(now) if now == *default => {}
            Some(now) => bail!("systemd-boot would start `{now}` by default, not `{default}`"),
            None => bail!("what systemd-boot starts by default cannot be told"),
        }
        let name = self.entry_of(new)?;
        self.set_once(&name)?;
        match self.text_of("LoaderEntryOneShot") {
            Some(armed) if armed == name => Ok(()),
            Some(armed) => bail!("`{}` is armed, not `{name}`", escaped(&armed, 100)),
            None => bail!("`{name}` was armed, and the firmware did not keep it"),
        }
    }

    /// Takes back what was armed for `new`, or for an entry that is gone.
    ///
    /// # Errors
    /// It may still be armed.
    pub fn disarm(&self, new: &StorePath) -> Result<()> {
        let Some(armed) = self.text_of("LoaderEntryOneShot") else { return Ok(()) };
        let starts = self.entries().get(&armed).map(|text| started_by(text));
        if starts.is_some_and(|system| system.as_ref() != Some(new)) {
            return Ok(());
        }
        self.set_once("")?;
        match self.text_of("LoaderEntryOneShot") {
            None => Ok(()),
            Some(armed) => bail!("`{}` is still armed", escaped(&armed, 100)),
        }
    }

    /// Several entries may start the same system, where it is a generation of its own already: any
    /// of them will do, as long as they are alike.
    fn entry_of(&self, new: &StorePath) -> Result<String> {
        let entries = self.entries();
        let mut of_new = entries.iter().filter(|(_, text)| started_by(text).as_ref() == Some(new));
        let (name, text) =
            of_new.next().with_context(|| format!("no entry of systemd-boot starts `{new}`"))?;
        match of_new.find(|(_, other)| !boot_alike(text, other)) {
            None => Ok(name.clone()),
            Some((other, _)) => {
                bail!("the entries `{name}` and `{other}` start `{new}` differently")
            }
        }
    }

    fn set_once(&self, name: &str) -> Result<()> {
        let program = Program::new(&self.bootctl, LIMIT)
            .arg("set-oneshot")
            .arg(name)
            .env("PATH", "/run/current-system/sw/bin");
        let ended = program.run()?;
        if !ended.succeeded() {
            let stderr = escaped(String::from_utf8_lossy(&ended.stderr).trim(), 500);
            bail!("`bootctl set-oneshot {name}`: {:?}: {stderr}", ended.status);
        }
        Ok(())
    }

    /// The text of every entry, by file name. The same partition may be mounted twice.
    fn entries(&self) -> BTreeMap<String, String> {
        let folders = self.places.iter().map(|place| place.join("loader/entries"));
        let files = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        let entry = |file: fs::DirEntry| {
            let name = file.file_name().into_string().ok()?;
            name.ends_with(".conf").then_some(())?;
            Some((name, fs::read_to_string(file.path()).ok()?))
        };
        files.filter_map(entry).collect()
    }

    fn loader_conf(&self) -> Option<String> {
        let paths = self.places.iter().map(|place| place.join("loader/loader.conf"));
        let mut texts: Vec<_> =
            paths.filter_map(|path: PathBuf| fs::read_to_string(path).ok()).collect();
        texts.dedup();
        match texts.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// The value of a variable; an empty one is none.
    fn text_of(&self, name: &str) -> Option<String> {
        utf_16(&self.variable(name)?).filter(|text| !text.is_empty())
    }

    /// The bytes of a variable, without the four of its attributes.
    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        let path: &Path = &self.variables;
        let bytes = fs::read(path.join(format!("{name}-{VENDOR}"))).ok()?;
        bytes.get(4..).map(<[u8]>::to_vec)
    }
}

pub(crate) fn utf_16(bytes: &[u8]) -> Option<String> {
    let units: Vec<_> =
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Some(String::from_utf16(&units).ok()?.trim_end_matches('\0').to_owned())
}

/// The last `default` of `loader.conf`.
pub(crate) fn configured(text: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let (key, value) = line.trim().split_once(char::is_whitespace)?;
        (key == "default").then(|| value.trim().to_owned())
    })
}

/// Matches an entry's file name, with or without `.conf`, against a pattern of `*` and `?`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let bare = name.strip_suffix(".conf").unwrap_or(name);
    [name, bare].iter().any(|name| pattern::matches(pattern.as_bytes(), name.as_bytes()))
}

/// The values of a key of an entry.
fn values<'a>(entry: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pair = |line: &'a str| line.trim().split_once(char::is_whitespace);
    entry.lines().filter_map(pair).filter_map(move |(one, value)| (one == key).then_some(value))
}

/// The system whose `init` an entry starts.
pub(crate) fn started_by(entry: &str) -> Option<StorePath> {
    values(entry, "options").find_map(init)
}

/// Whether two entries differ in nothing but what people read.
pub(crate) fn boot_alike(one: &str, other: &str) -> bool {
    ["linux", "initrd", "options", "devicetree"]
        .iter()
        .all(|key| values(one, key).map(str::trim).eq(values(other, key).map(str::trim)))
}

/// Whether the name has the counters of automatic boot assessment: `NAME+LEFT[-DONE].conf`.
pub(crate) fn is_counted(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_suffix(".conf").and_then(|name| name.rsplit_once('+')).is_some_and(|(_, count)| {
        let (left, done) = count.split_once('-').unwrap_or((count, "0"));
        digits(left) && digits(done)
    })
}

#[cfg(test)]
mod tests;
