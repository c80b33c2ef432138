//! Room in the store for what is to be realised: looked at before, and made where the
//! configuration allows it.

use std::path::Path;

use crate::agent::plan::room::{Needs, PLENTY, Room, lacking, refused};
use crate::config::settings::{Build, CollectGarbage};
use crate::effects::nix::{Nix, Resolved};
use crate::effects::room;
use crate::model::failure::{Failure, Reason};

/// Where closures are.
const STORE: &str = "/nix/store";

/// Garbage is all collected when a disk was full in the middle: how much was lacking nobody knows.
const ALL: u64 = i64::MAX as u64;

/// Brings a closure into the store by `get`, if there is room for it; once more where garbage was
/// collected because the disk was full in the middle.
///
/// # Errors
/// `no-space`, and those of `get`.
pub fn with_room(
    (nix, build): (&Nix, &Build),
    wanted: &Resolved,
    get: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    look(nix, wanted, build)?;
    match get() {
        Err(full) if full.reason == Reason::NO_SPACE && collects(build) => {
            tracing::warn!("collecting garbage: {}", full.message);
            nix.collect_garbage(ALL, build.build_timeout)?;
            get()
        }
        other => other,
    }
}

fn collects(build: &Build) -> bool {
    match build.collect_garbage {
        CollectGarbage::Never => false,
        CollectGarbage::WhenFull => true,
    }
}

/// Refuses what has no room, after making some where that is allowed.
fn look(nix: &Nix, wanted: &Resolved, build: &Build) -> Result<(), Failure> {
    let Some(left) = room::left(Path::new(STORE)).filter(|left| *left < PLENTY) else {
        return Ok(());
    };
    let needs = match nix.missing(wanted, build) {
        Some(known) => {
            Needs { unknown: known.builds, download: known.download, unpacked: known.unpacked }
        }
        None => Needs { unknown: true, download: 0, unpacked: 0 },
    };
    let room = Room { left, reserve: build.reserve };
    let Some(bytes) = lacking(needs, room) else { return Ok(()) };
    if collects(build) {
        let name = wanted.toplevel.name();
        tracing::warn!("collecting garbage: `{STORE}` lacks {bytes} bytes for `{name}`");
        nix.collect_garbage(bytes, build.build_timeout)?;
    }
    let room = Room { left: room::left(Path::new(STORE)).unwrap_or(left), ..room };
    match lacking(needs, room) {
        None => Ok(()),
        Some(_) => Err(refused(&wanted.toplevel, needs, room, build)),
    }
}
