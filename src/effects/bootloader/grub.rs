//! GRUB: its menu, and the variable that names the entry of the next boot.
//!
//! `grub-reboot` sets `next_entry` in `grubenv`; the menu that NixOS writes starts that and
//! forgets it. The block is written here and not by that program: it is a script around
//! `grub-editenv`, which need not be installed, writes in place and does not wait for the disk. A
//! torn block would be forgotten as a whole, other variables included.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::grub_config::{Default, Menu, parse};
use super::grub_environment::{self, Environment};
use super::mount::why_grub_cannot_write;
use crate::effects::files;
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// Where NixOS puts it.
const DIRECTORY: &str = "/boot/grub";

/// No menu is longer, in bytes: a hundred generations make some hundred kB.
const LONGEST: u64 = 16 << 20;

const NEXT: &str = "next_entry";

/// What GRUB has on this machine.
pub struct Grub {
    directory: PathBuf,
}

impl Grub {
    /// Looks where NixOS puts it.
    pub fn of_this_machine() -> Grub {
        Grub { directory: DIRECTORY.into() }
    }

    /// Tells whether it has a menu here.
    pub fn is_there(&self) -> bool {
        self.directory.join("grub.cfg").is_file()
    }

    /// Reads the default; `None` if what it would start cannot be told.
    pub fn default(&self) -> Option<StorePath> {
        self.menu().ok()?.default_system().cloned()
    }

    /// Says why no single boot can be armed here; `None` if one can.
    pub fn why_never_once(&self) -> Option<String> {
        self.not_in_its_menu().or_else(|| why_grub_cannot_write(&self.environment_path()))
    }

    fn not_in_its_menu(&self) -> Option<String> {
        match self.menu() {
            Err(error) => Some(format!("{error:#}")),
            Ok(Menu { starts_once: false, .. }) => {
                Some("the menu of GRUB does not read `next_entry`".to_owned())
            }
            Ok(Menu { default: Default::LastStarted, .. }) => Some(
                "the default of GRUB is what was started last, so that a trial would stay"
                    .to_owned(),
            ),
            Ok(_) => None,
        }
    }

    /// Arms one boot of the entry of `new`, and reads it back.
    ///
    /// # Errors
    /// Nothing is armed, or it could not be read back.
    pub fn arm(&self, new: &StorePath, default: &StorePath) -> Result<()> {
        let menu = self.menu()?;
        match menu.default_system() {
            Some(now) if now == default => {}
            Some(now) => bail!("GRUB would start `{now}` by default, not `{default}`"),
            None => bail!("what GRUB starts by default cannot be told"),
        }
        let name = menu
            .name_of(new)
            .with_context(|| format!("no entry of GRUB with a name of its own starts `{new}`"))?;
        self.set(Some(&name))?;
        let armed = self.environment()?.get(NEXT);
        match armed.as_deref().and_then(|armed| self.menu().ok()?.entry(armed)?.system.clone()) {
            Some(system) if system == *new => Ok(()),
            _ => bail!("`{name}` was armed, and `{armed:?}` was read back"),
        }
    }

    /// Takes back what was armed for `new`, or for an entry that is gone.
    ///
    /// # Errors
    /// It may still be armed.
    pub fn disarm(&self, new: &StorePath) -> Result<()> {
        if !self.environment_path().exists() {
            return Ok(());
        }
        let Some(armed) = self.environment()?.get(NEXT) else { return Ok(()) };
        let menu = self.menu()?;
        if menu.entry(&armed).is_some_and(|entry| entry.system.as_ref() != Some(new)) {
            return Ok(());
        }
        self.set(None)?;
        match self.environment()?.get(NEXT) {
            None => Ok(()),
            Some(armed) => bail!("`{}` is still armed", escaped(&armed, 100)),
        }
    }

    fn menu(&self) -> Result<Menu> {
        let path = self.directory.join("grub.cfg");
        files::read_text(&path, LONGEST).map(|text| parse(&text))
    }

    fn environment_path(&self) -> PathBuf {
        self.directory.join("grubenv")
    }

    /// The block; a new one where there is none.
    fn environment(&self) -> Result<Environment> {
        let path = self.environment_path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Environment::default());
            }
            read => read.with_context(|| format!("could not read `{}`", path.display()))?,
        };
        grub_environment::parse(&bytes)
            .with_context(|| format!("`{}` is no environment block of GRUB", path.display()))
    }

    fn set(&self, value: Option<&str>) -> Result<()> {
        let mut environment = self.environment()?;
        environment.set(NEXT, value);
        let bytes = environment.bytes().context("GRUB's environment block is full")?;
        files::write_durably(&self.environment_path(), &bytes, 0o600)
    }
}

#[cfg(test)]
mod tests;
