//! Where the branch may move to: the mark, the introduction, and a person's `reanchor`.

use super::*;
use crate::agent::host::fake::{Behaves, closure, commit};
use crate::handover::mark::Mark;
use crate::model::deployment::Phase;
use crate::model::event::EventKind;
use crate::model::failure::{Failure, Reason};

/// Moves the branch to a commit that exists, or to a new one without a history.
fn force(machine: &Shared, letter: char, name: &str) {
    let mut machine = machine.borrow_mut();
    match machine.remote.contains_key(&commit(letter)) {
        true => machine.tip = Some(commit(letter)),
        false => {
            machine.tip = None;
            machine.push(letter, name);
        }
    }
}

fn reanchor(letter: char) -> Ask {
    Ask::Reanchor { commit: commit(letter).to_string(), reason: "we moved the forge".into() }
}

fn events(machine: &Shared, kind: EventKind) -> Vec<String> {
    let machine = machine.borrow();
    let of_kind = machine.journal.iter().filter(|said| said.kind == kind);
    of_kind.map(|said| said.message.clone()).collect()
}

fn mark(machine: &Shared) -> Mark {
    let known = history(machine).known(None).unwrap();
    Mark { commit: known.mark, reanchored: known.reanchored }
}

fn of(letter: char) -> Mark {
    Mark { commit: Some(commit(letter)), reanchored: None }
}

fn lose_history(machine: &Shared) {
    let directory = machine.borrow().directory.path().to_owned();
    for entry in std::fs::read_dir(directory).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn a_branch_that_goes_back_behind_the_mark_is_refused_with_both_commits_named() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    force(&machine, 'a', "one");
    live(&machine, async |person, _| {
        seconds(15).await;
        let deployment = person.status().deployment.unwrap();
        assert_eq!(deployment.reason.as_deref(), Some("not-a-descendant"));
        let (a, b) = (commit('a'), commit('b'));
        let expected = format!("commit `{a}` does not descend from `{b}`, the last kept commit");
        assert_eq!(deployment.message, expected);
        let hint = deployment.hint.unwrap();
        assert!(hint.contains(&format!("`autodeployctl reanchor {a} --reason …`")), "{hint}");
        assert_eq!(person.status().remote.mark, Some(b.to_string()));
    });
    assert_eq!(machine.borrow().running, closure("two"));
    assert_eq!(events(&machine, EventKind::CommitRefused).len(), 1);
}

#[test]
fn a_refused_tip_costs_a_poll_no_more_than_any_other_and_a_restart_fetches_nothing() {
    let machine = kept(&[('a', "one")]);
    force(&machine, 'e', "elsewhere");
    live(&machine, async |_, machine| {
        until(&machine, |m| m.fetched.contains(&commit('e'))).await;
        seconds(20).await;
    });
    let fetched = machine.borrow().fetched.len();
    for _ in 0..3 {
        live(&machine, async |_, machine| {
            seconds(20).await;
            let (polls, effects) = (machine.borrow().poll_count, machine.borrow().effects);
            seconds(100).await;
            let polls = machine.borrow().poll_count - polls;
            assert!(polls >= 8, "{polls}");
            // A poll, and the lifeline after it: no fetch, no look at the repository, no write.
            assert!(machine.borrow().effects - effects <= 2 * polls as usize + 1);
        });
    }
    assert_eq!(machine.borrow().fetched.len(), fetched);
    assert_eq!(outcomes(&machine), ["a kept healthy", "e failed not-a-descendant"]);
}

#[test]
fn dropping_a_bad_commit_that_was_never_kept_is_fine() {
    let machine = kept(&[('a', "one")]);
    machine.borrow_mut().push('b', "bad").healthy = false;
    live(&machine, async |_, machine| {
        until(&machine, |m| !m.activator.record.reverted.is_empty()).await;
        seconds(5).await;
        machine.borrow_mut().tip = Some(commit('a'));
        seconds(30).await;
        machine.borrow_mut().push('c', "three");
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        seconds(5).await;
    });
    let expected = ["a kept healthy", "b reverted unhealthy", "c kept healthy"];
    assert_eq!(outcomes(&machine), expected);
    assert_eq!(mark(&machine), of('c'));
}

