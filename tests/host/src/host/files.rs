//! Files of a machine, read and written from outside.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::Host;

impl Host {
    /// Where a path of the machine is found from outside: below its PID 1 while it has power (so
    /// that /run is there), on its disk otherwise.
    ///
    /// Links that begin with a slash lead astray; [`Host::sh`] follows them inside.
    pub fn outside(&self, path: &str) -> PathBuf {
        let inner = path.trim_start_matches('/');
        if let Some(leader) = self.leader {
            return PathBuf::from(format!("/proc/{leader}/root")).join(inner);
        }
        let on_disk = self.disks.iter().find_map(|(place, disk)| {
            let rest = path.strip_prefix(place)?;
            (rest.is_empty() || rest.starts_with('/'))
                .then(|| disk.join(rest.trim_start_matches('/')))
        });
        on_disk.unwrap_or_else(|| self.root.join(inner))
    }

    /// Reads a file, without the end of its last line.
    ///
    /// # Errors
    /// Fails when it is not there.
    pub fn read(&self, path: &str) -> Result<String> {
        let mut text = String::new();
        self.open(path, OFlag::O_RDONLY)
            .and_then(|mut file| Ok(file.read_to_string(&mut text)?))
            .with_context(|| format!("could not read `{path}`"))?;
        Ok(text.trim_end().to_owned())
    }

    /// Whether there is something at a path, links followed inside.
    pub fn exists(&self, path: &str) -> bool {
        self.open(path, OFlag::O_PATH).is_ok()
    }

    /// Opens a file with the links on the way as they are inside.
    fn open(&self, path: &str, flags: OFlag) -> Result<File> {
        if self.leader.is_none() {
            return Ok(File::open(self.outside(path))?);
        }
        let root = File::open(self.outside("/"))?;
        let how =
            OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        Ok(openat2(root, path, how)?.into())
    }

    /// Writes a file as root, and makes its folder.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let outside = self.outside(path);
        if let Some(folder) = outside.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&outside, text).with_context(|| format!("could not write `{path}`"))
    }

    /// Fills the disk that holds a folder to its last byte, with a file named `filler` in it.
    ///
    /// Only for a disk of its own: the machine's own disk is that of the machine around it.
    ///
    /// # Errors
    /// Fails when the folder is not on a disk of its own.
    pub fn fill_disk(&self, folder: &str) -> Result<()> {
        let output = self.run(&format!(
            "mountpoint -q {folder} || exit 9; cat /dev/zero > {folder}/filler; sync -f {folder}; df --output=avail {folder} | tail -1"
        ))?;
        if output.code() == 9 {
            bail!("`{folder}` is not a disk of its own; hint: HostOptions");
        }
        Ok(())
    }

    /// Takes away what [`Host::fill_disk`] wrote.
    ///
    /// # Errors
    /// Fails when the file cannot be removed.
    pub fn free_disk(&self, folder: &str) -> Result<()> {
        self.sh(&format!("rm -f {folder}/filler"))?;
        Ok(())
    }
}
