//! A path directly in the Nix store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `/nix/store/<32 characters of Nix's base 32>-<name>`, and nothing below it.
///
/// The alphabet and the rules for names are those of Nix's `StorePath` (`path.cc`): no `e`, `o`,
/// `u`, `t` in the hash; letters, digits and `+-._?=` in the name, at most 211 of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

/// A text that is not a store path.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAStorePath(String);

const STORE: &str = "/nix/store/";
const HASH_CHARACTERS: usize = 32;
const LONGEST_NAME: usize = 211;

impl StorePath {
    /// Returns the whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the whole path as a [`Path`].
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Returns the path of something inside.
    pub fn join(&self, inside: &str) -> PathBuf {
        self.as_path().join(inside)
    }

    /// Returns the part after the hash, which people recognise.
    pub fn name(&self) -> &str {
        &self.0[STORE.len() + HASH_CHARACTERS + 1..]
    }
}

impl FromStr for StorePath {
    type Err = NotAStorePath;

    fn from_str(text: &str) -> Result<Self, NotAStorePath> {
        let valid = text
            .strip_prefix(STORE)
            .and_then(|base| base.split_at_checked(HASH_CHARACTERS))
            .and_then(|(hash, rest)| Some((hash, rest.strip_prefix('-')?)))
            .is_some_and(|(hash, name)| is_hash(hash) && is_name(name));
        match valid {
            true => Ok(StorePath(text.to_owned())),
            false => Err(NotAStorePath(crate::model::text::escaped(text, 300))),
        }
    }
}

fn is_hash(hash: &str) -> bool {
    hash.bytes().all(|byte| b"0123456789abcdfghijklmnpqrsvwxyz".contains(&byte))
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

impl TryFrom<String> for StorePath {
    type Error = NotAStorePath;

    fn try_from(text: String) -> Result<Self, NotAStorePath> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> String {
        path.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NotAStorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a path of the Nix store", self.0)
    }
}

impl std::error::Error for NotAStorePath {}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdfghijklmnpqrsvwxyz";

    #[track_caller]
    fn check(text: &str, accepted: bool) {
        assert_eq!(text.parse::<StorePath>().is_ok(), accepted, "{text}");
    }

    #[test]
    fn only_paths_directly_in_the_store_are_accepted() {
        check(&format!("/nix/store/{HASH}-nixos-system-box-25.11"), true);
        check(&format!("/nix/store/{HASH}-a/bin"), false);
        check(&format!("/nix/store/{HASH}-"), false);
        check(&format!("/nix/store/{HASH}"), false);
        check(&format!("/nix/store/{}-a", HASH.replace('0', "e")), false);
        check(&format!("/nix/store/../store/{HASH}-a"), false);
        check(&format!("/nix/store/{HASH}-a b"), false);
        check(&format!("/nix/store/{HASH}-{}", "n".repeat(212)), false);
        check(&format!("/nix/store/{}ä-a", &HASH[..31]), false);
        check("", false);
    }

    #[test]
    fn the_name_is_what_follows_the_hash() {
        let path: StorePath = format!("/nix/store/{HASH}-nixos-system-box").parse().unwrap();
        assert_eq!(path.name(), "nixos-system-box");
        assert_eq!(path.join("bin/x").to_str().unwrap(), format!("{path}/bin/x"));
    }
}
