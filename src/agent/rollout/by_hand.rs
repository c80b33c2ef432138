//! What somebody did past us, as the history and `status` tell it: PURE.
//!
//! It is seen as a level: what came and went between two looks, some seconds apart, leaves no
//! trace, and what was done while the agent was not there is told when it is there again.

use crate::agent::history::{Entry, Fact, Known, Said};
use crate::agent::rollout::{Seen, record};
use crate::config::settings::Drift;
use crate::model::event::EventKind;
use crate::model::store_path::StorePath;

/// `nixos-rebuild switch` sets the profile first, and switches then: only a profile that was set
/// for as long as this was set to be booted.
const STAGED_AFTER_MS: u64 = 30_000;

/// Returns what the profile leads to, if that is neither run nor kept, and has been so for a while.
pub fn staged(seen: &Seen) -> Option<&StorePath> {
    seen.staged_by_hand().filter(|_| seen.profile_stands_ms >= STAGED_AFTER_MS)
}

/// Returns what is new about it, to be written; empty if everything is told.
pub fn news(known: &Known, seen: &Seen) -> Vec<Entry> {
    if seen.on_trial() {
        return Vec::new();
    }
    let mut entries = Vec::new();
    match (seen.drift(), &known.drift_seen) {
        (Some(running), told) if told.as_ref() != Some(running) => {
            let message = switched(running, seen);
            let said = record::said_of_all(EventKind::DriftSeen, &seen.now.text(), message);
            entries.extend(told_of(said, running, Fact::DriftSeen));
        }
        (None, Some(_)) => {
            entries.extend(over("the kept system runs again", Fact::DriftSeen, seen));
        }
        (Some(_) | None, _) => {}
    }
    if seen.drift().is_none() && known.drift_answered.is_some() {
        entries.push(Entry::Fact(Fact::DriftAnswered, None));
    }
    match (staged(seen), &known.staged_seen) {
        (Some(profile), told) if told.as_ref() != Some(profile) => {
            let message = set(profile, seen);
            let said = record::said_of_all(EventKind::StagedByHand, &seen.now.text(), message);
            entries.extend(told_of(said, profile, Fact::StagedSeen));
        }
        (None, Some(_)) if seen.staged_by_hand().is_none() => {
            let message = "the system profile leads to what runs or was kept again";
            entries.extend(over(message, Fact::StagedSeen, seen));
        }
        (Some(_) | None, _) => {}
    }
    entries
}

fn told_of(said: Said, system: &StorePath, fact: Fact) -> [Entry; 2] {
    let said = Said { closure: Some(system.clone()), ..said };
    [Entry::Fact(fact, Some(system.to_string())), Entry::Event(said)]
}

fn over(message: &str, fact: Fact, seen: &Seen) -> [Entry; 2] {
    let said = record::said_of_all(EventKind::DriftOver, &seen.now.text(), message);
    [Entry::Fact(fact, None), Entry::Event(said)]
}

/// Says that somebody switched, with the number that the profile has for it, if it has one.
fn switched(running: &StorePath, seen: &Seen) -> String {
    format!("somebody switched to `{}`{} by hand", running.name(), generation(running, seen))
}

fn set(profile: &StorePath, seen: &Seen) -> String {
    let (name, generation) = (profile.name(), generation(profile, seen));
    format!("somebody set the system profile to `{name}`{generation} by hand")
}

fn generation(system: &StorePath, seen: &Seen) -> String {
    let current = seen.world.profile.as_ref() == Some(system);
    let number = seen.world.profile_generation.filter(|_| current);
    number.map(|number| format!(" (generation {number})")).unwrap_or_default()
}

