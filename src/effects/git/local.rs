//! `file://` remotes: a repository on the same machine, read without a server.
//!
//! Not by libgit2's own local transport: that one brings every branch and tag, and refuses a
//! repository of another owner. The refusal is there because a repository's configuration can name
//! programs to run, and nothing of the sort is run here: objects and refs are read, that is all.

use std::io::Write;
use std::path::PathBuf;

use git2::{ErrorCode, Oid, Repository, Revwalk};

use crate::effects::git::{clone, says, shown};
use crate::effects::remote::Remote;
use crate::effects::remote::trouble::asks_the_same;
use crate::model::failure::{Failure, Reason};
use crate::model::text::escaped;

/// Returns where the branch is.
///
/// # Errors
/// There is no such repository or branch.
pub fn tip(remote: &Remote) -> Result<Oid, Failure> {
    let source = open(remote)?;
    branch(&source, remote)
}

/// Copies what we do not have, in one pack.
///
/// # Errors
/// The source cannot be read, is too large, or our disk is full; nothing was changed.
pub fn copy(own: &Repository, remote: &Remote, max_bytes: u64) -> Result<Oid, Failure> {
    let source = open(remote)?;
    let tip = branch(&source, remote)?;
    if own.find_commit(tip).is_ok() {
        return Ok(tip);
    }
    let unreadable =
        |error: git2::Error| could_not_read(remote, Reason::FETCH_FAILED, error.message());
    let mut walk = missing(own, &source, tip).map_err(unreadable)?;
    let mut pack = source.packbuilder().map_err(unreadable)?;
    // As many as there are processors: a first copy is mostly compression.
    pack.set_threads(0);
    pack.insert_walk(&mut walk).map_err(unreadable)?;

    let broken = |error: git2::Error| says::own(clone::place(own), &error);
    let odb = own.odb().map_err(broken)?;
    let mut writer = odb.packwriter().map_err(broken)?;
    // libgit2 brings none of our own reasons back.
    let mut stopped = None;
    let mut room = max_bytes;
    let packed = pack.foreach(|piece| {
        match room.checked_sub(piece.len() as u64) {
            None => stopped = Some(too_large(remote, max_bytes)),
            Some(left) => {
                room = left;
                stopped = writer.write_all(piece).err().map(|error| {
                    // Now, while what was written so far is still there.
                    let cause = escaped(&error.to_string(), 300);
                    says::full_disk(clone::place(own)).unwrap_or_else(|| {
                        says::could_not_fetch(remote, Reason::FETCH_FAILED, &cause)
                    })
                });
            }
        }
        stopped.is_none()
    });
    match (stopped, packed) {
        (Some(failure), _) => return Err(failure),
        (None, packed) => packed.map_err(unreadable)?,
    }
    writer.commit().map_err(broken)?;
    Ok(tip)
}

/// Says that a fetch brought more than is allowed.
pub fn too_large(remote: &Remote, max_bytes: u64) -> Failure {
    let cause = format!("more than {max_bytes} bytes (`source.max_fetch_bytes`)");
    says::could_not_fetch(remote, Reason::TOO_LARGE, &cause)
}

/// Walks the commits that we lack: all of the tip's, but for what our refs hold.
fn missing<'source>(
    own: &Repository,
    source: &'source Repository,
    tip: Oid,
) -> Result<Revwalk<'source>, git2::Error> {
    let mut walk = source.revwalk()?;
    walk.push(tip)?;
    for reference in own.references()? {
        if let Some(held) = reference?.target()
            && source.find_commit(held).is_ok()
        {
            walk.hide(held)?;
        }
    }
    Ok(walk)
}

/// Opens the repository at the URL's path, or in its `.git`.
fn open(remote: &Remote) -> Result<Repository, Failure> {
    let Some(path) = path(&remote.url) else {
        return Err(could_not_read(remote, Reason::UNREACHABLE, "the URL cannot be read"));
    };
    let inside = path.join(".git");
    let place = if inside.is_dir() { &inside } else { &path };
    // This way of opening looks at no owner.
    Repository::open_bare(place).map_err(|error| {
        could_not_read(remote, Reason::UNREACHABLE, error.message())
            .hint("does the path exist, and may the agent's user read it?")
    })
}

fn branch(source: &Repository, remote: &Remote) -> Result<Oid, Failure> {
    let found = source
        .find_reference(&format!("refs/heads/{}", remote.branch))
        .and_then(|reference| reference.peel_to_commit());
    match found {
        Ok(commit) => Ok(commit.id()),
        Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {
            Err(says::no_branch(remote))
        }
        Err(error) => Err(could_not_read(remote, Reason::UNREACHABLE, error.message())),
    }
}

fn could_not_read(remote: &Remote, reason: Reason, cause: &str) -> Failure {
    let (url, branch) = shown(remote);
    let cause = escaped(cause, 300);
    let hint = asks_the_same(&url);
    Failure::new(reason, format!("could not read `{branch}` of `{url}`: {cause}")).hint(hint)
}

/// Returns the path of a `file://` URL, `%20` and the like decoded.
fn path(url: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let rest = url.strip_prefix("file://")?;
    let rest = rest.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(rest);
    let mut bytes = Vec::with_capacity(rest.len());
    let mut left = rest.as_bytes();
    while let Some((first, rest)) = left.split_first() {
        let code = || {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        match (first, code()) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                left = &rest[2..];
            }
            (byte, _) => {
                bytes.push(*byte);
                left = rest;
            }
        }
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_url_has_an_absolute_path() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(path(url), expected.map(PathBuf::from), "{url}");
        };
        check("file:///srv/a", Some("/srv/a"));
        check("file://localhost/srv/a", Some("/srv/a"));
        check("file:///a%20b%2", Some("/a b%2"));
        check("file:///100%", Some("/100%"));
        check("file://host/a", None);
        check("file://", None);
        check("/srv/a", None);
    }
}
