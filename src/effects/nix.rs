//! Nix, as the agent uses it: the programs `nix` and `nix-store`, always through the daemon.
//!
//! Every call is one program with a time limit, killed with its process group. What an exit code
//! does not tell is found out by a second, cheap question, never by reading an error's words. The
//! one exception is a full disk that is no longer full when we look.

pub(crate) mod installable;
pub mod missing;
pub(crate) mod told;
mod why;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::settings::Build;
use crate::effects::clock;
use crate::effects::halt::Halt;
use crate::effects::nix::installable::{BOTH_PATHS, Installable};
use crate::effects::nix::told::Evaluated;
use crate::effects::nix::why::{evaluation_failed, unreachable};
use crate::effects::process::{Ended, Program, Status};
use crate::effects::remote::trouble::in_words;
use crate::handover::lifeline::NixReach;
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// The limit on questions that neither evaluate nor build.
const QUESTION: Duration = Duration::from_secs(30);

/// Any answer of the evaluator is shorter, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// What Nix gets of our own environment: where its programs are, who is believed for `https`, and
/// how the network is reached when the evaluator fetches the inputs of a flake.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "SSL_CERT_FILE",
    "NIX_SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "NIX_DAEMON_SOCKET_PATH",
];

/// How the Git that Nix starts may reach remotes.
const REMOTE_PROTOCOLS: &str = "git:http:https:ssh";

/// What to look at when our own files cannot be written.
const OWN_DIRECTORY: &str = "is there room, and may the agent's user write, in `paths.state_dir`?";

/// Whether this machine evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluates {
    /// It does.
    Always,
    /// It only takes what manifests name.
    Never,
}

/// What a commit means for this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The derivation. Nothing holds it: a garbage collection before the build takes it away.
    pub drv: StorePath,
    /// The system that it makes.
    pub toplevel: StorePath,
}

/// Nix's programs, and where they keep their own state.
#[derive(Clone)]
pub struct Nix {
    bin: PathBuf,
    home: PathBuf,
    halt: Halt,
}

/// How long something may take, and the beginning of the sentence when it fails.
struct Job<'a> {
    limit: Duration,
    what: &'a str,
}

impl Nix {
    /// Names the directory of the programs, and a home for their caches; it is made when it is
    /// needed.
    pub fn new(bin: PathBuf, home: PathBuf) -> Nix {
        Nix { bin, home, halt: Halt::default() }
    }

    /// Runs every program under `halt`.
    pub fn under(self, halt: Halt) -> Nix {
        Nix { halt, ..self }
    }

    /// Works out the system that `build.attribute` is at `commit`: one start of the evaluator, pinned to the
    /// commit, with the lock file as it is and without a registry.
    ///
    /// Changes nothing but caches and the derivation in the store; a repeat does it again.
    ///
    /// # Errors
    /// `no-such-host`, `not-a-system`, `evaluation-failed`, `evaluation-timeout`,
    /// `nix-unreachable`, `no-space`
    pub fn resolve(
        &self,
        repository: &Path,
        commit: &CommitId,
        build: &Build,
    ) -> Result<Resolved, Failure> {
        let wanted = Installable::new(repository, commit, build);
        let attribute = escaped(wanted.attribute(), 200);
        let what = format!("could not evaluate `{attribute}` at `{}`", commit.short());
        let program = self
            .evaluator_for(build.evaluation_timeout, build)
            .arg("--no-update-lock-file")
            .arg(wanted.reference())
            .args(["--apply", BOTH_PATHS]);
        let ended = self.run(&program, &what)?;
        match ended.status {
            Status::Code(0) => read_resolved(&ended.stdout, &what),
            Status::TimedOut => {
                let limit = in_words(build.evaluation_timeout);
                let message = format!("{what}: not finished within {limit}");
                Err(Failure::new(Reason::EVALUATION_TIMEOUT, message)
                    .hint("`build.evaluation_timeout` is the limit; does the flake import from derivations?"))
            }
            Status::Code(_) | Status::Signal(_) | Status::Stopped => {
                Err(self.why_not_evaluated(&ended, &what, (&wanted, build)))
            }
        }
    }

