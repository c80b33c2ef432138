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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::exit::Exit;

    fn away() -> Failed {
        Failed::unreachable(Path::new("/s"), "no such file")
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_stays_away_is_given_up_after_a_minute() {
        let mut contact = Contact::new(Path::new("/s"));
        let began = Instant::now();
        let failed = loop {
            if let Err(failed) = contact.missed(away(), &Progress::None).await {
                break failed;
            }
        };
        assert!(began.elapsed() > AWAY_LIMIT && began.elapsed() < AWAY_LIMIT * 2);
        assert_eq!(
            (failed.exit, failed.to_string().as_str()),
            (
                Exit::Unreachable,
                "could not reach autodeployd at `/s`: no such file (for more than 60 s)\n\n\
                 hint: systemctl status autodeploy"
            )
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_begins_the_minute_anew() {
        let mut contact = Contact::new(Path::new("/s"));
        for _ in 0..10 {
            sleep(AWAY_LIMIT).await;
            contact.missed(away(), &Progress::None).await.unwrap();
            contact.heard();
        }
    }

    #[tokio::test]
    async fn what_is_no_matter_of_patience_comes_back_at_once() {
        let refused = Failed::new("not allowed", "");
        let mut contact = Contact::new(Path::new("/s"));
        assert_eq!(contact.missed(refused.clone(), &Progress::None).await, Err(refused));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_waited_for_from_the_dead() {
        let mut contact = Contact::new(Path::new("/no/such/socket"));
        let never = std::future::pending::<Result<(), Failed>>();
        let failed = contact.patiently(never).await.unwrap_err();
        assert_eq!(failed.exit, Exit::Unreachable);
    }
}
