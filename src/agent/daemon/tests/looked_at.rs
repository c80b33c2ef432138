//! Closures that were not kept stay in the store for a while.

use super::*;
use crate::model::deployment::DeploymentId;

/// Pushes a commit whose closure is reverted, and gives its deployment.
async fn reverted(machine: &Shared, letter: char, name: &str) -> u64 {
    machine.borrow_mut().push(letter, name).healthy = false;
    let blocked = machine.borrow().journal.len();
    let told = |m: &Machine| {
        let new = m.journal.iter().skip(blocked);
        new.rev().find(|said| said.kind.name() == "closure-blocked").and_then(|one| one.deployment)
    };
    until(machine, |m| told(m).is_some()).await;
    seconds(1).await;
    told(&machine.borrow()).unwrap().0
}

fn roots(machine: &Shared) -> Vec<u64> {
    machine.borrow().roots.iter().map(|id| id.0).collect()
}

async fn stays_until(person: &Person, id: u64) -> Option<String> {
    match person.says(Ask::ShowDeployment { id: Some(id as i64) }).await.unwrap() {
        Told::Deployment(details) => details.stays_until,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_that_failed_stay_and_go_when_their_time_is_over() {
    let machine = Machine::new();
    let mut settings = settings();
    (settings.history.keep_failed, settings.history.keep_failed_for) =
        (2, Duration::from_secs(24 * 3600));
    live_with(&machine, settings, async |person, machine| {
        let mut ids = Vec::new();
        for (letter, name) in [('a', "one"), ('b', "two"), ('c', "three")] {
            ids.push(reverted(&machine, letter, name).await);
        }
        assert_eq!(roots(&machine), ids[1..]);
        assert_eq!(stays_until(&person, ids[0]).await, None);
        assert!(stays_until(&person, ids[1]).await.is_some());
        seconds(25 * 3600).await;
        assert_eq!(roots(&machine), [0; 0]);
        assert_eq!(stays_until(&person, ids[2]).await, None);
    });
}

#[test]
fn what_only_gave_way_takes_no_place_of_what_failed() {
    let machine = Machine::new();
    live(&machine, async |person, machine| {
        let failed = reverted(&machine, 'a', "one").await;
        person.says(Ask::Pause { reason: String::new() }).await.unwrap();
        for (letter, name) in [('b', "two"), ('c', "three"), ('d', "four"), ('e', "five")] {
            machine.borrow_mut().push(letter, name);
            until(&machine, |m| m.store.contains(&closure(name))).await;
            seconds(30).await;
        }
        let waiting = DeploymentId(failed + 4).0;
        assert_eq!(roots(&machine), [failed, waiting]);
    });
}

#[test]
fn nothing_stays_where_nobody_wants_to_look() {
    let machine = Machine::new();
    let mut settings = settings();
    settings.history.keep_failed = 0;
    live_with(&machine, settings, async |_, machine| {
        reverted(&machine, 'a', "one").await;
        assert_eq!(roots(&machine), [0; 0]);
    });
}
