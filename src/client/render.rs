//! From wire types to words: pure, and apart from asking. The time and its zone are arguments.
//!
//! What comes from the agent is escaped already; it is escaped again here, because a terminal
//! stands behind this and the socket may be anybody's.

pub mod generations;
pub mod headline;
pub mod history;
pub mod news;
pub mod show;
pub mod status;
pub mod table;
pub mod time;
pub mod words;

#[cfg(test)]
pub mod fixtures;
