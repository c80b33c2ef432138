//! The ways to lose a forge: no cable, no name, one byte a second. No server: `stop_servers`.

use std::fs;

use anyhow::Result;

use super::Forge;
use crate::network::Cable;

/// What the name server says when it is asked for `forge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// The address.
    Known,
    /// That there is no such name.
    Unknown,
    /// Nothing: the question hangs until the asker's own limit.
    Silent,
}

/// Answers for `forge` as /srv/names says, and knows no other name.
pub(super) const NAME_SERVER: &str = r#"
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
while True:
    question, asker = server.recvfrom(512)
    mode = open("/srv/names").read()
    if mode == "silent":
        continue
    end = question.index(b"\0", 12)
    asked, kind = question[12:end], question[end + 1:end + 3]
    known = asked == b"\x05forge" and mode == "known"
    address = known and kind == b"\x00\x01"
    answer = question[:2] + (b"\x85\x80" if known else b"\x85\x83")
    answer += b"\0\1\0" + (b"\1" if address else b"\0") + b"\0\0\0\0" + question[12:end + 5]
    if address:
        answer += b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton("10.77.0.1")
    try:
        server.sendto(answer, asker)
    except OSError:
        pass  # no cable
"#;

const DRIP: &str = r#"
import socket, threading, time
def serve(connection):
    try:
        connection.recv(65536)
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n001e# service=git-upload-pack\n0000"
        for byte in answer + b"0" * 86400:
            connection.send(bytes([byte]))
            time.sleep(1)
    except OSError:
        pass
listener = socket.create_server(("0.0.0.0", 8001))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

impl Forge {
    /// Pulls the cable: the machine loses its carrier and every question fails soon.
    ///
    /// # Errors
    /// Fails when `ip` does.
    pub fn cut(&self) -> Result<()> {
        self.network.plug(Cable::Out)
    }

    /// Lets no answer through: every question hangs until the asker's own limit.
    ///
    /// # Errors
    /// Fails when `ip` does.
    pub fn swallow(&self) -> Result<()> {
        self.network.plug(Cable::Swallows)
    }

    /// Undoes [`Forge::cut`] and [`Forge::swallow`].
    ///
    /// # Errors
    /// Fails when `ip` does.
    pub fn restore(&self) -> Result<()> {
        self.network.plug(Cable::In)
    }

    /// Decides what the machine's resolver is told from now on.
    ///
    /// # Errors
    /// Fails when the server's file cannot be written.
    pub fn names(&self, names: Names) -> Result<()> {
        let mode = match names {
            Names::Known => "known",
            Names::Unknown => "unknown",
            Names::Silent => "silent",
        };
        fs::write(self.root.join("srv/names"), mode)?;
        Ok(())
    }

    /// Starts a server that answers with one byte a second, at [`super::Scheme::Drip`].
    ///
    /// # Errors
    /// Fails when it does not listen within ten seconds.
    pub fn drip(&mut self) -> Result<()> {
        self.servers.push(self.start(&["/usr/bin/python3", "-c", DRIP])?);
        self.wait_listening("tcp", 8001)
    }
}
