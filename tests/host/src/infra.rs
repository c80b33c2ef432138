//! The repository that machines follow: a flake without inputs whose closures come from plain files.
//!
//! `hosts/NAME/` holds `units/*`, `etc/*`, `wants` (lines `UNIT [TARGET]`), `units-removed`,
//! `activate-hook`, `pre-switch-check`, `kernel`, `initrd`, `kernel-modules`, `kernel-params`,
//! `switch-inhibitors`, `init-interface-version`, `systemd-version`, `nixos-version`, `autodeploy-label`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::place;
use crate::run::{self, run};

/// What Git is told at each call.
const SETTINGS: [&str; 5] = [
    "user.name=Test",
    "user.email=test@forge",
    "commit.gpgsign=false",
    "safe.directory=*",
    "maintenance.auto=false",
];

/// The work tree of the infra repository, outside of every machine.
#[derive(Debug, Clone)]
pub struct Infra {
    pub path: PathBuf,
    /// The machine whose folder the short forms mean.
    pub host: String,
}

impl Infra {
    /// Makes the repository with one machine in it; nothing is committed yet.
    ///
    /// # Errors
    /// Fails when Git or the file system does.
    pub fn make(path: PathBuf, host: &str) -> Result<Infra> {
        let infra = Infra { path, host: host.to_string() };
        let (flake, scripts) = (place::resource("infra"), place::resource("stand-in"));
        run::shell(&format!(
            "cp -r '{}' '{to}'; cp -r '{}' '{to}/stand-in'; rm '{to}/stand-in/power' '{to}/stand-in/loader'
             git init -q -b main '{to}'",
            flake.display(),
            scripts.display(),
            to = infra.path.display()
        ))?;
        infra.write("system", &format!("{}-linux\n", std::env::consts::ARCH))?;
        infra.add_host(host)?;
        Ok(infra)
    }

    /// Adds a machine that has nothing of its own.
    ///
    /// # Errors
    /// Fails when the folder cannot be made.
    pub fn add_host(&self, name: &str) -> Result<()> {
        // Git keeps no empty folders.
        self.write(&format!("hosts/{name}/nixos-version"), "25.11.test\n")
    }

    /// Writes a file of the repository.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.path.join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // A link in its place would be written through.
        let _ = fs::remove_file(&file);
        fs::write(&file, text).with_context(|| format!("could not write `{path}`"))
    }

    /// Removes a file or folder of the repository; one that is not there is fine.
    pub fn remove(&self, path: &str) {
        let path = self.path.join(path);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }

    /// Writes a file in the machine's folder.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn set(&self, path: &str, text: &str) -> Result<()> {
        self.write(&format!("hosts/{}/{path}", self.host), text)
    }

    /// Removes a file from the machine's folder.
    pub fn unset(&self, path: &str) {
        self.remove(&format!("hosts/{}/{path}", self.host));
    }

    /// Writes a unit and lets `multi-user.target` want it.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        self.set(&format!("units/{name}"), text)?;
        self.append("wants", name)
    }

    /// Writes a service that runs a shell line, and lets `multi-user.target` want it.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn service(&self, name: &str, line: &str) -> Result<()> {
        let line = line.replace('%', "%%").replace('$', "$$");
        self.unit(
            &format!("{name}.service"),
            &format!("[Unit]\nDescription={name}\n\n[Service]\nExecStart=/bin/sh -c '{line}'\n"),
        )
    }

    /// Masks a unit, as `systemd.units.NAME.enable = false` does.
    ///
    /// # Errors
    /// Fails when the link cannot be made.
    pub fn mask(&self, unit: &str) -> Result<()> {
        let path = self.path.join(format!("hosts/{}/units/{unit}", self.host));
        fs::create_dir_all(path.parent().context("no folder")?)?;
        let _ = fs::remove_file(&path);
        symlink("/dev/null", path)?;
        Ok(())
    }

    /// Leaves a unit out of the closure, wherever it comes from.
    ///
    /// # Errors
    /// Fails when the list cannot be written.
    pub fn remove_unit(&self, unit: &str) -> Result<()> {
        self.unset(&format!("units/{unit}"));
        self.append("units-removed", unit)
    }

    /// Writes a file below /etc.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn etc(&self, path: &str, text: &str) -> Result<()> {
        self.set(&format!("etc/{path}"), text)
    }

    /// Writes autodeploy's configuration.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn config(&self, text: &str) -> Result<()> {
        self.etc("autodeploy/config.toml", text)
    }

    /// Lets the closure contain autodeploy's package of a label and the project's units.
    ///
    /// # Errors
    /// Fails when the files cannot be written.
    pub fn autodeploy(&self, label: &str) -> Result<()> {
        let units = self.path.join("autodeploy/units");
        fs::create_dir_all(&units)?;
        fs::write(units.join("wants"), "")?;
        for entry in fs::read_dir(place::project().join("systemd")).into_iter().flatten().flatten()
        {
            if entry.path().is_file() {
                fs::copy(entry.path(), units.join(entry.file_name()))?;
            }
        }
        self.set("autodeploy-label", &format!("{label}\n"))
    }

    /// The configuration that tests use: short windows, so that a verdict comes within seconds.
    ///
    /// More tables can be appended to it.
    pub fn default_config(&self, url: &str, window: &str, settle: &str) -> String {
        let key = match url.starts_with("ssh://") {
            true => format!("ssh_key_file = \"{}\"\n", crate::forge::DEPLOY_KEY),
            false => String::new(),
        };
        format!(
            "host = \"{}\"\n\n[source]\nurl = \"{url}\"\nbranch = \"main\"\npoll_interval = \"2s\"\n{key}\n\
             [build]\nmode = \"evaluate\"\n\n[paths]\nnix_bin = \"/usr/bin\"\n\n\
             [health]\nwindow = \"{window}\"\nsettle = \"{settle}\"\n",
            self.host
        )
    }

    /// Commits everything and gives the commit's id.
    ///
    /// # Errors
    /// Fails when Git does.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", message])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs Git in the work tree, without anybody's own settings.
    ///
    /// # Errors
    /// Fails when Git does.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut git = Command::new("git");
        git.current_dir(&self.path);
        git.args(SETTINGS.iter().flat_map(|setting| ["-c", setting])).args(arguments);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        run(&mut git, Duration::from_secs(60))?.ok().with_context(|| format!("git {arguments:?}"))
    }

    fn append(&self, list: &str, line: &str) -> Result<()> {
        let path = format!("hosts/{}/{list}", self.host);
        let mut text = fs::read_to_string(self.path.join(&path)).unwrap_or_default();
        if !text.lines().any(|known| known == line) {
            text.push_str(line);
            text.push('\n');
        }
        self.write(&path, &text)
    }
}
