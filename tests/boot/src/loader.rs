//! The two boot loaders, and what differs between machines that have one or the other.

use std::fs;

use anyhow::{Result, ensure};
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::place;

use crate::parts::resource;

/// A boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// On an EFI system partition, which is /boot, started by OVMF.
    SystemdBoot,
    /// In the disk's first sectors, started by SeaBIOS; /boot lies on the root's ext4.
    Grub,
}

impl Loader {
    /// The word in names of files.
    pub fn word(self) -> &'static str {
        match self {
            Loader::SystemdBoot => "systemd-boot",
            Loader::Grub => "grub",
        }
    }

    /// The kernel's parameters of every closure, without `init=`.
    pub fn kernel_params(self) -> &'static str {
        match self {
            Loader::SystemdBoot => {
                "root=/dev/vda1 boot=/dev/vdb1 console=ttyS0 loglevel=4 systemd.show_status=yes panic=5"
            }
            Loader::Grub => {
                "root=/dev/vda1 console=ttyS0 loglevel=4 systemd.show_status=yes panic=5"
            }
        }
    }

    /// Lets the machine's closures write this loader's files.
    ///
    /// # Errors
    /// Fails when the repository cannot be written.
    pub fn describe_in(self, infra: &Infra) -> Result<()> {
        let builder = match self {
            Loader::SystemdBoot => as_nixos_has_it(&fs::read_to_string(place::resource(BUILDER))?)?,
            Loader::Grub => fs::read_to_string(resource("guest/install-bootloader-grub"))?,
        };
        infra.set(BUILDER, &builder)?;
        // The test host has a part of it only, and no EFI.
        infra.set("stand-in/bootctl", "#!/bin/sh\nexec /usr/bin/bootctl \"$@\"\n")?;
        infra.set("kernel-params", &format!("{}\n", self.kernel_params()))
    }
}

/// The test host's stand-in for the builder, which is also where a machine's own one belongs.
const BUILDER: &str = "stand-in/install-bootloader";

/// What of NixOS's builder the test host needs not: the pause is set shorter, the default is the entry
/// that is written last where several profiles have the closure, and the partition is synced at the end.
fn as_nixos_has_it(builder: &str) -> Result<String> {
    let mut text = builder.to_owned();
    let changes = [
        ("timeout 5", "timeout 1"),
        (" and (default is None or not name)", ""),
        ("\nmain(sys.argv[1])\n", "\nmain(sys.argv[1])\nos.sync()\n"),
    ];
    for (old, new) in changes {
        ensure!(text.contains(old), "`{old}` is not in `{BUILDER}` any more");
        text = text.replace(old, new);
    }
    Ok(text)
}
