//! Whole boot trials on a machine in memory, and the power cut after every effect of them.

use super::*;

/// The new system has to be booted, and the machine reboots for that by itself.
fn has_to_be_booted(fake: &mut Fake) {
    fake.reboots_itself = true;
    fake.fault(Fault::NeedsBoot);
}

/// The new system has to be booted, and a person does what comes once it is armed.
fn waits_for(fake: &mut Fake, what: fn(&mut Fake)) {
    fake.fault(Fault::NeedsBoot);
    fake.once_armed = Some(what);
}

fn sick(fake: &mut Fake) {
    has_to_be_booted(fake);
    fake.healthy = false;
}

#[track_caller]
fn faulty(fault: Fault, expected: &str) -> Fake {
    let change = |fake: &mut Fake| {
        has_to_be_booted(fake);
        fake.fault(fault);
    };
    check(change, expected)
}

const BACK: &str = "requested baseline arming armed armed watching rebooting rebooting rechecking \
                    disarming ended";

#[test]
fn what_has_to_be_booted_is_armed_booted_watched_and_kept() {
    let kept = "kept healthy: requested baseline arming armed armed watching keeping ended";
    let fake = check(has_to_be_booted, kept);
    settled(&fake, 'b');
    assert_eq!((fake.boots, fake.arms), (2, (1, 1)));
    let kept = "kept healthy: requested baseline arming armed watching keeping ended";
    let fake = check(|fake| waits_for(fake, |fake| fake.stopping = true), kept);
    settled(&fake, 'b');
}

#[test]
fn a_sick_one_is_left_by_a_reboot_with_evidence_and_refused() {
    let fake = check(sick, &format!("reverted unhealthy: {BACK}"));
    settled(&fake, 'a');
    assert_eq!((fake.boots, fake.arms), (3, (1, 1)));
    let record = record(&fake);
    assert_eq!(record.reverted[0].toplevel, path('b'));
    assert_eq!(record.trial.unwrap().evidence[0].text, "answered 503");
}

#[test]
fn a_forge_outage_acquits_it_as_any_other() {
    let outage = |fake: &mut Fake| {
        has_to_be_booted(fake);
        fake.forge_up = false;
    };
    let fake = check(outage, &format!("reverted environment: {BACK}"));
    settled(&fake, 'a');
    assert_eq!(record(&fake).counts[0].acquittals, 1);
}

#[test]
fn one_that_does_not_come_up_is_tried_twice() {
    let story = "failed bootloader-did-not-start-it: requested baseline arming armed armed \
                 disarming ended";
    for fault in [Fault::Panics, Fault::ArmLies] {
        let mut fake = faulty(fault, story);
        settled(&fake, 'a');
        assert_eq!(record(&fake).counts[0].strikes, 1);
        deploy(&mut fake);
        settled(&fake, 'a');
        let refused = record(&fake).reverted[0].reason.clone();
        assert_eq!(refused.as_str(), "bootloader-did-not-start-it");
    }
}

#[test]
fn what_cannot_be_armed_leaves_the_old_default() {
    let tried = "requested baseline arming arming arming disarming ended";
    for fault in [Fault::Arm, Fault::NewestIsDefault] {
        let fake = faulty(fault, &format!("failed bootloader: {tried}"));
        settled(&fake, 'a');
        assert_eq!((fake.boots, fake.arms), (1, (0, 0)));
    }
}

#[test]
fn a_loader_that_does_not_forget_is_made_to() {
    let kept = "kept healthy: requested baseline arming armed armed watching keeping ended";
    settled(&faulty(Fault::ArmedForEver, kept), 'b');
    let forgetful = |fake: &mut Fake| {
        sick(fake);
        fake.fault(Fault::ArmedForEver);
    };
    settled(&check(forgetful, &format!("reverted unhealthy: {BACK}")), 'a');
}

#[test]
fn what_ends_it_while_it_waits_takes_the_boot_back() {
    let armed = "requested baseline arming armed disarming ended";
    let ends = |what: fn(&mut Fake), end: &str| {
        let mut fake = check(|fake| waits_for(fake, what), &format!("{end}: {armed}"));
        settled(&fake, 'a');
        // And a boot afterwards brings the old system.
        fake.reset();
        assert_eq!((fake.arms, &fake.running), ((1, 0), &path('a')));
    };
    ends(|fake| fake.superseded = true, "superseded newer-commit");
    ends(|fake| fake.aborted_by = Some(1000), "aborted by-operator");
    let both = |fake: &mut Fake| (fake.stopping, fake.aborted_by) = (true, Some(1000));
    let fake = check(|fake| waits_for(fake, both), &format!("aborted by-operator: {armed}"));
    // The menu is not written while the machine goes down; nothing starts what is left in it.
    assert_eq!((&fake.armed, &fake.entry, &fake.loader), (&None, &None, &path('a')));
}

