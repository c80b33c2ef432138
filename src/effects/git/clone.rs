//! The agent's own repository: made, opened, swept, looked over.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use git2::{
    Commit, ObjectType, Oid, Repository, RepositoryInitOptions, RepositoryOpenFlags, Signature,
    Time,
};

use crate::effects::files;
use crate::effects::git::says;
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};
use crate::trust::LARGEST_COMMIT_BYTES;

/// The ref that holds the branch's tip.
pub const TIP: &str = "refs/autodeploy/tip";

/// Where the refs are that hold other commits.
const KEPT: &str = "refs/autodeploy/kept/";

/// The branch that HEAD is on, and that nobody moves.
const HEAD: &str = "refs/heads/autodeploy";

const CHECKSUM_BYTES: usize = 20;

/// Opens the repository.
///
/// # Errors
/// `clone-damaged`, also when there is none.
pub fn open(path: &Path) -> Result<Repository, Failure> {
    // Not one that lies further up, and no `.git` file that leads elsewhere.
    let flags = RepositoryOpenFlags::NO_SEARCH;
    let none: [&Path; 0] = [];
    let own = Repository::open_ext(path, flags, none).map_err(|error| says::own(path, &error))?;
    // libgit2 follows a link, and so would Nix.
    let is_folder = fs::symlink_metadata(path.join(".git")).is_ok_and(|data| data.is_dir());
    if own.is_bare() || own.path() != path.join(".git") || !is_folder {
        return Err(says::damaged(path, "it is not laid out as autodeploy does"));
    }
    own.head().map_err(|error| says::own(path, &error))?;
    Ok(own)
}

/// Opens the repository, or makes it where there is nothing.
///
/// # Errors
/// `clone-damaged`, or it could not be made.
pub fn open_or_make(path: &Path) -> Result<Repository, Failure> {
    let nothing = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if nothing {
        make(path)?;
    }
    open(path)
}

/// Makes it beside its place and moves it there whole.
fn make(path: &Path) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = Path::new(&name);
    let failed = |cause: &str| {
        says::full_disk(path).unwrap_or_else(|| {
            let message = format!("could not make the repository `{}`: {cause}", path.display());
            Failure::new(Reason::INTERNAL, message)
                .hint("does its directory belong to the agent's user?")
        })
    };
    if temporary.exists() {
        fs::remove_dir_all(temporary).map_err(|error| failed(&error.to_string()))?;
    }
    fill(temporary).map_err(|error| failed(error.message()))?;
    fs::rename(temporary, path).map_err(|error| failed(&error.to_string()))
}

fn fill(path: &Path) -> Result<(), git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.external_template(false).initial_head(HEAD).no_reinit(true).mkpath(true);
    let own = Repository::init_opts(path, &options)?;
    // A pack that a power cut has emptied would have to be fetched again.
    own.config()?.set_bool("core.fsyncObjectFiles", true)?;
    let nobody = Signature::new("autodeploy", "autodeploy@localhost", &Time::new(0, 0))?;
    let empty = own.treebuilder(None)?.write()?;
    let tree = own.find_tree(empty)?;
    let why =
        "HEAD stands here, because Nix wants one; see the remote's commits under refs/autodeploy";
    own.commit(Some(HEAD), &nobody, &nobody, why, &tree, &[])?;
    Ok(())
}

/// Takes away what killed children left behind: locks, which would stop us for ever, and half
/// packs, which would fill the disk. Only one child writes at a time. What cannot be taken away
/// shows soon enough.
pub fn sweep(own: &Repository) {
    let git = own.path();
    for directory in ["", "refs/heads", "refs/autodeploy", "refs/autodeploy/kept"] {
        remove_where(&git.join(directory), |name| name.ends_with(".lock"));
    }
    let packs = git.join("objects/pack");
    remove_where(&packs, |name| {
        // libgit2 moves the index to its place first, then the pack.
        let alone = name.strip_suffix(".idx").map(|stem| packs.join(format!("{stem}.pack")));
        name.contains("_git2_") || alone.is_some_and(|pack| !pack.exists())
    });
}

fn remove_where(directory: &Path, matches: impl Fn(&str) -> bool) {
    for path in files::inside(directory) {
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&matches) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Returns the index of each pack in a directory.
pub fn indices(packs: &Path) -> impl Iterator<Item = PathBuf> {
    let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "idx");
    files::inside(packs).into_iter().filter(is_index)
}

/// Compares the end of each pack with what its index says: cheap, and finds every pack that was
/// cut short.
///
/// # Errors
/// `clone-damaged`
pub fn compare_packs(own: &Repository) -> Result<(), Failure> {
    let packs = own.path().join("objects/pack");
    for index in indices(&packs) {
        let pack = index.with_extension("pack");
        let ends = (tail::<CHECKSUM_BYTES>(&pack), tail::<{ 2 * CHECKSUM_BYTES }>(&index));
        let agree = match ends {
            (Ok(pack), Ok(index)) => pack[..] == index[..CHECKSUM_BYTES],
            _ => false,
        };
        if !agree {
            let cause = format!("`{}` is not whole", pack.display());
            return Err(says::damaged(place(own), &cause));
        }
    }
    Ok(())
}

