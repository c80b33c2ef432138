//! The small words that all renderings share.

use crate::model::text::{escaped, escaped_lines};

/// Longer texts are cut, in characters.
const LONGEST_LINE: usize = 2000;

/// Longer blocks are cut, in characters.
const LONGEST_BLOCK: usize = 64 << 10;

/// Returns a text as one safe line.
pub fn line(text: &str) -> String {
    escaped(text, LONGEST_LINE)
}

/// Returns a text as safe lines, each indented by two more than `indent`.
pub fn block(text: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    escaped_lines(text.trim_end(), LONGEST_BLOCK)
        .lines()
        .map(|line| format!("{pad}{line}\n"))
        .collect()
}

/// Returns a commit by its first eight digits.
pub fn commit(commit: &str) -> String {
    escaped(commit, 80).chars().take(8).collect()
}

/// Returns ` (commit c0ffee12)`, or nothing.
pub fn of_commit(id: Option<&str>) -> String {
    id.map(|id| format!(" (commit {})", commit(id))).unwrap_or_default()
}

/// Returns the part of a store path that people recognise.
pub fn closure(toplevel: &str) -> String {
    let name = toplevel.strip_prefix("/nix/store/").and_then(|rest| rest.split_once('-'));
    line(name.map_or(toplevel, |(_, name)| name))
}

/// Returns what is going on in a phase, to follow "is"; a phase of another release as it is.
pub fn phase(name: &str) -> String {
    use crate::model::deployment::Phase;
    let Some(phase) = Phase::from_name(name) else { return line(name) };
    match phase {
        Phase::Idle => "waiting for its turn",
        Phase::Fetching => "being fetched",
        Phase::Verifying => "being verified",
        Phase::Resolving => "being resolved to a closure",
        Phase::Realising => "being downloaded or built",
        Phase::Held => "held back",
        Phase::Requested => "handed to the activator",
        Phase::Baseline => "about to be tried (baseline)",
        Phase::Switching => "on trial: switching",
        Phase::Watching => "on trial: being watched",
        Phase::Keeping => "healthy, and being kept",
        Phase::Reverting => "being reverted",
        Phase::Arming => "being armed for one boot",
        Phase::Armed => "armed: the next boot is its trial",
        Phase::Rebooting => "being left by a reboot",
    }
    .to_owned()
}

/// Returns what opens a gate, where a person can do that.
pub fn opens(gate: &str) -> Option<&'static str> {
    match gate {
        "paused" | "drift" => Some("autodeployctl resume"),
        "retry" => Some("autodeployctl run-now"),
        "maintenance" => Some("autodeployctl run-now --ignore-maintenance"),
        "reboot-needed" => Some("nixos-rebuild boot, then reboot when it suits"),
        "staged-by-hand" => Some("switch to the staged generation, or remove it"),
        "remote-unreachable" => Some("journalctl -u autodeploy -e"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_is_known_by_its_name() {
        let path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web1-25.11";
        assert_eq!(closure(path), "nixos-system-web1-25.11");
        assert_eq!(closure("/tmp/x"), "/tmp/x");
    }

    #[test]
    fn nothing_passes_unescaped() {
        assert_eq!(line("a\x1b[2Jb\n"), r"a\u{1b}[2Jb\u{a}");
        assert_eq!(block("a\x1b\nb\n", 2), "  a\\u{1b}\n  b\n");
        assert_eq!(closure("/nix/store/x-\x07"), r"\u{7}");
        assert_eq!(phase("\x07"), r"\u{7}");
    }
}