#[test]
fn hands_are_off_what_somebody_else_staged_and_ours_is_taken_back() {
    let staged = |fake: &mut Fake| {
        fake.set_profile("/nix/var/nix/profiles/system".as_ref(), &path('c')).unwrap();
        fake.loader = path('c');
    };
    let fake = check(
        |fake| waits_for(fake, staged),
        "interrupted someone-else-switched: requested baseline arming armed disarming ended",
    );
    assert_eq!((&fake.loader, &fake.profile().toplevel), (&path('c'), &path('c')));
    assert_eq!((&fake.armed, &fake.entry), (&None, &None));
}

#[test]
fn what_cannot_be_taken_back_is_said() {
    let stuck = |fake: &mut Fake| {
        fake.superseded = true;
        fake.fault(Fault::Disarm);
    };
    let fake = check(
        |fake| waits_for(fake, stuck),
        "superseded newer-commit: requested baseline arming armed disarming disarming disarming \
         ended",
    );
    let message = fake.report.unwrap().trial.unwrap().message;
    assert!(message.contains("could not be taken back"), "{message}");
}

#[test]
fn without_a_single_boot_it_is_staged_where_that_is_allowed() {
    let staged = "staged staged-unproved: requested baseline staging ended";
    let fake = faulty(Fault::NoBootOnce, staged);
    assert_eq!((&fake.running, &fake.loader), (&path('a'), &path('b')));
    assert_eq!(fake.profile().toplevel, path('b'));
    assert_eq!(record(&fake).last_kept, None);
    let full = |fake: &mut Fake| {
        has_to_be_booted(fake);
        fake.faults.extend([Fault::NoBootOnce, Fault::BootNew]);
    };
    let undone = "failed bootloader: requested baseline staging staging staging unkeeping ended";
    settled(&check(full, undone), 'a');
}

#[test]
fn a_switch_that_only_a_boot_can_make_is_armed_instead() {
    let another_init = |fake: &mut Fake| {
        fake.reboots_itself = true;
        fake.to_new.push_back(SwitchEnd::Code(100));
    };
    let kept =
        "kept healthy: requested baseline switching arming armed armed watching keeping ended";
    settled(&check(another_init, kept), 'b');
    let nowhere = |fake: &mut Fake| {
        another_init(fake);
        fake.fault(Fault::NoBootOnce);
    };
    let story = "failed reboot-needed: requested baseline switching arming disarming ended";
    settled(&check(nowhere, story), 'a');
}

#[test]
fn a_reboot_that_nobody_takes_leaves_it_armed() {
    let deaf = |fake: &mut Fake| {
        has_to_be_booted(fake);
        fake.fault(Fault::Reboot);
        fake.once_armed = Some(|fake| fake.stopping = true);
    };
    let story = "kept healthy: requested baseline arming armed armed armed armed watching keeping \
                 ended";
    settled(&check(deaf, story), 'b');
}

#[test]
fn a_boot_trial_that_is_kept_cannot_become_the_default_and_is_left() {
    let full = |fake: &mut Fake| {
        has_to_be_booted(fake);
        fake.fault(Fault::BootNew);
    };
    let story = "reverted bootloader: requested baseline arming armed armed watching keeping \
                 keeping keeping unkeeping rebooting rebooting rechecking disarming ended";
    settled(&check(full, story), 'a');
}

#[test]
fn without_a_record_nothing_stays_armed() {
    let mut fake = Fake::default();
    waits_for(&mut fake, |_| {});
    ask(&mut fake);
    fake.fault(Fault::Save);
    run(&mut fake);
    settled(&fake, 'a');
    assert_eq!(fake.arms, (0, 0));
}

#[test]
fn a_good_boot_trial_ends_kept_wherever_the_power_is_cut() {
    sweep(has_to_be_booted, 'b');
}

#[test]
fn a_sick_boot_trial_ends_reverted_wherever_the_power_is_cut() {
    sweep(sick, 'a');
}

#[test]
fn a_system_that_does_not_come_up_ends_refused_wherever_the_power_is_cut() {
    let panics = |fake: &mut Fake| {
        sick(fake);
        fake.fault(Fault::Panics);
    };
    sweep(panics, 'a');
}

#[test]
fn a_full_boot_partition_ends_a_boot_trial_reverted_wherever_the_power_is_cut() {
    let full = |fake: &mut Fake| {
        has_to_be_booted(fake);
        fake.fault(Fault::BootNew);
    };
    sweep(full, 'a');
}
