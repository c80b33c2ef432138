//! The control socket in the file system.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::effects::files;

/// Listens on a socket that everybody may connect to (0666): who may do what is decided by peer
/// credentials and not by the file.
///
/// A socket that nobody listens on any more is replaced. The result does not block.
///
/// # Errors
/// Somebody listens there already, or the directory does not allow it.
pub fn bind(path: &Path) -> Result<UnixListener> {
    let binding = || format!("could not listen on `{}`", path.display());
    match UnixStream::connect(path) {
        Ok(_) => bail!("{}: somebody else does already", binding()),
        // A file that is no socket refuses as well, and is left for `bind` to complain about.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused && is_socket(path) => {
            files::remove(path)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).with_context(binding)?;
    fs::set_permissions(path, Permissions::from_mode(0o666)).with_context(binding)?;
    listener.set_nonblocking(true).with_context(binding)?;
    Ok(listener)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};

    use super::*;

    #[test]
    fn everybody_may_connect() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        let _listener = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        // Bound and not listened on, which is what a program that is gone leaves behind.
        let (unix, stream) = (AddressFamily::Unix, SockType::Stream);
        let left = socket::socket(unix, stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        socket::bind(left.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        let _listener = bind(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        let expected =
            format!("could not listen on `{}`: somebody else does already", path.display());
        assert_eq!(error, expected);
    }

    #[test]
    fn a_file_in_the_way_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
