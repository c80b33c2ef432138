//! Running programs on a machine.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{COMMAND_LIMIT, Host};
use crate::run::{self, Output};

impl Host {
    /// Runs a shell line as root.
    ///
    /// # Errors
    /// Fails when the machine has no power or the line does not end within [`COMMAND_LIMIT`].
    pub fn run(&self, line: &str) -> Result<Output> {
        self.run_limited(line, COMMAND_LIMIT)
    }

    /// Runs a shell line as root that must succeed, and gives its trimmed output.
    ///
    /// # Errors
    /// Also fails when the exit status is not 0.
    pub fn sh(&self, line: &str) -> Result<String> {
        self.run(line)?.ok().with_context(|| format!("running `{line}` on `{}`", self.name))
    }

    /// Runs a shell line as root with a time limit of its own.
    ///
    /// # Errors
    /// Fails when the machine has no power or the limit is over.
    pub fn run_limited(&self, line: &str, limit: Duration) -> Result<Output> {
        run::run(self.command().args(["/bin/sh", "-c", line]), limit)
    }

    /// Runs a shell line as another user, in their home.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_as(&self, user: &str, line: &str) -> Result<Output> {
        let script = "eval \"home=~$0\"; cd \"$home\"; exec setpriv --reuid \"$0\" --regid \"$0\" --init-groups \
             env HOME=\"$home\" USER=\"$0\" /bin/sh -c \"$1\"";
        run::run(self.command().args(["/bin/sh", "-c", script, user, line]), COMMAND_LIMIT)
    }

    /// Runs `autodeployctl` as root; its exit code is the caller's to judge.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn ctl(&self, arguments: &str) -> Result<Output> {
        self.run(&format!("autodeployctl {arguments}"))
    }

    /// A command that enters the machine; the program and its arguments follow.
    ///
    /// A machine without power makes it fail when it is started.
    pub fn command(&self) -> Command {
        let leader = self.leader.unwrap_or(-1).to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &leader, "-a", "--"]);
        command.env_clear();
        command.env("PATH", "/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root").env("LANG", "C.UTF-8").env("TERM", "dumb").env("PAGER", "cat");
        command
    }
}
