//! How much memory a program may take.
//!
//! By `RLIMIT_DATA`, which counts what a process has for itself to write to. Files that it maps to
//! read, such as packs and databases, are not counted, as they would be by `RLIMIT_AS`. The limit
//! holds for each process: one that it starts has the same limit again.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The shell that limits itself and then becomes the program: whoever limits a program from outside,
/// after its start, may come after the first process that it started. NixOS, too, has it here.
pub const SHELL: &str = "/bin/sh";

/// Gets the limit in KiB, the program and its arguments.
///
/// The kernel ends what has a high `oom_score_adj` first when memory runs out on the machine: rather
/// an evaluation than what the machine is there for. Nothing depends on it.
pub const LIMITED: &str = "ulimit -d \"$0\" || exit 126; \
    echo 500 2>/dev/null >/proc/self/oom_score_adj; exec \"$@\"";

/// Limits this process to `at_first` bytes, and from when it calls [`raise`] to `at_most`.
///
/// # Errors
/// It is not limited.
pub fn limit(at_first: u64, at_most: u64) -> std::io::Result<()> {
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    Ok(setrlimit(Resource::RLIMIT_DATA, at_first, at_most)?)
}

/// Lets this process take what its second limit allows. A repeat does nothing.
pub fn raise() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_DATA) {
        let _ = setrlimit(Resource::RLIMIT_DATA, hard, hard);
    }
}
