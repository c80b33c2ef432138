//! What the boot loader starts by default, read from its own files.
//!
//! systemd-boot only, so far; for GRUB and the others the answer is that it cannot be told. Entries
//! are found by their `init=` and never by their names, which change between releases.

use std::fs;
use std::path::Path;

use crate::model::store_path::StorePath;

/// Where NixOS mounts the partition that systemd-boot reads.
const PLACES: &[&str] = &["/boot", "/efi", "/boot/efi"];

/// Set with `bootctl set-default`, it beats `loader.conf`.
const VARIABLE: &str =
    "/sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Reads the default; `None` if there is no such loader, or what it would start cannot be told.
pub fn default() -> Option<StorePath> {
    let place = PLACES.iter().map(Path::new).find(|place| place.join("loader/entries").is_dir())?;
    let wanted = match fs::read(VARIABLE) {
        Ok(bytes) => variable(&bytes)?,
        Err(_) => configured(&fs::read_to_string(place.join("loader/loader.conf")).ok()?)?,
    };
    let mut names: Vec<_> = fs::read_dir(place.join("loader/entries"))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".conf") && matches(&wanted, name))
        .collect();
    names.sort();
    // With a pattern, which of several it starts depends on its own ordering of versions.
    match names.as_slice() {
        [only] => init(&fs::read_to_string(place.join("loader/entries").join(only)).ok()?),
        _ => None,
    }
}

/// The text of an EFI variable: four bytes of attributes, then UTF-16.
fn variable(bytes: &[u8]) -> Option<String> {
    let units: Vec<_> = bytes
        .get(4..)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Some(String::from_utf16(&units).ok()?.trim_end_matches('\0').to_owned())
}

/// The last `default` of `loader.conf`.
fn configured(text: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let (key, value) = line.trim().split_once(char::is_whitespace)?;
        (key == "default").then(|| value.trim().to_owned())
    })
}

/// Matches an entry's file name, with or without `.conf`, against a pattern of `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    fn glob(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                glob(&pattern[1..], name) || (!name.is_empty() && glob(pattern, &name[1..]))
            }
            (Some(b'?'), Some(_)) => glob(&pattern[1..], &name[1..]),
            (Some(one), Some(other)) if one == other => glob(&pattern[1..], &name[1..]),
            _ => false,
        }
    }
    let bare = name.strip_suffix(".conf").unwrap_or(name);
    [name, bare].iter().any(|name| glob(pattern.as_bytes(), name.as_bytes()))
}

/// The system whose `init` an entry starts.
fn init(entry: &str) -> Option<StorePath> {
    entry
        .lines()
        .filter_map(|line| line.trim().strip_prefix("options"))
        .flat_map(str::split_whitespace)
        .find_map(|option| option.strip_prefix("init=")?.strip_suffix("/init")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_last_one_that_is_named() {
        let text =
            "timeout 5\ndefault nixos-generation-1.conf\n default\tnixos-*\nconsole-mode keep\n";
        assert_eq!(configured(text).unwrap(), "nixos-*");
        assert_eq!(configured("timeout 5\n"), None);
    }

    #[test]
    fn entries_are_matched_as_the_loader_does() {
        for (pattern, name, expected) in [
            ("nixos-generation-1.conf", "nixos-generation-1.conf", true),
            ("nixos-generation-1", "nixos-generation-1.conf", true),
            ("nixos-generation-1.conf", "nixos-generation-11.conf", false),
            ("nixos-*", "nixos-generation-1.conf", true),
            ("nixos-?", "nixos-12.conf", false),
            ("@saved", "nixos-1.conf", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn an_entry_is_known_by_its_init() {
        let path = format!("/nix/store/{}-nixos-system-box", "a".repeat(32));
        let entry = format!("title NixOS\nlinux /EFI/k.efi\noptions init={path}/init loglevel=4\n");
        assert_eq!(init(&entry).unwrap().as_str(), path);
        assert_eq!(init("options root=/dev/sda"), None);
    }

    #[test]
    fn a_variable_is_utf_16_behind_four_bytes() {
        assert_eq!(variable(b"\x07\0\0\0n\0i\0\0\0").unwrap(), "ni");
        assert_eq!(variable(b"\x07\0"), None);
    }
}
