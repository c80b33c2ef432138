//! From the command line to the loop, and back to an exit code.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::control;
use crate::agent::daemon::Agent;
use crate::agent::history::{History, Opened};
use crate::agent::host::configuration::Configuration;
use crate::agent::host::real::RealHost;
use crate::agent::policy::pace::Start;
use crate::config::settings::{Paths, Settings};
use crate::effects::git::{self, CHILD_ARGUMENT};
use crate::effects::{clock, files, journal, socket};

/// The file name of the control socket in `paths.runtime_dir`.
const SOCKET: &str = "control";

/// The modes that the unit gives the two directories as well.
const STATE_MODE: u32 = 0o700;
const RUNTIME_MODE: u32 = 0o755;

/// Without its history the agent changes nothing, says so, and ends after this time, so that it is
/// started again and looks again.
const WITHOUT_HISTORY: Duration = Duration::from_secs(60);

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Run, with this configuration.
    Run(PathBuf),
    /// Say what is wrong with a configuration, and nothing else.
    CheckConfig(PathBuf),
    /// Be the Git child.
    GitChild(String),
    /// Say which release this is.
    Version,
}

impl Order {
    /// Reads the arguments, without the program's own name.
    ///
    /// # Errors
    /// They are not understood.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Order> {
        let mut arguments = arguments.into_iter();
        let mut value = |option: &str| {
            arguments.next().with_context(|| format!("`{option}` needs a value after it"))
        };
        let first = value("autodeployd").ok();
        let order = match first.as_deref().map(|first| first.to_str().unwrap_or_default()) {
            None => Order::Run(PathBuf::from(crate::config::PATH)),
            Some("--config") => Order::Run(value("--config")?.into()),
            Some("--check-config") => Order::CheckConfig(value("--check-config")?.into()),
            Some("--version") => Order::Version,
            Some(CHILD_ARGUMENT) => {
                Order::GitChild(value(CHILD_ARGUMENT)?.into_string().unwrap_or_default())
            }
            Some(other) => {
                let other = crate::model::text::escaped(other, 80);
                bail!("unknown argument `{other}`");
            }
        };
        match arguments.next() {
            None => Ok(order),
            Some(_) => bail!("too many arguments"),
        }
    }
}

/// Carries out an order to its exit code.
pub fn carry_out(order: Order) -> ExitCode {
    match order {
        Order::GitChild(json) => git::child(&json),
        Order::Version => {
            say(&format!("autodeployd {}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Order::CheckConfig(path) => check_config(&path),
        Order::Run(path) => run(&path),
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says what is wrong with how the program was called.
pub fn misused(error: &anyhow::Error) -> ExitCode {
    complain(&format!(
        "{error:#}\n\nusage: autodeployd [--config FILE | --check-config FILE | --version]"
    ));
    ExitCode::from(2)
}

/// Used while a system is built, where there is no network, no state and no host of that name.
fn check_config(path: &Path) -> ExitCode {
    let read = Configuration::read(path).map_err(|failure| vec![failure]);
    let failures = read.and_then(|read| read.check()).err().unwrap_or_default();
    for failure in &failures {
        complain(&failure.to_string());
    }
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn run(path: &Path) -> ExitCode {
    let connected = journal::connect("autodeployd");
    let read = Configuration::read(path).and_then(|read| Ok((read.strict()?, read)));
    let (settings, configuration) = match read {
        Ok(read) => read,
        Err(failure) => {
            complain(&failure.to_string());
            // Under systemd, standard error is the journal already.
            if connected.is_ok() && std::env::var_os("JOURNAL_STREAM").is_none() {
                tracing::error!("{failure}");
            }
            return ExitCode::from(crate::config::EXIT_BAD_CONFIGURATION);
        }
    };
    match runtime().and_then(|runtime| {
        let ended = runtime.block_on(serve(settings, configuration));
        // Whatever still runs is left behind: systemd ends it with the rest of the service.
        runtime.shutdown_background();
        ended
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Small: one thread for the loop, and a few for what blocks, which are gone soon after.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 << 10)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .context("could not start the runtime")
}

async fn serve(settings: Settings, configuration: Configuration) -> Result<()> {
    let (opened, lost) = open_history(&settings)?;
    let boot_id = clock::boot_id()?;
    let host = RealHost::new(&settings, configuration, opened.history, boot_id)?;
    let start = match host.ran_before() || clock::boottime_ms() > 120_000 {
        true => Start::Restart,
        false => Start::Boot,
    };
    let listener = bind(&settings.paths)?;
    let mut stop = signal(SignalKind::terminate()).context("could not wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not wait for SIGINT")?;
    let group = settings.control.group.clone();
    let mut agent = Agent::new(host, settings, start);
    if let Some(sentence) = opened.mended {
        agent.mended(sentence);
    }
    let patience = match &lost {
        Some(_) => WITHOUT_HISTORY,
        None => Duration::MAX,
    };
    if let Some(sentence) = lost.clone() {
        agent.without_history(sentence);
    }
    let socket = tokio::spawn(control::serve(listener, agent.inbox(), group));
    agent.ready();
    let stop = async {
        tokio::select! {
            _ = stop.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(patience) => {}
        }
    };
    // Half of what systemd allows.
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    agent.run(stop, watchdog).await;
    socket.abort();
    match lost {
        Some(sentence) => bail!(sentence),
        None => Ok(()),
    }
}

/// Opens the history; where that is impossible, one that is forgotten again, and why.
fn open_history(settings: &Settings) -> Result<(Opened, Option<String>)> {
    let directory = &settings.paths.state_dir;
    let keep = settings.history.keep;
    let made = files::make_directory(directory, STATE_MODE);
    match made.and_then(|()| History::open(directory, keep)) {
        Ok(opened) => Ok((opened, None)),
        Err(error) => {
            let history = History::forgotten(keep)?;
            let opened = Opened { history, mended: None, fresh: true };
            Ok((opened, Some(format!("{error:#}"))))
        }
    }
}

fn bind(paths: &Paths) -> Result<std::os::unix::net::UnixListener> {
    let directory = &paths.runtime_dir;
    files::make_directory(directory, RUNTIME_MODE)?;
    socket::bind(&directory.join(SOCKET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: Result<Order, &str>) {
        let got = Order::read(arguments.iter().map(OsString::from));
        assert_eq!(got.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn arguments_are_read_or_refused() {
        check(&[], Ok(Order::Run("/etc/autodeploy/config.toml".into())));
        check(&["--config", "x"], Ok(Order::Run("x".into())));
        check(&["--check-config", "x"], Ok(Order::CheckConfig("x".into())));
        check(&["--version"], Ok(Order::Version));
        check(&["git-child", "{}"], Ok(Order::GitChild("{}".into())));
        check(&["--config"], Err("`--config` needs a value after it"));
        check(&["--verbose"], Err("unknown argument `--verbose`"));
        check(&["--version", "x"], Err("too many arguments"));
    }
}
