//! Patience with an agent that goes away: a trial restarts it, and so does its own upgrade.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::progress::Progress;

/// Away for longer than this is gone.
pub const AWAY_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two tries to reach it.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// After this long without a word, it is asked whether it still lives.
pub const SILENCE: Duration = Duration::from_secs(20);

/// When autodeployd was last heard of.
pub struct Contact {
    socket: PathBuf,
    heard: Instant,
    missed: bool,
}

impl Contact {
    /// Begins with now.
    pub fn new(socket: &Path) -> Contact {
        Contact { socket: socket.to_owned(), heard: Instant::now(), missed: false }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Notes a sign of life.
    pub fn heard(&mut self) {
        self.heard = Instant::now();
        self.missed = false;
    }

    /// Waits a moment before the next try, and says once that it is away.
    ///
    /// # Errors
    /// `failed`, if that is no matter of patience, or if it has been away for too long.
    pub async fn missed(&mut self, failed: Failed, progress: &Progress) -> Result<(), Failed> {
        if !failed.is_unreachable() {
            return Err(failed);
        }
        if self.heard.elapsed() > AWAY_LIMIT {
            let message = format!("{} (for more than {} s)", failed.message, AWAY_LIMIT.as_secs());
            return Err(Failed { message, ..failed });
        }
        if !self.missed {
            self.missed = true;
            progress.say("autodeployd is away, waiting for it to come back");
        }
        sleep(RETRY_PAUSE).await;
        Ok(())
    }

    /// Waits for an answer that may take its time, as long as autodeployd lives meanwhile.
    ///
    /// # Errors
    /// It has not given a sign of life for [`AWAY_LIMIT`].
    pub async fn patiently<T>(
        &mut self,
        answer: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let mut answer = std::pin::pin!(answer);
        let mut next = Instant::now() + SILENCE;
        loop {
            tokio::select! {
                answer = &mut answer => {
                    self.heard();
                    return answer;
                }
                () = sleep_until(next) => match alive(&self.socket).await {
                    Ok(()) => self.heard(),
                    Err(failed) if self.heard.elapsed() > AWAY_LIMIT => return Err(failed),
                    Err(_) => {}
                },
            }
            next = Instant::now() + SILENCE;
        }
    }
}

async fn alive(socket: &Path) -> Result<(), Failed> {
    Link::open(socket).await?.status().await.map(drop)
}
