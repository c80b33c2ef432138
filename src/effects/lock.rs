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

/// Takes the lock, and tries again as long as somebody else holds it and `goes_on` says so; it is
/// asked after each try, and a try follows its answer at once.
///
/// # Errors
/// The file could not be opened.
pub fn wait_for_lock(path: &Path, goes_on: &mut dyn FnMut() -> bool) -> Result<Option<Lock>> {
    loop {
        match try_lock(path)? {
            None if goes_on() => {}
            ended => return Ok(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_until_it_is_free_or_the_patience_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let mut held = try_lock(&path).unwrap();
        let mut asked = 0;
        let given_up = wait_for_lock(&path, &mut || {
            asked += 1;
            asked < 3
        });
        assert!(given_up.unwrap().is_none());
        assert_eq!(asked, 3);
        let taken = wait_for_lock(&path, &mut || {
            held = None;
            true
        });
        assert!(taken.unwrap().is_some());
    }

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
