//! Signatures made by the real programs, and what `git verify-commit` says of them.
//!
//! All keys are made here, in a directory that goes away; there is none in the repository.

// Helpers of tests are not `#[test]` functions themselves, and may fail just as loudly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod differential;
mod draws;
mod hostile;
mod place;
mod scribe;
mod security_key;
mod vectors;
