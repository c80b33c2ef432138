//! The command line of `autodeploy-activate`, and what each way of starting it does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::activator::checks::configured::{Try, try_once};
use crate::activator::conduct::conduct;
use crate::activator::host::real::Machine;
use crate::activator::service::{self, Next, Round};
use crate::config::settings::{Closures, Settings};
use crate::effects::journal::{self, About};
use crate::effects::notify::{self, AskedToEnd};
use crate::effects::systemd::Systemd;
use crate::effects::{files, host_name};
use crate::model::event::EventKind;
use crate::model::text::escaped;

/// A configuration larger than this is not read, in bytes.
const LARGEST_CONFIGURATION: u64 = 4 << 20;

/// What takes the place of a configuration that cannot be read: no remote, and every default.
const FALLBACK: &str = "source.url = \"https://localhost/\"\n";

/// The usage, for `--help` and for whoever got it wrong.
pub const USAGE: &str = "\
usage: autodeploy-activate [--config FILE]              take a request, or mend an interrupted trial
       autodeploy-activate --trial [--config FILE]      conduct the trial that is recorded
       autodeploy-activate --self-test [--config FILE]  would the next request be taken?
       autodeploy-activate --probe JSON                 make one try of a check
       autodeploy-activate --help | --version";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The service.
    Serve(PathBuf),
    /// The trial process.
    Conduct(PathBuf),
    /// The self-test.
    SelfTest(PathBuf),
    /// One try of a check.
    Probe(String),
    /// The usage.
    Help,
    /// The version.
    Version,
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// They are not a wish.
pub fn read(arguments: impl IntoIterator<Item = String>) -> Result<Wish, String> {
    let mut arguments = arguments.into_iter();
    let mut config = PathBuf::from(crate::config::PATH);
    let mut wish: fn(PathBuf) -> Wish = Wish::Serve;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--trial" => wish = Wish::Conduct,
            "--self-test" => wish = Wish::SelfTest,
            "--config" => config = arguments.next().ok_or("`--config` needs a file")?.into(),
            "--probe" => {
                return arguments.next().map(Wish::Probe).ok_or("`--probe` needs JSON".into());
            }
            "--help" | "-h" => return Ok(Wish::Help),
            "--version" | "-V" => return Ok(Wish::Version),
            other => return Err(format!("there is no `{}`", escaped(other, 80))),
        }
    }
    Ok(wish(config))
}

/// Does what was wished for; `Ok` and `Err` are what to print.
///
/// # Errors
/// It was not done; the exit status says the same.
pub fn carry_out(wish: &Wish) -> Result<String, (ExitCode, String)> {
    let failed = |message: String| (ExitCode::FAILURE, message);
    match wish {
        Wish::Help => Ok(USAGE.to_owned()),
        Wish::Version => Ok(concat!("autodeploy-activate ", env!("CARGO_PKG_VERSION")).to_owned()),
        Wish::Probe(json) => {
            let one: Try = serde_json::from_str(json).map_err(|error| failed(error.to_string()))?;
            try_once(&one).map_err(failed)
        }
        Wish::SelfTest(config) => self_test(config).map_err(failed),
        Wish::Serve(config) => {
            connect().map_err(failed)?;
            serve(config)
                .map(|()| String::new())
                .map_err(|error| failed(told(&format!("{error:#}"))))
        }
        Wish::Conduct(config) => {
            connect().map_err(failed)?;
            trial(config)
                .map(|()| String::new())
                .map_err(|error| failed(told(&format!("{error:#}"))))
        }
    }
}

fn connect() -> Result<(), String> {
    journal::connect("autodeploy-activate").map_err(|error| format!("{error:#}"))
}

fn told(message: &str) -> String {
    journal::record(EventKind::ActivatorFailed, About::default(), message);
    message.to_owned()
}

fn serve(config: &Path) -> anyhow::Result<()> {
    let (mut announced, mut systemd) = (false, Systemd::new());
    loop {
        // Read for each round: somebody may have switched while we stood by.
        let (settings, warnings) = settings(config).map_err(anyhow::Error::msg)?;
        if !announced {
            service::rest_if_just_taken(&settings.paths);
        }
        let (settings, warnings, systemd) = (&settings, &warnings, &mut systemd);
        match service::serve(Round { systemd, settings, config, warnings })? {
            Next::StandBy => {
                if announced {
                    service::rest();
                }
                announced = true;
                if !service::stand_by(&settings.paths)? {
                    return Ok(());
                }
            }
            Next::End => return Ok(()),
        }
    }
}

