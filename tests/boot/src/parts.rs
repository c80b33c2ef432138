//! Kernel, initrds and boot loaders: made once, shared by all.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use autodeploy_testhost::base::fingerprint;
use autodeploy_testhost::{place, run};

const RECIPE: &str = concat!(include_str!("../boot-parts"), include_str!("../guest/initrd-init"));

/// A file of this crate that is not Rust.
pub fn resource(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Gives the folder of the parts, and makes it when it is not there.
///
/// # Errors
/// Fails when it cannot be made; then nothing with its name exists.
pub fn folder() -> Result<PathBuf> {
    let name = format!("boot-parts-{:016x}", fingerprint(RECIPE.as_bytes()));
    place::once(&place::folder().join(name), |unfinished| {
        eprintln!("fetching kernel and boot loaders (once, about half a minute)");
        let mut recipe = Command::new(resource("boot-parts"));
        run::run(recipe.arg(unfinished), Duration::from_secs(900))
            .and_then(run::Output::ok)
            .context("could not make the boot parts; hint: tests/boot/install-requirements")?;
        Ok(())
    })
}
