//! Whether the store has room for a closure: PURE.

use crate::config::settings::{Build, CollectGarbage};
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;

/// With this much left nobody asks how much a closure needs: no system comes near it, and the
/// question takes time before every switch. A disk that gets full all the same ends the build or
/// the download, and nothing else.
pub const PLENTY: u64 = 32 << 30;

/// What a closure still needs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Something has to be built, or nobody knows.
    pub unknown: bool,
    /// What comes over the network.
    pub download: u64,
    /// What that takes in the store.
    pub unpacked: u64,
}

/// What is left of the store's disk, and what has to be left beside the closure, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Now.
    pub left: u64,
    /// `build.reserve`
    pub reserve: u64,
}

/// Returns how many bytes are lacking, if any are. A closure that is there needs none.
pub fn lacking(needs: Needs, room: Room) -> Option<u64> {
    let wanted = match (needs.unknown, needs.unpacked) {
        (false, 0) => return None,
        (_, unpacked) => unpacked.saturating_add(room.reserve),
    };
    wanted.checked_sub(room.left).filter(|bytes| *bytes > 0)
}

/// Says that there is no room.
pub fn refused(toplevel: &StorePath, needs: Needs, room: Room, build: &Build) -> Failure {
    let fetched = match needs.unpacked {
        0 => String::new(),
        unpacked => {
            format!("{} ({} to download) and ", in_words(unpacked), in_words(needs.download))
        }
    };
    let message = format!(
        "no room for `{}` in `/nix/store`: {fetched}{} in reserve are needed, and {} are left",
        toplevel.name(),
        in_words(room.reserve),
        in_words(room.left)
    );
    Failure::new(Reason::NO_SPACE, message).hint(match build.collect_garbage {
        CollectGarbage::Never => {
            "`nix-collect-garbage -d` makes room, `build.collect_garbage` lets this machine do it \
             by itself, and `build.reserve` says how much has to be left"
        }
        CollectGarbage::WhenFull => {
            "garbage was collected and that was not enough: `nix-collect-garbage -d` deletes old \
             generations as well"
        }
    })
}

/// Writes a size for people.
fn in_words(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, length)| bytes >= *length);
    match unit {
        Some((name, length)) => format!("{:.1} {name}", bytes as f64 / *length as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const FETCHES: Needs = Needs { unknown: false, download: 5 * MIB, unpacked: 20 * MIB };

    #[track_caller]
    fn check(needs: Needs, left: u64, expected: Option<u64>) {
        assert_eq!(lacking(needs, Room { left, reserve: 100 * MIB }), expected);
    }

    #[test]
    fn what_is_fetched_and_the_reserve_have_to_fit() {
        check(FETCHES, 120 * MIB, None);
        check(FETCHES, 119 * MIB, Some(MIB));
        check(Needs { unpacked: u64::MAX, ..FETCHES }, 0, Some(u64::MAX));
    }

    #[test]
    fn a_build_needs_the_reserve_and_what_is_there_needs_nothing() {
        let builds = Needs { unknown: true, download: 0, unpacked: 0 };
        check(builds, 100 * MIB, None);
        check(builds, 0, Some(100 * MIB));
        check(Needs { unknown: false, ..builds }, 0, None);
    }

    #[test]
    fn what_is_needed_and_what_is_left_are_said() {
        let settings = crate::config::strict("source.url = \"file:///x\"\n", "c", "m").unwrap();
        let toplevel = crate::agent::host::fake::closure("web");
        let room = Room { left: 1023, reserve: 3 << 30 };
        let said = |needs, build: &Build| refused(&toplevel, needs, room, build);
        let failure = said(FETCHES, &settings.build);
        assert_eq!(failure.reason, Reason::NO_SPACE);
        assert_eq!(
            failure.message,
            "no room for `web` in `/nix/store`: 20.0 MiB (5.0 MiB to download) and 3.0 GiB in \
             reserve are needed, and 1023 B are left"
        );
        let builds = Needs { unknown: true, download: 0, unpacked: 0 };
        let collects = Build { collect_garbage: CollectGarbage::WhenFull, ..settings.build };
        let failure = said(builds, &collects);
        assert!(failure.message.contains("`/nix/store`: 3.0 GiB in reserve"), "{failure}");
        assert!(failure.hint.unwrap().contains("was collected"));
    }
}