fn trial(config: &Path) -> anyhow::Result<()> {
    let asked_to_end = AskedToEnd::listen()?;
    notify::ready();
    let (settings, _) = settings(config).map_err(anyhow::Error::msg)?;
    let directory = settings.paths.activator_state_dir.clone();
    let _lock = service::lock_for_trial(&directory, &asked_to_end)?;
    let record = service::load(&settings);
    let deployment = record.unfinished().map(|trial| trial.request.deployment);
    let whole = deployment.map(|id| service::take_whole(&settings.paths, id)).unwrap_or_default();
    conduct(&mut Machine::new(settings, asked_to_end, whole), record);
    Ok(())
}

/// Reads the running configuration, and goes on without one: what was interrupted has to be
/// brought to its end also under a configuration that nobody can read.
fn settings(config: &Path) -> Result<(Settings, Vec<String>), String> {
    let host_name = host_name::read();
    let read = text(config).and_then(|text| {
        crate::config::lenient(&text, &host_name).map_err(|failure| failure.message)
    });
    let cause = match read {
        Ok(read) => return Ok(read),
        Err(cause) => cause,
    };
    let (fallback, _) =
        crate::config::lenient(FALLBACK, &host_name).map_err(|failure| failure.message)?;
    // Nor is anything begun: what permits is the file that nobody can read.
    let fallback = Settings { closures: Closures::Signed { keys: Vec::new() }, ..fallback };
    let message = format!(
        "could not read `{}`, and went on with the defaults: {cause}; `autodeployctl check-config` says all",
        config.display()
    );
    Ok((fallback, vec![message]))
}

fn text(config: &Path) -> Result<String, String> {
    let real = config.canonicalize().map_err(|error| error.to_string())?;
    match files::read_limited(&real, LARGEST_CONFIGURATION) {
        Ok(Some(bytes)) => String::from_utf8(bytes).map_err(|error| error.to_string()),
        Ok(None) => Err("there is none".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Would the next request be taken? Asked by the release that is about to be replaced, of the one
/// that replaces it: strict about the configuration, and looking at nothing that a trial holds.
fn self_test(config: &Path) -> Result<String, String> {
    let text =
        text(config).map_err(|cause| format!("could not read `{}`: {cause}", config.display()))?;
    let settings = crate::config::strict(&text, &config.to_string_lossy(), &host_name::read())
        .map_err(|failure| failure.to_string())?;
    let path = settings.paths.activator_state_dir.join(crate::activator::record::FILE);
    let bytes = files::read_limited(&path, crate::activator::record::LARGEST_BYTES)
        .map_err(|error| format!("{error:#}"))?;
    if let Some(bytes) = bytes {
        crate::activator::record::parse(&bytes).map_err(|unreadable| {
            format!("could not read `{}`: {}", path.display(), unreadable.0)
        })?;
    }
    Systemd::new().units().map_err(|error| format!("could not reach systemd: {error:#}"))?;
    Ok(format!("ready: `{}` and the record can be read, systemd answers", config.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: Result<Wish, &str>) {
        let read = read(arguments.iter().map(|one| (*one).to_owned()));
        assert_eq!(read, expected.map_err(str::to_owned));
    }

    #[test]
    fn under_a_configuration_that_nobody_can_read_nothing_is_permitted() {
        let (settings, warnings) = settings(Path::new("/nowhere/config.toml")).unwrap();
        assert_eq!(settings.closures, Closures::Signed { keys: Vec::new() });
        assert!(warnings[0].starts_with("could not read `/nowhere/config.toml`"), "{warnings:?}");
    }

    #[test]
    fn each_way_of_starting_has_its_words() {
        let usual = || PathBuf::from("/etc/autodeploy/config.toml");
        check(&[], Ok(Wish::Serve(usual())));
        check(&["--trial", "--config", "/c"], Ok(Wish::Conduct("/c".into())));
        check(&["--config", "/c", "--self-test"], Ok(Wish::SelfTest("/c".into())));
        check(&["--probe", "{}"], Ok(Wish::Probe("{}".to_owned())));
        check(&["--probe"], Err("`--probe` needs JSON"));
        check(&["--config"], Err("`--config` needs a file"));
        check(&["--now"], Err("there is no `--now`"));
        check(&["--help"], Ok(Wish::Help));
    }
}
