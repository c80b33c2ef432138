//! Signatures of OpenPGP keys, as `gpg --detach-sign` makes them for Git.
//!
//! A key counts if it counted both when the signature says that it was made and at the committer's
//! date: the first alone could be set back by whoever has an expired key. A revoked key counts for
//! nothing, whenever and why ever it was revoked.

use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey, SignedPublicKeyParser};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PacketParser, Signature, SignatureType, SignatureVersion, SubpacketData};
use pgp::types::KeyDetails;

use crate::model::text::escaped;
use crate::trust::LONGEST_TEXT;
use crate::trust::commit_object::CommitObject;
use crate::trust::openpgp_key::{self, Component, Moments};
use crate::trust::refusal::{Refusal, Unusable};
use crate::trust::verify::Signer;

/// How an armored signature begins.
pub const BEGIN: &[u8] = b"-----BEGIN PGP SIGNATURE-----";

const BEGIN_KEYS: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// The keys that may sign.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Reads a keyring as `gpg --export` writes it, with or without `--armor`, and several behind
    /// each other.
    ///
    /// # Errors
    /// A part of it cannot be read, or there is no key in it.
    pub fn parse(file: &[u8]) -> Result<Keyring, Unusable> {
        let mut keys = Vec::new();
        match std::str::from_utf8(file).ok().filter(|text| text.contains("-----BEGIN PGP ")) {
            Some(text) => {
                if text.contains("PRIVATE KEY BLOCK") {
                    return Err(Unusable("there is a private key in it".to_owned()));
                }
                for block in text.split(BEGIN_KEYS).skip(1) {
                    let block = format!("{BEGIN_KEYS}{block}");
                    let (found, _) = SignedPublicKey::from_string_many(&block)
                        .map_err(|error| unusable(&error))?;
                    for key in found {
                        keys.push(key.map_err(|error| unusable(&error))?);
                    }
                }
            }
            None => keys = packets(file)?,
        }
        match keys.is_empty() {
            true => Err(Unusable("there is no public key in it".to_owned())),
            false => Ok(Keyring { keys }),
        }
    }

    /// Says who made the signature of a commit.
    ///
    /// # Errors
    /// Nobody who is allowed to, or not of this commit.
    pub fn verdict(&self, armored: &[u8], commit: &CommitObject) -> Result<Signer, Refusal> {
        let signature = read(armored)?;
        let signed_at = sound(&signature)?;
        let component = self.issuer(&signature)?;
        let key = component.shown();
        component.is_strong()?;
        component.verify(&signature, &commit.payload).map_err(|_| Refusal::BadSignature { key })?;
        let moments = Moments { signed_at, committed_at: commit.committed_at };
        openpgp_key::may_sign(&component, &moments, &self.keys)
    }

    /// Finds the key that the signature names; the name itself is not signed, and need not be.
    fn issuer(&self, signature: &Signature) -> Result<Component<'_>, Refusal> {
        let fingerprints = signature.issuer_fingerprint();
        let ids = signature.issuer_key_id();
        let named = |key: &dyn KeyDetails| match fingerprints.is_empty() {
            false => fingerprints.contains(&&key.fingerprint()),
            true => ids.contains(&&key.legacy_key_id()),
        };
        for key in &self.keys {
            if named(&key.primary_key) {
                return Ok(Component { of: key, subkey: None });
            }
            if let Some(subkey) = key.public_subkeys.iter().find(|subkey| named(&subkey.key)) {
                return Ok(Component { of: key, subkey: Some(subkey) });
            }
        }
        match (fingerprints.first(), ids.first()) {
            (Some(fingerprint), _) => Err(Refusal::UnknownKey { key: format!("{fingerprint:X}") }),
            (None, Some(id)) => Err(Refusal::UnknownKey { key: id.to_string().to_uppercase() }),
            (None, None) => Err(malformed("its OpenPGP signature names no key")),
        }
    }
}

fn packets(file: &[u8]) -> Result<Vec<SignedPublicKey>, Unusable> {
    // The library passes over packets that end too early; of a file of keys, that may be the
    // revocation.
    let read = PacketParser::new(file).filter(|packet| match packet {
        Err(error) => !matches!(error, pgp::errors::Error::Unsupported { .. }),
        Ok(_) => true,
    });
    let keys = SignedPublicKeyParser::from_packets(read.peekable());
    keys.map(|key| key.map_err(|error| unusable(&error))).collect()
}

fn unusable(error: &pgp::errors::Error) -> Unusable {
    let error = escaped(&error.to_string(), LONGEST_TEXT);
    Unusable(format!("it is no keyring as `gpg --export` writes it: {error}"))
}

fn malformed(what: &str) -> Refusal {
    Refusal::Malformed { what: what.to_owned() }
}

/// Reads the one signature that there may be.
fn read(armored: &[u8]) -> Result<Signature, Refusal> {
    let unreadable = |error: &pgp::errors::Error| {
        let error = escaped(&error.to_string(), LONGEST_TEXT);
        malformed(&format!("its OpenPGP signature cannot be read: {error}"))
    };
    let (mut found, _) =
        DetachedSignature::from_armor_many_buf(armored).map_err(|error| unreadable(&error))?;
    let first = found.next().ok_or_else(|| malformed("there is no OpenPGP signature in it"))?;
    let first = first.map_err(|error| unreadable(&error))?;
    match found.next() {
        None => Ok(first.signature),
        Some(_) => Err(malformed("it has more than one OpenPGP signature")),
    }
}

/// Looks at everything but the key; returns when the signature says that it was made.
fn sound(signature: &Signature) -> Result<i64, Refusal> {
    let unsupported = |what: &str| Err(Refusal::Unsupported { what: what.to_owned() });
    let Some(config) = signature.config() else {
        return unsupported("an OpenPGP signature of an unknown version");
    };
    match (config.version(), config.typ()) {
        (SignatureVersion::V4 | SignatureVersion::V6, SignatureType::Binary) => {}
        (SignatureVersion::V4 | SignatureVersion::V6, SignatureType::Text) => {
            return unsupported("an OpenPGP signature of a text, which leaves line ends open");
        }
        (SignatureVersion::V4 | SignatureVersion::V6, _) => {
            return Err(malformed("its OpenPGP signature is not one of a document"));
        }
        _ => return unsupported("an OpenPGP signature of an old version"),
    }
    if !is_strong_hash(config.hash_alg) {
        let what = format!("its OpenPGP signature uses {}", config.hash_alg);
        return Err(Refusal::WeakAlgorithm { what });
    }
    if config.hashed_subpackets().any(|one| one.is_critical && !is_understood(&one.data)) {
        return unsupported("an OpenPGP signature with a condition that is not known here");
    }
    if signature.signature_expiration_time().is_some_and(|after| after.as_secs() > 0) {
        return unsupported("an OpenPGP signature that expires by itself");
    }
    let made = signature.created().ok_or_else(|| malformed("its OpenPGP signature has no date"))?;
    Ok(i64::from(made.as_secs()))
}

/// Tells whether nobody can make a second document of the same digest.
pub fn is_strong_hash(hash: HashAlgorithm) -> bool {
    matches!(
        hash,
        HashAlgorithm::Sha224
            | HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}

/// A critical subpacket that is not understood makes a signature worth nothing (RFC 9580, 5.2.3.7).
fn is_understood(data: &SubpacketData) -> bool {
    !matches!(
        data,
        SubpacketData::Experimental(..) | SubpacketData::Other(..) | SubpacketData::Notation(_)
    )
}