#[test]
fn a_branch_that_is_forced_back_and_forth_ends_in_the_right_place() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    live(&machine, async |person, machine| {
        // What was refused last is the deployment that is shown; what was refused before, a warning.
        for (letter, shown, warned) in [
            ('e', true, false),
            ('b', false, false),
            ('a', true, false),
            ('e', false, true),
            ('b', false, false),
        ] {
            force(&machine, letter, "elsewhere");
            seconds(30).await;
            let tip = commit(letter).to_string();
            let status = person.status();
            assert_eq!(status.remote.tip, Some(tip));
            let deployment = status.deployment.unwrap();
            let of_the_tip = deployment.commit.as_ref() == status.remote.tip.as_ref();
            let refused = deployment.reason.as_deref() == Some("not-a-descendant");
            assert_eq!(of_the_tip && refused, shown, "{letter}: {deployment:?}");
            let warning = status.warnings.iter().any(|said| said.starts_with("the tip is refused"));
            assert_eq!(warning, warned, "{letter}: {:?}", status.warnings);
            assert_eq!(machine.borrow().running, closure("two"), "{letter}");
        }
        machine.borrow_mut().push('c', "three");
        until(&machine, |m| m.profile == Some(closure("three"))).await;
        seconds(5).await;
        // What was kept before the mark, and what was refused before that, is refused by its name.
        for letter in ['b', 'e'] {
            force(&machine, letter, "");
            seconds(30).await;
            let message = person.status().deployment.unwrap().message;
            let expected =
                format!("commit `{}` does not descend from `{}`", commit(letter), commit('c'));
            assert!(message.starts_with(&expected), "{message}");
        }
    });
    assert_eq!(mark(&machine), of('c'));
}

#[test]
fn without_a_mark_the_tip_has_to_descend_from_the_introduction() {
    for (introduction, kept) in [('a', true), ('b', true), ('e', false)] {
        let machine = Machine::new();
        machine.borrow_mut().push('a', "one");
        machine.borrow_mut().push('b', "two");
        let mut settings = settings();
        settings.source.introduction = Some(commit(introduction));
        live_with(&machine, settings, async |person, machine| {
            seconds(60).await;
            let status = person.status();
            if kept {
                assert_eq!(machine.borrow().running, closure("two"));
                assert_eq!(status.remote.mark, Some(commit('b').to_string()));
                return;
            }
            let message = status.deployment.unwrap().message;
            let (b, e) = (commit('b'), commit('e'));
            let expected = format!(
                "commit `{b}` does not descend from `{e}`, the commit that `trust.introduction` \
                 names, which the branch of the remote does not have"
            );
            assert_eq!(message, expected);
            assert_eq!(machine.borrow().fetched.len(), 1);
        });
        // Another introduction is another question.
        let mut settings = self::settings();
        settings.source.introduction = Some(commit('a'));
        live_with(&machine, settings, async |_, machine| {
            until(&machine, |m| m.running == closure("two")).await;
            seconds(5).await;
        });
        assert_eq!(mark(&machine), of('b'));
    }
}

#[test]
fn the_first_tip_is_believed_with_a_warning_until_another_was_kept() {
    let machine = Machine::new();
    let believed = |person: &Person, what: &str| {
        person.status().warnings.iter().any(|warning| warning.contains(what))
    };
    live(&machine, async |person, machine| {
        seconds(15).await;
        assert!(believed(&person, "the first tip is believed as it is"));
        machine.borrow_mut().push('a', "one");
        until(&machine, |m| m.profile == Some(closure("one"))).await;
        seconds(5).await;
        assert!(!believed(&person, "the first tip is believed as it is"));
        assert!(believed(&person, "because it was the first"));
        machine.borrow_mut().push('b', "two");
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        seconds(5).await;
        assert!(!believed(&person, "because it was the first"));
    });
    assert_eq!(events(&machine, EventKind::MarkMoved).len(), 1);
}

#[test]
fn reanchor_believes_a_rewritten_branch_once() {
    let machine = kept(&[('a', "one")]);
    live(&machine, async |person, machine| {
        force(&machine, 'e', "elsewhere");
        seconds(30).await;
        // The old commit is gone from the remote.
        machine.borrow_mut().remote.remove(&commit('a'));
        assert_eq!(person.orders(reanchor('e')).await, Some(3));
        let warned = person.status().warnings.join(" ");
        until(&machine, |m| m.profile == Some(closure("elsewhere"))).await;
        seconds(5).await;
        assert_eq!(person.status().remote.mark, Some(commit('e').to_string()));
        assert!(!person.status().warnings.join(" ").contains("reanchor"), "{warned}");
        // Once: the next one is refused again.
        force(&machine, 'd', "third");
        seconds(30).await;
        let deployment = person.status().deployment.unwrap();
        assert_eq!(deployment.reason.as_deref(), Some("not-a-descendant"));
    });
    let expected = [
        "a kept healthy",
        "e failed not-a-descendant",
        "e kept healthy",
        "d failed not-a-descendant",
    ];
    assert_eq!(outcomes(&machine), expected);
    let (a, e) = (commit('a'), commit('e'));
    let told = format!("uid 1000 moved the mark by hand from `{a}` to `{e}`: we moved the forge");
    assert_eq!(events(&machine, EventKind::Reanchored), [told]);
    assert_eq!(mark(&machine), of('e'));
}

