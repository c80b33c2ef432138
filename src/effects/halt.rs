//! One switch that ends every program that is run under it: for SIGTERM, and for a commit that
//! nobody wants any more.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use crate::effects::process::{Ended, Program, Status, Stop};

/// Ends programs from another thread. Clones are the same switch.
#[derive(Clone, Default)]
pub struct Halt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    halted: bool,
    next: u64,
    running: Vec<(u64, Stop)>,
}

impl Halt {
    /// Ends what runs under it, and whatever is still to be run. A repeat does nothing.
    pub fn halt(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.halted = true;
        for (_, stop) in &state.running {
            stop.stop();
        }
    }

    /// Tells whether it was used.
    pub fn is_halted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).halted
    }

    /// Runs a program to its end, its limit or a halt.
    ///
    /// # Errors
    /// It could not be started. After a halt nothing is started: the answer is
    /// [`Status::Stopped`].
    pub fn run(&self, program: &Program) -> Result<Ended> {
        if self.is_halted() {
            let nothing = Vec::new();
            return Ok(Ended { status: Status::Stopped, stdout: nothing.clone(), stderr: nothing });
        }
        let running = program.start()?;
        let number = self.enter(running.stopper());
        let ended = running.finish();
        self.leave(number);
        ended
    }

    fn enter(&self, stop: Stop) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.halted {
            stop.stop();
        }
        state.next += 1;
        let number = state.next;
        state.running.push((number, stop));
        number
    }

    fn leave(&self, number: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.running.retain(|(other, _)| *other != number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sleep() -> Program {
        Program::new("/bin/sleep", Duration::from_secs(60)).arg("600")
    }

    #[test]
    fn what_runs_is_ended_and_what_comes_later_is_not_started() {
        let halt = Halt::default();
        let other = halt.clone();
        let running = std::thread::spawn(move || other.run(&sleep()).unwrap().status);
        while halt.0.lock().unwrap().running.is_empty() {
            std::thread::yield_now();
        }
        halt.halt();
        assert_eq!(running.join().unwrap(), Status::Stopped);
        assert_eq!(halt.run(&sleep()).unwrap().status, Status::Stopped);
        assert!(halt.0.lock().unwrap().running.is_empty());
    }
}
