//! The checks of a window: each looked at by a thread of its own, so that one that hangs keeps no
//! other waiting.
//!
//! A check that has given no answer for its limit and a little is red, whatever its thread does.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::activator::trial::seen::CheckSeen;
use crate::effects::clock;
use crate::handover::report::{CheckState, Evidence};

pub mod configured;
pub mod lifeline;
pub mod transient;
pub mod units;

/// What a look may take beyond its own limit: starting and ending a unit.
const GRACE: Duration = Duration::from_secs(3);

/// What one look at one check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Whether it is as it has to be.
    pub good: bool,
    /// One line or a few; escaped by who made it.
    pub message: String,
    /// What a revert would wipe away.
    pub evidence: Vec<Evidence>,
}

impl Sighting {
    /// It is as it has to be.
    pub fn green(message: impl Into<String>) -> Sighting {
        Sighting { good: true, message: message.into(), evidence: Vec::new() }
    }

    /// It is not.
    pub fn red(message: impl Into<String>) -> Sighting {
        Sighting { good: false, message: message.into(), evidence: Vec::new() }
    }
}

/// Something that can be looked at again and again; answers for as many checks as it is for.
pub trait Sight: Send {
    /// Looks once.
    fn look(&mut self) -> Vec<Sighting>;
    /// Tells whether nothing will change any more.
    fn is_settled(&self) -> bool {
        false
    }
}

/// What is looked at, how often, and how long one look may take.
pub struct Watched {
    /// The checks that it answers for, not looked at yet.
    pub checks: Vec<CheckSeen>,
    /// How they are looked at.
    pub sight: Box<dyn Sight>,
    /// The pause between two looks.
    pub interval: Duration,
    /// The limit on one look.
    pub limit: Duration,
}

/// Threads that look, until this is dropped.
pub struct Watching {
    slots: Vec<Arc<Mutex<Slot>>>,
    /// Dropped with this: the end for the threads.
    _stops: Vec<Sender<()>>,
}

struct Slot {
    checks: Vec<CheckSeen>,
    evidence: Vec<Vec<Evidence>>,
    busy_since: Option<Duration>,
    limit: Duration,
}

/// Starts to look. `wake` hears of every look that ended.
pub fn watch(watched: Vec<Watched>, wake: &Sender<()>) -> Watching {
    let mut watching = Watching { slots: Vec::new(), _stops: Vec::new() };
    for one in watched {
        let slot = Arc::new(Mutex::new(Slot {
            evidence: vec![Vec::new(); one.checks.len()],
            checks: one.checks,
            busy_since: None,
            limit: one.limit.saturating_add(GRACE),
        }));
        let (stop, stopped) = channel();
        watching.slots.push(Arc::clone(&slot));
        watching._stops.push(stop);
        let (sight, interval, wake) = (one.sight, one.interval, wake.clone());
        thread::spawn(move || look_on(&slot, sight, interval, (&stopped, &wake)));
    }
    watching
}

