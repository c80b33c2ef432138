//! Whether GRUB could write to the file system that a file lies on.
//!
//! GRUB reads many, and writes none: it overwrites the blocks of one file where they lie on the
//! disk. That is only sound where a block lies in one place, and nothing keeps a sum or a log of
//! it: plain ext or vfat, on a partition and not on LVM, LUKS or RAID.

use std::fs;
use std::path::Path;

/// Where the kernel lists what is mounted.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Where it describes block devices, by their numbers.
const DEVICES: &str = "/sys/dev/block";

/// What is mounted somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    /// `MAJOR:MINOR`
    device: String,
}

/// Says why GRUB cannot write to a file; `None` if it can.
pub fn why_grub_cannot_write(path: &Path) -> Option<String> {
    let Some(mount) = fs::read_to_string(MOUNTS).ok().and_then(|text| mount_of(&text, path)) else {
        return Some(format!("what `{}` lies on cannot be told", path.display()));
    };
    if !["ext2", "ext3", "ext4", "vfat"].contains(&mount.kind.as_str()) {
        let (path, kind) = (path.display(), &mount.kind);
        return Some(format!("GRUB cannot forget what is armed in `{path}`, which is on {kind}"));
    }
    let layer = layer_of(&Path::new(DEVICES).join(&mount.device))?;
    let path = path.display();
    Some(format!("GRUB cannot forget what is armed in `{path}`, which is on {layer}"))
}

/// The mount that a path lies on: the longest mount point that it is below, and of those that
/// cover each other the last.
fn mount_of(text: &str, path: &Path) -> Option<Mount> {
    let mounts = text.lines().filter_map(|line| {
        let (about, source) = line.split_once(" - ")?;
        let fields: Vec<_> = about.split(' ').collect();
        let (device, point) = (fields.get(2)?, unescaped(fields.get(4)?));
        let kind = source.split(' ').next()?.to_owned();
        let mount = Mount { kind, device: (*device).to_owned() };
        path.starts_with(&point).then(|| (Path::new(&point).components().count(), mount))
    });
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, mount)| mount)
}

/// Blanks and the like stand there as octal numbers.
fn unescaped(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(point.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// The layer between a device, or the disk that it is a part of, and the hardware.
fn layer_of(device: &Path) -> Option<&'static str> {
    let Ok(device) = fs::canonicalize(device) else { return Some("an unknown device") };
    let is = |name: &str| {
        device.join(name).is_dir() || device.parent().is_some_and(|disk| disk.join(name).is_dir())
    };
    match (is("dm"), is("md")) {
        (true, _) => Some("LVM or LUKS"),
        (false, true) => Some("RAID"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
30 22 0:25 / /boot rw,relatime shared:9 - autofs systemd-1 rw
31 30 8:1 / /boot rw,relatime shared:10 - vfat /dev/sda1 rw
32 22 0:40 / /my\\040disk rw - btrfs /dev/sdb rw
";

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, &str)>) {
        let mount = mount_of(TEXT, Path::new(path));
        let found = mount.as_ref().map(|mount| (mount.kind.as_str(), mount.device.as_str()));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_file_lies_on_the_deepest_mount_and_on_the_last_that_covers_it() {
        check("/boot/grub/grubenv", Some(("vfat", "8:1")));
        check("/bootx", Some(("ext4", "8:2")));
        check("/my disk/x", Some(("btrfs", "0:40")));
        assert_eq!(mount_of("", Path::new("/boot")), None);
    }

    #[test]
    fn a_partition_of_a_layer_is_on_that_layer() {
        let directory = tempfile::tempdir().unwrap();
        let device = |name: &str, layer: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.join(layer)).unwrap();
            fs::create_dir_all(path.join("part")).unwrap();
            path
        };
        assert_eq!(layer_of(&device("sda", "queue").join("part")), None);
        assert_eq!(layer_of(&device("dm-0", "dm")), Some("LVM or LUKS"));
        assert_eq!(layer_of(&device("md0", "md").join("part")), Some("RAID"));
        assert_eq!(layer_of(&directory.path().join("none")), Some("an unknown device"));
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let said = why_grub_cannot_write(Path::new("/proc/self/status")).unwrap();
        assert!(said.contains("which is on proc"), "{said}");
    }
}
