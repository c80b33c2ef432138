//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Shows what autodeploy does on this machine, and tells it what to do.
///
/// Everybody may look. Acting takes root, or membership of `control.group`.
#[derive(Debug, Parser)]
#[command(name = "autodeployctl", version, after_long_help = EXIT_CODES)]
pub struct Arguments {
    /// Where autodeployd listens
    #[arg(long, global = true, value_name = "PATH", default_value = "/run/autodeploy/control")]
    pub socket: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, staged, or nothing to do
  1  the asked-for thing failed, or is not allowed; `status --check`: a warning
  2  not understood
  3  autodeployd cannot be reached
  4  the deployment was reverted, failed, aborted or is blocked
  5  held back by a gate, which is named (`--wait` waits)";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how this machine is
    Status(Status),
    /// List deployments, newest first
    History(History),
    /// Show all that is known of a deployment
    Show(Show),
    /// Show the journal of a deployment
    Log(Log),
    /// List the generations of the system profile, with what autodeploy knows of each
    Generations(Generations),
    /// Poll now, deploy what is there, and wait for the outcome
    RunNow(RunNow),
    /// Say what changes, a line each, until interrupted
    Watch(Watch),
    /// Go back to what ran before, or to a generation
    Rollback(Rollback),
    /// End the trial that is on
    Abort(Waiting),
    /// Never try a closure again by itself
    Block(What),
    /// Allow a blocked closure again
    Unblock(What),
    /// Hold trials back
    Pause(Pause),
    /// Let trials go on
    Resume,
    /// Put a commit in the place of the last kept one, for a branch that was rewritten on purpose
    Reanchor(Reanchor),
    /// Check a configuration; needs no autodeployd
    CheckConfig(CheckConfig),
    /// Print completions for a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Into which directory
        directory: PathBuf,
    },
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// Exit with 0 if all is well, 1 with a warning, 4 after a bad deployment
    #[arg(long)]
    pub check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `history`
#[derive(Debug, Args)]
pub struct History {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `show`
#[derive(Debug, Args)]
pub struct Show {
    /// Its number; the newest if left out
    #[arg(value_name = "ID")]
    pub id: Option<i64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `log`
#[derive(Debug, Args)]
pub struct Log {
    /// Its number; the newest if left out
    #[arg(value_name = "ID")]
    pub id: Option<i64>,
}

/// `generations`
#[derive(Debug, Args)]
pub struct Generations {
    /// The profile
    #[arg(long, value_name = "PATH", default_value = "/nix/var/nix/profiles/system")]
    pub profile: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `run-now`
#[derive(Debug, Args)]
pub struct RunNow {
    /// Wait at a gate as well, instead of exiting with 5
    #[arg(long, conflicts_with = "no_wait")]
    pub wait: bool,
    /// Pass the maintenance window
    #[arg(long)]
    pub ignore_maintenance: bool,
    /// Pass maintenance, approval and pause; check only that the next push can be deployed
    #[arg(long)]
    pub emergency: bool,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Whether to wait for the outcome.
#[derive(Debug, Args)]
pub struct Waiting {
    /// Do not wait for the outcome
    #[arg(long)]
    pub no_wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// Print the status as a line of JSON whenever it changes
    #[arg(long)]
    pub json: bool,
}

/// `rollback`
#[derive(Debug, Args)]
pub struct Rollback {
    /// The generation; what ran before if left out
    #[arg(value_name = "GENERATION")]
    pub generation: Option<i64>,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `block` and `unblock`
#[derive(Debug, Args)]
pub struct What {
    /// A store path, a commit, or the number of a deployment
    #[arg(value_name = "WHAT")]
    pub what: String,
}

/// `pause`
#[derive(Debug, Args)]
pub struct Pause {
    /// For the others who look
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// `reanchor`
#[derive(Debug, Args)]
pub struct Reanchor {
    /// The commit that the tip has to be or to descend from, by its full name
    #[arg(value_name = "COMMIT")]
    pub commit: String,
    /// Why, for whoever reads the journal later
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `check-config`
#[derive(Debug, Args)]
pub struct CheckConfig {
    /// Which file
    #[arg(value_name = "FILE", default_value = crate::config::PATH)]
    pub file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, accepted: bool) {
        let parsed = Arguments::try_parse_from(words.split(' '));
        assert_eq!(parsed.is_ok(), accepted, "{words}: {parsed:?}");
    }

    #[test]
    fn the_commands_of_the_contract_are_understood() {
        check("autodeployctl status --check --json", true);
        check("autodeployctl history --limit 5 --json", true);
        check("autodeployctl show 7 --json", true);
        check("autodeployctl log 7", true);
        check("autodeployctl generations --json", true);
        check("autodeployctl run-now --no-wait --ignore-maintenance --emergency", true);
        check("autodeployctl run-now --wait --json", true);
        check("autodeployctl watch", true);
        check("autodeployctl rollback 41 --no-wait", true);
        check("autodeployctl abort", true);
        check("autodeployctl block 7", true);
        check("autodeployctl unblock c0ffee12", true);
        check("autodeployctl pause --reason x", true);
        check("autodeployctl resume --socket /tmp/s", true);
        check("autodeployctl reanchor c0ffee12 --reason moved", true);
        check("autodeployctl reanchor c0ffee12 --reason moved --no-wait --json", true);
        check("autodeployctl check-config", true);
        check("autodeployctl check-config /etc/other.toml", true);
        check("autodeployctl completions bash", true);
        check("autodeployctl man /tmp", true);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check("autodeployctl", false);
        check("autodeployctl run-now --wait --no-wait", false);
        check("autodeployctl block", false);
        check("autodeployctl show seven", false);
        check("autodeployctl approve", false);
        check("autodeployctl reanchor c0ffee12", false);
        check("autodeployctl reanchor --reason moved", false);
    }

    #[test]
    fn the_definition_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
