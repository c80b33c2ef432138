//! Running a check's program in a transient unit of its own.
//!
//! The unit bounds it: an unprivileged user, a limit at which every process of it is killed, and no
//! more than two kilobytes of output that we look at.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use zbus::Variant;

use crate::effects::systemd::{Property, SERVICE, Systemd, UNIT, descriptor, exec, span, texts};
use crate::model::text::escaped_lines;

/// How much output is kept, in bytes.
const KEPT: usize = 2048;
/// What systemd may take to see the end of a unit.
const GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// What to run.
pub struct Run<'a> {
    /// The check's name.
    pub check: &'a str,
    /// Program and arguments.
    pub command: &'a [String],
    /// Whose rights; `None` is a user that exists only for this.
    pub user: Option<&'a str>,
    /// The limit.
    pub limit: Duration,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// systemd's word: `success`, `exit-code`, `signal`, `timeout`, …
    pub result: String,
    /// The exit status.
    pub status: i32,
    /// Escaped output, both streams.
    pub output: String,
}

/// Runs it to its end or its limit.
///
/// # Errors
/// It could not be started, or nobody could tell how it ended.
pub fn run(systemd: &mut Systemd, run: &Run<'_>) -> Result<Ran> {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let unit = format!("autodeploy-check-{}-{}-{number}.service", run.check, std::process::id());
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("no pipe")?;
    // The properties hold our copy of the pipe's end: it has to go before an end can be read.
    systemd.start_transient(&unit, &properties(run, writer)?)?;
    let until = Instant::now() + run.limit + GRACE;
    let ended = collect(reader)
        .recv_timeout(until.saturating_duration_since(Instant::now()))
        .context("it still runs")
        .and_then(|output| {
            result(systemd, &unit, until).map(|(result, status)| (output, result, status))
        });
    if ended.is_err() {
        systemd.kill(&unit);
    }
    systemd.let_go(&unit);
    let (output, result, status) = ended?;
    let text = String::from_utf8_lossy(&output);
    Ok(Ran { result, status, output: escaped_lines(text.trim_end(), KEPT) })
}

fn properties(run: &Run<'_>, output: OwnedFd) -> Result<Vec<Property>> {
    let errors = output.try_clone().context("no pipe")?;
    let user: Property = match run.user {
        Some(user) => ("User", Variant::new(user.to_owned())),
        None => ("DynamicUser", Variant::new(true)),
    };
    let text = |text: &str| Variant::new(text.to_owned());
    Ok(vec![
        ("Description", Variant::new(format!("autodeploy check `{}`", run.check))),
        ("Type", text("exec")),
        ("ExecStart", exec(run.command)),
        user,
        ("RuntimeMaxUSec", span(run.limit)),
        ("TimeoutStopUSec", span(Duration::from_secs(1))),
        ("StandardInput", text("null")),
        ("StandardOutputFileDescriptor", descriptor(output)),
        ("StandardErrorFileDescriptor", descriptor(errors)),
        ("NoNewPrivileges", Variant::new(true)),
        (
            "Environment",
            texts(&[
                "PATH=/run/current-system/sw/bin:/usr/bin:/bin",
                "LC_ALL=C.UTF-8",
                "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
            ]),
        ),
        // It stays until we have read how it ended, and then goes, failed or not: a failed unit of
        // ours would be somebody's exit status 4.
        ("AddRef", Variant::new(true)),
        ("CollectMode", text("inactive-or-failed")),
    ])
}

/// Reads all, keeps the head.
fn collect(pipe: OwnedFd) -> Receiver<Vec<u8>> {
    let (sender, output) = channel();
    thread::spawn(move || {
        let mut pipe = File::from(pipe);
        let mut kept = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            let room = KEPT.saturating_sub(kept.len()).min(count);
            kept.extend_from_slice(&chunk[..room]);
        }
        let _ = sender.send(kept);
    });
    output
}

/// Waits until systemd, too, has seen the end: a program may close its output long before.
fn result(systemd: &mut Systemd, unit: &str, until: Instant) -> Result<(String, i32)> {
    loop {
        let state: String = systemd.property(unit, UNIT, "ActiveState")?;
        match state.as_str() {
            "inactive" | "failed" => {
                let result = systemd.property(unit, SERVICE, "Result")?;
                let status = systemd.property(unit, SERVICE, "ExecMainStatus")?;
                return Ok((result, status));
            }
            _ if Instant::now() >= until => bail!("it still runs"),
            _ => thread::sleep(PAUSE),
        }
    }
}
