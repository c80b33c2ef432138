//! The nouns of the design: parsed once at the edge, and then trusted everywhere.
//!
//! Nothing here reads a file, a clock or the environment.

pub mod commit;
pub mod deployment;
pub mod event;
pub mod failure;
pub mod generation;
pub mod pattern;
pub mod store_path;
pub mod text;
