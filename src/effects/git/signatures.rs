//! What the signatures of a range of commits say. Only in the child: the bytes are hostile.

use git2::{ObjectType, Oid, Repository};
use jiff::tz::TimeZone;

use crate::config::settings::{Signatures, Trust};
use crate::effects::git::{clone, says};
use crate::effects::key_files;
use crate::model::failure::Failure;
use crate::trust::range::{Examination, MOST_COMMITS};
use crate::trust::{
    Examined, Found, KeyFiles, Keys, KeysId, LARGEST_COMMIT_BYTES, Refusal, Unusable,
};

/// Looks at the commits of a walk, newest first as they come.
///
/// # Errors
/// `keys-unusable`, or `clone-damaged`.
pub fn examine(own: &Repository, walked: &[Oid], trust: &Trust) -> Result<Examined, Failure> {
    let mode = trust.signatures.as_str();
    let asked = match trust.signatures {
        Signatures::Off => {
            let under = KeysId::of(mode, &KeyFiles::default());
            return Ok(Examined { under, found: Found::NotAsked });
        }
        Signatures::Tip => &walked[..walked.len().min(1)],
        Signatures::EveryCommit => walked,
    };
    let (keys, under) = keys(trust)?;
    if asked.len() > MOST_COMMITS {
        return Ok(Examined { under, found: Found::TooMany { commits: asked.len() } });
    }
    let found = look_at_all(own, asked, &keys)?;
    Ok(Examined { under, found })
}

/// Reads the keys, and names them.
///
/// # Errors
/// `keys-unusable`
pub fn keys(trust: &Trust) -> Result<(Keys, KeysId), Failure> {
    let files = key_files::read(trust)?;
    let keys = Keys::parse(&files, &TimeZone::system())
        .map_err(|Unusable(why)| key_files::unusable(&why))?;
    Ok((keys, KeysId::of(trust.signatures.as_str(), &files)))
}

fn look_at_all(own: &Repository, newest_first: &[Oid], keys: &Keys) -> Result<Found, Failure> {
    let broken = |error: git2::Error| says::own(clone::place(own), &error);
    let odb = own.odb().map_err(broken)?;
    let mut examination = Examination::new(keys);
    for oid in newest_first.iter().rev() {
        let commit = clone::commit_id(clone::place(own), *oid)?;
        let (bytes, kind) = odb.read_header(*oid).map_err(broken)?;
        if kind != ObjectType::Commit || bytes > LARGEST_COMMIT_BYTES {
            let what = "the commit".to_owned();
            let refusal = Refusal::TooLarge { what, most: LARGEST_COMMIT_BYTES };
            return Ok(Found::Refused { commit, refusal });
        }
        let object = odb.read(*oid).map_err(broken)?;
        if let Err(found) = examination.look(&commit, object.data()) {
            return Ok(found);
        }
    }
    Ok(examination.good())
}
