//! Lines that run on a machine, over a virtio port: no network is needed, and no switch can cut it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use autodeploy_testhost::run::Output;
use autodeploy_testhost::wait::wait_for;
use serde_json::{Value, json};

/// The way into one machine; it ends with the power, and so with each reset.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    read: Vec<u8>,
    number: u64,
    /// The boot that is known of.
    boot: String,
}

impl Channel {
    /// Connects to the socket that `qemu` makes.
    ///
    /// # Errors
    /// Fails when there is none within ten seconds.
    pub fn open(socket: &Path) -> Result<Channel> {
        let stream = wait_for("qemu's socket", Duration::from_secs(10), || {
            Ok(Some(UnixStream::connect(socket)?))
        })?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Channel { stream, read: Vec::new(), number: 0, boot: String::new() })
    }

    /// Runs a shell line as root.
    ///
    /// # Errors
    /// Fails when the machine does not answer within the limit and ten seconds more.
    pub fn run(&mut self, line: &str, limit: Duration) -> Result<Output> {
        self.number += 1;
        let asked = json!({"id": self.number, "line": line, "seconds": limit.as_secs()});
        writeln!(self.stream, "{asked}").context("no power")?;
        let deadline = Instant::now() + limit + Duration::from_secs(10);
        loop {
            let Some(answer) = self.next(deadline)? else {
                bail!("no answer to `{line}` within {limit:?}");
            };
            match answer["boot_id"].as_str() {
                None if answer["id"] == self.number => return Ok(output(&answer)),
                None => {}
                // Who listens there was started anew, and may have taken the line with it.
                Some(boot) if boot == self.boot => writeln!(self.stream, "{asked}")?,
                Some(_) => bail!("the machine was started anew during `{line}`"),
            }
        }
    }

    /// Tells which boot the machine is in, where it came before this channel.
    pub fn expect_boot(&mut self, boot: &str) {
        boot.clone_into(&mut self.boot);
    }

    /// Waits for the next boot and gives its id.
    ///
    /// # Errors
    /// Fails when none has come within the limit.
    pub fn next_boot(&mut self, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let Some(said) = self.next(deadline)? else { bail!("no boot within {limit:?}") };
            if let Some(boot) = said["boot_id"].as_str().filter(|boot| *boot != self.boot) {
                boot.clone_into(&mut self.boot);
                return Ok(boot.to_owned());
            }
        }
    }

    fn next(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                // A reset in the middle of a line leaves half of it.
                if let Ok(value) = serde_json::from_slice(&line) {
                    return Ok(Some(value));
                }
                continue;
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the machine has no power"),
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn output(answer: &Value) -> Output {
    use std::os::unix::process::ExitStatusExt;
    let code = i32::try_from(answer["code"].as_i64().unwrap_or(-1)).unwrap_or(-1);
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    Output {
        status: ExitStatus::from_raw(code << 8),
        stdout: text("stdout"),
        stderr: text("stderr"),
    }
}
