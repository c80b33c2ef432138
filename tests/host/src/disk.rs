//! Disks of a machine: an overlay over the base tree, and small ones that fill up.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::place;

/// Lays a writable tree over others, the uppermost first, and gives its path.
///
/// It stays mounted while the machine has no power, as a disk keeps what was written.
///
/// # Errors
/// Fails when it cannot be mounted.
pub fn overlay(below: &[PathBuf], folder: &Path) -> Result<PathBuf> {
    let (upper, work, root) = (folder.join("upper"), folder.join("work"), folder.join("root"));
    for part in [&upper, &work, &root] {
        fs::create_dir_all(part)?;
    }
    let below: Vec<_> = below.iter().map(|tree| tree.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        below.join(":"),
        upper.display(),
        work.display()
    );
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("could not mount an overlay at `{}`", root.display()))?;
    Ok(root)
}

/// Makes a disk of a few bytes; what lies in it survives a power cut of the machine.
///
/// # Errors
/// Fails when it cannot be mounted.
pub fn small(place: &Path, bytes: u64) -> Result<()> {
    fs::create_dir_all(place)?;
    let options = format!("size={bytes},mode=0755");
    mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("could not mount a small disk at `{}`", place.display()))
}

/// Free memory that has to be there before machines lie in it: eight of them take a gigabyte.
const ENOUGH_MEMORY_KIB: u64 = 8 << 20;

/// Lets what comes to lie in a folder lie in memory, with `AUTODEPLOY_HOST_QUICK` and where there is
/// enough of it; on disk otherwise.
///
/// A power cut here takes processes and no writes, so that nothing is proved less, and a fifth of
/// the processor's time is spared: file systems look long for room where a hundred machines come
/// and go. What is measured lies on disk.
///
/// # Errors
/// Fails when it cannot be mounted.
pub fn in_memory_if_wanted(folder: &Path) -> Result<()> {
    if !place::is_quick() || available_memory_kib() < ENOUGH_MEMORY_KIB {
        return Ok(());
    }
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .with_context(|| format!("could not mount a disk in memory at `{}`", folder.display()))
}

fn available_memory_kib() -> u64 {
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}

/// Unmounts everything below a folder, deepest first.
pub fn unmount_below(folder: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut places: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|place| place.starts_with(folder))
        .collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.as_os_str().len()));
    for place in places {
        let _ = umount2(&place, MntFlags::MNT_DETACH);
    }
}
