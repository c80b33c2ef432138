//! What a commit's tree would take once it is unpacked, which is what Nix does with it: some hundred
//! bytes on the wire can name a tree of a billion files (each folder holds the next one ten times),
//! or a file of zeros as large as a disk.

use std::collections::HashMap;

use git2::{Error, ErrorCode, ObjectType, Odb, Oid, Repository, Tree};

use crate::effects::git::{clone, says};
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};
use crate::model::text::escaped;

/// More files than this nobody unpacks for one machine's configuration.
const MOST_FILES: u64 = 1 << 20;

/// More folders in each other than this, no path leads to the last of them.
const DEEPEST: usize = 1000;

/// What a tree takes; submodules are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weight {
    bytes: u64,
    files: u64,
}

/// Why there is no weight.
enum Stop {
    /// Something in it is not there.
    Missing(Oid),
    /// It is there, and is not what it should be: the commit's own fault.
    Malformed(String),
    /// Our repository could not be read.
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Broken(error)
    }
}

/// Looks everything in the tip's tree up, reads its folders, and adds up what they hold.
///
/// # Errors
/// `too-large`; `fetch-failed` for a tree that Git would not check out; `clone-damaged` with what is
/// missing.
pub fn weigh(own: &Repository, tip: &CommitId, max_bytes: u64) -> Result<(), Failure> {
    let place = clone::place(own);
    let refused = |reason, cause: &str| {
        let message = format!("commit `{}` cannot be used: {cause}", tip.short());
        Failure::new(reason, message).hint("push a commit without it")
    };
    let tree = clone::commit(own, tip)?.tree_id();
    let weighed = own.odb().map_err(Stop::Broken).and_then(|odb| {
        let mut scale = Scale { own, odb, known: HashMap::new() };
        scale.folder(tree, DEEPEST)
    });
    match weighed {
        Ok(weight) if weight.bytes > max_bytes => {
            let cause =
                format!("unpacked it is larger than {max_bytes} bytes (`source.max_fetch_bytes`)");
            Err(refused(Reason::TOO_LARGE, &cause))
        }
        Ok(weight) if weight.files > MOST_FILES => {
            let cause = format!("unpacked it has more than {MOST_FILES} files");
            Err(refused(Reason::TOO_LARGE, &cause))
        }
        Ok(_) => Ok(()),
        Err(Stop::Malformed(cause)) => Err(refused(Reason::FETCH_FAILED, &cause)),
        Err(Stop::Missing(object)) => {
            let cause = format!("object `{object}` of commit `{}` is missing", tip.short());
            Err(says::damaged(place, &cause))
        }
        Err(Stop::Broken(error)) => Err(says::own(place, &error)),
    }
}

/// Adds up trees, each of which is read once, however often it is named.
struct Scale<'own> {
    own: &'own Repository,
    odb: Odb<'own>,
    known: HashMap<Oid, Weight>,
}

impl<'own> Scale<'own> {
    fn folder(&mut self, folder: Oid, levels: usize) -> Result<Weight, Stop> {
        if let Some(weight) = self.known.get(&folder) {
            return Ok(*weight);
        }
        let Some(levels) = levels.checked_sub(1) else {
            return Err(Stop::Malformed(format!(
                "it has more than {DEEPEST} folders in each other"
            )));
        };
        let tree = self.tree(folder)?;
        let mut sum = Weight { bytes: 0, files: 1 };
        for entry in &tree {
            check_name(entry.name_bytes())?;
            let one = match entry.kind() {
                Some(ObjectType::Tree) => self.folder(entry.id(), levels)?,
                Some(ObjectType::Blob) => self.file(entry.id())?,
                // A submodule.
                _ => Weight::default(),
            };
            sum.bytes = sum.bytes.saturating_add(one.bytes);
            sum.files = sum.files.saturating_add(one.files);
        }
        self.known.insert(folder, sum);
        Ok(sum)
    }

    /// Reading an object compares it with its name.
    fn tree(&self, folder: Oid) -> Result<Tree<'own>, Stop> {
        self.own.find_tree(folder).map_err(|error| match error.code() {
            // Its bytes are what its name says, so it came like that.
            _ if self.odb.read(folder).is_ok() => {
                let cause = escaped(error.message(), 200);
                Stop::Malformed(format!("folder `{folder}` cannot be read: {cause}"))
            }
            ErrorCode::NotFound => Stop::Missing(folder),
            _ => Stop::Broken(error),
        })
    }

    fn file(&self, file: Oid) -> Result<Weight, Stop> {
        match self.odb.read_header(file) {
            Ok((bytes, ObjectType::Blob)) => Ok(Weight { bytes: bytes as u64, files: 1 }),
            Ok(_) => Err(Stop::Malformed(format!("`{file}` is named as a file and is none"))),
            Err(error) if error.code() == ErrorCode::NotFound => Err(Stop::Missing(file)),
            Err(error) => Err(Stop::Broken(error)),
        }
    }
}

/// Refuses what Git itself refuses to check out: a name that leads elsewhere, or into a repository.
fn check_name(name: &[u8]) -> Result<(), Stop> {
    let elsewhere = matches!(name, b"" | b"." | b"..") || name.contains(&b'/');
    match elsewhere || name.eq_ignore_ascii_case(b".git") {
        true => {
            let name = escaped(&String::from_utf8_lossy(name), 80);
            Err(Stop::Malformed(format!("it has a file of the name `{name}`")))
        }
        false => Ok(()),
    }
}
