//! The loop on a machine in memory: whole trials, faults in every phase, and the power-cut sweep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::activator::conduct::conduct;
use crate::activator::host::Host;
use crate::activator::host::fake::{Cut, Fake, Fault, no_way_back};
use crate::activator::record::tests::{path, request};
use crate::activator::record::{Record, Trial, parse};
use crate::activator::trial::switched::SwitchEnd;
use crate::handover::request::Request;

mod boot_tests;
mod default_tests;

/// The service's part: takes the request, writes the record.
fn ask(fake: &mut Fake) {
    let mut record =
        fake.record.as_ref().map_or_else(Record::default, |bytes| parse(bytes).unwrap());
    let (boot_id, at) = (fake.boot_id(), fake.wall());
    let request = Request { boot_id: boot_id.clone(), ..request() };
    record.trial = Some(Trial::new(request, boot_id, at));
    let _ = fake.save(&record);
}

/// The trial process, from what is on disk to its end.
fn run(fake: &mut Fake) {
    if let Some(bytes) = fake.record.clone() {
        conduct(fake, parse(&bytes).unwrap());
    }
}

/// Asks, and lets the trial run, over reboots that it asked for itself.
fn deploy(fake: &mut Fake) {
    ask(fake);
    run(fake);
    finish_reboots(fake);
}

/// The reboots that a trial asks for itself, or that a person makes once it is armed.
fn finish_reboots(fake: &mut Fake) {
    for _ in 0..3 {
        if fake.stopping {
            fake.reset();
            run(fake);
        }
    }
}

fn record(fake: &Fake) -> Record {
    parse(fake.record.as_ref().unwrap()).unwrap()
}

/// Outcome, reason and the chain of phases.
fn story(fake: &Fake) -> String {
    let trial = record(fake).trial.unwrap();
    let phases: Vec<_> = trial.steps.iter().map(|step| step.phase.as_str()).collect();
    match trial.end() {
        Some(end) => format!("{} {}: {}", end.outcome, end.failure.reason, phases.join(" ")),
        None => format!("on: {}", phases.join(" ")),
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Fake), expected: &str) -> Fake {
    let mut fake = Fake::default();
    change(&mut fake);
    deploy(&mut fake);
    assert_eq!(story(&fake), expected);
    let loose = (fake.loader != fake.profile().toplevel).then(|| fake.loader.clone());
    assert_eq!(fake.roots, loose.into_iter().collect(), "nothing else is held");
    fake
}

#[track_caller]
fn settled(fake: &Fake, on: char) {
    let all = (&fake.running, fake.profile().toplevel, &fake.loader);
    assert_eq!(all, (&path(on), path(on), &path(on)));
    assert_eq!((&fake.armed, &fake.entry, fake.in_menu), (&None, &None, false));
}

const REVERTED: &str = "requested baseline switching watching reverting rechecking ended";

#[test]
fn a_good_closure_is_kept() {
    let fake = check(|_| {}, "kept healthy: requested baseline switching watching keeping ended");
    settled(&fake, 'b');
    let report = fake.report.unwrap();
    assert_eq!(report.boot_default.unwrap().generation, Some(42));
    assert_eq!(report.last_kept.unwrap().generation, 42);
}

#[test]
fn an_unhealthy_closure_is_reverted_with_evidence_and_refused() {
    let fake = check(|fake| fake.healthy = false, &format!("reverted unhealthy: {REVERTED}"));
    settled(&fake, 'a');
    let record = record(&fake);
    assert_eq!(record.reverted[0].toplevel, path('b'));
    assert_eq!(record.trial.unwrap().evidence[0].text, "answered 503");
}

#[test]
fn a_failed_activation_cannot_hide_behind_a_failed_unit() {
    let ends =
        |codes: [i32; 2]| move |fake: &mut Fake| fake.to_new.extend(codes.map(SwitchEnd::Code));
    let fake = check(ends([4, 2]), &format!("reverted activation-failed: {REVERTED}"));
    settled(&fake, 'a');
    let kept = "kept healthy: requested baseline switching watching keeping ended";
    settled(&check(ends([4, 0]), kept), 'b');
    settled(&check(ends([4, 4]), kept), 'b');
}

#[test]
fn a_forge_outage_acquits_the_closure() {
    let fake = check(|fake| fake.forge_up = false, &format!("reverted environment: {REVERTED}"));
    settled(&fake, 'a');
    assert_eq!(record(&fake).reverted, []);
    assert_eq!(record(&fake).counts[0].acquittals, 1);
}

#[test]
fn each_fault_has_its_chain_of_phases() {
    let none = "requested baseline ended";
    check(
        |fake| fake.refusal = Some((no_way_back(), false)),
        &format!("failed no-way-back: {none}"),
    );
    check(|fake| fake.fault(Fault::Root), &format!("failed no-way-back: {none}"));
    check(|fake| fake.aborted_by = Some(1), &format!("aborted by-operator: {none}"));
    check(|fake| fake.stopping = true, "interrupted shutdown: requested ended");
    let locked = "failed lock-held: requested baseline switching ended";
    check(|fake| fake.to_new.push_back(SwitchEnd::Code(11)), locked);
    check(
        |fake| fake.once_watched = Some(|fake| fake.running = path('c')),
        "interrupted someone-else-switched: requested baseline switching watching ended",
    );
}

