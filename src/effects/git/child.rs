//! The child's main: one question from the arguments, one answer on standard output.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;

use serde::Serialize;

use crate::effects::git::ask::{Answer, Ask};
use crate::effects::git::{Fetched, Want, clone, fetch, lineage, says, tidy};
use crate::model::failure::{Failure, Reason};

/// Only one answer is ever written.
static ANSWERED: Mutex<bool> = Mutex::new(false);

/// Answers one request of [`crate::effects::git::Git`] and ends.
///
/// `json` is the argument after [`crate::effects::git::CHILD_ARGUMENT`]. Exit code 0 means that
/// there is an answer, whatever it says.
pub fn child(json: &str) -> ExitCode {
    let ask = match serde_json::from_str::<Ask>(json) {
        Ok(ask) => ask,
        Err(error) => {
            let message = format!("the request cannot be read: {error}");
            return answer::<()>(Err(Failure::new(Reason::INTERNAL, message)));
        }
    };
    match ask {
        Ask::Poll { remote, home } => answer(fetch::poll(&remote, &home)),
        Ask::Fetch { repository, home, remote, want, max_bytes } => {
            let job = fetch::Job { repository, home, remote: &remote, max_bytes };
            answer(fetch_and_look(&job, &want))
        }
        Ask::Lineage { repository, want } => {
            answer(clone::open(&repository).and_then(|own| lineage::of(&own, &want)))
        }
        Ask::Contains { repository, tip, of } => {
            answer(clone::open(&repository).and_then(|own| lineage::contains(&own, &tip, &of)))
        }
        Ask::Keep { repository, commits } => {
            answer(clone::open(&repository).and_then(|own| clone::keep_only(&own, &commits)))
        }
        Ask::Check { repository, tip } => {
            answer(clone::open(&repository).and_then(|own| clone::check(&own, &tip)))
        }
    }
}

fn fetch_and_look(job: &fetch::Job<'_>, want: &Want) -> Result<Fetched, Failure> {
    let own = clone::open_or_make(&job.repository)?;
    clone::sweep(&own);
    clone::compare_packs(&own)?;
    tidy::tidy(&own);
    let tip = match clone::has(&own, &want.tip) {
        true => clone::hold_tip(&own, &want.tip).map(|()| want.tip.clone())?,
        false => fetch::fetch(&own, job)
            .map_err(|failure| says::full_disk(&job.repository).unwrap_or(failure))?,
    };
    clone::complete(&own, &tip, clone::Depth::Existence)?;
    let lineage = lineage::of(&own, &Want { tip: tip.clone(), mark: want.mark.clone() })?;
    Ok(Fetched { tip, lineage })
}

/// Writes the answer, unless there is one already.
pub fn answer<T: Serialize>(result: Result<T, Failure>) -> ExitCode {
    let answer = match result {
        Ok(value) => Answer::Done(value),
        Err(failure) => Answer::Failed(failure),
    };
    let Ok(text) = serde_json::to_vec(&answer) else { return ExitCode::FAILURE };
    let Ok(mut answered) = ANSWERED.lock() else { return ExitCode::FAILURE };
    if *answered {
        return ExitCode::FAILURE;
    }
    *answered = true;
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(&text).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
