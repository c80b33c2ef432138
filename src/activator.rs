//! `autodeploy-activate`: the root part, which carries out one trial and mends an interrupted one.
//!
//! In reading order:
//!
//! | file | what |
//! |---|---|
//! | [`trial`] | PURE: the phases of a trial, the verdict, the blame, the recovery |
//! | [`record`], [`report`] | what root remembers, and the part of it that everybody may read |
//! | [`request`] | taking the agent's wish away, and whether it is granted |
//! | [`judgement`] | PURE: what decides, frozen before the switch |
//! | [`checks`] | the checks: what they look at, and how often |
//! | [`host`] | the seam: everything that a trial sees and does |
//! | [`conduct`] | the loop: observe, decide, act, record |
//! | [`service`], [`command`] | the two ways of starting the one binary |
//!
//! It fetches nothing, evaluates nothing, and parses nothing that came over the network: answers
//! to `http` checks are read by unprivileged transient units.

pub mod checks;
pub mod command;
pub mod conduct;
pub mod host;
pub mod judgement;
pub mod rebuilt;
pub mod record;
pub mod report;
pub mod request;
pub mod service;
pub mod trial;

#[cfg(test)]
mod sweep;
