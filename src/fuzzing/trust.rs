//! Signatures of commits, and the files of keys that they are held against: whoever can push wrote
//! the first, an operator the others.

use jiff::tz::TimeZone;

use super::{cut_at, shown};
use crate::trust::commit_object::{self, CommitObject, ObjectFormat};
use crate::trust::openpgp::Keyring;
use crate::trust::{KeyFiles, Keys, Refusal, Signer, allowed_signers};

/// A key of `ssh-keygen` and one of `gpg`, and what Git made with them.
const ALLOWED_SIGNERS: &[u8] = include_bytes!("trust/allowed_signers");
const KEYRING: &[u8] = include_bytes!("trust/keyring.asc");
const SIGNED: [&[u8]; 2] =
    [include_bytes!("trust/signed-by-ssh"), include_bytes!("trust/signed-by-gpg")];

const LONGEST_SENTENCE: usize = cut_at(600);

fn keys() -> Keys {
    let files = KeyFiles {
        allowed_signers: Some(ALLOWED_SIGNERS.to_vec()),
        openpgp_keyring: Some(KEYRING.to_vec()),
    };
    Keys::parse(&files, &TimeZone::UTC).expect("both files are good")
}

fn signed() -> [CommitObject; 2] {
    SIGNED.map(|raw| commit_object::read(raw, ObjectFormat::Sha1).expect("Git wrote it"))
}

fn refused(refusal: &Refusal) {
    shown(&refusal.sentence(), LONGEST_SENTENCE);
}

/// Laws: files of keys are read whole or not at all, and what is wrong with one can be shown; who is
/// named by a line can be, too.
pub fn key_files(bytes: &[u8]) {
    if let Err(unusable) = Keyring::parse(bytes) {
        shown(&unusable.0, LONGEST_SENTENCE);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match allowed_signers::read(text, &TimeZone::UTC) {
        Ok(lines) => {
            assert!(!lines.is_empty());
            for line in lines {
                let _ = line.is_for("git");
                shown(&line.principal().unwrap_or_default(), cut_at(200));
                if let (Some(after), Some(before)) = (line.valid_after, line.valid_before) {
                    assert!(after < before);
                }
            }
        }
        Err(unusable) => shown(&unusable.0, LONGEST_SENTENCE),
    }
}

/// Laws: a commit without its signature has none, and is what was signed; whoever is believed
/// signed just that, however the object was changed around it.
pub fn commit(bytes: &[u8]) {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let read = match commit_object::read(bytes, format) {
            Ok(read) => read,
            Err(refusal) => return refused(&refusal),
        };
        let bare = CommitObject { signature: None, ..read.clone() };
        assert_eq!(commit_object::read(&read.payload, format), Ok(bare));
        believed(&keys().verdict(bytes, format), &read);
    }
}

/// Laws: a signature counts for one commit and for no other.
pub fn signature(bytes: &[u8]) {
    for commit in signed() {
        let signed = CommitObject { signature: Some(bytes.to_vec()), ..commit };
        believed(&keys().of(&signed), &signed);
        let other = CommitObject { payload: [&signed.payload[..], b"\n"].concat(), ..signed };
        if let Ok(signer) = keys().of(&other) {
            panic!("{} signed what they did not", signer.name);
        }
    }
}

fn believed(verdict: &Result<Signer, Refusal>, commit: &CommitObject) {
    match verdict {
        Ok(signer) => {
            assert!(signed().iter().any(|known| known.payload == commit.payload));
            shown(&signer.name, cut_at(200));
        }
        Err(refusal) => refused(refusal),
    }
}
