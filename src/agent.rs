//! `autodeployd`: the unprivileged loop that polls, fetches, verifies, resolves, realises, decides
//! and remembers.

pub mod control;
pub mod inbox;
