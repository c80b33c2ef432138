//! The transport of one client, with a limit on everything that the client could stretch.
//!
//! zlink's own transport takes frames of up to 100 MB and file descriptors with them, and waits for
//! ever for a client that does not read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zlink::connection::PassedCredentials;
use zlink::connection::socket::{ReadHalf, ReadResult, Socket, UnixSocket, WriteHalf};

/// No call of ours is near this, in bytes. A client that sends more in one frame is cut.
pub const LARGEST_FRAME_BYTES: usize = 64 << 10;

/// A client that does not take its answer for this long is cut.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// A connected client.
#[derive(Clone, Debug)]
pub struct Line(Arc<UnixStream>);

impl Line {
    /// Wraps an accepted connection.
    pub fn new(stream: UnixStream) -> Line {
        Line(Arc::new(stream))
    }

    /// Waits until the client sends something more, or goes.
    ///
    /// Takes nothing of it away. An error is a way of going, too.
    pub async fn stirs(&self) {
        while self.0.readable().await.is_ok() {
            // Readiness may be left over from what was read before: only a look tells.
            match self.0.try_io(Interest::READABLE, || self.peek()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn peek(&self) -> io::Result<usize> {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        Ok(recv(self.0.as_raw_fd(), &mut [0], flags)?)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl UnixSocket for Line {}

impl Socket for Line {
    type ReadHalf = Ear;
    type WriteHalf = Mouth;

    fn split(self) -> (Ear, Mouth) {
        (Ear { stream: self.0.clone(), unfinished_bytes: 0 }, Mouth(self.0))
    }
}

/// The half that is read; cuts a frame that is too large.
#[derive(Debug)]
pub struct Ear {
    stream: Arc<UnixStream>,
    unfinished_bytes: usize,
}

impl ReadHalf for Ear {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink::Result<ReadResult> {
        let count = loop {
            self.stream.readable().await?;
            match self.stream.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break other?,
            }
        };
        self.unfinished_bytes = unfinished(self.unfinished_bytes, &buffer[..count]);
        if self.unfinished_bytes > LARGEST_FRAME_BYTES {
            return Err(zlink::Error::BufferOverflow);
        }
        Ok(ReadResult::new(count))
    }
}

/// Returns the size of the frame that has not ended yet. Frames end in a zero byte.
fn unfinished(before: usize, read: &[u8]) -> usize {
    match read.iter().rposition(|byte| *byte == 0) {
        Some(end) => read.len() - end - 1,
        None => before + read.len(),
    }
}

/// The half that is written to; gives up on a client that does not read.
#[derive(Debug)]
pub struct Mouth(Arc<UnixStream>);

impl WriteHalf for Mouth {
    async fn write(
        &mut self,
        bytes: &[u8],
        _fds: &[impl AsFd],
        _credentials: Option<&PassedCredentials>,
    ) -> zlink::Result<()> {
        match tokio::time::timeout(WRITE_LIMIT, write_all(&self.0, bytes)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(zlink::Error::SocketWrite),
        }
    }
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: usize, read: &[u8], expected: usize) {
        assert_eq!(unfinished(before, read), expected);
    }

    #[test]
    fn a_frame_is_counted_until_its_end() {
        check(0, b"abc", 3);
        check(3, b"de", 5);
        check(5, b"f\0", 0);
        check(5, b"f\0gh", 2);
        check(5, b"\0\0", 0);
        check(5, b"", 5);
    }

    #[tokio::test]
    async fn a_frame_without_end_is_cut() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sending =
            tokio::spawn(async move { while write_all(&theirs, &[b'x'; 4096]).await.is_ok() {} });
        let (mut ear, _mouth) = Line::new(ours).split();
        let mut read = 0;
        let error = loop {
            match ear.read(&mut [0; 4096]).await {
                Ok(result) => read += result.bytes_read(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, zlink::Error::BufferOverflow), "{error}");
        assert!(read <= LARGEST_FRAME_BYTES);
        sending.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (_ear, mut mouth) = Line::new(ours).split();
        let none: &[BorrowedFd<'_>] = &[];
        let error = mouth.write(&vec![b'x'; 64 << 20], none, None).await.unwrap_err();
        assert!(matches!(error, zlink::Error::SocketWrite), "{error}");
    }
}
