//! `announced`: a request may come soon.
//!
//! Its being there is all that it says, so that nothing of it is read. It starts the activator
//! while the closure is still being realised, which spares the trial the time that systemd takes
//! to start a process. Nothing depends on it: a request that was not announced is taken as well.

/// The file's name.
pub const FILE: &str = "announced";
