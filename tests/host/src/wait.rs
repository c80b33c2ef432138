//! Waits for levels, never for edges.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The shortest and the longest pause between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));

/// Asks again and again until the answer is there or the limit is over.
///
/// An error of the question counts as "not yet"; the last one is told when the limit is over.
///
/// # Errors
/// Fails when the limit is over.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    let mut last;
    loop {
        let asked = Instant::now();
        match question() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => last = None,
            Err(error) => last = Some(error),
        }
        if Instant::now() >= deadline {
            break;
        }
        // Most questions start programs, and several cases ask at once: what is asked about has to get
        // on meanwhile.
        thread::sleep((4 * asked.elapsed()).clamp(PAUSES.0, PAUSES.1));
    }
    match last {
        Some(error) => bail!("waited {limit:?} for {what}: {error:#}"),
        None => bail!("waited {limit:?} for {what}"),
    }
}

/// Waits until a statement is true.
///
/// # Errors
/// Fails when it is not true within the limit.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut statement: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_for(what, limit, || Ok(statement()?.then_some(())))
}