/// Says all of it, and what follows, for `status`.
pub fn warnings(seen: &Seen, policy: Drift) -> Vec<String> {
    let drift = seen.drift().map(|running| {
        let what = match policy {
            Drift::Report => "the next other closure is deployed over it",
            Drift::Hold => "nothing is deployed until `autodeployctl resume`",
            Drift::Restore => "the kept system is brought back",
        };
        format!("{}: {what}", switched(running, seen))
    });
    let staged = staged(seen).map(|profile| {
        let what = "the next boot may start it, and nothing is tried until then";
        format!("{}: {what}", set(profile, seen))
    });
    drift.into_iter().chain(staged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::host::fake::closure;
    use crate::agent::rollout::World;

    fn seen(running: &str, profile: &str) -> Seen {
        let world = World {
            running: Some(closure(running)),
            profile: Some(closure(profile)),
            profile_generation: Some(7),
            ..World::default()
        };
        let profile_stands_ms = STAGED_AFTER_MS;
        Seen { last_kept: Some(closure("kept")), profile_stands_ms, world, ..Seen::default() }
    }

    #[track_caller]
    fn check(known: &Known, seen: &Seen, expected: &[&str]) {
        let news = news(known, seen);
        let told: Vec<_> = news
            .iter()
            .filter_map(|entry| match entry {
                Entry::Event(said) => Some(said.message.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn each_system_by_hand_is_told_once_and_so_is_its_end() {
        let nothing = Known::default();
        check(&nothing, &seen("kept", "kept"), &[]);
        let by_hand = "somebody switched to `other` (generation 7) by hand";
        check(&nothing, &seen("other", "other"), &[by_hand]);
        // Only the profile's own generation has that number.
        check(&nothing, &seen("other", "kept"), &["somebody switched to `other` by hand"]);
        let told = Known { drift_seen: Some(closure("other")), ..Known::default() };
        check(&told, &seen("other", "other"), &[]);
        check(&told, &seen("third", "kept"), &["somebody switched to `third` by hand"]);
        check(&told, &seen("kept", "kept"), &["the kept system runs again"]);
    }

    #[test]
    fn a_profile_that_was_set_by_hand_is_told_of_its_own() {
        let staged = "somebody set the system profile to `next` (generation 7) by hand";
        check(&Known::default(), &seen("kept", "next"), &[staged]);
        let told = Known { staged_seen: Some(closure("next")), ..Known::default() };
        check(&told, &seen("kept", "next"), &[]);
        let over = "the system profile leads to what runs or was kept again";
        check(&told, &seen("kept", "kept"), &[over]);
        let booted = "somebody switched to `next` (generation 7) by hand";
        check(&told, &seen("next", "next"), &[booted, over]);
    }

    #[test]
    fn what_a_trial_could_not_undo_is_nobodys_hand() {
        use crate::agent::rollout::tests::report_of;
        use crate::model::deployment::{Outcome, Phase};
        let mut seen = seen("kept", "next");
        let mut report = (*report_of(Phase::Reverting)).clone();
        let trial = report.trial.as_mut().unwrap();
        (trial.toplevel, trial.outcome) = (closure("next"), Some(Outcome::Reverted));
        trial.steps = Vec::new();
        seen.world.report = Some(report.clone().into());
        let staged = "somebody set the system profile to `next` (generation 7) by hand";
        check(&Known::default(), &seen, &[staged]);
        let step = crate::handover::report::Step {
            phase: "unkeeping".into(),
            at: "".into(),
            message: "".into(),
        };
        report.trial.as_mut().unwrap().steps.push(step);
        seen.world.report = Some(report.into());
        check(&Known::default(), &seen, &[]);
    }

    #[test]
    fn a_switch_that_has_only_begun_is_not_taken_for_a_staged_system() {
        let early = Seen { profile_stands_ms: STAGED_AFTER_MS - 1, ..seen("kept", "next") };
        check(&Known::default(), &early, &[]);
        let told = Known { staged_seen: Some(closure("next")), ..Known::default() };
        check(&told, &early, &[]);
        assert_eq!(warnings(&early, Drift::Report), [""; 0]);
    }

    #[test]
    fn an_answer_is_forgotten_with_what_it_was_about() {
        let answered = Known { drift_answered: Some(closure("other")), ..Known::default() };
        let forgotten = [Entry::Fact(Fact::DriftAnswered, None)];
        assert_eq!(news(&answered, &seen("kept", "kept")), forgotten);
        let told = Known { drift_seen: Some(closure("other")), ..answered };
        assert_eq!(news(&told, &seen("other", "other")), []);
    }

    #[test]
    fn status_says_what_follows() {
        let warned = |seen: &Seen, policy| warnings(seen, policy).join("; ");
        assert_eq!(warned(&seen("kept", "kept"), Drift::Hold), "");
        assert!(warned(&seen("other", "kept"), Drift::Hold).contains("autodeployctl resume"));
        assert!(warned(&seen("kept", "next"), Drift::Report).contains("the next boot"));
    }
}
