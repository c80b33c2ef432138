//! Who signed a commit, and whether that is somebody who may move the branch: PURE.
//!
//! Bytes in, verdict out: no files, no clock, no Git library. The bytes come from whoever can push,
//! so all of this runs in the Git child only, which is killed at its deadline, and whose memory
//! comes back.
//!
//! What counts is what `git verify-commit` would say with the same keys; where we are stricter is
//! in the table of `tests/signatures`.

pub mod allowed_signers;
pub mod commit_object;
pub mod openpgp;
mod openpgp_key;
pub mod range;
pub mod refusal;
pub mod ssh;
pub mod times;
pub mod verify;

pub use range::{Examined, Found};
pub use refusal::{Refusal, Unusable};
pub use verify::{KeyFiles, Keys, KeysId, Signer};

/// No file of keys is larger, in bytes.
pub const LARGEST_KEY_FILE_BYTES: u64 = 1 << 20;

/// No commit object is larger, in bytes; Git's own largest are some kilobytes.
pub const LARGEST_COMMIT_BYTES: usize = 1 << 20;

/// No signature is larger, in bytes; one of a 4096-bit key has less than two thousand.
pub const LARGEST_SIGNATURE_BYTES: usize = 16 << 10;

/// The longest text from outside that is shown, in characters.
const LONGEST_TEXT: usize = 200;
