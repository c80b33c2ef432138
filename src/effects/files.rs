//! Files that survive a power cut, and files that somebody else wrote.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;

/// Writes a file so that a power cut leaves the old or the new content, never a mixture.
///
/// Temporary file in the same directory, write, fsync, rename, fsync of the directory. A repeat
/// replaces the file; a temporary file left by a crash is written over.
///
/// # Errors
/// The old content is still there.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let directory = path.parent().context("a file needs a directory")?;
    let temporary = path.with_extension("new");
    let written = write_and_rename(path, &temporary, bytes, mode).and_then(|()| sync(directory));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(|| format!("could not write `{}`", path.display()))
}

fn write_and_rename(path: &Path, temporary: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    remove(temporary)?;
    // O_EXCL and O_NOFOLLOW: in a directory of another user, nothing may be put in our way.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(fs::rename(temporary, path)?)
}

/// Makes a directory with its parents; one that is there is given this mode.
///
/// # Errors
/// It is not there, or has another mode.
pub fn make_directory(path: &Path, mode: u32) -> Result<()> {
    let making = || format!("could not make `{}`", path.display());
    fs::create_dir_all(path).with_context(making)?;
    let now = fs::metadata(path).with_context(making)?.permissions().mode();
    match now & 0o7777 == mode {
        true => Ok(()),
        false => fs::set_permissions(path, Permissions::from_mode(mode)).with_context(making),
    }
}

/// Returns the paths of what is in a directory, in no order; nothing if it cannot be read.
pub fn inside(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// It cannot be opened, or the disk failed.
pub fn sync(directory: &Path) -> Result<()> {
    Ok(File::open(directory)?.sync_all()?)
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// It is still there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Reads a regular file of at most `limit` bytes; `None` if there is none.
///
/// Follows no link, and does not wait on a FIFO.
///
/// # Errors
/// It is something else than a regular file, larger than `limit`, or cannot be read.
pub fn read_limited(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let reading = || format!("could not read `{}`", path.display());
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(reading)?,
    };
    if !file.metadata().with_context(reading)?.is_file() {
        bail!("`{}` is not a regular file", path.display());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(reading)?;
    if bytes.len() as u64 > limit {
        bail!("`{}` is larger than {limit} bytes", path.display());
    }
    Ok(Some(bytes))
}

/// What changes when a file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Returns the version of what a path leads to; `None` if nothing is there.
///
/// On NixOS a file below `/etc` is a link into the store, where all times are alike: there it is
/// the inode that changes.
pub fn version(path: &Path) -> Option<Version> {
    let data = fs::metadata(path).ok()?;
    Some(Version {
        device: data.dev(),
        inode: data.ino(),
        bytes: data.len(),
        changed: (data.ctime(), data.ctime_nsec()),
    })
}

/// Reads a file that root wrote, such as one of keys, following links; `None` if there is none.
///
/// # Errors
/// It is something else than a regular file, larger than `limit`, or cannot be read.
pub fn read_followed(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read `{}`", path.display())),
        Ok(real) => read_limited(&real, limit),
    }
}

/// Reads a text that root wrote, such as a configuration: links are followed, because on NixOS
/// everything below `/etc` is one.
///
/// # Errors
/// It is not there, larger than `limit` bytes, or not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let reading = || format!("could not read `{}`", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(reading)?;
    file.take(limit + 1).read_to_string(&mut text).with_context(reading)?;
    if text.len() as u64 > limit {
        bail!("`{}` is larger than {limit} bytes", path.display());
    }
    Ok(text)
}

/// Moves something unreadable out of the way and keeps it for a person to look at.
///
/// Returns the new name: the old one with `.damaged-<number>`, the first that is free of 1 to 99;
/// the last of them is written over.
///
/// # Errors
/// It is still where it was.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let named = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        PathBuf::from(name)
    };
    let aside = (1..99).map(named).find(|free| !free.exists()).unwrap_or_else(|| named(99));
    fs::rename(path, &aside)
        .with_context(|| format!("could not set `{}` aside", path.display()))?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_reads_back_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        write_durably(&path, b"one", 0o600).unwrap();
        fs::write(path.with_extension("new"), "left by a crash").unwrap();
        write_durably(&path, b"two", 0o600).unwrap();
        assert_eq!(read_limited(&path, 3).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_a_small_regular_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(read_limited(&at("none"), 10).unwrap(), None);
        fs::write(at("large"), "12345").unwrap();
        assert!(read_limited(&at("large"), 4).is_err());
        std::os::unix::fs::symlink(at("large"), at("link")).unwrap();
        assert!(read_limited(&at("link"), 10).is_err());
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read_limited(&at("fifo"), 10).is_err());
        assert!(read_limited(directory.path(), 10).is_err());
    }

    #[test]
    fn a_configuration_is_read_through_links_within_limits() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("text"), "12345").unwrap();
        std::os::unix::fs::symlink(at("text"), at("link")).unwrap();
        assert_eq!(read_text(&at("link"), 5).unwrap(), "12345");
        assert!(read_text(&at("link"), 4).is_err());
        assert!(read_text(&at("none"), 5).is_err());
        fs::write(at("text"), [0xff]).unwrap();
        assert!(read_text(&at("text"), 5).is_err());
    }

    #[test]
    fn what_is_in_a_directory_is_named_in_full() {
        let directory = tempfile::tempdir().unwrap();
        assert!(inside(directory.path()).is_empty());
        fs::write(directory.path().join("7"), "").unwrap();
        assert_eq!(inside(directory.path()), [directory.path().join("7")]);
        assert!(inside(&directory.path().join("none")).is_empty());
    }

    #[test]
    fn what_is_set_aside_is_kept_under_the_next_free_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        for expected in ["db.damaged-1", "db.damaged-2"] {
            fs::write(&path, expected).unwrap();
            let aside = set_aside(&path).unwrap();
            assert_eq!(aside.file_name().unwrap(), expected);
            assert_eq!(fs::read_to_string(aside).unwrap(), expected);
        }
    }
}
