//! A lock that the kernel takes back when its holder is gone.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held as long as this lives.
pub struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

/// Takes the lock if nobody holds it.
///
/// # Errors
/// The file could not be opened.
pub fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let locking = || format!("could not lock `{}`", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(locking)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path).with_context(locking)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(Lock(lock))),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(locking),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = try_lock(&path).unwrap();
        assert!(held.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }
}
