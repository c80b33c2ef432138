//! Boot trials with autodeploy's activator, real boot loaders and power that is cut.

use anyhow::Result;
use autodeploy_testboot::loader::Loader;
use autodeploy_testboot::machine::Machine;
use autodeploy_testboot::outside::Plan;

/// Asks for a closure and waits until its boot is armed.
fn armed(label: &str, loader: Loader, name: &str) -> Result<Machine> {
    let machine = Machine::running(label, loader)?;
    machine.ask(1, name)?;
    machine.wait_phase(1, "armed")?;
    // Nothing of it is in force before that boot.
    assert_eq!(machine.sh("readlink -f /run/current-system")?, machine.closure("first"));
    Ok(machine)
}

/// A person reboots, as `activation.reboot = "never"` leaves it to them.
fn reboot(machine: &mut Machine) -> Result<()> {
    machine.run("systemctl --no-block reboot")?;
    machine.wait_booted().map(drop)
}

/// The observer's view: default and profile are this closure, and nothing else is started before.
fn assert_boots(machine: &mut Machine, name: &str) -> Result<()> {
    machine.power_cut()?;
    let closure = machine.closure(name).to_owned();
    assert_eq!(machine.loader_plan()?, Plan { default: closure.clone(), once: None });
    assert_eq!(machine.profile_on_disk()?, closure);
    Ok(())
}

fn is_kept_after_its_boot(loader: Loader) -> Result<()> {
    let mut machine = armed("kept", loader, "good")?;
    reboot(&mut machine)?;
    assert_eq!(machine.booted_system()?, machine.closure("good"));
    assert!(machine.sh("cat /proc/cmdline")?.contains("trial=good"));
    assert_eq!(machine.wait_end(1)?, "kept/healthy");
    assert_boots(&mut machine, "good")
}

#[test]
fn a_new_kernel_is_the_default_of_systemd_boot_only_after_its_window() -> Result<()> {
    is_kept_after_its_boot(Loader::SystemdBoot)
}

#[test]
fn a_new_kernel_is_the_default_of_grub_only_after_its_window() -> Result<()> {
    is_kept_after_its_boot(Loader::Grub)
}

fn comes_back(loader: Loader, name: &str, words: &str) -> Result<()> {
    let mut machine = armed(name, loader, name)?;
    reboot(&mut machine)?;
    assert!(machine.console().contains(words), "{}", machine.console_end());
    assert_eq!(machine.booted_system()?, machine.closure("first"));
    assert_eq!(machine.wait_end(1)?, "failed/bootloader-did-not-start-it");
    assert_boots(&mut machine, "first")
}

#[test]
fn a_kernel_that_panics_leaves_the_old_system() -> Result<()> {
    comes_back(Loader::Grub, "panics", "Kernel panic")
}

#[test]
fn an_initrd_that_hangs_leaves_the_old_system() -> Result<()> {
    comes_back(Loader::SystemdBoot, "hangs", "stage 1: hangs")
}

#[test]
fn what_boots_and_is_sick_reboots_back_and_is_refused_from_then_on() -> Result<()> {
    let mut machine = Machine::running("sick", Loader::SystemdBoot)?;
    // Nobody is there to reboot: autodeploy does it, both times.
    let config = "/etc/autodeploy/config.toml";
    let section = "[activation]\\nreboot = \"when-needed\"\\n";
    machine.sh(&format!(
        "{{ cat {config}; printf '{section}'; }} > /run/config; rm {config}; mv /run/config {config}"
    ))?;
    machine.ask(1, "sick")?;
    machine.wait_booted()?;
    assert_eq!(machine.booted_system()?, machine.closure("sick"));
    machine.wait_booted()?;
    assert_eq!(machine.booted_system()?, machine.closure("first"));
    assert_eq!(machine.wait_end(1)?, "reverted/unhealthy");
    machine.ask(2, "sick")?;
    assert_eq!(machine.wait_end(2)?, "blocked/blocked");
    assert_boots(&mut machine, "first")
}

#[test]
fn a_power_cut_in_the_window_of_a_boot_trial_brings_the_old_system() -> Result<()> {
    let mut machine = armed("cut", Loader::SystemdBoot, "good")?;
    // Armed is armed: a power cut is a boot like any other.
    machine.power_cut()?;
    let (first, good) = (machine.closure("first").to_owned(), machine.closure("good").to_owned());
    assert_eq!(machine.loader_plan()?, Plan { default: first.clone(), once: Some(good.clone()) });
    machine.power_on()?;
    machine.wait_booted()?;
    assert_eq!(machine.booted_system()?, good);
    machine.wait_phase(1, "watching")?;
    machine.power_cut()?;
    assert_eq!(machine.loader_plan()?, Plan { default: first.clone(), once: None });
    machine.power_on()?;
    machine.wait_booted()?;
    assert_eq!(machine.booted_system()?, first);
    assert_eq!(machine.wait_end(1)?, "interrupted/power-cut");
    assert_boots(&mut machine, "first")
}

fn is_disarmed(loader: Loader, word: &str, end: &str) -> Result<()> {
    let mut machine = armed(word, loader, "good")?;
    machine.answer(1, word)?;
    assert_eq!(machine.wait_end(1)?, end);
    assert_boots(&mut machine, "first")
}

#[test]
fn an_aborted_boot_is_disarmed_in_systemd_boot() -> Result<()> {
    is_disarmed(Loader::SystemdBoot, "abort", "aborted/by-operator")
}

#[test]
fn an_aborted_boot_is_disarmed_in_grub() -> Result<()> {
    is_disarmed(Loader::Grub, "abort", "aborted/by-operator")
}

#[test]
fn a_boot_that_a_newer_commit_supersedes_is_disarmed() -> Result<()> {
    is_disarmed(Loader::Grub, "supersede", "superseded/newer-commit")
}
