//! Signatures of SSH keys, as `ssh-keygen -Y sign -n git` makes them (PROTOCOL.sshsig of OpenSSH).
//!
//! A key counts at the committer's date, as Git asks ssh-keygen with `-Overify-time`.

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use crate::model::text::escaped;
use crate::trust::LONGEST_TEXT;
use crate::trust::allowed_signers::Allowed;
use crate::trust::commit_object::CommitObject;
use crate::trust::refusal::Refusal;
use crate::trust::verify::Signer;

/// How an armored signature begins.
pub const BEGIN: &[u8] = b"-----BEGIN SSH SIGNATURE-----";

/// What Git signs for.
const NAMESPACE: &str = "git";

/// Keys of RSA that are shorter can be factored, and longer ones are not read by the library.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Says who made the signature of a commit.
///
/// # Errors
/// Nobody who is allowed to, or not of this commit.
pub fn verdict(
    armored: &[u8],
    commit: &CommitObject,
    allowed: &[Allowed],
) -> Result<Signer, Refusal> {
    let signature = SshSig::from_pem(armored).map_err(|error| unreadable(armored, &error))?;
    if signature.namespace() != NAMESPACE {
        let namespace = escaped(signature.namespace(), LONGEST_TEXT);
        return Err(Refusal::WrongNamespace { namespace });
    }
    let key = signature.public_key();
    let shown = fingerprint(key);
    let principal = permitted(key, &shown, commit.committed_at, allowed)?;
    is_strong(key)?;
    let public = PublicKey::from(key.clone());
    match public.verify(NAMESPACE, &commit.payload, &signature) {
        Ok(()) => Ok(Signer { name: principal, key: shown }),
        Err(_) => Err(Refusal::BadSignature { key: shown }),
    }
}

/// Returns the principal of the first line that lets this key sign at that time; of several that do
/// not, the first says why.
fn permitted(key: &KeyData, shown: &str, at: i64, allowed: &[Allowed]) -> Result<String, Refusal> {
    let mut refused = None;
    for line in allowed.iter().filter(|line| line.key == *key) {
        let shown = || shown.to_owned();
        let refusal = match (line.principal(), line.valid_after, line.valid_before) {
            (None, _, _) => continue,
            _ if !line.is_for(NAMESPACE) => Refusal::NotForGit { key: shown() },
            (_, Some(from), _) if at < from => Refusal::NotYetValid { key: shown(), from },
            (_, _, Some(until)) if at > until => Refusal::Expired { key: shown(), until },
            (Some(principal), _, _) => return Ok(principal),
        };
        refused.get_or_insert(refusal);
    }
    Err(refused.unwrap_or_else(|| Refusal::UnknownKey { key: shown.to_owned() }))
}

fn is_strong(key: &KeyData) -> Result<(), Refusal> {
    match key {
        KeyData::Rsa(rsa) => {
            let bits = rsa.n.as_positive_bytes().map_or(0, |bytes| {
                let unused = bytes.first().map_or(0, |first| first.leading_zeros());
                bytes.len() * 8 - unused as usize
            });
            match (RSA_BITS.contains(&bits), bits < *RSA_BITS.start()) {
                (true, _) => Ok(()),
                (false, true) => weak(&format!("an RSA key of {bits} bits")),
                (false, false) => {
                    let most = RSA_BITS.end();
                    let what = format!("an RSA key of {bits} bits, more than {most}");
                    Err(Refusal::Unsupported { what })
                }
            }
        }
        KeyData::Dsa(_) => weak("a DSA key"),
        _ => Ok(()),
    }
}

fn weak(what: &str) -> Result<(), Refusal> {
    Err(Refusal::WeakAlgorithm { what: what.to_owned() })
}

/// Returns what `ssh-keygen -l` shows of a key.
pub fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The library cannot read certificates at all: the name of the key's kind is looked for.
fn unreadable(armored: &[u8], error: &ssh_key::Error) -> Refusal {
    match key_type(armored) {
        Some(kind) if kind.contains("-cert-v01@") => Refusal::CertificateUnsupported,
        Some(kind) if kind.parse::<Algorithm>().is_ok_and(is_other) => {
            let what = format!("a key of the kind `{}`", escaped(&kind, 80));
            Refusal::Unsupported { what }
        }
        Some(_) | None => {
            let error = escaped(&error.to_string(), LONGEST_TEXT);
            Refusal::Malformed { what: format!("its SSH signature cannot be read: {error}") }
        }
    }
}

fn is_other(kind: Algorithm) -> bool {
    matches!(kind, Algorithm::Other(_))
}

/// Returns the kind of the key in a signature: behind `SSHSIG`, the version and two lengths.
fn key_type(armored: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(armored).ok()?;
    let lines = text.lines().skip(1).take_while(|line| !line.starts_with('-'));
    let blob = openssl::base64::decode_block(&lines.collect::<String>()).ok()?;
    let from = |at: usize| {
        let length: [u8; 4] = blob.get(at..at + 4)?.try_into().ok()?;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        blob.get(at + 4..(at + 4).checked_add(length)?)
    };
    let key_at = b"SSHSIG".len() + 4;
    from(key_at)?;
    String::from_utf8(from(key_at + 4)?.to_vec()).ok()
}
