//! autodeploy: a NixOS machine follows a Git branch by itself.
//!
//! This file is the map, in reading order; there is no code here.
//!
//! | room | what | touches the world |
//! |---|---|---|
//! | [`model`] | the nouns: parsed once and then trusted | never |
//! | [`config`] | `config.toml` to validated settings | never |
//! | [`handover`] | the four files that pass between the agent and the activator | never |
//! | [`trust`] | who signed a commit, and whether that is somebody who may | never |
//! | [`effects`] | programs, files, clocks, journal, Git, Nix, systemd | it is the only one |
//! | [`control`] | the Varlink interface between the agent and the client | never |
//! | [`agent`] | the unprivileged loop, `autodeployd` | through `effects` |
//! | [`activator`] | the root part, `autodeploy-activate` | through `effects` |
//! | [`client`] | `autodeployctl`, a file per command | through `effects` |
//! | `fuzzing` | what the fuzzer drives, in no program | in memory |
//!
//! `docs/architecture.md` says why the walls stand where they do.

#[cfg(feature = "activator")]
pub mod activator;
#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
#[cfg(any(feature = "agent", feature = "client"))]
pub mod control;
pub mod effects;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg(all(feature = "activator", feature = "agent"))]
pub mod fuzzing;
pub mod handover;
pub mod model;
#[cfg(test)]
#[cfg(all(feature = "activator", feature = "agent"))]
mod simulation;
#[cfg(feature = "agent")]
pub mod trust;
