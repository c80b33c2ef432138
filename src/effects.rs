//! The only code that touches the world: programs, files, clocks, the journal, Git, Nix, systemd.
//!
//! Nothing in here decides; what was seen goes back to the pure rooms as plain values.

#[cfg(feature = "activator")]
pub mod awake;
#[cfg(feature = "activator")]
pub mod boot_room;
#[cfg(feature = "activator")]
pub mod boot_unit;
#[cfg(feature = "activator")]
pub mod bootloader;
pub mod clock;
#[cfg(any(feature = "agent", feature = "activator"))]
pub mod closure;
#[cfg(feature = "activator")]
pub mod evidence;
pub mod files;
#[cfg(feature = "client")]
pub mod generations;
#[cfg(feature = "agent")]
pub mod git;
#[cfg(feature = "agent")]
pub mod halt;
pub mod host_name;
#[cfg(feature = "activator")]
pub mod inbox;
#[cfg(any(feature = "agent", feature = "activator"))]
pub mod journal;
#[cfg(feature = "agent")]
pub mod key_files;
#[cfg(feature = "activator")]
pub mod lock;
#[cfg(feature = "activator")]
pub mod network;
#[cfg(feature = "agent")]
pub mod nix;
#[cfg(feature = "activator")]
pub mod notify;
#[cfg(feature = "activator")]
pub mod probe;
pub mod process;
#[cfg(feature = "activator")]
pub mod profile;
#[cfg(feature = "client")]
pub mod programs;
#[cfg(feature = "agent")]
pub mod remote;
#[cfg(any(feature = "agent", feature = "activator"))]
pub mod room;
#[cfg(feature = "activator")]
pub mod signed;
#[cfg(feature = "agent")]
pub mod socket;
#[cfg(feature = "activator")]
pub mod switch;
#[cfg(feature = "agent")]
pub mod system;
#[cfg(feature = "activator")]
pub mod systemd;
#[cfg(feature = "agent")]
pub mod users;
