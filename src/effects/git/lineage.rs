//! How commits stand to each other.

use git2::{ErrorCode, Oid, Repository, Sort};

use crate::config::settings::Trust;
use crate::effects::git::{Lineage, Want, clone, says, signatures};
use crate::model::commit::CommitId;
use crate::model::failure::Failure;
use crate::model::text::escaped;

const LONGEST_TEXT: usize = 200;

/// Says how the tip stands to the mark, and who signed what lies between them.
///
/// # Errors
/// `clone-damaged`: the tip, or something between the two, is not there. `keys-unusable`
pub fn of(own: &Repository, want: &Want, trust: &Trust) -> Result<Lineage, Failure> {
    let broken = |error: git2::Error| says::own(clone::place(own), &error);
    let tip = clone::commit(own, &want.tip)?;
    let mark = want.mark.as_ref().and_then(|mark| clone::commit(own, mark).ok());
    let descends = match &mark {
        Some(mark) => is_or_descends(own, tip.id(), mark.id()).map_err(broken)?,
        None => false,
    };
    let walked = match (&mark, &want.mark) {
        (Some(mark), _) if descends => between(own, mark.id(), tip.id()).map_err(broken)?,
        (None, None) => vec![tip.id()],
        _ => Vec::new(),
    };
    let signed = signatures::examine(own, &walked, trust)?;
    let name = |oid| clone::commit_id(clone::place(own), oid);
    let author = tip.author();
    let bytes_shown = |bytes: &[u8]| escaped(&String::from_utf8_lossy(bytes), LONGEST_TEXT);
    Ok(Lineage {
        descends,
        mark_known: mark.is_some(),
        first_parents: walked.into_iter().map(name).collect::<Result<_, _>>()?,
        subject: bytes_shown(tip.summary_bytes().unwrap_or_default()),
        author: bytes_shown(&[author.name_bytes(), b" <", author.email_bytes(), b">"].concat()),
        committed_at: tip.time().seconds(),
        mark_committed_at: mark.map(|mark| mark.time().seconds()),
        signed,
    })
}

/// Returns those commits that the tip is or descends from.
///
/// # Errors
/// `clone-damaged`
pub fn contains(
    own: &Repository,
    tip: &CommitId,
    of: &[CommitId],
) -> Result<Vec<CommitId>, Failure> {
    let broken = |error: git2::Error| says::own(clone::place(own), &error);
    let tip = clone::commit(own, tip)?;
    let mut found = Vec::new();
    for name in of {
        let Ok(one) = clone::commit(own, name) else { continue };
        if is_or_descends(own, tip.id(), one.id()).map_err(broken)? {
            found.push(name.clone());
        }
    }
    Ok(found)
}

fn is_or_descends(own: &Repository, tip: Oid, from: Oid) -> Result<bool, git2::Error> {
    if tip == from {
        return Ok(true);
    }
    match own.graph_descendant_of(tip, from) {
        Err(error) if error.code() == ErrorCode::NotFound => Err(error),
        other => other,
    }
}

/// `rev-list --first-parent MARK..TIP`
fn between(own: &Repository, mark: Oid, tip: Oid) -> Result<Vec<Oid>, git2::Error> {
    let mut walk = own.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL)?;
    walk.push(tip)?;
    walk.hide(mark)?;
    walk.simplify_first_parent()?;
    walk.collect()
}
