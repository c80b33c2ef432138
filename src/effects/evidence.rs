//! What a failed unit left: its state and its last lines in the journal.
//!
//! A switch runs `reset-failed`, so this is collected before anything is reverted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::effects::process::Program;
use crate::effects::systemd::{SERVICE, Systemd, UNIT};
use crate::handover::report::Evidence;
use crate::model::text::escaped_lines;

/// The limit on reading the journal.
const LIMIT: Duration = Duration::from_secs(3);
/// How much of it is kept, in characters.
const KEPT: usize = 8 << 10;

/// Describes one unit.
pub fn of_unit(systemd: &mut Systemd, name: &str) -> Evidence {
    let read = |systemd: &mut Systemd, interface, property| {
        systemd.property::<String>(name, interface, property).unwrap_or_default()
    };
    let active = read(systemd, UNIT, "ActiveState");
    let sub = read(systemd, UNIT, "SubState");
    let result = match name.ends_with(".service") {
        true => {
            let result = read(systemd, SERVICE, "Result");
            let status: i32 = systemd.property(name, SERVICE, "ExecMainStatus").unwrap_or_default();
            format!(", result {result}, exit status {status}")
        }
        false => String::new(),
    };
    let text = format!("{active} ({sub}){result}\n{}", last_lines(name));
    Evidence { about: format!("unit `{name}`"), text: escaped_lines(text.trim_end(), KEPT) }
}

/// The last 50 lines of a unit; empty when they cannot be had.
fn last_lines(name: &str) -> String {
    let arguments = ["-u", name, "-n", "50", "-o", "short-iso", "--no-pager", "-q"];
    let program = Program::new(program("journalctl"), LIMIT).args(arguments).keep_stdout(64 << 10);
    let output = program.run().map(|ended| ended.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}

/// Finds one of systemd's own programs in the running system.
fn program(name: &str) -> PathBuf {
    ["/run/current-system/systemd/bin", "/run/current-system/sw/bin", "/usr/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| Path::new("/usr/bin").join(name))
}