    /// Brings the system into the store and makes `root` hold it: substitutes what can be, builds
    /// the rest, or with `build.substitute_only` does not.
    ///
    /// A repeat finds it there. `root` is a link outside the store.
    ///
    /// # Errors
    /// `build-failed`, `build-timeout`, `not-substitutable`, `nix-unreachable`, `no-space`
    pub fn realise(&self, resolved: &Resolved, root: &Path, build: &Build) -> Result<(), Failure> {
        let what = format!("could not build `{}`", resolved.toplevel.name());
        let wanted = match build.substitute_only {
            true => &resolved.toplevel,
            false => &resolved.drv,
        };
        let ended = self.hold(wanted, root, Job { limit: build.build_timeout, what: &what })?;
        match ended.status {
            Status::Code(0) => leads_to(root, &resolved.toplevel),
            Status::TimedOut => {
                let limit = in_words(build.build_timeout);
                Err(Failure::new(
                    Reason::BUILD_TIMEOUT,
                    format!("{what}: not finished within {limit}"),
                )
                .hint("`build.build_timeout` is the limit"))
            }
            Status::Code(_) | Status::Signal(_) | Status::Stopped if build.substitute_only => {
                Err(self.why_not_substituted(&ended, &resolved.toplevel))
            }
            Status::Code(_) | Status::Signal(_) | Status::Stopped => {
                Err(self.why_not_built(&ended, &what))
            }
        }
    }

    /// Tells whether the path is valid in the store.
    ///
    /// # Errors
    /// `nix-unreachable`
    pub fn is_valid(&self, path: &StorePath) -> Result<bool, Failure> {
        let what = format!("could not ask the Nix daemon about `{path}`");
        let unreachable = |cause: &str| unreachable(&what, cause);
        let program =
            self.store(QUESTION).args(["--check-validity", "--print-invalid"]).arg(path.as_str());
        let ended = self.run(&program, &what)?;
        match ended.status {
            Status::Code(0) => {
                told::is_valid(&ended.stdout, path).map_err(|said| unreachable(&said))
            }
            Status::Code(_) => Err(unreachable(&told::cause_of_evaluation(&ended.stderr))),
            other => Err(unreachable(&format!("`nix-store` {}", told::how(other)))),
        }
    }

    /// Makes `root` hold a path that is valid already. A repeat does nothing.
    ///
    /// # Errors
    /// `invalid-path`, `nix-unreachable`, `no-space`
    pub fn add_root(&self, path: &StorePath, root: &Path) -> Result<(), Failure> {
        let what = format!("could not hold `{path}` by `{}`", root.display());
        // Otherwise Nix would try to substitute it.
        if !self.is_valid(path)? {
            let message = format!("{what}: it is not valid in the store");
            return Err(Failure::new(Reason::INVALID_PATH, message)
                .hint("is garbage being collected at this moment? it is tried again by itself"));
        }
        let ended = self.hold(path, root, Job { limit: QUESTION, what: &what })?;
        match ended.status {
            Status::Code(0) => leads_to(root, path),
            Status::Code(_) => Err(self
                .full_disk(&ended, &what)
                .unwrap_or_else(|| unreachable(&what, &told::cause_of_evaluation(&ended.stderr)))),
            other => Err(unreachable(&what, &format!("`nix-store` {}", told::how(other)))),
        }
    }

    /// Tries what Nix has to do for the next deployment: the daemon takes something from us, a root
    /// can be made (at `root`), and the evaluator starts.
    ///
    /// A repeat does it again; the few bytes that it puts into the store are always the same ones.
    pub fn reach(&self, root: &Path, evaluates: Evaluates) -> NixReach {
        let held = self.put_and_hold(root);
        let evaluated = match evaluates {
            Evaluates::Always => Some(self.evaluate_nothing()),
            Evaluates::Never => None,
        };
        let root_made = held.is_ok();
        let evaluator_started = evaluated.as_ref().map(Result::is_ok);
        let failure = held.err().or_else(|| evaluated.and_then(Result::err));
        NixReach {
            at_boottime_ms: clock::boottime_ms(),
            root_made,
            evaluator_started,
            error: failure.map(|failure| failure.message),
        }
    }

    fn put_and_hold(&self, root: &Path) -> Result<(), Failure> {
        let what = "could not put anything into the Nix store";
        let file = self.home.join("autodeploy-was-here");
        fs::create_dir_all(&self.home).and_then(|()| fs::write(&file, "autodeploy\n")).map_err(
            |error| {
                let message = format!("could not write `{}`: {error}", file.display());
                Failure::new(Reason::INTERNAL, message).hint(OWN_DIRECTORY)
            },
        )?;
        let ended = self.run(&self.store(QUESTION).arg("--add").arg(&file), what)?;
        if !ended.succeeded() {
            return Err(self
                .full_disk(&ended, what)
                .unwrap_or_else(|| unreachable(what, &told::cause_of_evaluation(&ended.stderr))));
        }
        let path = told::one_path(&ended.stdout).map_err(|said| unreachable(what, &said))?;
        self.add_root(&path, root)
    }

