//! Keeping the machine from going to sleep by itself: an inhibitor of systemd-logind, held by a
//! descriptor that is closed with this process, however it ends.

use std::thread::spawn;
use std::time::Duration;

use anyhow::{Context, Result};
use zbus::{OwnedFd, block_on};

/// What `systemd-inhibit --list` shows.
const WHY: &str = "a system is on trial";

/// The limit on the one call.
const CALL: Duration = Duration::from_secs(5);

/// An inhibitor that is taken once and held until this process ends.
#[derive(Default)]
pub struct Awake {
    asked: bool,
}

impl Awake {
    /// Asks for the inhibitor, and waits for nothing: a machine without logind has nobody who
    /// would put it to sleep, and one whose logind hangs is reverted all the same. A repeat does
    /// nothing.
    pub fn hold(&mut self) {
        if !std::mem::replace(&mut self.asked, true) {
            spawn(|| match inhibit(WHY) {
                Ok(descriptor) => std::mem::forget(descriptor),
                Err(error) => tracing::debug!("the machine may go to sleep: {error:#}"),
            });
        }
    }
}

/// Takes the inhibitor that `systemd-inhibit --what=sleep --mode=block` takes.
fn inhibit(why: &str) -> Result<OwnedFd> {
    let connection = block_on(zbus::connection::Builder::system().method_timeout(CALL).build())
        .context("could not reach the system bus")?;
    let name = "org.freedesktop.login1";
    let called = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager", "Inhibit");
    let body = ("sleep", "autodeploy", why, "block");
    let (path, interface, method) = called;
    let answer = block_on(connection.call_method(Some(name), path, Some(interface), method, &body))
        .context("logind did not take it")?;
    Ok(answer.body().deserialize()?)
}
