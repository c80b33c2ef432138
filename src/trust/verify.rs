//! The keys that may sign, and what they say about a commit.

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use ssh_key::HashAlg;

use crate::trust::allowed_signers::{self, Allowed};
use crate::trust::commit_object::{self, CommitObject, ObjectFormat};
use crate::trust::openpgp::{self, Keyring};
use crate::trust::refusal::{Refusal, Unusable};
use crate::trust::ssh;

/// What lies in the files of keys; none where the configuration names no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFiles {
    /// `trust.allowed_signers_file`
    pub allowed_signers: Option<Vec<u8>>,
    /// `trust.openpgp_keyring_file`
    pub openpgp_keyring: Option<Vec<u8>>,
}

/// A name for what a verdict was made under: the mode and all keys. Whoever changes either changes
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeysId(String);

impl KeysId {
    /// Names a mode together with the contents of the files.
    pub fn of(mode: &str, files: &KeyFiles) -> KeysId {
        let mut all = mode.as_bytes().to_vec();
        for file in [&files.allowed_signers, &files.openpgp_keyring] {
            let digest = file.as_ref().map(|bytes| HashAlg::Sha256.digest(bytes));
            all.push(u8::from(digest.is_some()));
            all.extend(digest.unwrap_or_default());
        }
        let digest = HashAlg::Sha256.digest(&all);
        KeysId(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Names keys that could not be read: no verdict was made under these.
    pub fn unreadable() -> KeysId {
        KeysId("unreadable".to_owned())
    }

    /// Takes a name that was stored.
    pub fn stored(text: &str) -> KeysId {
        KeysId(text.to_owned())
    }
}

impl fmt::Display for KeysId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who signed; both escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The principal or the user id.
    pub name: String,
    /// The fingerprint of the key.
    pub key: String,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (key `{}`)", self.name, self.key)
    }
}

/// All keys that may sign.
#[derive(Debug, Default)]
pub struct Keys {
    allowed: Vec<Allowed>,
    keyring: Keyring,
}

impl Keys {
    /// Reads the files; times in them without a zone are those of `zone`.
    ///
    /// # Errors
    /// One of them cannot be used, and which.
    pub fn parse(files: &KeyFiles, zone: &TimeZone) -> Result<Keys, Unusable> {
        let allowed = match &files.allowed_signers {
            Some(bytes) => {
                let named = |why: String| Unusable(format!("`trust.allowed_signers_file`: {why}"));
                let text =
                    std::str::from_utf8(bytes).map_err(|_| named("it is not UTF-8".to_owned()))?;
                allowed_signers::read(text, zone).map_err(|Unusable(why)| named(why))?
            }
            None => Vec::new(),
        };
        let keyring = match &files.openpgp_keyring {
            Some(bytes) => Keyring::parse(bytes).map_err(|Unusable(why)| {
                Unusable(format!("`trust.openpgp_keyring_file`: {why}"))
            })?,
            None => Keyring::default(),
        };
        Ok(Keys { allowed, keyring })
    }

    /// Says who signed a raw commit object.
    ///
    /// # Errors
    /// Nobody who may, or not this commit.
    pub fn verdict(&self, raw: &[u8], format: ObjectFormat) -> Result<Signer, Refusal> {
        self.of(&commit_object::read(raw, format)?)
    }

    /// Says who signed a commit.
    ///
    /// # Errors
    /// Nobody who may, or not this commit.
    pub fn of(&self, commit: &CommitObject) -> Result<Signer, Refusal> {
        let Some(signature) = &commit.signature else { return Err(Refusal::Unsigned) };
        // The same beginnings as in Git's `gpg-interface.c`.
        if signature.starts_with(ssh::BEGIN) {
            ssh::verdict(signature, commit, &self.allowed)
        } else if signature.starts_with(openpgp::BEGIN) {
            self.keyring.verdict(signature, commit)
        } else if signature.starts_with(b"-----BEGIN SIGNED MESSAGE-----") {
            Err(Refusal::Unsupported { what: "an X.509 signature".to_owned() })
        } else {
            let what = "its signature is neither of SSH nor of OpenPGP".to_owned();
            Err(Refusal::Malformed { what })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_keys_or_mode_has_another_name() {
        let file = |text: &str| Some(text.as_bytes().to_vec());
        let files = [
            KeyFiles::default(),
            KeyFiles { allowed_signers: file("a"), openpgp_keyring: None },
            KeyFiles { allowed_signers: None, openpgp_keyring: file("a") },
            KeyFiles { allowed_signers: file("a"), openpgp_keyring: file("a") },
            KeyFiles { allowed_signers: file("b"), openpgp_keyring: None },
            KeyFiles { allowed_signers: file(""), openpgp_keyring: None },
        ];
        let modes = ["tip", "every-commit"];
        let names: std::collections::HashSet<_> = modes
            .iter()
            .flat_map(|mode| files.iter().map(move |files| KeysId::of(mode, files)))
            .chain([KeysId::unreadable(), KeysId::default()])
            .collect();
        assert_eq!(names.len(), modes.len() * files.len() + 2);
        assert_eq!(KeysId::of("tip", &files[1]), KeysId::of("tip", &files[1].clone()));
    }
}