#[test]
fn reanchor_survives_a_restart_and_the_loss_of_the_history_until_something_is_kept() {
    for lost in [false, true] {
        let machine = kept(&[('a', "one")]);
        force(&machine, 'e', "elsewhere");
        machine.borrow_mut().remote.get_mut(&commit('e')).unwrap().healthy = false;
        live(&machine, async |person, machine| {
            seconds(30).await;
            person.says(reanchor('e')).await.unwrap();
            until(&machine, |m| !m.activator.record.reverted.is_empty()).await;
            seconds(5).await;
        });
        let moved = Mark { commit: Some(commit('a')), reanchored: Some(commit('e')) };
        assert_eq!(mark(&machine), moved);
        assert_eq!(machine.borrow().activator.record.mark, Some(moved.clone()));
        if lost {
            lose_history(&machine);
        }
        live(&machine, async |person, machine| {
            seconds(5).await;
            assert!(person.status().warnings.join(" ").contains("in the place of the last kept"));
            // Neither the old branch nor a third one counts now.
            force(&machine, '9', "other");
            seconds(30).await;
            let message = person.status().deployment.unwrap().message;
            assert!(
                message.contains("the commit that `autodeployctl reanchor` named"),
                "{message}"
            );
            machine.borrow_mut().tip = Some(commit('e'));
            machine.borrow_mut().push('d', "mended");
            until(&machine, |m| m.profile == Some(closure("mended"))).await;
            seconds(5).await;
        });
        assert_eq!(mark(&machine), of('d'));
        assert_eq!(machine.borrow().activator.record.mark, Some(of('d')));
    }
}

#[test]
fn a_trial_of_the_old_branch_that_is_kept_meanwhile_does_not_answer_a_reanchor() {
    let machine = kept(&[('a', "one")]);
    machine.borrow_mut().push('b', "two");
    machine.borrow_mut().activator.holds = Some(Phase::Watching);
    live(&machine, async |person, machine| {
        until(&machine, |m| m.running == closure("two")).await;
        force(&machine, 'e', "elsewhere");
        person.says(reanchor('e')).await.unwrap();
        machine.borrow_mut().activator.holds = None;
        until(&machine, |m| m.profile == Some(closure("two"))).await;
        until(&machine, |m| m.profile == Some(closure("elsewhere"))).await;
        seconds(5).await;
    });
    assert_eq!(mark(&machine), of('e'));
    assert_eq!(machine.borrow().activator.record.mark, Some(of('e')));
}

#[test]
fn nonsense_is_not_reanchored_to() {
    let machine = kept(&[('a', "one")]);
    force(&machine, 'e', "elsewhere");
    live(&machine, async |person, machine| {
        seconds(20).await;
        let says = |commit: &str, reason: &str| {
            person.says(Ask::Reanchor { commit: commit.into(), reason: reason.into() })
        };
        let hint = format!("`autodeployctl reanchor {} --reason …`", commit('e'));
        for wrong in ["main", "xxxxxxxx", "\x1b[2J", commit('f').as_str()] {
            let refusal = says(wrong, "why").await.unwrap_err();
            let Refusal::NotFound { message, hint: said } = refusal else { panic!("{wrong}") };
            assert!(said.contains(&hint) && !message.contains('\x1b'), "{message}: {said}");
        }
        let nothing = says(commit('e').as_str(), " \n").await.unwrap_err();
        assert!(matches!(nothing, Refusal::NotPossible { .. }), "{nothing:?}");
        machine.borrow_mut().polls =
            Behaves::Fails(Failure::new(Reason::UNREACHABLE, "no route").hint("ask the router"));
        let away = says(commit('e').as_str(), "why").await.unwrap_err();
        assert_eq!(away.words(), ("no route", "ask the router"));
        machine.borrow_mut().polls = Behaves::Well;
        // What is the mark already is nothing to do, and no event.
        machine.borrow_mut().tip = Some(commit('a'));
        assert_eq!(person.orders(reanchor('a')).await, None);
    });
    assert_eq!(events(&machine, EventKind::Reanchored), [""; 0]);
    assert_eq!(mark(&machine), of('a'));
}

