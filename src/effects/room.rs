//! Whether a disk has room left.

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Returns how many bytes whoever is not root may still write where `place` is; nothing where that
/// cannot be asked.
pub fn left(place: &Path) -> Option<u64> {
    statvfs(place).ok().map(|room| room.blocks_available() * room.fragment_size())
}

/// Tells whether less than `least_bytes` are left where `place` is, or no inode is. A place that
/// cannot be asked is not full.
pub fn is_full(place: &Path, least_bytes: u64) -> bool {
    statvfs(place).is_ok_and(|room| {
        let bytes = room.blocks_available() * room.fragment_size();
        // Some file systems count no inodes at all.
        bytes < least_bytes || (room.files() > 0 && room.files_available() == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_when_less_is_left_than_is_needed() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_full(directory.path(), 1));
        assert!(left(directory.path()).is_some_and(|bytes| bytes > 0));
        assert_eq!(left(&directory.path().join("gone")), None);
        assert!(is_full(directory.path(), u64::MAX));
        assert!(!is_full(&directory.path().join("gone"), u64::MAX));
    }
}
