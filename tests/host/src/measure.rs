//! What `make bench` measures; each function boots a machine of its own and adds its figures.

mod idle;
mod revert;
mod switch;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::host::HostOptions;
use crate::infra::Infra;
use crate::package;
use crate::place;
use crate::world::World;

pub use idle::idle;
pub use revert::{revert, reverts};
pub use switch::{switch_large, switch_small};

/// Figures by name.
pub type Figures = BTreeMap<&'static str, f64>;

/// How large the release binaries are, stripped as they are built.
///
/// # Errors
/// Fails when they are not built.
pub fn sizes(figures: &mut Figures) -> Result<()> {
    for (figure, name) in [
        ("agent_binary_mib", "autodeployd"),
        ("activator_binary_mib", "autodeploy-activate"),
        ("client_binary_mib", "autodeployctl"),
    ] {
        let path = place::target().join("release").join(name);
        let size = fs::metadata(&path).with_context(|| format!("no `{}`", path.display()))?.len();
        figures.insert(figure, size as f64 / f64::from(1 << 20));
    }
    Ok(())
}

/// Where the timed stand-in writes when it was started: nanoseconds of the wall clock, a line each.
const STARTED: &str = "/run/switch-started";

/// The stand-in for `switch-to-configuration`, which notes first of all when it was started: by a
/// shell, because Python takes longer to start than what is measured.
fn timed_stand_in() -> Result<String> {
    let text = fs::read_to_string(place::resource("stand-in/switch-to-configuration"))?;
    let (_, program) = text.split_once('\n').context("an empty stand-in")?;
    // To a shell the quotes are an empty word before a colon, to Python they open a text.
    let note = format!("date +%s%N >> {STARTED}\nexec /usr/bin/python3 \"$0\" \"$@\"");
    Ok(format!("#!/bin/sh\n''':'\n{note}\n'''\n{program}"))
}

/// Boots a machine with the release binaries, a timed switch and a configuration.
fn boot(label: &str, config: impl FnOnce(&Infra) -> String) -> Result<World> {
    boot_with(label, &place::target().join("release"), config)
}

/// As [`boot`], with the binaries of a folder.
fn boot_with(label: &str, binaries: &Path, config: impl FnOnce(&Infra) -> String) -> Result<World> {
    World::boot_with(label, HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, binaries, "")?)?;
        infra.set("stand-in/switch-to-configuration", &timed_stand_in()?)?;
        infra.config(&config(infra))
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