#[test]
fn a_reason_is_one_line_of_bounded_length() {
    let machine = kept(&[('a', "one")]);
    force(&machine, 'e', "elsewhere");
    live(&machine, async |person, _| {
        seconds(20).await;
        let reason = format!("why\n<3>forged: {}", "x".repeat(5000));
        let order = Ask::Reanchor { commit: commit('e').to_string(), reason };
        person.says(order).await.unwrap();
    });
    let told = events(&machine, EventKind::Reanchored);
    assert!(told[0].contains(r"why\u{a}<3>forged") && told[0].len() < 500, "{told:?}");
}

#[test]
fn a_reanchor_waits_for_the_poll_that_sees_what_was_pushed_a_moment_ago() {
    let machine = kept(&[('a', "one")]);
    live(&machine, async |person, machine| {
        seconds(12).await;
        force(&machine, 'e', "elsewhere");
        person.says(reanchor('e')).await.unwrap();
        until(&machine, |m| m.profile == Some(closure("elsewhere"))).await;
        seconds(5).await;
    });
    assert_eq!(outcomes(&machine).last().unwrap(), "e kept healthy");
}

/// Root's copy of the mark is the agent's after each of the ways in which something is kept.
#[test]
fn root_remembers_the_mark_in_every_way_of_keeping() {
    let machine = kept(&[('a', "one"), ('b', "two")]);
    let same = |machine: &Shared, expected: Mark, way: &str| {
        assert_eq!(mark(machine), expected, "{way}");
        assert_eq!(machine.borrow().activator.record.mark, Some(expected), "{way}");
    };
    same(&machine, of('b'), "trials");
    machine.borrow_mut().push('c', "two");
    live(&machine, async |_, _| seconds(30).await);
    assert_eq!(outcomes(&machine)[2], "c kept already-running");
    same(&machine, of('c'), "already running");
    live(&machine, async |person, machine| {
        person.orders(Ask::Rollback { generation: Some(1) }).await;
        until(&machine, |m| m.profile == Some(closure("base"))).await;
        seconds(5).await;
    });
    same(&machine, of('c'), "a rollback by hand to what no commit brought");
    machine.borrow_mut().push('d', "bad").healthy = false;
    live(&machine, async |_, machine| {
        until(&machine, |m| !m.activator.record.reverted.is_empty()).await;
        seconds(30).await;
    });
    same(&machine, of('c'), "a revert");
    machine.borrow_mut().running = closure("by-hand");
    machine.borrow_mut().profile = Some(closure("by-hand"));
    let mut settings = settings();
    settings.activation.drift = crate::config::settings::Drift::Restore;
    live_with(&machine, settings, async |_, machine| {
        until(&machine, |m| m.running == closure("base")).await;
        seconds(30).await;
    });
    same(&machine, of('c'), "drift that was brought back");
    // What no trial told it is told once.
    assert_eq!(machine.borrow().marks, [of('c')]);
    lose_history(&machine);
    live(&machine, async |_, _| seconds(30).await);
    assert_eq!(mark(&machine), of('c'));
}

#[test]
fn a_record_that_was_lost_is_told_the_mark_again() {
    let machine = kept(&[('a', "one")]);
    machine.borrow_mut().activator.record = Default::default();
    live(&machine, async |_, _| seconds(30).await);
    assert_eq!(machine.borrow().activator.record.mark, Some(of('a')));
    assert_eq!(machine.borrow().marks.len(), 1);
}

#[test]
fn an_activator_of_the_release_before_is_told_now_and_then_and_believed_by_what_it_kept() {
    let machine = kept(&[('a', "one")]);
    live(&machine, async |_, machine| {
        machine.borrow_mut().activator.record.mark = None;
        machine.borrow_mut().activator.dead = true;
        let report = machine.borrow().activator.record.clone();
        machine.borrow_mut().report = Some(Rc::new(report));
        seconds(1500).await;
        assert_eq!(machine.borrow().marks.len(), 3);
    });
    lose_history(&machine);
    live(&machine, async |_, _| seconds(30).await);
    assert_eq!(mark(&machine), of('a'));
}
