//! What systemd is told about this process. Where there is no systemd, nothing happens.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::scope;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sd_notify::NotifyState;

use crate::model::text::escaped;

/// Longer lines are cut, in characters.
const LONGEST_STATUS: usize = 500;

/// How often [`beating`] shows that we live.
const BEAT: Duration = Duration::from_secs(1);

/// Says that we are up.
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Shows one line: a line end in it would begin the next message to systemd.
pub fn status(text: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(&escaped(text, LONGEST_STATUS))]);
}

/// Shows the watchdog that we live.
pub fn beat() {
    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
}

/// Does one thing and shows the watchdog meanwhile that we live, for at most `limit`: what takes
/// longer hangs, and is the watchdog's to end.
pub fn beating<T: Send>(limit: Duration, work: impl FnOnce() -> T + Send) -> T {
    meanwhile((limit, BEAT), &mut beat, work)
}

fn meanwhile<T: Send>(
    (limit, pause): (Duration, Duration),
    beat: &mut dyn FnMut(),
    work: impl FnOnce() -> T + Send,
) -> T {
    let until = Instant::now() + limit;
    let (sender, ended) = channel::<()>();
    scope(|scope| {
        let working = scope.spawn(move || {
            let done = work();
            drop(sender);
            done
        });
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) && Instant::now() < until
        {
            beat();
        }
        working.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Whether somebody asked this process to end.
#[derive(Clone, Default)]
pub struct AskedToEnd(Arc<AtomicBool>);

impl AskedToEnd {
    /// Notes SIGTERM from now on instead of ending at it. Children are not affected: a handler
    /// does not outlive their exec.
    ///
    /// # Errors
    /// The signal cannot be caught.
    pub fn listen() -> Result<AskedToEnd> {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&flag))
            .context("could not listen to SIGTERM")?;
        Ok(AskedToEnd(flag))
    }

    /// Tells whether SIGTERM came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn beats_go_on_while_something_is_done_and_its_answer_comes_back() {
        let (beats, beaten) = channel();
        let mut beat = || {
            let _ = beats.send(());
        };
        // Two beats end the work.
        let work = move || beaten.iter().take(2).count();
        assert_eq!(meanwhile((Duration::from_secs(60), SHORT), &mut beat, work), 2);
    }

    #[test]
    fn after_the_limit_there_are_no_beats() {
        let mut beats = 0;
        let answer = meanwhile((Duration::ZERO, SHORT), &mut || beats += 1, || {
            sleep(20 * SHORT);
            "late"
        });
        assert_eq!((answer, beats), ("late", 0));
    }
}
