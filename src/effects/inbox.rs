//! Taking a file away from a directory that belongs to somebody else.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::effects::files;

/// After so many arrivals that nobody waits for, each one more is followed by a pause.
const FEW: u32 = 32;
const PAUSE: Duration = Duration::from_millis(10);

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

/// Tells whether one of the names is in the directory, whatever it is.
pub fn holds(directory: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| fs::symlink_metadata(directory.join(name)).is_ok())
}

/// Notes in a file of ours, by its time alone, that something was taken now.
///
/// # Errors
/// The file cannot be written.
pub fn stamp(path: &Path) -> io::Result<()> {
    fs::File::create(path)?.set_modified(SystemTime::now())
}

/// Returns how long ago [`stamp`] was called; `None` if it never was, or the clock was set back since.
pub fn since_stamp(path: &Path) -> Option<Duration> {
    fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// Waits until one of the names is in the directory, at most this long; tells whether one is.
///
/// # Errors
/// The directory cannot be watched.
pub fn wait_for(directory: &Path, names: &[&str], limit: Duration) -> Result<bool> {
    let watching = || format!("could not watch `{}`", directory.display());
    let inotify =
        Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).with_context(watching)?;
    let arrivals = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(directory, arrivals).with_context(watching)?;
    let came = wait_for_any(&inotify, directory, names, limit).with_context(watching);
    // The kernel takes 10 to 20 ms to end a watch, and whoever was waited for waits for us now.
    let _ = Builder::new().spawn(move || drop(inotify));
    came
}

fn wait_for_any(
    inotify: &Inotify,
    directory: &Path,
    names: &[&str],
    limit: Duration,
) -> nix::Result<bool> {
    let until = Instant::now() + limit;
    let mut in_vain = 0_u32;
    loop {
        // Looked at after the watch began: what came in between is not missed.
        if holds(directory, names) {
            return Ok(true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        match inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        // Whoever fills the directory with other files in a loop keeps itself busy, and not us.
        in_vain = in_vain.saturating_add(1);
        if in_vain > FEW {
            sleep(PAUSE);
        }
    }
}

/// Removes whatever it is, and what an earlier try left of such a thing.
fn clear(path: &Path) -> Result<()> {
    let removing = || format!("could not remove `{}`", path.display());
    let mut aside = Aside::of(path);
    for old in files::inside(path.parent().unwrap_or(path)) {
        if aside.has_named(&old) {
            let _ = remove_folder(&old, &mut aside);
        }
    }
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("could not look at `{}`", path.display()));
        }
    };
    match kind.is_dir() {
        true => {
            let folder = aside.name();
            fs::rename(path, &folder).with_context(removing)?;
            // Whoever made it may still put things into it: then the next call removes it.
            let _ = remove_folder(&folder, &mut aside);
            Ok(())
        }
        false => fs::remove_file(path).with_context(removing),
    }
}

/// The names that a folder, and the folders in it, get on their way out: beside where it lay.
struct Aside {
    path: PathBuf,
    start: String,
    next: u64,
}

impl Aside {
    fn of(path: &Path) -> Aside {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Aside { path: path.to_owned(), start: format!("{name}.left-"), next: 0 }
    }

    fn has_named(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.start))
    }

    /// One that nothing has.
    fn name(&mut self) -> PathBuf {
        loop {
            let name = self.path.with_file_name(format!("{}{}", self.start, self.next));
            self.next += 1;
            if fs::symlink_metadata(&name).is_err() {
                return name;
            }
        }
    }
}

/// Removes a folder of any depth: the folders in it are first put beside it, where only root puts
/// anything. `remove_dir_all` goes down with a call and an open file for each level, and the one
/// who made the folder decides how many there are.
fn remove_folder(folder: &Path, aside: &mut Aside) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let name = aside.name();
                fs::rename(entry.path(), &name)?;
                folders.push(name);
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir(&folder)?;
    }
    Ok(())
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
    fn a_stamp_says_how_long_ago_it_was_set_unless_the_clock_was_set_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stamp");
        assert_eq!(since_stamp(&path), None);
        stamp(&path).unwrap();
        assert!(since_stamp(&path).is_some_and(|passed| passed < Duration::from_secs(60)));
        let set = |time| fs::File::open(&path).unwrap().set_modified(time).unwrap();
        set(SystemTime::now() - Duration::from_secs(90));
        assert!(since_stamp(&path).is_some_and(|passed| passed >= Duration::from_secs(90)));
        stamp(&path).unwrap();
        assert!(since_stamp(&path).is_some_and(|passed| passed < Duration::from_secs(60)));
        set(SystemTime::now() + Duration::from_secs(90));
        assert_eq!(since_stamp(&path), None);
    }

    #[test]
    fn what_is_there_or_comes_is_noticed_and_nothing_is_waited_for_longer_than_said() {
        let directory = tempfile::tempdir().unwrap();
        let wait = |limit| wait_for(directory.path(), &["request", "other"], limit).unwrap();
        fs::write(directory.path().join("neither"), "").unwrap();
        assert!(!wait(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(Duration::from_secs(60)));
            fs::rename(directory.path().join("neither"), directory.path().join("other")).unwrap();
            assert!(waiting.join().unwrap());
        });
        assert!(wait(Duration::from_secs(60)));
        assert!(wait_for(Path::new("/nowhere"), &["request"], Duration::ZERO).is_err());
    }

    #[test]
    fn what_comes_among_much_that_nobody_waits_for_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let wait = || wait_for(directory.path(), &["request"], Duration::from_secs(60));
            let waiting = scope.spawn(wait);
            for other in 0..200 {
                fs::write(directory.path().join(format!("other-{other}")), "").unwrap();
            }
            fs::write(directory.path().join("request"), "").unwrap();
            assert!(waiting.join().unwrap().unwrap());
        });
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

    /// A folder in a folder in a folder; its path is longer than any that may be named.
    fn deep(path: &Path, levels: usize) {
        let mut inner = path.with_file_name("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
        for level in 0..levels {
            let outer = path.with_file_name(format!("outer-{level}"));
            fs::create_dir(&outer).unwrap();
            fs::rename(&inner, outer.join("inner")).unwrap();
            inner = outer;
        }
        fs::rename(inner, path).unwrap();
    }

    #[test]
    fn a_folder_goes_however_deep_it_is_and_what_was_left_of_one_goes_with_the_next() {
        check(|path| deep(path, 1_200), None);
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("request"), directory.path().join("taken"));
        for name in ["taken.left-0", "taken.left-7", "taken.left"] {
            fs::create_dir_all(directory.path().join(name).join("a/b")).unwrap();
        }
        fs::create_dir_all(from.join("a/b")).unwrap();
        assert!(take(&from, &to, 10).is_err());
        assert_eq!(files::inside(directory.path()), [directory.path().join("taken.left")]);
    }

    #[test]
    fn wide_folders_go_as_well() {
        check(
            |path| {
                for one in 0..300 {
                    fs::create_dir_all(path.join(format!("{one}/a/b"))).unwrap();
                    fs::write(path.join(format!("{one}/a/file")), "").unwrap();
                }
            },
            None,
        );
    }
}
