//! Running `switch-to-configuration`.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::effects::process::{Program, Status};
use crate::model::store_path::StorePath;

/// How often somebody is shown that we live while a switch runs.
const BEAT: Duration = Duration::from_secs(1);

/// Runs `<toplevel>/bin/switch-to-configuration ACTION` with a hard limit.
///
/// Its output goes where ours goes, the journal, and never into a pipe: when the reader of a pipe
/// is restarted, the switch panics with 101 (nixpkgs#462179). It runs in `/`, because a working
/// directory in the store, or in what it unmounts, is in its way. `beat` is called about once a
/// second.
///
/// # Errors
/// It could not be started.
pub fn run(
    toplevel: &StorePath,
    action: &str,
    (checked, limit): (bool, Duration),
    beat: &mut dyn FnMut(),
) -> Result<Status> {
    let path =
        format!("{toplevel}/sw/bin:/run/current-system/sw/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    let program = Program::new(toplevel.join("bin/switch-to-configuration"), limit)
        .arg(action)
        .env("PATH", path)
        .env("HOME", "/root")
        .env("LOCALE_ARCHIVE", toplevel.join("sw/lib/locale/locale-archive"))
        .env("NIXOS_INSTALL_BOOTLOADER", "0")
        .inherit_output();
    let program = if checked { program } else { program.env("NIXOS_NO_CHECK", "1") };
    let running = program.start()?;
    let (sender, ended) = channel();
    thread::spawn(move || {
        let _ = sender.send(running.finish());
    });
    loop {
        match ended.recv_timeout(BEAT) {
            Ok(ended) => return Ok(ended?.status),
            Err(RecvTimeoutError::Timeout) => beat(),
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the waiting thread ended"),
        }
    }
}
