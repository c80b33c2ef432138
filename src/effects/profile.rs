//! Nix profiles and GC roots, through `nix-env`, `nix-store` and the links themselves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::effects::files;
use crate::effects::process::{Ended, Program};
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// The limit on one call; the store's database may be locked for a while by a garbage collection.
const LIMIT: Duration = Duration::from_secs(120);

/// Reads where a path leads in the end.
///
/// # Errors
/// It does not lead to a path directly in the Nix store.
pub fn store_path(link: &Path) -> Result<StorePath> {
    let real =
        fs::canonicalize(link).with_context(|| format!("could not read `{}`", link.display()))?;
    let text = real.to_str().context("the path is not UTF-8")?;
    Ok(text.parse::<StorePath>()?)
}

/// Reads the current generation of a profile.
///
/// # Errors
/// There is none, or its link is not of Nix's making.
pub fn current(profile: &Path) -> Result<Generation> {
    let reading = || format!("could not read the profile `{}`", profile.display());
    let link = fs::read_link(profile).with_context(reading)?;
    let number = number(profile, &link).with_context(reading)?;
    Ok(Generation { number, toplevel: store_path(profile)? })
}

/// The number in `NAME-42-link`.
fn number(profile: &Path, link: &Path) -> Option<u64> {
    let name = profile.file_name()?.to_str()?;
    let link = link.file_name()?.to_str()?;
    link.strip_prefix(name)?.strip_prefix('-')?.strip_suffix("-link")?.parse().ok()
}

/// Makes a path the current generation, and returns its number. A repeat makes no second one.
///
/// # Errors
/// The profile leads where it did.
pub fn set(nix_bin: &Path, profile: &Path, toplevel: &StorePath) -> Result<u64> {
    if let Some(directory) = profile.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("could not make `{}`", directory.display()))?;
    }
    done(nix(nix_bin, "nix-env").arg("-p").arg(profile).arg("--set").arg(toplevel.as_str()))?;
    let now = current(profile)?;
    match now.toplevel == *toplevel {
        true => Ok(now.number),
        false => bail!("`nix-env --set` ended well, and the profile leads to `{}`", now.toplevel),
    }
}

/// Leads a profile back to a recorded generation; by its path where the number was deleted.
///
/// # Errors
/// The profile leads where it did.
pub fn lead_back(nix_bin: &Path, profile: &Path, to: &Generation) -> Result<()> {
    if current(profile).is_ok_and(|now| now == *to) {
        return Ok(());
    }
    let number = to.number.to_string();
    let by_number =
        nix(nix_bin, "nix-env").arg("-p").arg(profile).arg("--switch-generation").arg(number);
    match done(by_number) {
        Ok(_) if current(profile)?.toplevel == to.toplevel => Ok(()),
        Ok(_) | Err(_) => set(nix_bin, profile, &to.toplevel).map(drop),
    }
}

/// Removes a profile with all of its generations; one that is not there is fine.
///
/// # Errors
/// Part of it may still be there.
pub fn remove(profile: &Path) -> Result<()> {
    files::remove(profile)?;
    let Some(directory) = profile.parent() else { return Ok(()) };
    for link in files::inside(directory) {
        if number(profile, &link).is_some() {
            files::remove(&link)?;
        }
    }
    match directory.is_dir() {
        true => files::sync(directory),
        false => Ok(()),
    }
}

/// Tells whether Nix holds the paths for whole.
///
/// # Errors
/// One of them is not valid, or Nix could not say.
pub fn check_valid(nix_bin: &Path, paths: &[&StorePath]) -> Result<()> {
    let paths = paths.iter().map(|path| path.as_str());
    done(nix(nix_bin, "nix-store").arg("--check-validity").args(paths)).map(drop)
}

fn nix(nix_bin: &Path, program: &str) -> Program {
    Program::new(nix_bin.join(program), LIMIT).env("HOME", "/root").env("PATH", nix_bin)
}

fn done(program: Program) -> Result<Ended> {
    let ended = program.run()?;
    if !ended.succeeded() {
        let stderr = escaped(String::from_utf8_lossy(&ended.stderr).trim(), 500);
        bail!("`{}`: {:?}: {stderr}", program.path().display(), ended.status);
    }
    Ok(ended)
}

/// Makes GC roots, each under its name. A repeat replaces them.
///
/// # Errors
/// Not all of the paths are rooted, or not durably; some may be.
pub fn root(directory: &Path, roots: &[(&str, &StorePath)]) -> Result<()> {
    let making = || format!("could not make roots in `{}`", directory.display());
    fs::create_dir_all(directory).with_context(making)?;
    for (name, target) in roots {
        let making = || format!("could not root `{target}`");
        let (link, temporary) = (directory.join(name), directory.join(format!("{name}.new")));
        files::remove(&temporary)?;
        symlink(target.as_path(), &temporary).with_context(making)?;
        fs::rename(&temporary, &link).with_context(making)?;
    }
    files::sync(directory).with_context(making)
}

/// Removes GC roots; those that are not there are fine.
pub fn unroot(directory: &Path, names: &[&str]) {
    for name in names {
        let _ = files::remove(&directory.join(name));
    }
}

/// Returns the store path that our own program lies in; `None` where it was installed otherwise.
pub fn own_closure() -> Option<StorePath> {
    let program = own_program().ok()?;
    let name = program.strip_prefix("/nix/store").ok()?.components().next()?;
    Path::new("/nix/store").join(name).to_str()?.parse().ok()
}

/// Returns where our own program lies, links resolved: units of any generation may change, this
/// path does not.
///
/// # Errors
/// `/proc` is not mounted.
pub fn own_program() -> Result<PathBuf> {
    fs::read_link("/proc/self/exe").context("could not read `/proc/self/exe`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_from_its_link() {
        let profile = Path::new("/p/system");
        assert_eq!(number(profile, Path::new("system-42-link")), Some(42));
        assert_eq!(number(profile, Path::new("/p/system-7-link")), Some(7));
        assert_eq!(number(profile, Path::new("systemd-7-link")), None);
        assert_eq!(number(profile, Path::new("/nix/store/x")), None);
    }

    #[test]
    fn a_profile_is_removed_with_its_generations_and_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let profile = directory.path().join("system-profiles/autodeploy");
        remove(&profile).unwrap();
        fs::create_dir_all(profile.parent().unwrap()).unwrap();
        for name in ["autodeploy", "autodeploy-1-link", "autodeploy-2-link", "autodeploy-x-link"] {
            symlink("/nix/store/x", profile.with_file_name(name)).unwrap();
        }
        remove(&profile).unwrap();
        let left = files::inside(profile.parent().unwrap());
        assert_eq!(left, [profile.with_file_name("autodeploy-x-link")]);
    }

    #[test]
    fn a_root_is_replaced_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let roots = directory.path().join("autodeploy");
        let [first, second]: [StorePath; 2] = ["a", "b"]
            .map(|hash| format!("/nix/store/{}-system", hash.repeat(32)).parse().unwrap());
        root(&roots, &[("old", &first), ("new", &second)]).unwrap();
        root(&roots, &[("old", &second)]).unwrap();
        for name in ["old", "new"] {
            assert_eq!(fs::read_link(roots.join(name)).unwrap(), second.as_path());
        }
        unroot(&roots, &["old", "new"]);
        assert_eq!(fs::read_dir(&roots).unwrap().count(), 0);
    }
}
