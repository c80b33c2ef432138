//! How the agent asks a remote where the branch is, without fetching anything.
//!
//! An `http(s)` remote is asked in-process, because a child for every poll would cost more than
//! the whole agent does otherwise; `ssh` and `file` are asked by the Git child, because only
//! libgit2 speaks them. Either way the answer comes within the limit or there is none.

pub mod address;
pub mod answer;
mod connection;
pub(crate) mod http;
pub mod pkt_line;
pub mod trouble;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::settings::Source;
use crate::effects::git::Git;
use crate::effects::remote::address::Scheme;
use crate::effects::remote::http::Http;
pub use crate::effects::remote::trouble::PollFailure;
use crate::effects::remote::trouble::Trouble;
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};

/// A branch somewhere else, and what is needed to ask for it. Holds paths of secrets, never one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// `https://`, `http://`, `ssh://` or `file://`; without a password in it.
    pub url: String,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The user name that goes with the key or the token.
    pub username: String,
    /// The private key for `ssh://`.
    pub ssh_key_file: Option<PathBuf>,
    /// The password or token for `http(s)://`.
    pub token_file: Option<PathBuf>,
    /// The host keys that are believed for `ssh://`.
    pub known_hosts_file: PathBuf,
}

impl From<&Source> for Remote {
    fn from(source: &Source) -> Remote {
        Remote {
            url: source.url.clone(),
            branch: source.branch.clone(),
            username: source.username.clone(),
            ssh_key_file: source.ssh_key_file.clone(),
            token_file: source.token_file.clone(),
            known_hosts_file: source.known_hosts_file.clone(),
        }
    }
}

/// A good poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// Where the branch is now.
    pub tip: CommitId,
}

/// Polls, and keeps what makes the next poll cheap: connection, TLS context, known protocol.
pub struct RefPoll {
    git: Git,
    http: Http,
}

impl RefPoll {
    /// Makes one; `git` is how the child is started for `ssh` and `file`.
    pub fn new(git: Git) -> RefPoll {
        RefPoll { git, http: Http::default() }
    }

    /// Asks once, within `limit`. Has to be called in a tokio runtime with time and I/O enabled.
    ///
    /// May be dropped at any moment; a repeat asks again.
    ///
    /// # Errors
    /// The remote did not answer, refused, or has no such branch.
    pub async fn tip(&mut self, remote: &Remote, limit: Duration) -> Result<Polled, PollFailure> {
        match address::scheme(&remote.url) {
            Some(Scheme::Http | Scheme::Https) => {
                let asked = tokio::time::timeout(limit, self.http.tip(remote, limit)).await;
                let tip = asked.unwrap_or(Err(Trouble::TimedOut(limit)));
                let tip =
                    tip.map_err(|trouble| trouble.into_failure(&remote.url, &remote.branch))?;
                Ok(Polled { tip })
            }
            Some(Scheme::Ssh | Scheme::File) | None => {
                let (git, remote) = (self.git.clone(), remote.clone());
                let asked = tokio::task::spawn_blocking(move || git.poll(&remote, limit)).await;
                let broke = |_| Failure::new(Reason::INTERNAL, "the poll did not come to its end");
                Ok(Polled { tip: asked.map_err(broke)?? })
            }
        }
    }
}