    fn evaluate_nothing(&self) -> Result<(), Failure> {
        let what = "could not start the evaluator";
        let ended = self.run(&self.evaluator(QUESTION).args(["--expr", "true"]), what)?;
        match ended.succeeded() && ended.stdout.trim_ascii() == b"true" {
            true => Ok(()),
            false => Err(evaluation_failed(&ended, what)),
        }
    }

    /// `nix-store --realise WHAT --add-root ROOT`
    fn hold(&self, wanted: &StorePath, root: &Path, job: Job<'_>) -> Result<Ended, Failure> {
        let Job { limit, what } = job;
        if let Some(directory) = root.parent() {
            fs::create_dir_all(directory).map_err(|error| {
                let message = format!("{what}: no directory `{}`: {error}", directory.display());
                Failure::new(Reason::INTERNAL, message).hint(OWN_DIRECTORY)
            })?;
        }
        let program =
            self.store(limit).arg("--realise").arg(wanted.as_str()).arg("--add-root").arg(root);
        self.run(&program, what)
    }

    fn evaluator(&self, limit: Duration) -> Program {
        self.program("nix", limit)
            .args(["--extra-experimental-features", "nix-command flakes"])
            .args(["eval", "--json", "--option", "flake-registry", ""])
            .keep_stdout(LONGEST_ANSWER)
    }

    /// An evaluator that reads what a commit says.
    fn evaluator_for(&self, limit: Duration, build: &Build) -> Program {
        let protocols = match build.submodules {
            true => REMOTE_PROTOCOLS.to_owned(),
            // An input of a flake may be a repository on this machine; its lock file says which.
            false => format!("file:{REMOTE_PROTOCOLS}"),
        };
        self.evaluator(limit)
            .memory(build.evaluation_memory)
            .env("GIT_ALLOW_PROTOCOL", protocols)
            .env("GIT_TERMINAL_PROMPT", "0")
    }

    fn store(&self, limit: Duration) -> Program {
        self.program("nix-store", limit)
    }

    fn program(&self, name: &str, limit: Duration) -> Program {
        // Without `daemon`, Nix would quietly make itself a store in our home when the daemon is
        // not there.
        let mut program = Program::new(self.bin.join(name), limit)
            .env("HOME", &self.home)
            .env("NIX_REMOTE", "daemon");
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                program = program.env(name, value);
            }
        }
        program
    }

    fn run(&self, program: &Program, what: &str) -> Result<Ended, Failure> {
        let _ = fs::create_dir_all(&self.home);
        self.halt.run(program).map_err(|error| {
            Failure::new(Reason::NIX_UNREACHABLE, format!("{what}: {error:#}"))
                .hint("`paths.nix_bin` is the directory with `nix` and `nix-store`")
        })
    }
}

pub(crate) fn read_resolved(stdout: &[u8], what: &str) -> Result<Resolved, Failure> {
    let unreadable = |cause: String| {
        Failure::new(Reason::EVALUATION_FAILED, format!("{what}: {cause}"))
            .hint("`build.attribute` has to lead to a `config.system.build.toplevel`")
    };
    match told::json(stdout).map_err(unreadable)? {
        Evaluated::Both { drv, out } => {
            let parsed = |path: String| {
                path.parse::<StorePath>().map_err(|error| unreadable(error.to_string()))
            };
            Ok(Resolved { drv: parsed(drv)?, toplevel: parsed(out)? })
        }
        Evaluated::Instead { instead } => {
            let message = format!("{what}: it is a {} and not a derivation", escaped(&instead, 20));
            Err(Failure::new(Reason::NOT_A_SYSTEM, message)
                .hint("`build.attribute` has to lead to a `config.system.build.toplevel`"))
        }
    }
}

/// Checks that a root leads where it was to.
fn leads_to(root: &Path, path: &StorePath) -> Result<(), Failure> {
    match fs::read_link(root) {
        Ok(target) if target == path.as_path() => Ok(()),
        other => {
            let seen = other.map_or_else(|error| error.to_string(), |at| at.display().to_string());
            let seen = escaped(&seen, 300);
            let root = root.display();
            let message = format!("the root `{root}` does not lead to `{path}` but: {seen}");
            Err(Failure::new(Reason::INTERNAL, message).hint(OWN_DIRECTORY))
        }
    }
}
