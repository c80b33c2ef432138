//! A trial that nobody is at work on any more, as the agent sees it: its report stands still.

use super::*;
use crate::agent::host::fake::{closure, commit};
use crate::model::deployment::Phase;

#[test]
fn the_activator_is_started_for_a_trial_that_stands_still_again_and_again() {
    for (phase, healthy, expected) in [
        (Phase::Baseline, true, "a kept healthy"),
        (Phase::Switching, true, "a kept healthy"),
        (Phase::Watching, true, "a kept healthy"),
        (Phase::Reverting, false, "a reverted unhealthy"),
    ] {
        let machine = Machine::new();
        machine.borrow_mut().push('a', "one").healthy = healthy;
        machine.borrow_mut().activator.holds = Some(phase);
        live(&machine, async |_, machine| {
            let stands = |m: &Machine| m.activator.record.trial.as_ref().map(|trial| trial.phase);
            until(&machine, |m| stands(m) == Some(phase)).await;
            // One came before the request.
            seconds(590).await;
            assert_eq!(machine.borrow().announced, 1, "{phase}");
            seconds(20).await;
            assert_eq!(machine.borrow().announced, 2, "{phase}");
            seconds(600).await;
            assert_eq!(machine.borrow().announced, 3, "{phase}");
            machine.borrow_mut().activator.holds = None;
            seconds(1300).await;
            assert_eq!(machine.borrow().announced, 3, "{phase}");
        });
        assert_eq!(outcomes(&machine), [expected], "{phase}");
    }
}

#[test]
fn a_trial_that_goes_on_and_one_that_waits_for_a_reboot_are_left_alone() {
    let machine = Machine::new();
    machine.borrow_mut().push('a', "one");
    live(&machine, async |_, machine| {
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(1300).await;
        // One comes before each request, while the closure is realised.
        assert_eq!(machine.borrow().announced, 1);
        machine.borrow_mut().push('b', "two");
        machine.borrow_mut().reboot_reasons = vec!["the kernel differs".into()];
        until(&machine, |m| m.evaluated.contains(&commit('b'))).await;
        seconds(1300).await;
        assert_eq!(machine.borrow().announced, 2);
    });
    assert_eq!(outcomes(&machine), ["a kept healthy", "b armed"]);
}
