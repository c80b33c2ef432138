//! `trial.json`, as any release may have left it, or a disk.

use std::time::Duration;

use serde_json::Value;

use super::{cut_at, shown};
use crate::activator::record::{Record, Trial, parse};
use crate::activator::report;
use crate::activator::trial::phase::Phase;
use crate::activator::trial::recovery::{Found, recover};
use crate::activator::trial::seen::{Seen, System};
use crate::activator::trial::switched::SwitchEnd;
use crate::activator::trial::{Done, Policy, Proved, Step, advance, decide};

/// No trial goes through more steps, waiting included.
const MOST_STEPS: usize = 400;

/// When the machine goes down under a trial that waits for somebody.
const PATIENCE: usize = 200;

/// Laws: what is read is written and read the same; fields of a newer release stay; damage is told
/// in a line that can be shown; from every phase on record the trial comes to an end, whether
/// everything works or nothing does.
pub fn record(bytes: &[u8]) {
    let record = match parse(bytes) {
        Ok(record) => record,
        Err(unreadable) => return shown(&unreadable.0, cut_at(300)),
    };
    let written = serde_json::to_vec(&record).unwrap();
    assert_eq!(parse(&written).as_ref(), Ok(&record));
    extra_is_kept(bytes, &written);
    let report = report::of(&record, &report::Loader::default());
    let json = serde_json::to_vec(&report).unwrap();
    assert_eq!(serde_json::from_slice::<crate::handover::report::Report>(&json).unwrap(), report);
    if let Some(trial) = &record.trial {
        ends(&record, trial);
    }
}

/// Every field of the file is in the file that is written, at the top and in the trial.
fn extra_is_kept(read: &[u8], written: &[u8]) {
    let read: Value = serde_json::from_slice(read).unwrap();
    let written: Value = serde_json::from_slice(written).unwrap();
    for (read, written) in [(&read, &written), (&read["trial"], &written["trial"])] {
        let Some(fields) = read.as_object() else { continue };
        for name in fields.keys() {
            assert!(written.get(name).is_some(), "`{name}` is lost");
        }
    }
}

fn ends(record: &Record, trial: &Trial) {
    let policy = record.policy(trial);
    for rebooted in [false, true] {
        for system in [System::Old, System::New, System::Both, System::Other] {
            let found = Found { rebooted, system, now: Duration::from_secs(60) };
            let phase = recover(trial.phase.clone(), &found, &policy);
            if !rebooted && system == System::New {
                remembered(record, &phase);
            }
            for works in [true, false] {
                play(phase.clone(), system, works, &policy);
            }
            play(trial.phase.clone(), system, false, &policy);
        }
    }
}

fn remembered(record: &Record, phase: &Phase) {
    if let Phase::Ended(end) = phase {
        let mut record = record.clone();
        record.remember(end, "then");
    }
}

/// Goes on until the end, in a world where every step works, or none.
fn play(mut phase: Phase, system: System, works: bool, policy: &Policy) {
    let mut seen = Seen {
        now: Duration::from_secs(61),
        system,
        profile_moved: false,
        aborted_by: None,
        superseded: false,
        stopping: false,
        checks: Vec::new(),
        lost: Vec::new(),
    };
    for step in 0..MOST_STEPS {
        seen.stopping = step >= PATIENCE;
        let done = match decide(&phase, &seen, policy) {
            Step::Finish | Step::Leave => return,
            Step::Enter(next) => {
                phase = next;
                continue;
            }
            Step::Wait(pause) => {
                // Twice as late each time: however long a window is, it is over some time.
                seen.now = seen.now.saturating_mul(2).saturating_add(pause);
                continue;
            }
            other => done(&other, system, works),
        };
        phase = advance(phase, done, seen.now, policy);
    }
    panic!("it is still at {phase:?}");
}

fn done(step: &Step, system: System, works: bool) -> Done {
    let result = || if works { Ok(()) } else { Err("it does not work".to_owned()) };
    let end = if works { SwitchEnd::Code(0) } else { SwitchEnd::Code(1) };
    match step {
        Step::TakeBaseline => Done::Baseline(Proved::Ready),
        Step::Switch => Done::Switch(end, system),
        Step::Arm => Done::Arm(Ok(())),
        Step::Disarm => Done::Disarm(result()),
        Step::Keep => Done::Keep(result().map(|()| 7)),
        Step::Unkeep => Done::Unkeep(result()),
        Step::Revert => Done::Revert(end, system),
        Step::Reboot => Done::Reboot(result()),
        Step::Enter(_) | Step::Wait(_) | Step::Leave | Step::Finish => {
            unreachable!("nothing is done for it")
        }
    }
}
