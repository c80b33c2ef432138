//! libFuzzer's way into one of the targets of `src/fuzzing.rs`: `FUZZ_TARGET` names it.

#![no_main]

use std::sync::OnceLock;

use autodeploy::fuzzing::{TARGETS, Target};

/// Found once: a look at the environment for each of a million inputs would be most of the work.
fn target() -> &'static Target {
    static FOUND: OnceLock<&Target> = OnceLock::new();
    FOUND.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(" ");
        let found = TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("`FUZZ_TARGET` has to be one of: {}", names()))
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (target().run)(bytes));
