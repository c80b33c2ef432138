//! Disks with a boot loader on them, put together without mounting anything.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use autodeploy_testhost::run;

use crate::loader::Loader;

/// Where the first partition of both disks begins.
pub const PARTITION_BYTES: u64 = 1 << 20;
/// The file system's id, by which GRUB finds it.
pub const ROOT_ID: &str = "5f1c0d2e-7a35-4d0e-9d55-2b7d3a0c9a11";

/// Makes `root.img`, and what the loader needs beside it, from the tree of an installed machine.
///
/// # Errors
/// Fails when a tool is missing or does.
pub fn make(loader: Loader, parts: &Path, tree: &Path, folder: &Path) -> Result<()> {
    match loader {
        Loader::SystemdBoot => {
            esp(parts, &tree.join("boot"), &folder.join("esp.img"))?;
            // Now it is what is mounted there.
            sh(&format!("rm -rf '{root}/boot'; mkdir '{root}/boot'", root = tree.display()))?;
            fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", folder.join("vars.fd"))
                .context("no OVMF; hint: tests/boot/install-requirements")?;
        }
        Loader::Grub => sh(&format!(
            "mkdir -p '{boot}/grub'
             cp -r '{parts}/grub/i386-pc' '{boot}/grub/'
             {{ echo '# GRUB Environment Block'; head -c 999 /dev/zero | tr '\\0' '#'; }} > '{boot}/grub/grubenv'",
            boot = tree.join("boot").display(),
            parts = parts.display()
        ))?,
    }
    root(tree, &folder.join("root.img"))?;
    if loader == Loader::Grub {
        boot_sectors(parts, &folder.join("root.img"))?;
    }
    Ok(())
}

fn root(tree: &Path, image: &Path) -> Result<()> {
    // GRUB reads neither of the two features.
    sh(&format!(
        "truncate -s 2G '{image}'
         mke2fs -q -t ext4 -U {ROOT_ID} -O ^metadata_csum_seed,^orphan_file -d '{}' \
           -E offset={PARTITION_BYTES} '{image}' 2094080k
         echo '2048,,L,*' | sfdisk -q -X dos --wipe never '{image}'",
        tree.display(),
        image = image.display()
    ))
}

/// What `grub-install` does to a disk: its first sector, and its core behind that.
fn boot_sectors(parts: &Path, image: &Path) -> Result<()> {
    sh(&format!(
        "dd if='{grub}/boot.img' of='{image}' bs=440 count=1 conv=notrunc status=none
         dd if='{grub}/core.img' of='{image}' bs=512 seek=1 conv=notrunc status=none",
        grub = parts.join("grub").display(),
        image = image.display()
    ))
}

fn esp(parts: &Path, boot: &Path, image: &Path) -> Result<()> {
    sh(&format!(
        "truncate -s 160M '{image}'
         echo '2048,,U' | sfdisk -q -X gpt '{image}'
         mkfs.vfat -F 32 -n ESP --offset 2048 '{image}' 161792 > /dev/null
         mkdir -p '{boot}/EFI/BOOT' '{boot}/EFI/systemd'
         cp '{loader}' '{boot}/EFI/BOOT/BOOTX64.EFI'
         cp '{loader}' '{boot}/EFI/systemd/systemd-bootx64.efi'
         MTOOLS_SKIP_CHECK=1 mcopy -s -i '{image}@@1M' '{boot}'/* ::/",
        loader = parts.join("systemd-bootx64.efi").display(),
        boot = boot.display(),
        image = image.display()
    ))
}

fn sh(line: &str) -> Result<()> {
    let line = format!("PATH=$PATH:/usr/sbin:/sbin\n{line}");
    run::run(Command::new("/bin/sh").args(["-ec", &line]), Duration::from_secs(120))?
        .ok()
        .with_context(|| format!("running `{line}`"))?;
    Ok(())
}
