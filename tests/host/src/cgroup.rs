//! Control groups: one per machine, so that two do not share one and all its processes can be ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The hierarchies that systemd cares for: the unified one and, on hybrid machines, its own named one.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    [root.join("unified"), root.join("systemd")]
        .into_iter()
        .filter(|path| path.join("cgroup.procs").exists())
        .collect()
}

/// The unified hierarchy.
pub fn unified() -> PathBuf {
    hierarchies().into_iter().next().unwrap_or_default()
}

/// The processes of a group's folder and of those below it.
pub fn processes(folder: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    collect(folder, &mut found);
    found
}

/// Makes a control group of this name and gives its folders, one per hierarchy.
///
/// # Errors
/// Fails when a folder cannot be made.
pub fn make(name: &str) -> Result<Vec<PathBuf>> {
    let folders: Vec<PathBuf> = hierarchies().iter().map(|path| path.join(name)).collect();
    for folder in &folders {
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make `{}`", folder.display()))?;
    }
    Ok(folders)
}

/// The processes of the group and of those below it.
pub fn members(name: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        collect(&hierarchy.join(name), &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Kills every process of the group and removes it; a group that is not there is fine.
pub fn end(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let members = members(name);
        for member in &members {
            let _ = kill(Pid::from_raw(*member), Signal::SIGKILL);
        }
        if members.is_empty() || Instant::now() > deadline {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    for hierarchy in hierarchies() {
        remove(&hierarchy.join(name));
    }
}

fn collect(folder: &Path, found: &mut Vec<i32>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // A process of another namespace reads as 0.
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1));
    for child in children(folder) {
        collect(&child, found);
    }
}

fn remove(folder: &Path) {
    for child in children(folder) {
        remove(&child);
    }
    let _ = fs::remove_dir(folder);
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
