//! What of a closure is not in the store yet, and making room for it.
//!
//! Nix says how much it would fetch only in words (`nix-store --realise --dry-run`, on standard
//! error, the same from 2.18 on). They are read here to be on the safe side of a disk that may be
//! too small; where they cannot be read, nothing is known, and nothing else depends on them.

use std::time::Duration;

use crate::config::settings::Build;
use crate::effects::nix::{Nix, Resolved, told};
use crate::effects::process::Status;
use crate::model::failure::{Failure, Reason};

/// The limit on the question: a cache may have to be asked about each of some thousand paths.
const LIMIT: Duration = Duration::from_secs(120);

/// Some thousand names of paths are shorter than this, in bytes; what stands before them counts.
const LONGEST: usize = 16 << 20;

/// What of a closure is not in the store yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Something has to be built, which takes nobody knows how much.
    pub builds: bool,
    /// What comes over the network, in bytes.
    pub download: u64,
    /// What that takes in the store, in bytes.
    pub unpacked: u64,
}

impl Nix {
    /// Asks what would have to be fetched and built; nothing if Nix does not say.
    ///
    /// What it learns of the caches it remembers: they are not asked twice.
    pub fn missing(&self, resolved: &Resolved, build: &Build) -> Option<Missing> {
        let wanted = match build.substitute_only {
            true => &resolved.toplevel,
            false => &resolved.drv,
        };
        let program = self.store(LIMIT).args(["--realise", "--dry-run"]).arg(wanted.as_str());
        let ended = self.run(&program.keep_stderr(LONGEST), "could not ask").ok()?;
        match ended.succeeded() {
            true => read(&String::from_utf8_lossy(&ended.stderr)),
            false => None,
        }
    }

    /// Deletes what nothing holds, until `bytes` are free that were not; it deletes no generation
    /// of any profile.
    ///
    /// # Errors
    /// `nix-unreachable`; less or nothing was deleted.
    pub fn collect_garbage(&self, bytes: u64, limit: Duration) -> Result<(), Failure> {
        let what = "could not collect garbage";
        let bytes = bytes.to_string();
        let program = self.store(limit).args(["--gc", "--max-freed"]).arg(bytes);
        let ended = self.run(&program, what)?;
        match ended.status {
            Status::Code(0) => Ok(()),
            Status::Code(_) => {
                let cause = told::cause_of_evaluation(&ended.stderr);
                Err(Failure::new(Reason::NIX_UNREACHABLE, format!("{what}: {cause}")))
            }
            other => {
                let message = format!("{what}: `nix-store` {}", told::how(other));
                Err(Failure::new(Reason::NIX_UNREACHABLE, message))
            }
        }
    }
}

/// Reads the lines that stand before the lists of paths; nothing if one of them cannot be read.
pub(crate) fn read(text: &str) -> Option<Missing> {
    let mut missing = Missing::default();
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        if line.contains(" will be built") {
            missing.builds = true;
        } else if line.contains(" will be fetched") {
            let (_, sizes) = line.split_once('(')?;
            let (download, unpacked) = sizes.split_once(',')?;
            missing.download = size(download)?;
            missing.unpacked = size(unpacked)?;
        }
    }
    Some(missing)
}

/// Reads the beginning of ` 4.77 MiB unpacked):`.
fn size(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = words.next().and_then(|unit| units.iter().position(|known| *known == unit))?;
    Some((number.max(0.0) * 1024_f64.powi(power as i32)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[track_caller]
    fn check(text: &str, expected: Option<Missing>) {
        assert_eq!(read(text), expected, "{text}");
    }

    #[test]
    fn what_nix_would_do_is_read_from_its_words() {
        check("", Some(Missing::default()));
        let fetched = Missing { builds: false, download: 5 * MIB, unpacked: 20 * MIB };
        let one =
            "this path will be fetched (5.00 MiB download, 20.00 MiB unpacked):\n  /nix/store/a\n";
        check(one, Some(fetched));
        let both = "these 2 derivations will be built:\n  /nix/store/b.drv\n  /nix/store/c.drv\n\
                    these 812 paths will be fetched (512.00 KiB download, 1.50 GiB unpacked):\n  /nix/store/a\n";
        let all = Missing { builds: true, download: MIB / 2, unpacked: 1536 * MIB };
        check(both, Some(all));
    }

    #[test]
    fn words_that_cannot_be_read_say_nothing() {
        check("these paths will be fetched:\n", None);
        check("these paths will be fetched (some MiB download, 1 MiB unpacked):\n", None);
        check("these paths will be fetched (1 MiB download, 1 XiB unpacked):\n", None);
        check("warning: what is fetched may be large\n", Some(Missing::default()));
    }
}
