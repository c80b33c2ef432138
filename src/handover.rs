//! The small files through which the agent and the activator work together.
//!
//! | file | written by | in | says |
//! |---|---|---|---|
//! | `announced` | agent | `paths.runtime_dir` | a request may come soon; empty |
//! | `request.json` | agent | `paths.runtime_dir` | put this closure on trial |
//! | `answer.json` | agent | `paths.runtime_dir` | a person confirmed or aborted |
//! | `mark.json` | agent | `paths.runtime_dir` | where the branch was last kept |
//! | `lifeline.json` | agent | `paths.runtime_dir` | the next push could still be deployed |
//! | `report.json` | activator | `paths.report_dir` | what became of it, and what root knows |
//!
//! These are wire types: versioned and additive. A reader passes unknown fields over, because a
//! revert brings the previous release back next to files that the newer one wrote. All of them
//! lie on tmpfs; what has to outlive a boot is in the activator's record and the agent's database.
//!
//! Times that are compared across processes are `CLOCK_BOOTTIME` in milliseconds (they do not
//! jump); times that people read are RFC 3339.

pub mod announcement;
pub mod answer;
pub mod lifeline;
pub mod mark;
pub mod report;
pub mod request;

/// The version that this release writes into each of the files.
pub const VERSION: u32 = 1;

/// No file of the handover is larger; a larger one is refused unread.
pub const LARGEST_FILE_BYTES: u64 = 1 << 20;
