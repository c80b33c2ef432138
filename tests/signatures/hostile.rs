//! Bytes of whoever can push: nothing of them ends the child, and no changed commit is believed.

use autodeploy::trust::commit_object::{self, ObjectFormat};
use autodeploy::trust::{KeyFiles, Keys};
use jiff::tz::TimeZone;

use crate::draws::Draws;
use crate::place::Place;
use crate::scribe::{Draft, for_gpg, signed};

const CHANGES: usize = 1500;

/// Changes, adds or takes away a few bytes somewhere.
fn changed(draws: &mut Draws, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=draws.below(3) {
        let at = draws.below(bytes.len());
        match draws.below(4) {
            0 => bytes[at] = draws.below(256) as u8,
            1 => bytes[at] ^= 1 << draws.below(8),
            2 => drop(bytes.drain(at..(at + 1 + draws.below(20)).min(bytes.len()))),
            _ => bytes.insert(at, b" \n-=A\0\xff"[draws.below(7)]),
        }
    }
    bytes
}

#[test]
fn p19_no_changed_commit_is_believed_and_none_ends_the_program() {
    let place = Place::new();
    let public = place.ssh_key("one", &["-t", "ed25519"]);
    let pgp = place.pgp_key("pgp@b", "ed25519", ("sign", "never"));
    let allowed = format!("a@b namespaces=\"git\" {public}\n");
    let files = KeyFiles {
        allowed_signers: Some(allowed.into_bytes()),
        openpgp_keyring: Some(place.keyring(&[&pgp], &[])),
    };
    let keys = Keys::parse(&files, &TimeZone::UTC).unwrap();
    let draft = Draft::new("subject\n\nbody\n", "2024-06-01T12:00:00Z");
    let payload = draft.payload();
    let time = for_gpg(draft.committed_at);
    let sign = ["--armor", "--detach-sign", "--local-user", &pgp];
    let by = [
        place.ssh_sign(&place.path("one"), &["-n", "git"], payload.as_bytes()),
        place.gpg(&time, &sign, payload.as_bytes()),
    ];
    let mut draws = Draws(7);
    for signature in by {
        let good = signed(&payload, &signature);
        assert!(keys.verdict(&good, ObjectFormat::Sha1).is_ok());
        for _ in 0..CHANGES {
            let raw = changed(&mut draws, &good);
            if keys.verdict(&raw, ObjectFormat::Sha1).is_ok() {
                let read = commit_object::read(&raw, ObjectFormat::Sha1).unwrap();
                assert_eq!(read.payload, payload.as_bytes(), "{}", String::from_utf8_lossy(&raw));
            }
        }
    }
    for _ in 0..CHANGES {
        let changed = |draws: &mut Draws, file: &Option<Vec<u8>>| {
            Some(changed(draws, file.as_deref().unwrap_or_default()))
        };
        let files = KeyFiles {
            allowed_signers: changed(&mut draws, &files.allowed_signers),
            openpgp_keyring: changed(&mut draws, &files.openpgp_keyring),
        };
        let _ = Keys::parse(&files, &TimeZone::UTC);
    }
}
