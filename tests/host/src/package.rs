//! Puts autodeploy's binaries on a machine, under a label from which Nix makes the package.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host::Host;
use crate::{base, place, run};

/// The binaries of the package.
pub const BINARIES: [&str; 3] = ["autodeployd", "autodeploy-activate", "autodeployctl"];

/// Where Cargo puts the project's binaries: `AUTODEPLOY_BIN_DIR`, or the debug folder.
pub fn binaries() -> PathBuf {
    std::env::var_os("AUTODEPLOY_BIN_DIR")
        .map_or_else(|| place::target().join("debug"), PathBuf::from)
}

/// Puts the binaries of a folder on a machine's disk and gives their label.
///
/// The label changes when they are built anew; `mark` makes another label, and so another store path, of
/// the same binaries: that is an upgrade. A repeated call does nothing.
///
/// # Errors
/// Fails when a binary is not built.
pub fn put(host: &Host, folder: &Path, mark: &str) -> Result<String> {
    let stripped = stripped(folder)?;
    let contents = stripped.file_name().context("no name")?.to_string_lossy().into_owned();
    let label = format!("{}{mark}", contents.trim_start_matches("bin-"));
    let to = host.root.join(format!("opt/autodeploy/{label}/bin"));
    // Below a running machine the overlay itself may be written: both see the same mount.
    if !to.exists() {
        run::shell(&format!(
            "mkdir -p '{parent}'; cp -r '{}' '{to}.new'; mv '{to}.new' '{to}'",
            stripped.display(),
            parent = to.parent().context("no parent")?.display(),
            to = to.display()
        ))?;
    }
    Ok(label)
}

/// A text that changes whenever the binaries of a folder are built anew.
///
/// # Errors
/// Fails when a binary is not built.
pub fn state(folder: &Path) -> Result<String> {
    let mut seen = String::new();
    for name in BINARIES {
        let path = folder.join(name);
        let Ok(metadata) = fs::metadata(&path) else {
            bail!("`{}` is not built; hint: cargo build", path.display());
        };
        // Size and time of change: the contents of debug binaries take seconds to read.
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        seen += &format!("{} {} {seconds}.{nanoseconds}\n", path.display(), metadata.len());
    }
    Ok(seen)
}

/// Debug binaries are some hundred megabytes; what a machine gets is stripped once and kept.
fn stripped(folder: &Path) -> Result<PathBuf> {
    let print = base::fingerprint(state(folder)?.as_bytes());
    place::once(&place::folder().join(format!("bin-{print:016x}")), |unfinished| {
        for name in BINARIES {
            run::shell(&format!(
                "strip -o '{}' '{}'",
                unfinished.join(name).display(),
                folder.join(name).display()
            ))?;
        }
        Ok(())
    })
}
