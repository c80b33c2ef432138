//! A machine: a disk, a network, and power that can be cut at any moment.

mod asking;
mod boot;
mod files;
mod look;
mod measure;
mod program;
mod system;

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::Result;

pub use look::{LoaderEntry, ProfileLink};

/// How long a machine may take to come up before a test gives up.
pub const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// How long a command on the machine may take unless said otherwise.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// What differs between machines.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The host name, and the name of its configuration in the infra repository.
    pub name: String,
    /// Makes /boot a disk of its own with this many bytes.
    pub boot_bytes: Option<u64>,
    /// Makes /var/lib/autodeploy a disk of its own with this many bytes.
    pub state_bytes: Option<u64>,
    /// Makes /nix/store a disk of its own with this many bytes.
    pub store_bytes: Option<u64>,
}

impl Default for HostOptions {
    fn default() -> HostOptions {
        HostOptions {
            name: "box".to_string(),
            boot_bytes: None,
            state_bytes: None,
            store_bytes: None,
        }
    }
}

/// A machine that was installed; it may be running or without power.
#[derive(Debug)]
pub struct Host {
    pub name: String,
    /// The namespace, the control group and the machine carry this name.
    pub machine: String,
    /// The machine's disk, also readable while it has no power.
    pub root: PathBuf,
    pub console: PathBuf,
    binds: Vec<String>,
    /// Disks of their own: where they are inside, and where outside.
    disks: Vec<(&'static str, PathBuf)>,
    power: Option<Child>,
    /// The process that is PID 1 inside.
    leader: Option<i32>,
    asking: asking::Asking,
}

impl Host {
    /// The process outside that is PID 1 inside.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn leader(&self) -> Result<i32> {
        self.leader.ok_or_else(|| anyhow::anyhow!("the machine `{}` has no power", self.name))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.power_cut();
    }
}
