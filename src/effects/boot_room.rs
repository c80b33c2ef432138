//! Whether there is room where the boot loader keeps kernels, for a system that is to be made the
//! default.
//!
//! What a loader's builder copies is found again by the hash in its store path, which each of them
//! puts into the name, or by its size: what is taken for there and is not shows when the default
//! is set, and is undone; what is taken for missing and is there would hold a good system back.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::effects::{files, room};

/// Where NixOS mounts what boot loaders read.
const PLACES: [&str; 3] = ["/boot", "/efi", "/boot/efi"];

/// One of these tells that a loader is there.
const LOADERS: [&str; 3] = ["loader/entries", "grub", "extlinux"];

/// Where builders put kernels and initrds.
const KERNELS: [&str; 3] = ["EFI/nixos", "kernels", "nixos"];

/// What the entries themselves may take, with a temporary file and large clusters, in bytes.
const ENTRIES: u64 = 64 << 10;

/// No `boot.json` is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// What a system would take where the loader is, and what is left there, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootRoom {
    /// Where.
    pub place: PathBuf,
    /// What is not there yet.
    pub needs: u64,
    /// What is left there.
    pub left: u64,
}

#[derive(Deserialize)]
struct BootJson {
    #[serde(rename = "org.nixos.bootspec.v1")]
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    kernel: PathBuf,
    initrd: Option<PathBuf>,
}

/// Looks at the room for `toplevel`; nothing where there is no loader that keeps files.
pub fn look(toplevel: &Path) -> Option<BootRoom> {
    let has_loader = |place: &&Path| LOADERS.iter().any(|loader| place.join(loader).is_dir());
    let place = PLACES.iter().map(Path::new).find(has_loader)?;
    Some(BootRoom {
        place: place.to_owned(),
        needs: needs(place, toplevel),
        left: room::left(place)?,
    })
}

fn needs(place: &Path, toplevel: &Path) -> u64 {
    let device = |path: &Path| fs::metadata(path).map(|it| it.dev()).ok();
    match device(place) == device(toplevel) {
        // Then kernels stay in the store.
        true => ENTRIES,
        false => missing(place, toplevel).saturating_add(ENTRIES),
    }
}

fn missing(place: &Path, toplevel: &Path) -> u64 {
    let (names, sizes) = there(place);
    let missing = parts(toplevel).into_iter().filter_map(|part| {
        let size = fs::metadata(&part).ok()?.len();
        let hash = hash(&part)?;
        let known = names.iter().any(|name| name.contains(&hash)) || sizes.contains(&size);
        (!known).then_some(size)
    });
    missing.sum()
}

/// Names and sizes of what the builders copied.
fn there(place: &Path) -> (Vec<String>, BTreeSet<u64>) {
    let files = KERNELS.iter().flat_map(|folder| files::inside(&place.join(folder)));
    files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, fs::metadata(&path).ok()?.len()))
        })
        .unzip()
}

/// Kernel and initrd, by the boot specification or by the links that were there before it.
fn parts(toplevel: &Path) -> Vec<PathBuf> {
    let text = files::read_limited(&toplevel.join("boot.json"), LONGEST).ok().flatten();
    let json = text.and_then(|text| serde_json::from_slice::<BootJson>(&text).ok());
    let parts = match json {
        Some(json) => [Some(json.spec.kernel), json.spec.initrd],
        None => ["kernel", "initrd"].map(|link| Some(toplevel.join(link))),
    };
    parts.into_iter().flatten().filter_map(|part| fs::canonicalize(part).ok()).collect()
}

/// The hash in `/nix/store/HASH-name/…`.
fn hash(path: &Path) -> Option<String> {
    let name = path.strip_prefix("/nix/store").unwrap_or(path).components();
    let name = name.map(|part| part.as_os_str().to_string_lossy()).find(|part| part.len() > 32)?;
    name.split_once('-').map(|(hash, _)| hash.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(digit: char, name: &str) -> String {
        format!("{}-{name}", digit.to_string().repeat(32))
    }

    #[test]
    fn kernel_and_initrd_count_unless_they_are_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (kernel, initrd) = (at(&hashed('k', "linux")), at(&hashed('r', "initrd")));
        fs::write(&kernel, [0; 70_000]).unwrap();
        fs::write(&initrd, [0; 90_000]).unwrap();
        let spec =
            serde_json::json!({"org.nixos.bootspec.v1": {"kernel": kernel, "initrd": initrd}});
        fs::write(at("boot.json"), spec.to_string()).unwrap();
        assert_eq!(missing(&at("boot"), directory.path()), 160_000);
        fs::create_dir_all(at("boot/EFI/nixos")).unwrap();
        let copied = at("boot/EFI/nixos").join(hashed('k', "linux.efi"));
        fs::write(&copied, "the name counts").unwrap();
        assert_eq!(missing(&at("boot"), directory.path()), 90_000);
        fs::write(at("boot/EFI/nixos/another-name"), [1; 90_000]).unwrap();
        assert_eq!(missing(&at("boot"), directory.path()), 0);
        assert_eq!(needs(&at("boot"), directory.path()), ENTRIES);
    }

    #[test]
    fn without_a_specification_the_links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(parts(directory.path()), Vec::<PathBuf>::new());
        fs::write(directory.path().join("image"), "x").unwrap();
        std::os::unix::fs::symlink("image", directory.path().join("kernel")).unwrap();
        assert_eq!(
            parts(directory.path()),
            [directory.path().canonicalize().unwrap().join("image")]
        );
    }
}
