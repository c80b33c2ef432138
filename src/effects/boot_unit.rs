//! A unit that goes on with a boot trial whatever units the new generation has.
//!
//! A boot reads the *new* generation's units: one that lacks ours, masks them or breaks them would
//! run without anybody who judges it. systemd also reads `/etc/systemd/system.control`, before all
//! other places, and no generation of NixOS has files there: a unit in it with the absolute path
//! of our own program outlives the reboot, and is removed with what was armed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::effects::files;

/// Where systemd keeps what `systemctl set-property` writes.
const DIRECTORY: &str = "/etc/systemd/system.control";

const NAME: &str = "autodeploy-boot-trial.service";

/// It needs the bus, and nothing else of the new generation.
const WANTED_BY: &str = "basic.target.wants";

/// Where the unit is.
pub struct BootUnit {
    directory: PathBuf,
}

impl BootUnit {
    /// The one that the next boot of this machine reads.
    pub fn of_this_machine() -> BootUnit {
        BootUnit { directory: DIRECTORY.into() }
    }

    /// Makes it; a repeat replaces it.
    ///
    /// # Errors
    /// It is not whole, and may not be started.
    pub fn put(&self, program: &Path, config: &Path) -> Result<()> {
        let text = format!(
            "[Unit]\nDescription=Go on with a boot trial\nAfter=dbus.socket\n\
             StartLimitIntervalSec=0\nX-StopOnRemoval=false\n\n[Service]\nType=exec\n\
             ExecStart=\"{}\" --config \"{}\"\nRestart=on-failure\nRestartSec=5s\n\
             X-RestartIfChanged=false\nOOMScoreAdjust=-900\nSyslogIdentifier=autodeploy-activate\n",
            program.display(),
            config.display()
        );
        let wants = self.directory.join(WANTED_BY);
        files::make_directory(&self.directory, 0o755)?;
        files::make_directory(&wants, 0o755)?;
        files::write_durably(&self.directory.join(NAME), text.as_bytes(), 0o644)?;
        let link = wants.join(NAME);
        files::remove(&link)?;
        symlink(Path::new("..").join(NAME), &link)
            .with_context(|| format!("could not make `{}`", link.display()))?;
        files::sync(&wants)
    }

    /// Removes it; one that is not there is fine.
    ///
    /// # Errors
    /// Part of it may still be there; without a trial it does nothing.
    pub fn remove(&self) -> Result<()> {
        let wants = self.directory.join(WANTED_BY);
        files::remove(&wants.join(NAME))?;
        files::remove(&self.directory.join(NAME))?;
        // Others keep what they have there.
        let _ = fs::remove_dir(wants);
        let _ = fs::remove_dir(&self.directory);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_again_and_removed_and_what_others_have_there_stays() {
        let place = tempfile::tempdir().unwrap();
        let unit = BootUnit { directory: place.path().join("system.control") };
        unit.remove().unwrap();
        for program in ["/nix/store/x/bin/one", "/nix/store/x/bin/two"] {
            unit.put(Path::new(program), Path::new("/nix/store/c.toml")).unwrap();
        }
        let text = fs::read_to_string(unit.directory.join(WANTED_BY).join(NAME)).unwrap();
        let line = "ExecStart=\"/nix/store/x/bin/two\" --config \"/nix/store/c.toml\"";
        assert!(text.lines().any(|one| one == line), "{text}");
        fs::write(unit.directory.join("other.slice"), "").unwrap();
        unit.remove().unwrap();
        assert_eq!(files::inside(&unit.directory), [unit.directory.join("other.slice")]);
        fs::remove_file(unit.directory.join("other.slice")).unwrap();
        unit.remove().unwrap();
        assert!(!unit.directory.exists());
    }
}
