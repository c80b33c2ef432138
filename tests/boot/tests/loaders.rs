//! The boot loaders themselves, by hand: without this, nothing that is built on them is proved.

use std::time::Instant;

use anyhow::{Context, Result};
use autodeploy_testboot::loader::Loader;
use autodeploy_testboot::machine::Machine;

/// Puts a closure into a profile of its own and lets the default write the loader's files.
fn stage(machine: &Machine, name: &str) -> Result<()> {
    let (closure, first) = (machine.closure(name), machine.closure("first"));
    machine.sh(&format!(
        "mkdir -p /nix/var/nix/profiles/system-profiles
         nix-env -p /nix/var/nix/profiles/system-profiles/trial --set {closure}
         {first}/bin/switch-to-configuration boot"
    ))?;
    Ok(())
}

fn arm(machine: &Machine, generation: u64) -> Result<()> {
    let line = match machine.image.loader {
        Loader::SystemdBoot => format!("bootctl set-oneshot nixos-trial-generation-{generation}.conf"),
        Loader::Grub => format!("grub-reboot \"NixOS - Profile 'trial'>{}\"", 0),
    };
    machine.sh(&line).map(drop)
}

fn starts_once(loader: Loader) -> Result<()> {
    let start = Instant::now();
    let mut machine = Machine::running("once", loader)?;
    println!("runs after {:?}", start.elapsed());
    let (first, good) = (machine.closure("first").to_owned(), machine.closure("good").to_owned());
    assert_eq!(machine.booted_system()?, first);
    stage(&machine, "good")?;
    arm(&machine, 1)?;
    println!("armed after {:?}", start.elapsed());
    let start = Instant::now();
    machine.run("systemctl --no-block reboot")?;
    machine.wait_booted()?;
    println!("rebooted after {:?}", start.elapsed());
    assert_eq!(machine.booted_system()?, good);
    assert!(machine.sh("cat /proc/cmdline")?.contains("trial=good"));
    let start = Instant::now();
    machine.power_cut()?;
    println!("{:?}", machine.loader_plan()?);
    machine.power_on()?;
    machine.wait_booted()?;
    println!("rebooted after {:?}", start.elapsed());
    assert_eq!(machine.booted_system()?, first);
    Ok(())
}

fn comes_back(loader: Loader, name: &str, words: &str) -> Result<()> {
    let machine = Machine::running(name, loader)?;
    let first = machine.closure("first").to_owned();
    stage(&machine, name)?;
    arm(&machine, 1)?;
    let start = Instant::now();
    machine.run("systemctl --no-block reboot")?;
    machine.wait_booted().context("the boot after the bad one")?;
    println!("back after {:?}", start.elapsed());
    assert_eq!(machine.booted_system()?, first);
    assert!(machine.console().contains(words), "{}", machine.console_end());
    Ok(())
}

#[test]
fn systemd_boot_starts_an_entry_once() -> Result<()> {
    starts_once(Loader::SystemdBoot)
}

#[test]
fn grub_starts_an_entry_once() -> Result<()> {
    starts_once(Loader::Grub)
}

#[test]
fn a_kernel_that_panics_comes_back_to_the_default() -> Result<()> {
    comes_back(Loader::Grub, "panics", "Kernel panic")
}

#[test]
fn an_initrd_that_hangs_comes_back_by_the_watchdog() -> Result<()> {
    comes_back(Loader::SystemdBoot, "hangs", "stage 1: hangs")
}
