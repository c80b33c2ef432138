//! Every fetch leaves a pack, and every pack makes every lookup slower, ours and Nix's. Now and
//! then the small ones become one.
//!
//! Nothing is thrown away: what a force-push left unreachable stays, and is small.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use git2::{Oid, Repository};

use crate::effects::git::clone;

/// This many small packs become one.
const TOO_MANY: usize = 50;

/// A pack that is larger, in bytes, is left alone.
const SMALL: u64 = 4 << 20;

const NAME_BYTES: usize = 20;

/// The signature and version of an index, and the table of how many names begin with which byte.
const BEFORE_TABLE: usize = 8;
const BEFORE_NAMES: usize = BEFORE_TABLE + 256 * 4;

/// Makes one pack of the small ones, if there are too many.
///
/// The old ones go only when the new one is in its place. Whatever goes wrong leaves them all, and
/// is of no consequence: a damaged pack shows elsewhere.
pub fn tidy(own: &Repository) {
    let small = small_packs(&own.path().join("objects/pack"));
    if small.len() >= TOO_MANY && join(own, &small).is_some() {
        for index in &small {
            // The index first: without it, a pack is only a file that nobody reads.
            let _ = fs::remove_file(index);
            let _ = fs::remove_file(index.with_extension("pack"));
        }
    }
}

/// Returns the indices of the small packs.
fn small_packs(directory: &Path) -> Vec<PathBuf> {
    let size = |index: &Path| fs::metadata(index.with_extension("pack")).map(|pack| pack.len());
    clone::indices(directory)
        .filter(|index| size(index).is_ok_and(|bytes| bytes <= SMALL))
        .collect()
}

/// Writes all that these packs hold into a new one, each object once.
fn join(own: &Repository, indices: &[PathBuf]) -> Option<()> {
    let mut objects = BTreeSet::new();
    for index in indices {
        objects.extend(names(&fs::read(index).ok()?)?);
    }
    let mut pack = own.packbuilder().ok()?;
    for object in objects {
        pack.insert_object(object, None).ok()?;
    }
    let directory = own.path().join("objects/pack");
    let known: Vec<_> = clone::indices(&directory).collect();
    let odb = own.odb().ok()?;
    let mut writer = odb.packwriter().ok()?;
    pack.foreach(|piece| writer.write_all(piece).is_ok()).ok()?;
    writer.commit().ok()?;
    // The very same pack as an old one would have its name, and go with it.
    clone::indices(&directory).any(|index| !known.contains(&index)).then_some(())
}

/// Returns the names of all objects in an index of version 2 (gitformat-pack(5)).
fn names(index: &[u8]) -> Option<Vec<Oid>> {
    if index.get(..BEFORE_TABLE)? != b"\xfftOc\0\0\0\x02" {
        return None;
    }
    let count: [u8; 4] = index.get(BEFORE_NAMES - 4..BEFORE_NAMES)?.try_into().ok()?;
    let bytes = usize::try_from(u32::from_be_bytes(count)).ok()?.checked_mul(NAME_BYTES)?;
    let names = index.get(BEFORE_NAMES..BEFORE_NAMES.checked_add(bytes)?)?;
    names.chunks(NAME_BYTES).map(|name| Oid::from_bytes(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_index_has_no_names() {
        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        index.resize(BEFORE_NAMES, 0);
        assert_eq!(names(&index), Some(vec![]));
        index[BEFORE_NAMES - 1] = 1;
        assert_eq!(names(&index), None);
        index.extend([7; NAME_BYTES]);
        assert_eq!(names(&index).unwrap().len(), 1);
        index[BEFORE_NAMES - 4] = 0xff;
        assert_eq!(names(&index), None);
        assert_eq!(names(b"PACK"), None);
        assert_eq!(names(b""), None);
    }
}
