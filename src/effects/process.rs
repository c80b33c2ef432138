//! The one function that runs programs.
//!
//! Every run has an absolute path, an explicit environment, a closed stdin and a time limit, and
//! is a process group of its own that is killed as a whole at the limit. Reading what a program
//! printed is not done here but where the bytes are understood.

pub mod memory;

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::effects::process::memory::{LIMITED, SHELL};

/// Standard error keeps its last bytes, because that is where the cause stands.
const STDERR_KEPT_BYTES: usize = 2048;

/// How long output may trail behind the program's own end, when something that it started still
/// holds the pipe.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// What to run, and within which limits.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    limit: Duration,
    memory_kib: Option<u64>,
    output: Output,
    errors_kept: usize,
}

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// Into [`Ended`]: stdout up to this many bytes (the rest is read and dropped).
    Captured(usize),
    /// Where our own goes: under systemd, the journal.
    Inherited,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed by us at its limit.
    TimedOut,
    /// Killed by us because a [`Stop`] said so.
    Stopped,
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// What it printed, cut at the limit that was asked for; empty when inherited.
    pub stdout: Vec<u8>,
    /// The last of its errors, 2 KiB unless said otherwise; empty when inherited.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Tells whether it ended by itself with 0.
    pub fn succeeded(&self) -> bool {
        self.status == Status::Code(0)
    }
}

enum Wake {
    Exited,
    Stop,
}

/// Ends a running program from another thread.
#[derive(Clone)]
pub struct Stop(Sender<Wake>);

impl Stop {
    /// Asks for the end. A repeat, or one after the program ended, does nothing.
    pub fn stop(&self) {
        let _ = self.0.send(Wake::Stop);
    }
}

impl Program {
    /// Names an absolute path; the environment is only what [`Program::env`] adds, besides a
    /// neutral locale.
    pub fn new(path: impl Into<PathBuf>, limit: Duration) -> Program {
        let locale = (OsString::from("LC_ALL"), OsString::from("C.UTF-8"));
        Program {
            path: path.into(),
            arguments: Vec::new(),
            environment: vec![locale],
            limit,
            memory_kib: None,
            output: Output::Captured(1 << 20),
            errors_kept: STDERR_KEPT_BYTES,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Program {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Program {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Program {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Limits the memory of each of its processes, in bytes; without this there is no limit.
    ///
    /// A program that is not there is then told by the exit code of a shell, 127.
    pub fn memory(mut self, bytes: u64) -> Program {
        self.memory_kib = Some(bytes / 1024);
        self
    }

    /// Keeps at most this much of standard output, in bytes (1 MiB otherwise).
    pub fn keep_stdout(mut self, bytes: usize) -> Program {
        self.output = Output::Captured(bytes);
        self
    }

    /// Keeps this much of the end of standard error, in bytes (2 KiB otherwise).
    pub fn keep_stderr(mut self, bytes: usize) -> Program {
        self.errors_kept = bytes;
        self
    }

    /// Lets the output go where ours goes.
    pub fn inherit_output(mut self) -> Program {
        self.output = Output::Inherited;
        self
    }

    /// Returns the program's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it to its end or to its limit.
    ///
    /// # Errors
    /// It could not be started. How it ended is no error but [`Ended::status`].
    pub fn run(&self) -> Result<Ended> {
        self.start()?.finish()
    }

    /// Starts it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&self) -> Result<Running> {
        let mut child = self.spawn()?;
        let kept = match self.output {
            Output::Captured(bytes) => bytes,
            Output::Inherited => 0,
        };
        let stdout = child.stdout.take().map(|pipe| Kept::collect(pipe, Keep::First(kept)));
        let stderr =
            child.stderr.take().map(|pipe| Kept::collect(pipe, Keep::Last(self.errors_kept)));
        let (sender, wakes) = channel();
        let running = Running {
            pid: Pid::from_raw(child.id() as i32),
            child,
            deadline: Instant::now() + self.limit,
            stdout,
            stderr,
            stop: Stop(sender.clone()),
            wakes,
        };
        watch(running.pid, sender);
        Ok(running)
    }

    fn spawn(&self) -> Result<Child> {
        let pipe = || match self.output {
            Output::Captured(_) => Stdio::piped(),
            Output::Inherited => Stdio::inherit(),
        };
        let mut command = match self.memory_kib {
            None => Command::new(&self.path),
            Some(limit) => {
                let mut shell = Command::new(SHELL);
                shell.args(["-c", LIMITED, &limit.to_string()]).arg(&self.path);
                shell
            }
        };
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(pipe())
            .stderr(pipe())
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start `{}`", self.path.display()))
    }
}

/// Tells the channel when the process has ended, without reaping it: as long as nobody has, its
/// number cannot be given to another process, and killing by number is safe.
fn watch(pid: Pid, sender: Sender<Wake>) {
    thread::spawn(move || {
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let _ = sender.send(Wake::Exited);
    });
}

/// A program that was started.
pub struct Running {
    child: Child,
    pid: Pid,
    deadline: Instant,
    stdout: Option<Kept>,
    stderr: Option<Kept>,
    stop: Stop,
    wakes: Receiver<Wake>,
}

impl Running {
    /// Returns a handle that ends it from another thread.
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits for its end, its limit or a stop.
    ///
    /// # Errors
    /// It could not be waited for, which Linux gives no reason for.
    pub fn finish(mut self) -> Result<Ended> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let killed = match self.wakes.recv_timeout(left) {
            Ok(Wake::Exited) => None,
            Ok(Wake::Stop) => Some(Status::Stopped),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Some(Status::TimedOut)
            }
        };
        if killed.is_some() {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
        let stdout = self.stdout.take().map(|kept| kept.take(self.pid)).unwrap_or_default();
        let stderr = self.stderr.take().map(|kept| kept.take(self.pid)).unwrap_or_default();
        let exit = self.child.wait().context("could not wait for a program")?;
        Ok(Ended { status: killed.unwrap_or_else(|| status(exit)), stdout, stderr })
    }
}

fn status(exit: ExitStatus) -> Status {
    use std::os::unix::process::ExitStatusExt;
    match exit.code() {
        Some(code) => Status::Code(code),
        None => Status::Signal(exit.signal().unwrap_or_default()),
    }
}

#[derive(Clone, Copy)]
enum Keep {
    First(usize),
    Last(usize),
}

/// What a pipe brought so far.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Kept {
    fn collect(mut pipe: impl Read + Send + 'static, keep: Keep) -> Kept {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = channel();
        let into = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                if let Ok(mut kept) = into.lock() {
                    add(&mut kept, &chunk[..count], keep);
                }
            }
            drop(sender);
        });
        Kept { bytes, ended }
    }

    /// Waits until the pipe is closed by everybody who holds it. Who still holds it a while after
    /// the program's end is killed: nobody would ever read it.
    fn take(self, group: Pid) -> Vec<u8> {
        if self.ended.recv_timeout(OUTPUT_GRACE) == Err(RecvTimeoutError::Timeout) {
            let _ = killpg(group, Signal::SIGKILL);
        }
        self.bytes.lock().map(|mut bytes| std::mem::take(&mut *bytes)).unwrap_or_default()
    }
}

