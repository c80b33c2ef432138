//! Whether an OpenPGP key was one that signs, at the moments that count.
//!
//! What a key may do stands in the newest good signature of its owner: on a user id, or directly on
//! the key, and for a subkey on that. A subkey that signs has to say itself that it belongs to the
//! key (the back signature), or anybody could put somebody else's key among his own.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, PublicParams, Tag};

use crate::model::text::escaped;
use crate::trust::LONGEST_TEXT;
use crate::trust::openpgp::is_strong_hash;
use crate::trust::refusal::Refusal;
use crate::trust::verify::Signer;

/// Keys of RSA that are shorter can be factored.
const LEAST_RSA_BITS: u32 = 2048;

/// A key of the ring, or one of its subkeys.
pub struct Component<'ring> {
    /// The key.
    pub of: &'ring SignedPublicKey,
    /// The subkey, if it is one.
    pub subkey: Option<&'ring SignedPublicSubKey>,
}

/// The two moments at which a key has to count, in seconds since 1970.
pub struct Moments {
    /// When the signature says that it was made.
    pub signed_at: i64,
    /// When the commit says that it was made.
    pub committed_at: i64,
}

impl<'ring> Component<'ring> {
    /// Returns the fingerprint of the key that the owner is known by.
    pub fn shown(&self) -> String {
        format!("{:X}", self.of.primary_key.fingerprint())
    }

    /// Verifies a signature of a document.
    ///
    /// # Errors
    /// It is not one of this document by this key.
    pub fn verify(&self, signature: &Signature, document: &[u8]) -> pgp::errors::Result<()> {
        match self.subkey {
            Some(subkey) => signature.verify(&subkey.key, document),
            None => signature.verify(&self.of.primary_key, document),
        }
    }

    /// Looks whether anybody else could sign with the same key.
    ///
    /// # Errors
    /// Somebody could.
    pub fn is_strong(&self) -> Result<(), Refusal> {
        strong_key(&self.of.primary_key)?;
        self.subkey.map_or(Ok(()), |subkey| strong_key(&subkey.key))
    }

    /// The signatures by which the owner lets this component sign.
    fn statements(&self) -> Vec<&'ring Signature> {
        let primary = &self.of.primary_key;
        match self.subkey {
            None => owners(self.of).into_iter().map(|(signature, _)| signature).collect(),
            Some(subkey) => {
                let binds = |one: &&Signature| {
                    one.typ() == Some(SignatureType::SubkeyBinding)
                        && one.verify_subkey_binding(primary, &subkey.key).is_ok()
                };
                subkey.signatures.iter().filter(binds).collect()
            }
        }
    }
}

fn strong_key(key: &(impl KeyDetails + Serialize)) -> Result<(), Refusal> {
    let weak = |what: String| Err(Refusal::WeakAlgorithm { what });
    match key.public_params() {
        PublicParams::RSA(_) => match rsa_bits(key) {
            Some(bits) if bits >= LEAST_RSA_BITS => Ok(()),
            bits => weak(format!("an RSA key of {} bits", bits.unwrap_or_default())),
        },
        PublicParams::DSA(_) => weak("a DSA key".to_owned()),
        _ => Ok(()),
    }
}

/// The first number of an RSA key is its modulus, and begins with its length in bits.
fn rsa_bits(key: &(impl KeyDetails + Serialize)) -> Option<u32> {
    let bytes = key.to_bytes().ok()?;
    // Version, date, algorithm; from version 6 on also the length of what follows.
    let at = if key.version() == KeyVersion::V6 { 10 } else { 6 };
    let bits: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u32::from(u16::from_be_bytes(bits)))
}

/// Says who the owner is, if the component was a key that signs at both moments.
///
/// # Errors
/// It was not, or the key or the subkey is revoked.
pub fn may_sign(
    component: &Component<'_>,
    moments: &Moments,
    ring: &[SignedPublicKey],
) -> Result<Signer, Refusal> {
    let key = component.shown();
    let primary = Component { of: component.of, subkey: None };
    if is_revoked(component, ring) {
        return Err(Refusal::Revoked { key });
    }
    // A key that does not count any more takes its subkeys with it.
    let created = component.of.primary_key.created_at().as_secs();
    let statement = newest(&primary)?;
    within(&primary, statement, (created, moments))?;
    if let Some(subkey) = component.subkey {
        let binding = newest(component)?;
        within(component, binding, (subkey.key.created_at().as_secs(), moments))?;
        back_signed(component, subkey, binding)?;
        signs(component, binding, Unsaid::MayNot)?;
    } else {
        signs(component, statement, Unsaid::May)?;
    }
    Ok(Signer { name: user_id(component.of), key })
}

/// A revocation counts whatever it is made with: nobody gains by making one up but the owner.
fn is_revoked(component: &Component<'_>, ring: &[SignedPublicKey]) -> bool {
    let primary = &component.of.primary_key;
    let revokers = revokers(component.of);
    let by_another = |one: &Signature| {
        let named = |key: &&SignedPublicKey| {
            let fingerprint = key.primary_key.fingerprint();
            revokers.iter().any(|revoker| revoker == fingerprint.as_bytes())
        };
        let signs =
            |key: &SignedPublicKey| one.verify_key_third_party(primary, &key.primary_key).is_ok();
        ring.iter().filter(named).any(signs)
    };
    let details = &component.of.details;
    let key_is = details
        .revocation_signatures
        .iter()
        .any(|one| one.verify_key(primary).is_ok() || by_another(one));
    key_is
        || component.subkey.is_some_and(|subkey| {
            subkey.signatures.iter().any(|one| {
                one.typ() == Some(SignatureType::SubkeyRevocation)
                    && one.verify_subkey_binding(primary, &subkey.key).is_ok()
            })
        })
}

