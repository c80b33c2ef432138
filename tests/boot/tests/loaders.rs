//! The boot loaders themselves, by hand: without this, nothing that is built on them is proved.

use anyhow::Result;
use autodeploy_testboot::loader::Loader;
use autodeploy_testboot::machine::Machine;
use autodeploy_testboot::outside::Plan;

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

fn starts_once(loader: Loader) -> Result<()> {
    let mut machine = Machine::running("once", loader)?;
    let (first, good) = (machine.closure("first").to_owned(), machine.closure("good").to_owned());
    assert_eq!(machine.booted_system()?, first);
    stage(&machine, "good")?;
    machine.sh(match loader {
        Loader::SystemdBoot => "bootctl set-oneshot nixos-trial-generation-1.conf",
        Loader::Grub => "grub-reboot \"NixOS - Profile 'trial'>0\"; sync",
    })?;
    machine.power_cut()?;
    assert_eq!(machine.loader_plan()?, Plan { default: first.clone(), once: Some(good.clone()) });
    machine.power_on()?;
    machine.wait_booted()?;
    assert_eq!(machine.booted_system()?, good);
    assert!(machine.sh("cat /proc/cmdline")?.contains("trial=good"));
    // The loader itself has forgotten it, before the kernel ran.
    machine.power_cut()?;
    assert_eq!(machine.loader_plan()?, Plan { default: first.clone(), once: None });
    machine.power_on()?;
    machine.wait_booted()?;
    assert_eq!(machine.booted_system()?, first);
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
