//! Boots whole machines with real boot loaders, in `qemu` without KVM.
//!
//! In reading order: `parts` (kernel, initrds, loaders), `loader` (which of them a machine has),
//! `image` (disks with closures on them, made once), `disks` (how they are put together), `machine` (power,
//! and the lines that run inside), `channel` (how lines get there), `outside` (what an observer reads
//! from the disks of a machine without power), `efi` (its EFI variables), `requests` (to the activator).

pub mod channel;
pub mod disks;
pub mod efi;
pub mod image;
pub mod loader;
pub mod machine;
pub mod outside;
pub mod parts;
pub mod requests;