/// Returns the keys that the owner named as those that may revoke his own.
fn revokers(key: &SignedPublicKey) -> Vec<Vec<u8>> {
    let named = |(signature, _): (&Signature, _)| {
        signature.revocation_key().map(|revoker| revoker.fingerprint.to_vec())
    };
    owners(key).into_iter().filter_map(named).collect()
}

/// Returns the good signatures of the owner on his key and on the user ids that he has not revoked.
fn owners(key: &SignedPublicKey) -> Vec<(&Signature, Option<String>)> {
    let primary = &key.primary_key;
    let direct = key
        .details
        .direct_signatures
        .iter()
        .filter(|one| one.typ() == Some(SignatureType::Key) && one.verify_key(primary).is_ok());
    let mut found: Vec<_> = direct.map(|one| (one, None)).collect();
    for user in &key.details.users {
        let good: Vec<_> = user
            .signatures
            .iter()
            .filter(|one| one.verify_certification(primary, Tag::UserId, &user.id).is_ok())
            .collect();
        let revoked = |one: &&Signature| one.typ() == Some(SignatureType::CertRevocation);
        let revoked_at = good.iter().copied().filter(revoked).filter_map(Signature::created).max();
        let shown = escaped(&String::from_utf8_lossy(user.id.id()), LONGEST_TEXT);
        let stands = |one: &&Signature| !revoked(one) && one.created() > revoked_at;
        found.extend(good.into_iter().filter(stands).map(|one| (one, Some(shown.clone()))));
    }
    found
}

/// Returns the user id that the owner put first, or signed last.
fn user_id(key: &SignedPublicKey) -> String {
    let named = owners(key).into_iter().filter_map(|(one, id)| Some((one, id?)));
    let best = named.max_by_key(|(one, _)| (one.is_primary(), one.created()));
    best.map_or_else(|| "nobody by name".to_owned(), |(_, id)| id)
}

/// Returns the newest statement of the owner that is not made with a broken digest.
fn newest<'ring>(component: &Component<'ring>) -> Result<&'ring Signature, Refusal> {
    let key = component.shown();
    let statements = component.statements();
    let there = !statements.is_empty();
    let strong = |one: &&Signature| one.hash_alg().is_some_and(is_strong_hash);
    let newest = statements.into_iter().filter(strong).max_by_key(|one| one.created());
    newest.ok_or_else(|| match there {
        true => Refusal::WeakAlgorithm {
            what: "the owner's statement about his key uses SHA-1 or MD5".to_owned(),
        },
        false => Refusal::MayNotSign { key, why: "its owner has not signed it".to_owned() },
    })
}

/// Holds both moments against the time of a key.
fn within(
    component: &Component<'_>,
    statement: &Signature,
    (created, moments): (u32, &Moments),
) -> Result<(), Refusal> {
    let from = i64::from(created);
    let lasts = statement.key_expiration_time().map(|span| i64::from(span.as_secs()));
    let until = lasts.filter(|seconds| *seconds > 0).map(|seconds| from.saturating_add(seconds));
    for at in [moments.signed_at, moments.committed_at] {
        let key = component.shown();
        match until {
            _ if at < from => return Err(Refusal::NotYetValid { key, from }),
            Some(until) if at >= until => return Err(Refusal::Expired { key, until }),
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Looks whether the subkey itself says that it belongs to the key.
fn back_signed(
    component: &Component<'_>,
    subkey: &SignedPublicSubKey,
    binding: &Signature,
) -> Result<(), Refusal> {
    let primary = &component.of.primary_key;
    let good = binding.embedded_signature().is_some_and(|back| {
        back.hash_alg().is_some_and(is_strong_hash)
            && back.verify_primary_key_binding(&subkey.key, primary).is_ok()
    });
    let why = "the subkey does not say itself that it belongs to the key".to_owned();
    match good {
        true => Ok(()),
        false => Err(Refusal::MayNotSign { key: component.shown(), why }),
    }
}

/// What goes for a key of which its owner has not said what it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsaid {
    /// The key itself: keys are older than these words.
    May,
    /// A subkey.
    MayNot,
}

/// Looks whether the owner lets it sign.
fn signs(component: &Component<'_>, statement: &Signature, unsaid: Unsaid) -> Result<(), Refusal> {
    let said = statement.config().is_some_and(|config| {
        config.hashed_subpackets().any(|one| matches!(one.data, SubpacketData::KeyFlags(_)))
    });
    let may = if said { statement.key_flags().sign() } else { unsaid == Unsaid::May };
    let why = "its owner made it for something else".to_owned();
    match may {
        true => Ok(()),
        false => Err(Refusal::MayNotSign { key: component.shown(), why }),
    }
}
