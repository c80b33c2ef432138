//! What is installed besides the binaries: units, catalog, NixOS module.

// Helpers of tests are not `#[test]` functions themselves, and may fail just as loudly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catalog;
mod module;
mod unit_file;
mod units;

use std::path::{Path, PathBuf};

/// Returns the path of a file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Reads a file of the repository.
#[track_caller]
fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