fn look_on(
    slot: &Mutex<Slot>,
    mut sight: Box<dyn Sight>,
    interval: Duration,
    (stopped, wake): (&Receiver<()>, &Sender<()>),
) {
    loop {
        locked(slot).busy_since = Some(clock::monotonic());
        let sightings = sight.look();
        locked(slot).take(sightings);
        let _ = wake.send(());
        let pause = if sight.is_settled() { Duration::MAX } else { interval };
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// A thread that panicked leaves a slot that still says what it last said.
fn locked(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    fn take(&mut self, sightings: Vec<Sighting>) {
        let now = clock::monotonic();
        self.busy_since = None;
        for (index, sighting) in sightings.into_iter().enumerate().take(self.checks.len()) {
            let state = if sighting.good { CheckState::Green } else { CheckState::Red };
            change(&mut self.checks[index], state, now, sighting.message);
            if !sighting.evidence.is_empty() {
                self.evidence[index] = sighting.evidence;
            }
        }
    }

    /// Turns what hangs red.
    fn look(&mut self, now: Duration) {
        let Some(since) = self.busy_since else { return };
        if now >= since.saturating_add(self.limit) {
            for check in &mut self.checks {
                let message = format!("gave no answer within {} s", self.limit.as_secs());
                change(check, CheckState::Red, now, message);
            }
        }
    }
}

fn change(check: &mut CheckSeen, state: CheckState, now: Duration, message: String) {
    if check.state != state {
        check.since = now;
    }
    check.state = state;
    check.message = message;
}

impl Watching {
    /// Returns every check as last seen.
    pub fn checks(&self) -> Vec<CheckSeen> {
        let now = clock::monotonic();
        self.slots
            .iter()
            .flat_map(|slot| {
                let mut slot = locked(slot);
                slot.look(now);
                slot.checks.clone()
            })
            .collect()
    }

    /// Returns what was collected about the checks that are not green now.
    pub fn evidence(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        for slot in &self.slots {
            let slot = locked(slot);
            for (check, evidence) in slot.checks.iter().zip(&slot.evidence) {
                if check.state == CheckState::Green {
                    continue;
                }
                let text = match check.message.is_empty() {
                    true => "gave no answer".to_owned(),
                    false => check.message.clone(),
                };
                all.push(Evidence { about: format!("check `{}`", check.name), text });
                all.extend(evidence.iter().cloned());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Severity;

    fn pending(name: &str) -> CheckSeen {
        CheckSeen {
            name: name.to_owned(),
            kind: "tcp".to_owned(),
            severity: Severity::Required,
            excused: false,
            tells: false,
            state: CheckState::Pending,
            since: Duration::ZERO,
            message: String::new(),
        }
    }

    struct Told(Receiver<Sighting>);

    impl Sight for Told {
        fn look(&mut self) -> Vec<Sighting> {
            self.0.recv().into_iter().collect()
        }
    }

    fn told() -> (Sender<Sighting>, Watched) {
        let (sender, told) = channel();
        let watched = Watched {
            checks: vec![pending("web")],
            sight: Box::new(Told(told)),
            interval: Duration::ZERO,
            limit: Duration::from_secs(1),
        };
        (sender, watched)
    }

    #[test]
    fn since_moves_with_the_state_and_not_with_the_look() {
        let mut check = pending("web");
        let s = Duration::from_secs;
        for (state, now, since) in [
            (CheckState::Green, 1, 1),
            (CheckState::Green, 2, 1),
            (CheckState::Red, 3, 3),
            (CheckState::Green, 4, 4),
        ] {
            change(&mut check, state, s(now), String::new());
            assert_eq!(check.since, s(since));
        }
    }

    #[test]
    fn a_look_is_shown_and_its_evidence_kept() {
        let (sender, watched) = told();
        let (wake, woken) = channel();
        let watching = watch(vec![watched], &wake);
        assert_eq!(watching.checks()[0].state, CheckState::Pending);
        let line = Evidence { about: "unit `web.service`".to_owned(), text: "died".to_owned() };
        let red = Sighting { evidence: vec![line.clone()], ..Sighting::red("answered 503") };
        sender.send(red).unwrap();
        woken.recv().unwrap();
        assert_eq!(watching.checks()[0].state, CheckState::Red);
        assert_eq!(watching.evidence()[0].text, "answered 503");
        assert_eq!(watching.evidence()[1], line);
        sender.send(Sighting::green("answered 200")).unwrap();
        woken.recv().unwrap();
        assert_eq!(watching.evidence(), []);
    }

    #[test]
    fn a_hang_is_red_at_its_limit() {
        let mut slot = Slot {
            checks: vec![pending("web")],
            evidence: vec![Vec::new()],
            busy_since: Some(Duration::from_secs(10)),
            limit: Duration::from_secs(5),
        };
        slot.look(Duration::from_millis(14_999));
        assert_eq!(slot.checks[0].state, CheckState::Pending);
        slot.look(Duration::from_secs(15));
        assert_eq!(slot.checks[0].state, CheckState::Red);
        assert_eq!(slot.checks[0].message, "gave no answer within 5 s");
    }
}
