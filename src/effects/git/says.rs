//! From libgit2's errors to ours: whose fault it is, the sentence, and what to do.

use std::path::Path;
use std::time::Duration;

use git2::{Error, ErrorClass, ErrorCode};

use crate::effects::git::shown;
use crate::effects::remote::Remote;
use crate::effects::remote::trouble::{asks_the_same, in_words};
use crate::effects::room;
use crate::model::failure::{Failure, Reason};
use crate::model::text::escaped;

/// With less room than this, in bytes, whatever failed failed for want of room.
const NEARLY_FULL: u64 = 1 << 20;

/// What follows when our own repository is damaged.
pub const FETCHED_ANEW: &str =
    "it is set aside and fetched anew; if that repeats, look at the disk: `dmesg`";

/// Says that our own repository is damaged.
pub fn damaged(path: &Path, cause: &str) -> Failure {
    let cause = escaped(cause, 300);
    Failure::new(
        Reason::CLONE_DAMAGED,
        format!("the repository `{}` is damaged: {cause}", path.display()),
    )
    .hint(FETCHED_ANEW)
}

/// Says that something about our own repository failed: the disk is full, or it is damaged.
///
/// Whatever else stands in the way (a wrong owner, a lost directory) is cured by a fresh clone as
/// well, or else setting the old one aside fails and says so.
pub fn own(path: &Path, error: &Error) -> Failure {
    full_disk(path).unwrap_or_else(|| match was_full(error) {
        true => no_room(path),
        false => damaged(path, error.message()),
    })
}

/// libgit2 takes a half pack away before it returns, and the disk has room again: then its words
/// are all there is.
fn was_full(error: &Error) -> bool {
    error.message().contains("No space left on device")
}

fn no_room(path: &Path) -> Failure {
    let message = format!("no room left for the repository `{}`", path.display());
    Failure::new(Reason::NO_SPACE, message).hint("`nix-collect-garbage` makes room")
}

/// Says that the disk is full, if it is.
pub fn full_disk(path: &Path) -> Option<Failure> {
    let existing = path.ancestors().find(|place| place.exists())?;
    room::is_full(existing, NEARLY_FULL).then(|| no_room(path))
}

/// Says that a fetch did not end in time.
pub fn too_slow(remote: &Remote, limit: Duration) -> Failure {
    could_not_fetch(
        remote,
        Reason::UNREACHABLE,
        &format!("not finished within {} (`source.fetch_timeout`)", in_words(limit)),
    )
}

/// Says that a fetch failed.
pub fn could_not_fetch(remote: &Remote, reason: Reason, cause: &str) -> Failure {
    let (url, branch) = shown(remote);
    let hint = asks_the_same(&url);
    Failure::new(reason, format!("could not fetch `{branch}` from `{url}`: {cause}")).hint(hint)
}

/// Says that there is no such branch.
pub fn no_branch(remote: &Remote) -> Failure {
    crate::effects::remote::trouble::Trouble::NoBranch
        .into_failure(&remote.url, &remote.branch)
        .failure
}

/// Says what a remote, or the way to it, did wrong; `repository` is ours, if it was involved.
pub fn theirs(remote: &Remote, repository: Option<&Path>, error: &Error) -> Failure {
    let cause = escaped(error.message(), 300);
    let failed = |reason| could_not_fetch(remote, reason, &cause);
    if let Some(path) = repository.filter(|_| was_full(error)) {
        return no_room(path);
    }
    match (error.code(), error.class()) {
        (ErrorCode::Auth, _) => failed(Reason::ACCESS_DENIED)
            .hint("is the key or token of this machine allowed to read the repository?"),
        (_, ErrorClass::NoMemory) => could_not_fetch(
            remote,
            Reason::TOO_LARGE,
            "the answer takes more memory than a fetch may have",
        ),
        (ErrorCode::Certificate, _) => failed(Reason::ACCESS_DENIED),
        (_, ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssh | ErrorClass::Ssl) => {
            failed(Reason::UNREACHABLE)
        }
        (_, ErrorClass::Indexer) => failed(Reason::FETCH_FAILED),
        (
            _,
            ErrorClass::Odb
            | ErrorClass::Object
            | ErrorClass::Zlib
            | ErrorClass::Reference
            | ErrorClass::Repository
            | ErrorClass::Config,
        ) => match repository {
            Some(path) => own(path, error),
            None => failed(Reason::UNREACHABLE),
        },
        // libgit2's own kinds: most of them have nothing to do with a fetch.
        _ => failed(match repository {
            Some(_) => Reason::FETCH_FAILED,
            None => Reason::UNREACHABLE,
        }),
    }
}
