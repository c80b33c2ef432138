//! The agent's Git effects against real repositories: over files, an HTTP server that runs
//! `git http-backend`, and OpenSSH.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by them")]

mod bombs;
mod damage;
mod file;
mod hostile;
mod http;
mod origin;
mod poll;
mod server;
mod signatures;
mod ssh;
