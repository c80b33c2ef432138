//! The ways to lose a forge: no cable, no name, one byte a second. No server: `stop_servers`.

use anyhow::Result;

use super::Forge;
use crate::host::Host;
use crate::network::{Cable, FORGE_ADDRESS};

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
    /// Pulls the cable: packets vanish, and connections hang.
    ///
    /// # Errors
    /// Fails when `ip` does.
    pub fn cut(&self) -> Result<()> {
        self.network.plug(Cable::Out)
    }

    /// Puts the cable back.
    ///
    /// # Errors
    /// Fails when `ip` does.
    pub fn restore(&self) -> Result<()> {
        self.network.plug(Cable::In)
    }

    /// Takes the forge's name away from a machine, as a broken resolver does.
    ///
    /// # Errors
    /// Fails when the machine's file cannot be written.
    pub fn forget_name(&self, host: &Host) -> Result<()> {
        host.sh("sed -i '/ forge$/d' /etc/hosts")?;
        Ok(())
    }

    /// Gives the name back.
    ///
    /// # Errors
    /// Fails when the machine's file cannot be written.
    pub fn remember_name(&self, host: &Host) -> Result<()> {
        self.forget_name(host)?;
        host.sh(&format!("echo '{FORGE_ADDRESS} forge' >> /etc/hosts"))?;
        Ok(())
    }

    /// Starts a server that answers with one byte a second, at [`super::Scheme::Drip`].
    ///
    /// # Errors
    /// Fails when it does not listen within ten seconds.
    pub fn drip(&mut self) -> Result<()> {
        self.servers.push(self.start(&["/usr/bin/python3", "-c", DRIP])?);
        self.wait_listening(8001)
    }
}
