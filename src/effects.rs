//! The only code that touches the world: programs, files, clocks, the journal, Git, Nix, systemd.
//!
//! Nothing in here decides; what was seen goes back to the pure rooms as plain values.

pub mod clock;
pub mod files;
#[cfg(feature = "client")]
pub mod generations;
#[cfg(feature = "agent")]
pub mod git;
#[cfg(feature = "agent")]
pub mod halt;
pub mod host_name;
#[cfg(any(feature = "agent", feature = "activator"))]
pub mod journal;
#[cfg(feature = "agent")]
pub mod nix;
pub mod process;
#[cfg(feature = "client")]
pub mod programs;
#[cfg(feature = "agent")]
pub mod remote;
#[cfg(feature = "agent")]
pub mod socket;
#[cfg(feature = "agent")]
pub mod users;
