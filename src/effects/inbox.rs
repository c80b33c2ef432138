//! Taking a file away from a directory that belongs to somebody else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use crate::effects::files;

/// Moves `from` to `to`, reads it if it is a small regular file, and removes it.
///
/// The rename comes first, whatever it is: what stays where it was would start us again and again.
/// Nothing is followed; a FIFO is not waited for; a directory goes with all that is in it. `None`
/// if there is nothing.
///
/// # Errors
/// It is still there, or it is no small regular file and was removed.
pub fn take(from: &Path, to: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    clear(to)?;
    let taking = || format!("could not take `{}` away", from.display());
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // Another file system: read where it lies, then remove it there.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            let read = files::read_limited(from, limit);
            clear(from).with_context(taking)?;
            return read;
        }
        Err(error) => return Err(error).with_context(taking),
    }
    let read = files::read_limited(to, limit);
    clear(to)?;
    read
}

fn clear(path: &Path) -> Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("could not look at `{}`", path.display()));
        }
    };
    let removed = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("could not remove `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(make: impl FnOnce(&Path), expected: Option<Option<&[u8]>>) {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("request"), directory.path().join("taken"));
        make(&from);
        let taken = take(&from, &to, 10).ok();
        assert_eq!(taken.as_ref().map(Option::as_deref), expected);
        assert!(fs::symlink_metadata(&from).is_err() && fs::symlink_metadata(&to).is_err());
    }

    #[test]
    fn whatever_lies_there_is_taken_and_only_a_small_file_is_read() {
        check(|_| {}, Some(None));
        check(|path| fs::write(path, "{}").unwrap(), Some(Some(b"{}")));
        check(|path| fs::write(path, "12345678901").unwrap(), None);
        check(|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap(), None);
        check(|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(), None);
        check(|path| fs::create_dir_all(path.join("a/b")).unwrap(), None);
    }
}
