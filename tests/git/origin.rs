//! A repository that is followed, made with Git itself, and our side of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use autodeploy::effects::git::{FetchLimits, Fetched, Git, Want};
use autodeploy::effects::remote::Remote;
use autodeploy::model::commit::CommitId;
use autodeploy::model::failure::Failure;
use tempfile::TempDir;

/// Both sides, in a directory that goes away.
pub struct Both {
    pub directory: TempDir,
    pub origin: PathBuf,
    pub git: Git,
}

pub const LIMITS: FetchLimits =
    FetchLimits { timeout: Duration::from_secs(60), max_bytes: 1 << 30 };

/// Runs Git, with nothing of this machine's configuration.
#[track_caller]
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "An Author")
        .env("GIT_AUTHOR_EMAIL", "author@example")
        .env("GIT_COMMITTER_NAME", "A Committer")
        .env("GIT_COMMITTER_EMAIL", "committer@example")
        .output()
        .expect("these tests need `git`: install it");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Both {
    /// An origin with one commit on `main`, and no repository of ours yet.
    pub fn new() -> Both {
        let directory = tempfile::tempdir().unwrap();
        let origin = directory.path().join("origin");
        std::fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "--quiet", "--initial-branch=main"]);
        let executable = PathBuf::from(env!("CARGO_BIN_EXE_autodeployd"));
        let git = Git::new(executable, directory.path().join("state/repository"));
        let both = Both { directory, origin, git };
        both.commit("flake.nix", "first");
        both
    }

    /// Commits one file on whatever branch the origin is on.
    pub fn commit(&self, file: &str, content: &str) -> CommitId {
        let path = self.origin.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        git(&self.origin, &["add", "--all"]);
        git(&self.origin, &["commit", "--quiet", "--message", content]);
        self.tip()
    }

    pub fn tip(&self) -> CommitId {
        git(&self.origin, &["rev-parse", "HEAD"]).parse().unwrap()
    }

    pub fn file_remote(&self) -> Remote {
        self.remote(&format!("file://{}", self.origin.display()))
    }

    pub fn remote(&self, url: &str) -> Remote {
        Remote {
            url: url.to_owned(),
            branch: "main".to_owned(),
            username: "git".to_owned(),
            ssh_key_file: None,
            token_file: None,
            known_hosts_file: self.directory.path().join("known_hosts"),
        }
    }

    pub fn fetch(&self, remote: &Remote, mark: Option<&CommitId>) -> Result<Fetched, Failure> {
        let want = Want { tip: self.tip(), mark: mark.cloned() };
        self.git.fetch(remote, &want, &LIMITS)
    }

    /// Runs Git on our side.
    #[track_caller]
    pub fn ours(&self, arguments: &[&str]) -> String {
        git(self.git.repository(), arguments)
    }
}

/// Compares a failure's code and sentence, after `DIR` stands for the directory.
#[track_caller]
pub fn assert_failure<T: std::fmt::Debug>(
    result: Result<T, Failure>,
    directory: &Path,
    (reason, message): (&str, &str),
) {
    let failure = result.unwrap_err();
    let seen = failure.message.replace(&directory.display().to_string(), "DIR");
    assert_eq!((failure.reason.as_str(), seen.as_str()), (reason, message));
}
