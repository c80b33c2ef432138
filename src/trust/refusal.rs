//! Why a commit may not be deployed, as far as its signature goes: one enum, a sentence for each.

use serde::{Deserialize, Serialize};

use crate::model::failure::Reason;
use crate::model::text::escaped;
use crate::trust::LONGEST_TEXT;
use crate::trust::times::text;

/// Why a file of keys cannot be used: one escaped line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

/// Why the signature of a commit does not count; keys are fingerprints, times seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is none.
    Unsigned,
    /// The object or the signature cannot be read.
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// A limit was passed.
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in bytes.
        most: usize,
    },
    /// It may be right, and this program cannot tell.
    Unsupported {
        /// What it is.
        what: String,
    },
    /// It is made by a certificate, not by a key.
    CertificateUnsupported,
    /// It rests on something that is broken, such as SHA-1.
    WeakAlgorithm {
        /// What it rests on.
        what: String,
    },
    /// Nobody said that this key may sign.
    UnknownKey {
        /// Whose.
        key: String,
    },
    /// It was made for something else than Git.
    WrongNamespace {
        /// What for.
        namespace: String,
    },
    /// The list of keys allows this one for something else than Git.
    NotForGit {
        /// Whose.
        key: String,
    },
    /// The commit or the signature is older than the key's time begins.
    NotYetValid {
        /// Whose.
        key: String,
        /// Since when it counts.
        from: i64,
    },
    /// The commit or the signature is younger than the key's time lasts.
    Expired {
        /// Whose.
        key: String,
        /// Until when it counted.
        until: i64,
    },
    /// The key was revoked, at whatever time.
    Revoked {
        /// Whose.
        key: String,
    },
    /// The key is there, and its owner did not make it a key that signs.
    MayNotSign {
        /// Whose.
        key: String,
        /// Why.
        why: String,
    },
    /// It is not a signature of this commit.
    BadSignature {
        /// Whose it pretends to be.
        key: String,
    },
}

impl Refusal {
    /// Returns the stable code.
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::Unsigned => Reason::NOT_SIGNED,
            Refusal::Malformed { .. }
            | Refusal::TooLarge { .. }
            | Refusal::WrongNamespace { .. }
            | Refusal::BadSignature { .. } => Reason::BAD_SIGNATURE,
            Refusal::Unsupported { .. }
            | Refusal::CertificateUnsupported
            | Refusal::WeakAlgorithm { .. } => Reason::UNSUPPORTED_SIGNATURE,
            Refusal::UnknownKey { .. }
            | Refusal::NotForGit { .. }
            | Refusal::NotYetValid { .. }
            | Refusal::Expired { .. }
            | Refusal::Revoked { .. }
            | Refusal::MayNotSign { .. } => Reason::UNTRUSTED_KEY,
        }
    }

    /// Says it, to go on after "commit `…` may not be deployed: ".
    pub fn sentence(&self) -> String {
        let safe = |outside: &str| escaped(outside, LONGEST_TEXT);
        match self {
            Refusal::Unsigned => "it is not signed".to_owned(),
            Refusal::Malformed { what } => safe(what),
            Refusal::TooLarge { what, most } => {
                format!("{} is larger than {most} bytes", safe(what))
            }
            Refusal::Unsupported { what } => {
                format!("its signature is not one that can be verified here: {}", safe(what))
            }
            Refusal::CertificateUnsupported => {
                "it is signed by an SSH certificate, and only plain keys are believed".to_owned()
            }
            Refusal::WeakAlgorithm { what } => {
                format!("its signature proves nothing any more: {}", safe(what))
            }
            Refusal::UnknownKey { key } => {
                format!("it is signed by the key `{}`, which is not allowed", safe(key))
            }
            Refusal::WrongNamespace { namespace } => {
                format!("its signature was made for `{}` and not for `git`", safe(namespace))
            }
            Refusal::NotForGit { key } => {
                format!("the key `{}` is allowed for something else than `git`", safe(key))
            }
            Refusal::NotYetValid { key, from } => format!(
                "the key `{}` counts from {} only, and the commit is older",
                safe(key),
                text(*from)
            ),
            Refusal::Expired { key, until } => format!(
                "the key `{}` counted until {}, and the commit is younger",
                safe(key),
                text(*until)
            ),
            Refusal::Revoked { key } => format!("the key `{}` is revoked", safe(key)),
            Refusal::MayNotSign { key, why } => {
                format!("the key `{}` may not sign: {}", safe(key), safe(why))
            }
            Refusal::BadSignature { key } => {
                format!("its signature by the key `{}` is not one of this commit", safe(key))
            }
        }
    }
}