#[track_caller]
fn failing_switch(end: SwitchEnd, reason: &str) {
    let story =
        format!("reverted {reason}: requested baseline switching reverting rechecking ended");
    let fake = check(|fake| fake.to_new.push_back(end), &story);
    settled(&fake, 'a');
    assert_eq!(record(&fake).reverted[0].toplevel, path('b'));
}

#[test]
fn a_switch_that_fails_is_reverted() {
    failing_switch(SwitchEnd::Code(1), "switch-failed");
    failing_switch(SwitchEnd::Code(2), "activation-failed");
    failing_switch(SwitchEnd::Code(101), "switch-failed");
    failing_switch(SwitchEnd::Signal(9), "switch-failed");
    failing_switch(SwitchEnd::TimedOut { limit: Duration::from_secs(600) }, "switch-timeout");
}

#[track_caller]
fn failing_to_keep(fault: Fault) {
    let fake = check(
        |fake| fake.fault(fault),
        "reverted bootloader: requested baseline switching watching keeping keeping keeping \
         unkeeping reverting rechecking ended",
    );
    settled(&fake, 'a');
    assert_eq!(record(&fake).counts[0].strikes, 1);
}

#[test]
fn a_profile_that_somebody_sets_while_a_system_is_kept_is_set_again() {
    let by_hand = |fake: &mut Fake| fake.current = 41;
    let chain = "requested baseline switching watching keeping keeping ended";
    let fake = check(|fake| fake.while_keeping = Some(by_hand), &format!("kept healthy: {chain}"));
    settled(&fake, 'b');
}

#[test]
fn what_cannot_be_made_the_default_is_undone_and_reverted() {
    failing_to_keep(Fault::SetProfile);
    failing_to_keep(Fault::BootNew);
    failing_to_keep(Fault::LoaderStands);
}

#[test]
fn an_old_system_that_cannot_be_activated_is_booted_once() {
    let broken = |count| {
        move |fake: &mut Fake| {
            fake.healthy = false;
            fake.to_old = std::iter::repeat_n(SwitchEnd::Code(2), count).collect();
        }
    };
    check(
        broken(2),
        "reverted unhealthy: requested baseline switching watching reverting reverting reverting rechecking ended",
    );
    let fake = check(
        broken(3),
        "reverted unhealthy: requested baseline switching watching reverting reverting reverting \
         rebooting rebooting rechecking ended",
    );
    assert_eq!(fake.boots, 2);
}

#[test]
fn a_unit_that_does_not_come_back_leads_to_one_reboot_and_an_alarm() {
    let fake = check(
        |fake| {
            fake.healthy = false;
            fake.faults.insert(Fault::Unit);
        },
        "revert-failed local-fact-lost: requested baseline switching watching reverting \
         rechecking rebooting rebooting rechecking ended",
    );
    assert_eq!(fake.boots, 2);
    settled(&fake, 'a');
}

#[test]
fn a_reboot_that_nobody_takes_ends_in_an_alarm() {
    let fake = check(
        |fake| {
            fake.healthy = false;
            fake.faults.extend([Fault::Unit, Fault::Reboot]);
        },
        "revert-failed too-many-attempts: requested baseline switching watching reverting \
         rechecking rebooting rebooting rebooting rebooting ended",
    );
    assert_eq!(fake.boots, 1);
}

#[test]
fn without_a_record_nothing_is_switched() {
    let mut fake = Fake::default();
    ask(&mut fake);
    fake.faults.insert(Fault::Save);
    run(&mut fake);
    settled(&fake, 'a');
    let report = fake.report.clone().unwrap().trial.unwrap();
    assert_eq!(report.outcome.unwrap().as_str(), "failed");
    assert!(!fake.told.iter().any(|line| line.contains("switching")), "{:?}", fake.told);
    // The record still says that it was asked for; the next start goes on from there.
    fake.faults.clear();
    run(&mut fake);
    settled(&fake, 'b');
}

#[test]
fn a_report_that_cannot_be_written_is_written_later() {
    let mut fake = Fake::default();
    ask(&mut fake);
    fake.fault(Fault::Publish);
    fake.room_after = Some(Duration::from_secs(1000));
    run(&mut fake);
    settled(&fake, 'b');
    let shown = fake.report.clone().unwrap().trial.unwrap();
    assert_eq!(shown.outcome.unwrap().as_str(), "kept");
    assert!(fake.roots.is_empty());
}

#[test]
fn an_end_that_cannot_be_written_is_shown_first_and_written_later() {
    let mut fake = Fake::default();
    fake.healthy = false;
    ask(&mut fake);
    // The last phase that was written: the way back goes on without a record.
    fake.full_from = Some("rechecking");
    fake.room_after = Some(Duration::from_secs(5000));
    run(&mut fake);
    settled(&fake, 'a');
    assert!(record(&fake).refuses(&path('b')).is_some(), "{}", story(&fake));
    let shown = fake.told.iter().position(|line| line.starts_with("trial-reverted")).unwrap();
    assert!(fake.told[..shown].iter().any(|line| line.contains("how the trial ended")));
    assert!(fake.roots.is_empty());
}

