//! The files of keys that may sign, read as they lie there now.
//!
//! On NixOS they belong to the generation that runs: a switch puts others in their place, and a
//! revert the old ones back.

use std::path::{Path, PathBuf};

use crate::config::settings::{Signatures, Trust};
use crate::effects::files::{self, Version};
use crate::model::failure::{Failure, Reason};
use crate::trust::{KeyFiles, KeysId, LARGEST_KEY_FILE_BYTES};

/// Reads them.
///
/// # Errors
/// `keys-unusable`: one that the configuration names is not there, or cannot be read.
pub fn read(trust: &Trust) -> Result<KeyFiles, Failure> {
    Ok(KeyFiles {
        allowed_signers: one(trust.allowed_signers_file.as_deref())?,
        openpgp_keyring: one(trust.openpgp_keyring_file.as_deref())?,
    })
}

fn one(path: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    match files::read_followed(path, LARGEST_KEY_FILE_BYTES) {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(unusable(&format!("`{}` is not there", path.display()))),
        Err(error) => Err(unusable(&format!("{error:#}"))),
    }
}

/// Says that no commit can be verified, and why.
pub fn unusable(why: &str) -> Failure {
    let message = format!("no signature can be verified: {why}");
    Failure::new(Reason::KEYS_UNUSABLE, message)
        .hint("the agent's user has to be able to read the file; nothing is deployed until then")
}

/// What the keys are called, without reading them each time: a look costs a `stat` of each file.
#[derive(Debug, Default)]
pub struct Watched {
    trust: Trust,
    seen: Option<(Vec<Option<Version>>, KeysId)>,
}

impl Watched {
    /// Names the files; touches nothing.
    pub fn new(trust: Trust) -> Watched {
        Watched { trust, seen: None }
    }

    /// Returns the name of the mode and the keys as they lie there now.
    pub fn look(&mut self) -> KeysId {
        if self.trust.signatures == Signatures::Off {
            let off = || KeysId::of(Signatures::Off.as_str(), &KeyFiles::default());
            let (_, id) = self.seen.get_or_insert_with(|| (Vec::new(), off()));
            return id.clone();
        }
        let files = [&self.trust.allowed_signers_file, &self.trust.openpgp_keyring_file];
        let version = |path: &Option<PathBuf>| path.as_deref().and_then(files::version);
        let versions: Vec<_> = files.into_iter().map(version).collect();
        match &self.seen {
            Some((seen, id)) if *seen == versions => return id.clone(),
            Some(_) | None => {}
        }
        let mode = self.trust.signatures.as_str();
        let id = match read(&self.trust) {
            Ok(files) => KeysId::of(mode, &files),
            Err(_) => KeysId::unreadable(),
        };
        self.seen = Some((versions, id.clone()));
        id
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn another_file_in_the_same_place_has_another_name_and_the_first_its_own_again() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("allowed_signers");
        let put = |name: &str| {
            let file = directory.path().join(name);
            std::fs::write(&file, name).unwrap();
            let _ = std::fs::remove_file(&link);
            symlink(&file, &link).unwrap();
        };
        let trust = Trust {
            signatures: Signatures::EveryCommit,
            allowed_signers_file: Some(link.clone()),
            openpgp_keyring_file: None,
        };
        let mut watched = Watched::new(trust.clone());
        assert_eq!(watched.look(), KeysId::unreadable());
        put("old");
        let old = watched.look();
        assert_eq!(old, KeysId::of("every-commit", &read(&trust).unwrap()));
        put("new");
        assert_ne!(watched.look(), old);
        put("old");
        assert_eq!(watched.look(), old);
        std::fs::remove_file(&link).unwrap();
        assert_eq!(watched.look(), KeysId::unreadable());
        let failure = read(&trust).unwrap_err();
        assert_eq!(failure.reason, Reason::KEYS_UNUSABLE);
        assert!(failure.message.contains("is not there"), "{}", failure.message);
        let off = Trust { signatures: Signatures::Off, ..trust };
        assert_eq!(Watched::new(off).look(), KeysId::of("off", &KeyFiles::default()));
    }
}
