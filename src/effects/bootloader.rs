//! The boot loader: what it starts by default, and one boot of something else.
//!
//! Everything is read from the loader's own files, and entries are found by their `init=`: their
//! names change between releases of the programs that write them. What cannot be told is not
//! guessed at.

use std::path::Path;

use anyhow::Result;

use crate::model::store_path::StorePath;

pub mod grub;
pub mod grub_config;
pub mod grub_environment;
pub mod mount;
pub mod systemd_boot;

use grub::Grub;
use systemd_boot::SystemdBoot;

/// The loader that started this machine, or would.
enum Loader {
    SystemdBoot(SystemdBoot),
    Grub(Grub),
    Unknown,
}

/// systemd-boot names itself to whatever it starts; GRUB need not. Files of both may lie there
/// where somebody went from one to the other.
fn of_this_machine() -> Loader {
    let (systemd_boot, grub) = (SystemdBoot::of_this_machine(), Grub::of_this_machine());
    match (systemd_boot.has_started_us(), grub.is_there(), systemd_boot.is_there()) {
        (true, _, _) | (false, false, true) => Loader::SystemdBoot(systemd_boot),
        (false, true, _) => Loader::Grub(grub),
        (false, false, false) => Loader::Unknown,
    }
}

/// Reads the default; `None` if there is no loader that is known, or what it would start cannot be
/// told.
pub fn default() -> Option<StorePath> {
    match of_this_machine() {
        Loader::SystemdBoot(loader) => loader.default(),
        Loader::Grub(loader) => loader.default(),
        Loader::Unknown => None,
    }
}

/// Says why this machine can arm no single boot, whatever the closure; `None` if it can.
pub fn why_never_once() -> Option<String> {
    match of_this_machine() {
        Loader::SystemdBoot(loader) => loader.why_never_once(),
        Loader::Grub(loader) => loader.why_never_once(),
        Loader::Unknown => Some(unknown()),
    }
}

fn unknown() -> String {
    let there = |path: &str| Path::new(path).exists();
    match there("/boot/extlinux/extlinux.conf") {
        true => "extlinux starts no entry just once".to_owned(),
        false => "no boot loader is found that starts an entry just once".to_owned(),
    }
}

/// Arms one boot of the entry of `new`, having read that the default is `default`, and reads back
/// what was armed. A repeat arms the same.
///
/// # Errors
/// Nothing is armed; or what is armed could not be read back.
pub fn arm(new: &StorePath, default: &StorePath) -> Result<()> {
    match of_this_machine() {
        Loader::SystemdBoot(loader) => loader.arm(new, default),
        Loader::Grub(loader) => loader.arm(new, default),
        Loader::Unknown => anyhow::bail!(unknown()),
    }
}

/// Takes back what was armed for `new`, or for an entry that is gone. What is armed for another
/// system is somebody else's and stays. A repeat does nothing.
///
/// # Errors
/// It may still be armed.
pub fn disarm(new: &StorePath) -> Result<()> {
    match of_this_machine() {
        Loader::SystemdBoot(loader) => loader.disarm(new),
        Loader::Grub(loader) => loader.disarm(new),
        Loader::Unknown => Ok(()),
    }
}

/// The system that a kernel command line starts.
fn init(command_line: &str) -> Option<StorePath> {
    command_line
        .split_whitespace()
        .find_map(|option| option.strip_prefix("init=")?.strip_suffix("/init")?.parse().ok())
}
