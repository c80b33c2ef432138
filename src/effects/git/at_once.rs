//! Requests that leave at once.
//!
//! libgit2 writes the head of a request and its body apart and leaves Nagle's algorithm on, so the
//! body waits until the server acknowledges the head; servers put that off for some 40 ms, because
//! more is to come. libgit2 (1.9) has no option for it and shows nobody its socket, so the sockets
//! of this process are found by their numbers, and reached by sending each to ourselves: that gives
//! a second handle of the same socket without a line of `unsafe`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::TcpNoDelay;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// How often the sockets are looked at in the beginning, when a connection is being made and its
/// first request is a round trip away, and later, in case another one is made.
const PACES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// How long the beginning is.
const BEGINNING: Duration = Duration::from_secs(2);

/// Lets everything that this process writes to a TCP connection leave at once, on the connections
/// that are there and on those that come, from a thread of its own, until `is_over` says so.
///
/// Where that does not work requests leave as libgit2 has it: later.
pub fn send(is_over: impl Fn() -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut seen = BTreeSet::new();
        while !is_over() {
            look(&mut seen);
            let beginning = began.elapsed() < BEGINNING;
            std::thread::sleep(if beginning { PACES.0 } else { PACES.1 });
        }
    });
}

/// Looks at the sockets that were not seen yet; a number can be another socket's by now, and its
/// inode cannot.
fn look(seen: &mut BTreeSet<PathBuf>) {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    for entry in open.flatten() {
        let Ok(inode) = fs::read_link(entry.path()) else { continue };
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let (Some(number), true) = (number, inode.to_string_lossy().starts_with("socket:")) else {
            continue;
        };
        if seen.insert(inode)
            && let Some(socket) = handle(number)
        {
            // No TCP: it has no such option.
            let _ = setsockopt(&socket, TcpNoDelay, &true);
        }
    }
}

/// Returns a second handle of an open file; none if it was closed meanwhile.
fn handle(number: RawFd) -> Option<OwnedFd> {
    let (from, to) =
        socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC).ok()?;
    let numbers = [number];
    let message = [ControlMessage::ScmRights(&numbers)];
    sendmsg::<()>(from.as_raw_fd(), &[IoSlice::new(&[0])], &message, MsgFlags::empty(), None)
        .ok()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut came = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(&to, &mut bytes, &mut came, RecvFlags::CMSG_CLOEXEC).ok()?;
    came.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// One test, because the watch of another would find these connections as well.
    #[test]
    fn what_is_written_to_a_connection_of_this_process_leaves_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let before = connect();
        assert!(!before.nodelay().unwrap());
        let mut seen = BTreeSet::new();
        look(&mut seen);
        assert!(before.nodelay().unwrap());
        // What was seen is left alone.
        before.set_nodelay(false).unwrap();
        look(&mut seen);
        assert!(!before.nodelay().unwrap());

        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        send(move || is_over.load(Ordering::Relaxed));
        let later = connect();
        let until = Instant::now() + Duration::from_secs(60);
        while !later.nodelay().unwrap() {
            assert!(Instant::now() < until, "what came later was not found");
            std::thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
        while Arc::strong_count(&over) > 1 {
            assert!(Instant::now() < until, "the watch goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_number_that_is_closed_has_no_handle() {
        assert!(handle(RawFd::MAX).is_none());
    }
}
