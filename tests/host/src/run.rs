//! Runs programs, always with a time limit that ends their whole process group.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// What a program said and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The exit code; 128 + N for a program ended by signal N, as a shell has it.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// The standard output without the last line's end.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    /// Gives the trimmed standard output of a program that must have succeeded.
    ///
    /// # Errors
    /// Fails with both streams in the message when the exit status is not 0.
    pub fn ok(self) -> Result<String> {
        if !self.status.success() {
            bail!("exit status {}\n{}{}", self.code(), self.stdout, self.stderr);
        }
        Ok(self.text().to_string())
    }
}

/// Runs a program to its end, or kills its process group at the limit.
///
/// # Errors
/// Fails when it cannot be started or does not end in time; an exit status is no error.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let words = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start {words}"))?;
    let out = read_all(child.stdout.take());
    let err = read_all(child.stderr.take());
    let status = wait_or_kill(&mut child, limit)?;
    // Whoever inherited the pipes may keep them open after the program itself has ended.
    let deadline = Instant::now() + Duration::from_secs(2);
    let stdout = finish(out, deadline);
    let stderr = finish(err, deadline);
    match status {
        Some(status) => Ok(Output { status, stdout, stderr }),
        None => bail!("{words} did not end within {limit:?}\n{stdout}{stderr}"),
    }
}

/// Runs a shell line outside of every host and gives its output.
///
/// # Errors
/// Fails when it does not succeed within a minute.
pub fn shell(line: &str) -> Result<String> {
    run(Command::new("/bin/sh").args(["-ec", line]), Duration::from_secs(60))?
        .ok()
        .with_context(|| format!("running `{line}`"))
}

fn wait_or_kill(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            let group = Pid::from_raw(child.id().cast_signed());
            let _ = killpg(group, Signal::SIGKILL);
            child.wait()?;
            return Ok(None);
        }
        resume_if_stopped(child.id());
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// A machine that shuts down stops every process inside; `nsenter` stops itself when its child is
/// stopped, and would wait for ever after the child was killed.
fn resume_if_stopped(pid: u32) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    if stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")) {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGCONT);
    }
}

type Reader = (std::sync::Arc<std::sync::Mutex<Vec<u8>>>, thread::JoinHandle<()>);

fn read_all(stream: Option<impl Read + Send + 'static>) -> Reader {
    let bytes = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = bytes.clone();
    let thread = thread::spawn(move || {
        let Some(mut stream) = stream else { return };
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if let Ok(mut bytes) = sink.lock() {
                bytes.extend_from_slice(&buffer[..count]);
            }
        }
    });
    (bytes, thread)
}

fn finish((bytes, thread): Reader, deadline: Instant) -> String {
    while !thread.is_finished() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
    bytes.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