#[test]
fn what_was_kept_is_not_reverted_because_the_disk_is_full() {
    let mut fake = Fake::default();
    ask(&mut fake);
    fake.full_from = Some("keeping");
    // Killed once it was shown as kept, with a record that says `keeping`.
    fake.killed_when = Some("trial-kept");
    let killed = catch_unwind(AssertUnwindSafe(|| run(&mut fake)));
    assert!(killed.is_err_and(|cause| cause.is::<Cut>()));
    fake.killed_when = None;
    fake.room_after = Some(Duration::from_secs(5000));
    run(&mut fake);
    settled(&fake, 'b');
    assert_eq!(record(&fake).last_kept.unwrap().toplevel, path('b'), "{}", story(&fake));
}

#[test]
fn an_unproved_system_that_runs_already_is_no_witness_and_goes_back_to_the_default() {
    let mut fake = Fake::default();
    (fake.healthy, fake.running) = (false, path('b'));
    ask(&mut fake);
    run(&mut fake);
    assert_eq!(
        story(&fake),
        "reverted unhealthy: requested baseline watching reverting rechecking ended"
    );
    settled(&fake, 'a');
}

/// How the process goes away.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Killed,
    Reset,
}

/// Ends the process after the `n`-th effect; `None` if the trial was over before.
fn cut(change: fn(&mut Fake), n: usize, gone: Gone) -> Option<Fake> {
    let mut fake = Fake::default();
    change(&mut fake);
    fake.cut_after = Some(n);
    let run = catch_unwind(AssertUnwindSafe(|| deploy(&mut fake)));
    let was_cut = match run {
        Ok(()) => false,
        Err(cause) => match cause.downcast::<Cut>() {
            Ok(_) => true,
            Err(other) => std::panic::resume_unwind(other),
        },
    };
    fake.cut_after = None;
    if matches!(gone, Gone::Reset) && was_cut {
        fake.reset();
    }
    was_cut.then_some(fake)
}

/// For every effect: gone after it, started again from what is on disk, and asked again as long as
/// the agent would.
#[track_caller]
fn sweep(change: fn(&mut Fake), end: char) {
    let mut cuts = 0;
    for gone in [Gone::Killed, Gone::Reset] {
        for n in 1.. {
            let Some(mut fake) = cut(change, n, gone) else { break };
            cuts += 1;
            run(&mut fake);
            finish_reboots(&mut fake);
            for _ in 0..3 {
                let done = record(&fake);
                let trial = done.trial.as_ref().unwrap();
                let here = (&fake.running, fake.profile().toplevel, &fake.loader);
                let agreed =
                    [path('a'), path('b')].iter().any(|one| here == (one, one.clone(), one));
                assert!(agreed, "after cut {n} ({gone:?}): {here:?}, {}", story(&fake));
                assert!(fake.roots.is_empty() || trial.end().is_none(), "cut {n} ({gone:?})");
                let said = fake.report.as_ref().and_then(|report| report.trial.as_ref()?.outcome);
                let ended = trial.end().map(|end| end.outcome);
                assert_eq!(said, ended, "after cut {n} ({gone:?}) the report is late");
                if !trial.end().is_some_and(|end| end.retry) {
                    break;
                }
                deploy(&mut fake);
            }
            let here = (&fake.running, fake.profile().toplevel, &fake.loader);
            let all = path(end);
            assert_eq!(here, (&all, all.clone(), &all), "cut {n} ({gone:?}): {}", story(&fake));
            let left = (&fake.armed, &fake.entry);
            assert_eq!(left, (&None, &None), "cut {n} ({gone:?}): {}", story(&fake));
            let refused = record(&fake).refuses(&path('b')).is_some();
            assert_eq!(refused, end == 'a', "cut {n} ({gone:?}): {}", story(&fake));
        }
    }
    assert!(cuts > 20, "only {cuts} cuts");
}

#[test]
fn a_good_closure_ends_kept_wherever_the_power_is_cut() {
    sweep(|_| {}, 'b');
}

#[test]
fn a_bad_closure_ends_reverted_wherever_the_power_is_cut() {
    sweep(|fake| fake.healthy = false, 'a');
}

#[test]
fn a_switch_that_fails_ends_reverted_wherever_the_power_is_cut() {
    sweep(|fake| fake.to_new = std::iter::repeat_n(SwitchEnd::Code(2), 9).collect(), 'a');
}

#[test]
fn a_full_boot_partition_ends_reverted_wherever_the_power_is_cut() {
    sweep(|fake| fake.fault(Fault::BootNew), 'a');
}

#[test]
fn an_old_system_that_cannot_be_activated_ends_booted_wherever_the_power_is_cut() {
    sweep(
        |fake| {
            fake.healthy = false;
            fake.to_old = std::iter::repeat_n(SwitchEnd::Code(2), 3).collect();
        },
        'a',
    );
}
