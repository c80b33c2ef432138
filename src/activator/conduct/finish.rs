//! The end of a trial: written, shown, and written and shown again when that did not work.
//!
//! Nothing is decided any more. What matters is that everybody learns of it: an agent that is left
//! with the report of a trial that is on would wait for ever, and a record that says `keeping`
//! would make the next start of this process keep again what was kept long ago.

use std::time::Duration;

use anyhow::Result;

use super::{Stage, about, event_of, look_at_the_loader};
use crate::activator::host::Host;
use crate::activator::record::{Record, Trial};
use crate::activator::report;
use crate::activator::trial::phase::End;
use crate::effects::journal::About;
use crate::handover::report::Report;
use crate::model::event::EventKind;

/// How often the record is tried before the end is shown without it.
const FIRST_WRITES: u32 = 3;

/// How often what could not be written is tried in all: a day, with the longest pause.
const LAST_WRITES: u32 = 3000;

/// The longest pause between two tries, in seconds.
const LONGEST_PAUSE_S: u64 = 30;

/// Shows an end that was written, and perhaps not shown because the process was ended just then; or
/// that the record knows of no trial, because it was set aside.
pub fn show<H: Host>(host: &mut H, record: &Record) {
    let loader = look_at_the_loader(host, record);
    host.unroot(loader.loose());
    let report = report::of(record, &loader);
    publish(host, record.trial.as_ref(), &report);
    if let Some((trial, end)) = record.trial.as_ref().and_then(|trial| Some((trial, trial.end()?)))
    {
        tell(host, trial, end);
    }
}

impl<H: Host> Stage<'_, H> {
    /// Writes the end, and only then lets go of what was held for the way back.
    pub(super) fn finish(&mut self, end: &End, at: &str) {
        self.record.trial = Some(self.trial.clone());
        self.record.remember(end, at);
        self.loader = look_at_the_loader(self.host, &self.record);
        let written = self.write(FIRST_WRITES);
        let report = report::of(&self.record, &self.loader);
        publish(self.host, Some(&self.trial), &report);
        tell(self.host, &self.trial, end);
        if !written {
            self.write(LAST_WRITES);
        }
    }

    fn write(&mut self, tries: u32) -> bool {
        let record = self.record.clone();
        let save = &mut |host: &mut H| host.save(&record);
        let written = until_written(self.host, Some(&self.trial), tries, save);
        if written {
            self.host.unroot(self.loader.loose());
        }
        written
    }
}

fn publish<H: Host>(host: &mut H, trial: Option<&Trial>, report: &Report) {
    until_written(host, trial, LAST_WRITES, &mut |host| host.publish(report));
}

fn tell<H: Host>(host: &mut H, trial: &Trial, end: &End) {
    host.say(&format!("{}: {}", end.outcome, end.failure.message));
    host.tell(event_of(end.outcome), about(trial), &end.failure.message);
}

/// Tries to write something, with growing pauses, until the machine goes down; true if it is
/// written.
fn until_written<H: Host>(
    host: &mut H,
    trial: Option<&Trial>,
    tries: u32,
    write: &mut dyn FnMut(&mut H) -> Result<()>,
) -> bool {
    for before in 0..tries {
        match write(host) {
            Ok(()) => return true,
            Err(error) if before == 0 => {
                let message = format!("could not write how the trial ended: {error:#}");
                let about = trial.map_or_else(About::default, about);
                host.tell(EventKind::ActivatorFailed, about, &message);
            }
            Err(_) => {}
        }
        if trial.is_some_and(|trial| host.look(trial).stopping) {
            return false;
        }
        let pause = 1_u64.checked_shl(before).unwrap_or(LONGEST_PAUSE_S).min(LONGEST_PAUSE_S);
        host.wait(Duration::from_secs(pause));
    }
    false
}
