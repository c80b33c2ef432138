//! `config.toml`: from text to validated settings.
//!
//! This is the only place with defaults and ranges. It reads no file itself: callers bring the
//! text, and get back [`settings::Settings`] or a list of failures with line numbers and hints.

pub mod settings;
