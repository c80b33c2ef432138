//! A command line as a person types it, and how it ended.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A hang is a failure.
const LIMIT: Duration = Duration::from_secs(40);

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// With 0 and this output.
    pub fn good(stdout: &str) -> Ended {
        Ended { code: 0, stdout: stdout.to_owned(), stderr: String::new() }
    }

    /// With a code and this complaint.
    pub fn bad(code: i32, stderr: &str) -> Ended {
        Ended { code, stdout: String::new(), stderr: stderr.to_owned() }
    }
}

/// A command that is about to be run.
pub struct Typed(Command);

/// `autodeployctl` with words that are separated by spaces.
pub fn ctl(socket: &Path, words: &str) -> Typed {
    let mut command = prepared(Command::new(env!("CARGO_BIN_EXE_autodeployctl")));
    command.arg("--socket").arg(socket).args(words.split(' '));
    Typed(command)
}

fn prepared(mut command: Command) -> Command {
    command.env_clear().env("TZ", "UTC").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Typed {
    /// By another user, in no group but their own; `directory` is open to everybody.
    pub fn by_user(mut self, uid: u32, directory: &Path) -> Typed {
        // The binary may lie where only root can go: the user gets a copy.
        let everybodys = directory.join("autodeployctl");
        if !everybodys.exists() {
            let binary = Path::new(env!("CARGO_BIN_EXE_autodeployctl"));
            shell("cp \"$1\" \"$0\"", &everybodys, binary.as_os_str());
        }
        let words: Vec<_> = self.0.as_std().get_args().map(ToOwned::to_owned).collect();
        self.0 = prepared(Command::new(everybodys));
        self.0.args(words).uid(uid).gid(uid);
        self
    }

    /// With this `PATH`.
    pub fn path_variable(mut self, directory: &Path) -> Typed {
        self.0.env("PATH", directory);
        self
    }

    /// With an output that takes nothing.
    pub fn into_full_disk(mut self) -> Typed {
        self.0.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        self
    }

    /// Runs it to its end.
    pub async fn ended(self) -> Ended {
        self.start().ended().await
    }

    /// Starts it.
    pub fn start(mut self) -> Started {
        let mut child = self.0.spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take().map(BufReader::new);
        Started { child, stdout, stderr }
    }
}

/// A command that runs.
pub struct Started {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
}

async fn next_line(from: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    let reading = from.read_line(&mut line);
    tokio::time::timeout(LIMIT, reading).await.expect("no line").unwrap();
    line.trim_end().to_owned()
}

impl Started {
    /// The next line of its complaints, where progress goes too.
    pub async fn progress(&mut self) -> String {
        next_line(self.stderr.as_mut().unwrap()).await
    }

    /// The next line of its output.
    pub async fn line(&mut self) -> String {
        next_line(self.stdout.as_mut().unwrap()).await
    }

    /// Closes its output.
    pub fn stop_reading(&mut self) {
        self.stdout = None;
    }

    /// Types Ctrl-C.
    pub fn interrupt(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().unwrap() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let mut stderr = self.stderr.take().unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        let reading = async {
            if let Some(stdout) = &mut self.stdout {
                stdout.read_to_string(&mut out).await.unwrap();
            }
            stderr.read_to_string(&mut err).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(LIMIT, reading).await.expect("it hangs");
        Ended { code: status.code().unwrap(), stdout: out, stderr: err }
    }
}

/// Writes a program.
pub fn write_script(path: &Path, script: &str) {
    shell("printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"", path, script.as_ref());
}

/// Writes by another process: a program that we had open ourselves could be held open by what
/// another test starts at that moment, and would be "busy".
fn shell(line: &str, path: &Path, argument: &OsStr) {
    let mut shell = std::process::Command::new("/bin/sh");
    assert!(shell.args(["-c", line]).arg(path).arg(argument).status().unwrap().success());
}
