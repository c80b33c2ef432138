//! Git, as the agent uses it. This file and its folder are the only place that names git2.
//!
//! Everything of libgit2 runs in a child of the same binary (`autodeployd git-child REQUEST`): a
//! server that sends one byte a second, or a lookup that hangs, cannot be ended within a process,
//! and what libgit2 allocates is given back. The request is JSON in the arguments and names files,
//! never secrets; the answer is one line of JSON.
//!
//! The repository has its objects under `DIR/.git` and no work tree, because Nix reads those in
//! place and clones a bare one again for every evaluation. Its HEAD is a branch of our own with an
//! empty commit: no commit of the remote is ever checked out, and Nix refuses a HEAD that points
//! nowhere.

mod answer;
mod ask;
mod at_once;
mod child;
mod clone;
mod fetch;
pub(crate) mod known_hosts;
mod lineage;
mod local;
mod says;
mod signatures;
mod submodules;
mod tidy;
mod weigh;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::settings::{Signatures, Source, Trust};
use crate::effects::files;
use crate::effects::git::ask::{Answer, Ask};
pub use crate::effects::git::child::child;
use crate::effects::halt::Halt;
use crate::effects::process::{Ended, Program, Status};
use crate::effects::remote::Remote;
use crate::effects::remote::address;
use crate::effects::remote::trouble::{Trouble, in_words};
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};
use crate::trust::Examined;

/// The first argument that makes `autodeployd` the child.
pub const CHILD_ARGUMENT: &str = "git-child";

/// The limit on questions that only read our own repository.
const LOCAL_LIMIT: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes: 300,000 commits.
const LONGEST_ANSWER: usize = 16 << 20;

/// The variables that the child takes over from us: who is believed for `https`.
const PASSED_ON: [&str; 3] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE"];

/// The agent's own repository, and how to work on it.
#[derive(Clone)]
pub struct Git {
    self_exe: PathBuf,
    repository: PathBuf,
    halt: Halt,
    trust: Trust,
}

/// What one fetch may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// The whole of it, killed at the end.
    pub timeout: Duration,
    /// What may arrive, and what the tip's tree may take once it is unpacked, in bytes.
    pub max_bytes: u64,
}

impl From<&Source> for FetchLimits {
    fn from(source: &Source) -> FetchLimits {
        FetchLimits { timeout: source.fetch_timeout, max_bytes: source.max_fetch_bytes }
    }
}

/// What a fetch is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The tip that the poll saw. If it is in the repository already, no remote is asked.
    pub tip: CommitId,
    /// The last kept commit, for the lineage.
    pub mark: Option<CommitId>,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The tip that is in the repository now, held by a ref. Another one than was wanted when the
    /// branch moved on between the poll and the fetch.
    pub tip: CommitId,
    /// Its lineage.
    pub lineage: Lineage,
}

/// How a tip stands to the mark; texts are escaped, times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Whether the tip is the mark or descends from it; without a mark, or with one that is not in
    /// the repository, false.
    pub descends: bool,
    /// Whether the mark is in the repository; after a force-push and a fresh clone it may not be.
    pub mark_known: bool,
    /// `rev-list --first-parent MARK..TIP`, newest first; only the tip without a mark; empty when
    /// the tip does not descend from the mark, or is it.
    pub first_parents: Vec<CommitId>,
    /// The first line of the tip's message.
    pub subject: String,
    /// `Name <address>` of the tip's author.
    pub author: String,
    /// The tip's commit date.
    pub committed_at: i64,
    /// The mark's commit date, if it is known.
    pub mark_committed_at: Option<i64>,
    /// What the signatures of [`Lineage::first_parents`] say.
    pub signed: Examined,
}

impl Git {
    /// Names the binary to start as the child, and the repository's directory. Nothing is touched.
    ///
    /// Beside that directory, `git-home` is the child's home: it holds what libgit2 insists on
    /// reading there.
    pub fn new(self_exe: PathBuf, repository: PathBuf) -> Git {
        Git { self_exe, repository, halt: Halt::default(), trust: Trust::default() }
    }

    /// Has the signatures of a lineage looked at, with the keys as they lie there at that moment.
    pub fn trusting(self, trust: Trust) -> Git {
        Git { trust, ..self }
    }

    /// Runs every child under `halt`.
    pub fn under(self, halt: Halt) -> Git {
        Git { halt, ..self }
    }

