//! What `fuzz/` throws bytes at: everything that reads what others wrote, each with its laws.
//!
//! A target takes any bytes and panics where a law is broken; that nothing panics by itself is the
//! first law of all of them. The fuzzer looks for such bytes with the stable toolchain
//! (`make fuzz`); what it has found so far, and real files, lie in `fuzz/corpus/TARGET`, and every
//! test run holds them against the laws once more, without a fuzzer.
//!
//! | file | whose bytes |
//! |---|---|
//! | [`configuration`] | an operator's, and another generation's |
//! | [`record`], [`handover`] | root's own, of any release; the agent's, which may be hostile |
//! | [`control`] | any local user's |
//! | [`nix`], [`closure`] | an evaluation's, a build's, a cache's |
//! | [`loader`] | what boot loaders and their builders wrote |
//! | [`remote`] | a Git server's, and who it claims to be |
//! | [`text`] | everybody's |
//! | [`trust`] | whoever can push; the files of keys are an operator's |

// Laws are broken loudly; nothing of this is in a program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod closure;
mod configuration;
mod control;
mod handover;
mod loader;
mod nix;
mod record;
mod remote;
mod text;
mod trust;

use crate::model::text::escaped;

/// Something that reads bytes.
pub struct Target {
    /// The name of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Reads the bytes, and panics where a law is broken.
    pub run: fn(&[u8]),
}

/// Everything that is fuzzed.
pub const TARGETS: [Target; 16] = [
    Target { name: "closure", run: closure::closure },
    Target { name: "commit", run: trust::commit },
    Target { name: "configuration", run: configuration::configuration },
    Target { name: "control", run: control::control },
    Target { name: "grub", run: loader::grub },
    Target { name: "handover", run: handover::handover },
    Target { name: "key-files", run: trust::key_files },
    Target { name: "known-hosts", run: remote::known_hosts },
    Target { name: "nix-asked", run: nix::asked },
    Target { name: "nix-told", run: nix::told },
    Target { name: "record", run: record::record },
    Target { name: "remote-address", run: remote::address },
    Target { name: "remote-answer", run: remote::answer },
    Target { name: "signature", run: trust::signature },
    Target { name: "systemd-boot", run: loader::systemd_boot },
    Target { name: "text", run: text::text },
];

/// Law: what people read is one line, drives no terminal, and has an end.
#[track_caller]
fn shown(text: &str, most_characters: usize) {
    assert_eq!(escaped(text, usize::MAX), text, "it can drive a terminal");
    let count = text.chars().count();
    assert!(count <= most_characters, "{count} characters are shown");
}

/// The longest that a text becomes that is cut at `limit` characters: each of them escaped, as in
/// `\u{10ffff}`, and the mark of the cut.
const fn cut_at(limit: usize) -> usize {
    limit * 10 + 1
}

/// Splits off a first line that says how to cut what follows: a stream arrives in pieces of any
/// size.
fn in_pieces(bytes: &[u8]) -> (impl Iterator<Item = &[u8]>, &[u8]) {
    let (size, stream) = bytes.split_first().map_or((1, bytes), |(size, rest)| (*size, rest));
    (stream.chunks(usize::from(size).max(1)), stream)
}

/// Takes text apart at line feeds, into exactly as many parts as are asked for.
fn lines<const COUNT: usize>(bytes: &[u8]) -> Option<[&str; COUNT]> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.splitn(COUNT, '\n');
    let parts = std::array::from_fn(|_| lines.next());
    parts.iter().all(Option::is_some).then(|| parts.map(Option::unwrap_or_default))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn corpus() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
    }

    fn seeds(target: &str) -> Vec<PathBuf> {
        let folder = fs::read_dir(corpus().join(target)).unwrap();
        folder.map(|seed| seed.unwrap().path()).collect()
    }

    #[test]
    fn every_target_has_its_seeds() {
        let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        let folders = fs::read_dir(corpus()).unwrap();
        let folders = folders.map(|one| one.unwrap().file_name().into_string().unwrap());
        assert_eq!(names, folders.collect());
        for target in &TARGETS {
            assert!(seeds(target.name).len() >= 3, "{}", target.name);
        }
    }

    #[test]
    fn the_corpus_is_small() {
        let sizes = TARGETS.iter().flat_map(|target| seeds(target.name));
        let bytes: u64 = sizes.map(|seed| fs::metadata(seed).unwrap().len()).sum();
        assert!(bytes < 1 << 20, "{bytes}");
    }

    #[test]
    fn no_seed_breaks_a_law() {
        let mut broken = Vec::new();
        for target in &TARGETS {
            for seed in seeds(target.name) {
                let bytes = fs::read(&seed).unwrap();
                if std::panic::catch_unwind(|| (target.run)(&bytes)).is_err() {
                    broken.push(seed);
                }
            }
        }
        assert_eq!(broken, [""; 0].map(PathBuf::from));
    }

    #[test]
    fn a_law_that_is_broken_is_noticed() {
        let breaks = |law: fn()| assert!(std::panic::catch_unwind(law).is_err());
        breaks(|| shown("a\u{1b}[2J", 100));
        breaks(|| shown("a\nb", 100));
        breaks(|| shown("abc", 2));
        shown("abc", 3);
    }

    #[test]
    fn bytes_are_taken_apart() {
        let (pieces, stream) = in_pieces(b"\x02abcde");
        assert_eq!(pieces.collect::<Vec<_>>(), [b"ab".as_slice(), b"cd", b"e"]);
        assert_eq!(stream, b"abcde");
        assert_eq!(in_pieces(b"\0ab").0.count(), 2);
        assert_eq!(in_pieces(b"").0.count(), 0);
        assert_eq!(lines(b"a\nb\nc\nd"), Some(["a", "b", "c\nd"]));
        assert_eq!(lines::<3>(b"a\nb"), None);
        assert_eq!(lines::<1>(b"\xff"), None);
    }
}
