//! The two boot loaders, and what differs between machines that have one or the other.

use std::fs;

use anyhow::Result;
use autodeploy_testhost::infra::Infra;

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
            Loader::SystemdBoot => "root=/dev/vda1 boot=/dev/vdb1 console=ttyS0 loglevel=4 systemd.show_status=yes panic=5",
            Loader::Grub => "root=/dev/vda1 console=ttyS0 loglevel=4 systemd.show_status=yes panic=5",
        }
    }

    /// Lets the machine's closures write this loader's files.
    ///
    /// # Errors
    /// Fails when the repository cannot be written.
    pub fn describe_in(self, infra: &Infra) -> Result<()> {
        if self == Loader::Grub {
            let builder = fs::read_to_string(resource("guest/install-bootloader-grub"))?;
            infra.set("stand-in/install-bootloader", &builder)?;
        }
        infra.set("kernel-params", &format!("{}\n", self.kernel_params()))
    }
}
