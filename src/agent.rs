//! `autodeployd`: the unprivileged loop that polls, fetches, verifies, resolves, realises, decides
//! and remembers.

pub mod control;
pub mod daemon;
pub mod handover;
pub mod history;
pub mod host;
pub mod inbox;
pub mod plan;
pub mod policy;
pub mod rollout;
pub mod start;
pub mod status;