fn tail<const BYTES: usize>(path: &Path) -> std::io::Result<[u8; BYTES]> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-(BYTES as i64)))?;
    let mut bytes = [0; BYTES];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns the directory that `.git` is in.
pub fn place(own: &Repository) -> &Path {
    own.path().parent().unwrap_or(own.path())
}

/// Tells whether the commit is there and readable.
pub fn has(own: &Repository, commit: &CommitId) -> bool {
    oid(commit).is_ok_and(|oid| own.find_commit(oid).is_ok())
}

/// Returns libgit2's form of a name.
///
/// # Errors
/// It is a SHA-256 name.
pub fn oid(commit: &CommitId) -> Result<Oid, git2::Error> {
    Oid::from_str(commit.as_str())
}

/// Returns our form of a name.
///
/// # Errors
/// Never, with the names that libgit2 has.
pub fn commit_id(own: &Path, oid: Oid) -> Result<CommitId, Failure> {
    oid.to_string().parse().map_err(|error| says::damaged(own, &format!("{error}")))
}

/// Points the ref of the tip there.
///
/// # Errors
/// The repository is damaged or cannot be written.
pub fn hold_tip(own: &Repository, tip: &CommitId) -> Result<(), Failure> {
    oid(tip)
        .and_then(|oid| own.reference(TIP, oid, true, "fetched"))
        .map(|_| ())
        .map_err(|error| says::own(place(own), &error))
}

/// Holds exactly these commits by refs, as far as they are there.
///
/// # Errors
/// The repository is damaged or cannot be written.
pub fn keep_only(own: &Repository, commits: &[CommitId]) -> Result<(), Failure> {
    sweep(own);
    hold_only(own, commits).map_err(|error| says::own(place(own), &error))
}

fn hold_only(own: &Repository, commits: &[CommitId]) -> Result<(), git2::Error> {
    let mut wanted: HashSet<String> = HashSet::new();
    for commit in commits.iter().filter(|commit| has(own, commit)) {
        let name = format!("{KEPT}{commit}");
        own.reference(&name, oid(commit)?, true, "kept")?;
        wanted.insert(name);
    }
    for reference in own.references_glob(&format!("{KEPT}*"))? {
        let mut reference = reference?;
        if !reference.name().is_ok_and(|name| wanted.contains(name)) {
            reference.delete()?;
        }
    }
    Ok(())
}

/// Returns a commit, unless it is too large to be read with any others.
///
/// # Errors
/// `too-large`; `clone-damaged`, also when it is not there.
pub fn commit<'own>(own: &'own Repository, name: &CommitId) -> Result<Commit<'own>, Failure> {
    let broken = |error: git2::Error| says::own(place(own), &error);
    let oid = oid(name).map_err(broken)?;
    let (bytes, _) = own.odb().and_then(|odb| odb.read_header(oid)).map_err(broken)?;
    if bytes > LARGEST_COMMIT_BYTES {
        let message =
            format!("commit `{}` is larger than {LARGEST_COMMIT_BYTES} bytes", name.short());
        return Err(Failure::new(Reason::TOO_LARGE, message)
            .hint("its message and its signature are all that is in it: push one with less"));
    }
    own.find_commit(oid).map_err(broken)
}

/// Reads all that the tip's tree holds, and compares it with its name.
///
/// # Errors
/// `clone-damaged`, with what is missing.
pub fn check(own: &Repository, tip: &CommitId) -> Result<(), Failure> {
    compare_packs(own)?;
    let read = commit(own, tip).and_then(|commit| {
        read_all(own, commit.tree_id()).map_err(|error| says::own(place(own), &error))
    });
    read.map(drop)
}

fn read_all(own: &Repository, tree: Oid) -> Result<(), git2::Error> {
    let odb = own.odb()?;
    let mut waiting = vec![tree];
    let mut seen: HashSet<Oid> = waiting.iter().copied().collect();
    while let Some(folder) = waiting.pop() {
        for entry in &own.find_tree(folder)? {
            match entry.kind() {
                Some(ObjectType::Tree) if seen.insert(entry.id()) => waiting.push(entry.id()),
                Some(ObjectType::Blob) => drop(odb.read(entry.id())?),
                _ => (),
            }
        }
    }
    Ok(())
}

/// Throws the repository away and makes a new one, if what force-pushes left in it has become more
/// than three whole fetches may bring. It holds nothing that the remote has not.
///
/// # Errors
/// It could not be thrown away, or not be made.
pub fn without_ballast(own: Repository, max_bytes: u64) -> Result<Repository, Failure> {
    let path = place(&own).to_owned();
    let directory = own.path().join("objects/pack");
    let packs = indices(&directory).map(|index| index.with_extension("pack"));
    let bytes: u64 = packs.flat_map(fs::metadata).map(|pack| pack.len()).sum();
    if bytes <= max_bytes.saturating_mul(3) {
        return Ok(own);
    }
    drop(own);
    fs::remove_dir_all(&path).map_err(|error| says::damaged(&path, &error.to_string()))?;
    open_or_make(&path)
}
