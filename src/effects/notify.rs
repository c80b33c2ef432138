//! What systemd is told about this process. Where there is no systemd, nothing happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use sd_notify::NotifyState;

/// Says that we are up.
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Shows one line.
pub fn status(text: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(text)]);
}

/// Shows the watchdog that we live.
pub fn beat() {
    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
}

/// Whether somebody asked this process to end.
#[derive(Clone, Default)]
pub struct AskedToEnd(Arc<AtomicBool>);

impl AskedToEnd {
    /// Notes SIGTERM from now on instead of ending at it. Children are not affected: a handler
    /// does not outlive their exec.
    ///
    /// # Errors
    /// The signal cannot be caught.
    pub fn listen() -> Result<AskedToEnd> {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&flag))
            .context("could not listen to SIGTERM")?;
        Ok(AskedToEnd(flag))
    }

    /// Tells whether SIGTERM came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