    /// Returns the repository's directory; what Nix reads.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// Asks an `ssh` or `file` remote where its branch is.
    ///
    /// # Errors
    /// The remote did not answer, refused, or has no such branch.
    pub fn poll(&self, remote: &Remote, limit: Duration) -> Result<CommitId, Failure> {
        let (url, branch) = (&remote.url, &remote.branch);
        let ask = Ask::Poll { remote: remote.clone(), home: self.home() };
        let late = || Trouble::TimedOut(limit).into_failure(url, branch).failure;
        self.ask(&ask, limit, late)
    }

    /// Brings the branch's tip into the repository, makes the repository if there is none, and
    /// says how the tip stands to the mark.
    ///
    /// Only this branch, no tags. What an earlier, killed fetch left behind is swept away first. A
    /// repeat finds everything there, and asks no remote.
    ///
    /// # Errors
    /// `clone-damaged` asks for [`Git::set_aside_and_start_anew`]; after any other failure the
    /// repository is as good as it was before.
    pub fn fetch(
        &self,
        remote: &Remote,
        want: &Want,
        limits: &FetchLimits,
    ) -> Result<Fetched, Failure> {
        let ask = Ask::Fetch {
            repository: self.repository.clone(),
            home: self.home(),
            remote: remote.clone(),
            want: want.clone(),
            trust: self.trust.clone(),
            max_bytes: limits.max_bytes,
        };
        self.ask(&ask, limits.timeout, || says::too_slow(remote, limits.timeout))
    }

    /// Says how the tip stands to the mark.
    ///
    /// # Errors
    /// The repository is damaged, or the tip is not in it.
    pub fn lineage(&self, mark: Option<&CommitId>, tip: &CommitId) -> Result<Lineage, Failure> {
        let (mark, tip) = (mark.cloned(), tip.clone());
        self.ask_own(&Ask::Lineage {
            repository: self.repository.clone(),
            want: Want { tip, mark },
            trust: self.trust.clone(),
        })
    }

    /// Tells whether signatures could be verified now, where they are asked for.
    ///
    /// # Errors
    /// `keys-unusable`
    pub fn keys_are_usable(&self) -> Result<(), Failure> {
        match self.trust.signatures {
            Signatures::Off => Ok(()),
            Signatures::Tip | Signatures::EveryCommit => {
                self.ask_own(&Ask::Keys { trust: self.trust.clone() })
            }
        }
    }

    /// Returns those commits that `tip` is or descends from. Commits that are not in the
    /// repository are not among them.
    ///
    /// # Errors
    /// The repository is damaged, or the tip is not in it.
    pub fn contains(&self, tip: &CommitId, of: &[CommitId]) -> Result<Vec<CommitId>, Failure> {
        let (tip, of) = (tip.clone(), of.to_vec());
        self.ask_own(&Ask::Contains { repository: self.repository.clone(), tip, of })
    }

    /// Holds exactly these commits by refs of their own, beside the tip: the mark, and what is on
    /// trial, so that a force-push does not lose them. Those not in the repository are left out.
    ///
    /// # Errors
    /// The repository is damaged, or cannot be written.
    pub fn keep_only(&self, commits: &[CommitId]) -> Result<(), Failure> {
        let commits = commits.to_vec();
        self.ask_own(&Ask::Keep { repository: self.repository.clone(), commits })
    }

    /// Refuses a commit whose submodules lead anywhere but to remotes. For before an evaluation that
    /// fetches them.
    ///
    /// # Errors
    /// `submodule-refused`; the repository is damaged, or the tip is not in it.
    pub fn check_submodules(&self, tip: &CommitId) -> Result<(), Failure> {
        self.ask_own(&Ask::Submodules { repository: self.repository.clone(), tip: tip.clone() })
    }

    /// Reads everything that the tip's tree holds, and compares it with its name.
    ///
    /// [`Git::fetch`] looks every object of that tree up, which costs some milliseconds and finds
    /// what is missing, but does not read the files' contents: that is what an evaluation does
    /// anyway. So this is for after an evaluation that failed, to tell a damaged disk from a bad
    /// commit.
    ///
    /// # Errors
    /// `clone-damaged`
    pub fn check(&self, tip: &CommitId) -> Result<(), Failure> {
        self.ask_own(&Ask::Check { repository: self.repository.clone(), tip: tip.clone() })
    }