fn add(kept: &mut Vec<u8>, chunk: &[u8], keep: Keep) {
    match keep {
        Keep::First(limit) => {
            let room = limit.saturating_sub(kept.len()).min(chunk.len());
            kept.extend_from_slice(&chunk[..room]);
        }
        Keep::Last(limit) => {
            kept.extend_from_slice(chunk);
            let surplus = kept.len().saturating_sub(limit);
            kept.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh", Duration::from_secs(20)).arg("-c").arg(script)
    }

    #[test]
    fn output_and_code_come_back() {
        let ended = shell("echo out; echo err >&2; exit 3").run().unwrap();
        assert_eq!(ended.status, Status::Code(3));
        assert_eq!(
            (ended.stdout.as_slice(), ended.stderr.as_slice()),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn the_environment_is_explicit() {
        let ended = shell("echo $HOME-$GREETING-$LC_ALL").env("GREETING", "hi").run().unwrap();
        assert_eq!(ended.stdout, b"-hi-C.UTF-8\n");
    }

    #[test]
    fn a_hang_ends_at_the_limit_with_all_that_it_started() {
        let program = Program::new("/bin/sh", Duration::from_millis(100));
        let ended = program.arg("-c").arg("sleep 600 & sleep 600").run().unwrap();
        assert_eq!(ended.status, Status::TimedOut);
    }

    #[test]
    fn a_stop_ends_it() {
        let running = shell("sleep 600").start().unwrap();
        running.stopper().stop();
        assert_eq!(running.finish().unwrap().status, Status::Stopped);
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_does_not_hang_us() {
        let ended = shell("echo done; sleep 600 & exit 0").run().unwrap();
        assert_eq!((ended.status, ended.stdout.as_slice()), (Status::Code(0), &b"done\n"[..]));
    }

    #[test]
    fn a_signal_is_told_apart_from_a_code() {
        assert_eq!(shell("kill -9 $$").run().unwrap().status, Status::Signal(9));
    }

    #[test]
    fn stdout_keeps_its_head_and_stderr_its_tail() {
        let ended = shell("echo 12345; head -c 5000 /dev/zero >&2; echo end >&2")
            .keep_stdout(3)
            .run()
            .unwrap();
        assert_eq!(ended.stdout, b"123");
        assert_eq!(ended.stderr.len(), STDERR_KEPT_BYTES);
        assert!(ended.stderr.ends_with(b"end\n"));
    }

    #[test]
    fn memory_ends_at_its_limit_and_what_it_starts_is_held_to_it_as_well() {
        // The shell takes twice as much as it may; `dd` in a process of its own.
        for script in [
            "x=$(head -c 64000000 /dev/zero | tr '\\0' x); echo done",
            "dd if=/dev/zero of=/dev/null bs=64M count=1 && echo done",
        ] {
            let limited = shell(script).memory(32 << 20).run().unwrap();
            assert_eq!(limited.stdout, b"", "{script}");
            let free = shell(script).memory(1 << 30).run().unwrap();
            assert_eq!(free.stdout, b"done\n", "{script}");
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Program::new("/no/such", Duration::from_secs(1)).run().unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "could not start `/no/such`: No such file or directory (os error 2)"
        );
    }
}
