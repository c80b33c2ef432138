//! Where the base tree and the machines lie on disk, and how the remains of killed tests are cleared.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::{cgroup, disk, network};

/// The folder of all test hosts: `AUTODEPLOY_HOST_DIR`, or `host` in the target folder.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("AUTODEPLOY_HOST_DIR") {
        return folder.into();
    }
    target().join("host")
}

/// Tells whether machines are for tests alone, where nothing is measured: `AUTODEPLOY_HOST_QUICK`.
pub fn is_quick() -> bool {
    std::env::var_os("AUTODEPLOY_HOST_QUICK").is_some()
}

/// The project's own folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_default()
}

/// Cargo's target folder: the one that the running program was built into.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    match program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()) {
        Some(folder) => folder.to_path_buf(),
        None => project().join("target"),
    }
}

/// The files of this crate that are not Rust: stand-in scripts, the infra repository.
pub fn resource(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Gives a folder that is made once, however many processes ask for it at the same time.
///
/// # Errors
/// Fails when `make` does; then nothing with the folder's name exists.
pub fn once(folder: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if folder.exists() {
        return Ok(folder.to_path_buf());
    }
    let all = folder.parent().context("no parent")?;
    fs::create_dir_all(all)?;
    let _lock = lock(&folder.with_extension("lock"), FlockArg::LockExclusive)?;
    if !folder.exists() {
        let unfinished = folder.with_extension(format!("unfinished-{}", std::process::id()));
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished)?;
        make(&unfinished)?;
        fs::rename(&unfinished, folder)?;
    }
    Ok(folder.to_path_buf())
}

/// A folder of one machine or forge, held by a lock for as long as its owner lives.
///
/// The name is also that of its network namespaces and control groups, so that whatever a killed
/// owner left can be found and cleared by the next one.
#[derive(Debug)]
pub struct Place {
    pub name: String,
    pub path: PathBuf,
    keep: bool,
    _lock: Flock<File>,
}

impl Place {
    /// Makes a folder whose name begins with `label`, after clearing what dead owners left.
    ///
    /// # Errors
    /// Fails when the folder cannot be made or locked.
    pub fn claim(label: &str) -> Result<Place> {
        let all = folder().join("run");
        fs::create_dir_all(&all).with_context(|| format!("could not make `{}`", all.display()))?;
        clear_dead(&all);
        let label: String =
            label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(30).collect();
        for number in 0.. {
            let name = format!("adt-{label}-{}-{number}", std::process::id());
            let path = all.join(&name);
            if path.exists() {
                continue;
            }
            // The lock comes before the folder: a folder without a held lock is a dead one.
            let lock = lock(&all.join(format!("{name}.lock")), FlockArg::LockExclusive)?;
            fs::create_dir(&path)?;
            return Ok(Place { name, path, keep: false, _lock: lock });
        }
        unreachable!("numbers do not end")
    }

    /// Leaves everything as it is when the owner ends.
    pub fn keep(&mut self) {
        self.keep = fs::write(self.path.join("kept"), "").is_ok();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            clear(&self.path);
        }
    }
}

fn lock(path: &Path, kind: FlockArg) -> Result<Flock<File>> {
    let file = File::create(path)?;
    Flock::lock(file, kind).map_err(|(_, error)| error.into())
}

fn clear_dead(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if !path.is_dir() || path.join("kept").exists() {
            continue;
        }
        if let Ok(_lock) = lock(&path.with_extension("lock"), FlockArg::LockExclusiveNonblock) {
            clear(&path);
        }
    }
}

/// Ends and removes everything that belongs to the place: processes, mounts, namespaces, files.
pub fn clear(path: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    for part in ["", "-forge", "-names"] {
        cgroup::end(&format!("{name}{part}"));
    }
    disk::unmount_below(path);
    network::remove(name);
    let _ = fs::remove_dir_all(path);
    let _ = fs::remove_file(path.with_extension("lock"));
}
