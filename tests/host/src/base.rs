//! The tree that every host is laid over: made once, shared by all, never written to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{place, run};

const RECIPE: &str = include_str!("../base-tree");

/// Gives the base tree, and makes it when it is not there.
///
/// Safe to call from several processes at once: one makes it, the others wait.
///
/// # Errors
/// Fails when the tree cannot be made; then nothing with its name exists.
pub fn tree() -> Result<PathBuf> {
    let name = format!("base-{:016x}", fingerprint(RECIPE.as_bytes()));
    place::once(&place::folder().join(name), make)
}

fn make(unfinished: &Path) -> Result<()> {
    let recipe = place::resource("base-tree");
    eprintln!("making the base tree of the test hosts (once, about half a minute)");
    run::run(Command::new(&recipe).arg(unfinished), Duration::from_secs(900))
        .and_then(run::Output::ok)
        .context("could not make the base tree; hint: tests/host/install-requirements")?;
    Ok(())
}

/// FNV-1a: names things by their contents, nothing more.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