    /// Moves a damaged repository out of the way, for a person to look at; the next fetch makes a
    /// new one. Returns where it is now; `None` if there was none.
    ///
    /// Only the last one is kept: a disk is not to fill up with damaged clones.
    ///
    /// # Errors
    /// It is still where it was.
    pub fn set_aside_and_start_anew(&self) -> Result<Option<PathBuf>, Failure> {
        if std::fs::symlink_metadata(&self.repository).is_err() {
            return Ok(None);
        }
        let aside = self.beside(".damaged");
        let failed = |error: &dyn std::fmt::Display| {
            let name = self.repository.display();
            let message = format!("could not set the repository `{name}` aside: {error}");
            Failure::new(Reason::CLONE_DAMAGED, message)
                .hint(says::FETCHED_ANEW)
                .hint(format!("remove `{name}` by hand: it is fetched anew"))
        };
        if std::fs::symlink_metadata(&aside).is_ok() {
            std::fs::remove_dir_all(&aside).map_err(|error| failed(&error))?;
        }
        std::fs::rename(&self.repository, &aside).map_err(|error| failed(&error))?;
        let parent = self.repository.parent().unwrap_or(Path::new("/"));
        files::sync(parent).map_err(|error| failed(&error))?;
        Ok(Some(aside))
    }

    fn home(&self) -> PathBuf {
        self.repository.with_file_name("git-home")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.repository.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    fn ask_own<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, Failure> {
        self.ask(ask, LOCAL_LIMIT, || {
            let limit = in_words(LOCAL_LIMIT);
            let name = self.repository.display();
            let message = format!("could not read the repository `{name}` within {limit}");
            Failure::new(Reason::INTERNAL, message).hint("is the disk healthy? see `dmesg`")
        })
    }

    fn ask<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        limit: Duration,
        late: impl FnOnce() -> Failure,
    ) -> Result<T, Failure> {
        let broke = |cause: &dyn std::fmt::Display| {
            Failure::new(Reason::INTERNAL, format!("the Git child could not be asked: {cause}"))
        };
        let request = serde_json::to_string(ask).map_err(|error| broke(&error))?;
        let mut program = Program::new(&self.self_exe, limit)
            .arg(CHILD_ARGUMENT)
            .arg(request)
            .env("HOME", self.home())
            .keep_stdout(LONGEST_ANSWER);
        if !ask.speaks_tls() {
            // git2 reads all authorities at its start: 25 ms that only https is worth.
            program = program.env("SSL_CERT_FILE", "/dev/null");
        } else {
            for name in PASSED_ON {
                if let Some(value) = std::env::var_os(name) {
                    program = program.env(name, value);
                }
            }
        }
        let ended = self.halt.run(&program).map_err(|error| broke(&format!("{error:#}")))?;
        read_answer(&ended, ask, late).map_err(|failure| match ended.status {
            // A mapping that the disk has no room for ends in SIGBUS.
            Status::Signal(_) => says::full_disk(&self.repository).unwrap_or(failure),
            Status::Code(_) | Status::TimedOut | Status::Stopped => failure,
        })
    }
}

/// Reads what the child printed. A whole answer counts, however the child ended after it.
fn read_answer<T: DeserializeOwned>(
    ended: &Ended,
    ask: &Ask,
    late: impl FnOnce() -> Failure,
) -> Result<T, Failure> {
    match serde_json::from_slice::<Answer<T>>(&ended.stdout) {
        Ok(Answer::Done(value)) => return Ok(value),
        Ok(Answer::Failed(failure)) => return Err(shown_safely(failure)),
        Err(_) => (),
    }
    let internal = |how: &str| {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = crate::model::text::escaped(said.trim(), 300);
        let colon = if said.is_empty() { "" } else { ": " };
        Failure::new(Reason::INTERNAL, format!("the Git child {how}{colon}{said}"))
    };
    Err(match ended.status {
        Status::TimedOut => late(),
        Status::Stopped => internal("was ended early"),
        // A pack that was cut short under a mapping ends in SIGBUS, damaged objects in whatever
        // libgit2 makes of them: a fresh clone costs little and cures it.
        Status::Signal(signal) if ask.reads_our_repository() => {
            let message = format!(
                "the repository could not be read: the Git child crashed (signal {signal})"
            );
            Failure::new(Reason::CLONE_DAMAGED, message).hint(says::FETCHED_ANEW)
        }
        Status::Signal(signal) => internal(&format!("was ended by signal {signal}")),
        Status::Code(code) => internal(&format!("ended with {code} and without an answer")),
    })
}

/// The child reads what the network sends: what it says is believed no more than that.
fn shown_safely(failure: Failure) -> Failure {
    let safe = |text: &str| crate::model::text::escaped(text, 2000);
    let hint = failure.hint.as_deref().map(safe);
    Failure { message: safe(&failure.message), hint, ..failure }
}

/// Returns what is shown of a remote.
fn shown(remote: &Remote) -> (String, String) {
    (address::shown(&remote.url), crate::model::text::escaped(&remote.branch, 200))
}
