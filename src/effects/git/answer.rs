//! The child's one answer on standard output.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;

use serde::Serialize;

use crate::effects::git::ask::Answer;
use crate::model::failure::Failure;

/// Only one answer is ever written.
static ANSWERED: Mutex<bool> = Mutex::new(false);

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
