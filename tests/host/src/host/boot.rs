//! Power: installing, booting, restarting, cutting.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BOOT_LIMIT, Host, HostOptions};
use crate::place::{self, Place};
use crate::run::{Output, run};
use crate::wait::{wait_for, wait_until};
use crate::{base, cgroup, disk};

impl Host {
    /// Lays out a machine's disk; nothing of NixOS is on it before [`Host::install`].
    ///
    /// `below` are the trees that it lies on, the uppermost first; `binds` are `OUTSIDE:INSIDE`
    /// folders that the machine may read.
    ///
    /// # Errors
    /// Fails when the overlay cannot be made.
    pub fn lay_out(
        place: &Place,
        below: &[PathBuf],
        options: &HostOptions,
        binds: &[String],
    ) -> Result<Host> {
        let folder = place.path.join("host");
        let root = disk::overlay(below, &folder)?;
        let mut host = Host {
            name: options.name.clone(),
            machine: place.name.clone(),
            root,
            console: folder.join("console.log"),
            binds: binds.iter().map(|bind| format!("--bind-ro={bind}")).collect(),
            disks: Vec::new(),
            power: None,
            leader: None,
            asking: Default::default(),
        };
        let loader = place::resource("stand-in/loader");
        host.binds.push(format!("--bind-ro={}:/usr/lib/testhost/loader", loader.display()));
        host.small_disk(&folder, "/boot", options.boot_bytes)?;
        host.small_disk(&folder, "/var/lib/autodeploy", options.state_bytes)?;
        host.small_disk(&folder, "/nix/store", options.store_bytes)?;
        host.write_identity()?;
        Ok(host)
    }

    fn small_disk(
        &mut self,
        folder: &Path,
        inside: &'static str,
        bytes: Option<u64>,
    ) -> Result<()> {
        let Some(bytes) = bytes else { return Ok(()) };
        let outside = folder.join(format!("disk{}", inside.replace('/', "-")));
        disk::small(&outside, bytes)?;
        self.binds.push(format!("--bind={}:{inside}", outside.display()));
        self.disks.push((inside, outside));
        Ok(())
    }

    fn write_identity(&self) -> Result<()> {
        // Without one systemd takes the boot for a first boot, and presets would write to /etc/systemd.
        let id = base::fingerprint(self.machine.as_bytes());
        fs::write(self.root.join("etc/machine-id"), format!("{id:016x}{:016x}\n", !id))?;
        let state = self.root.join("var/lib/autodeploy");
        fs::create_dir_all(&state)?;
        Ok(())
    }

    /// Puts the closure of a commit on the disk as generation 1 and the default, as an installer does.
    ///
    /// # Errors
    /// Fails when it does not build or the loader cannot be written.
    pub fn install(&self, revision: &str) -> Result<String> {
        let script = format!(
            "chown autodeploy:autodeploy /var/lib/autodeploy
             mkdir -p /etc/nix /var/log/journal
             export NIX_REMOTE= NIX_CONFIG='experimental-features = nix-command flakes
             sandbox = false
             build-users-group =
             substituters =
             flake-registry ='
             top=$(nix build --no-link --print-out-paths --no-update-lock-file 'git+file:///srv/infra?rev={revision}#nixosConfigurations.\"{}\".config.system.build.toplevel')
             nix-env -p /nix/var/nix/profiles/system --set $top
             $top/bin/switch-to-configuration boot >&2
             echo $top",
            self.name
        );
        let output =
            self.run_without_boot(&script)?.ok().context("could not install the machine")?;
        Ok(output.lines().last().unwrap_or_default().to_string())
    }

    /// Runs a shell line on the machine's disk while it has no power, as an installer's medium would.
    ///
    /// # Errors
    /// Fails when it does not end within two minutes.
    pub fn run_without_boot(&self, line: &str) -> Result<Output> {
        let groups = cgroup::make(&self.machine)?;
        let mut command = self.power_supply(&groups);
        command.args(["--pipe", "--as-pid2", "/bin/sh", "-ec", line]);
        let output = run(&mut command, Duration::from_secs(120));
        cgroup::end(&self.machine);
        output
    }

    fn power_supply(&self, groups: &[PathBuf]) -> Command {
        let mut command = Command::new(place::resource("stand-in/power"));
        command.args(groups).arg("--").arg("--quiet").arg("-D").arg(&self.root);
        command.args([
            &format!("--machine={}", self.machine),
            &format!("--network-namespace-path=/run/netns/{}", self.machine),
        ]);
        command.args(["--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off"]);
        command.args(["--timezone=off", "--capability=CAP_NET_ADMIN"]);
        command.args(&self.binds);
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        command
    }

    /// Switches the power on and waits until systemd has started everything.
    ///
    /// # Errors
    /// Fails, with the end of the console's output, when that takes more than [`BOOT_LIMIT`].
    pub fn boot(&mut self) -> Result<()> {
        self.power_on()?;
        self.wait_booted(BOOT_LIMIT)
    }

    /// Switches the power on and waits for nothing.
    ///
    /// # Errors
    /// Fails when the machine already has power or the supply cannot be started.
    pub fn power_on(&mut self) -> Result<()> {
        if self.power.is_some() {
            bail!("the machine `{}` already has power", self.name);
        }
        let groups = cgroup::make(&self.machine)?;
        let console = File::options().create(true).append(true).open(&self.console)?;
        let mut command = self.power_supply(&groups);
        command.args(["--console=pipe", "/usr/lib/testhost/loader"]);
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        self.power = Some(command.spawn().context("could not switch the power on")?);
        Ok(())
    }

    /// Waits until systemd says that starting is over; `degraded` counts.
    ///
    /// # Errors
    /// Fails, with the end of the console's output, when the limit is over.
    pub fn wait_booted(&mut self, limit: Duration) -> Result<()> {
        let what = format!("the machine `{}` to come up", self.name);
        wait_until(&what, limit, || {
            if self.leader.is_none_or(|leader| !is_alive(leader)) {
                self.leader = self.find_leader();
            }
            if self.leader.is_none() {
                return Ok(false);
            }
            let state = self.run_limited("systemctl is-system-running", Duration::from_secs(10))?;
            Ok(["running", "degraded"].contains(&state.text()))
        })
        .with_context(|| format!("the console says:\n{}", self.console_end()))
    }

    /// The child of nspawn that is PID 1 of its own namespace.
    fn find_leader(&self) -> Option<i32> {
        let supply = self.power.as_ref()?.id().cast_signed();
        children(supply).into_iter().flat_map(children).find(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            inner.is_some_and(|pids| {
                pids.split_whitespace().count() > 1 && pids.trim_end().ends_with("\t1")
            })
        })
    }

    /// Cuts the power: everything inside is gone at once, what was written stays.
    ///
    /// A machine without power is left alone.
    ///
    /// # Errors
    /// Fails when something of the machine is still there after ten seconds.
    pub fn power_cut(&mut self) -> Result<()> {
        let Some(mut power) = self.power.take() else { return Ok(()) };
        if let Some(leader) = self.leader.take() {
            let _ = kill(Pid::from_raw(leader), Signal::SIGKILL);
        }
        cgroup::end(&self.machine);
        power.wait()?;
        wait_until("the machine to be all gone", Duration::from_secs(10), || {
            Ok(cgroup::members(&self.machine).is_empty())
        })
    }

    /// Switches the power on again after a cut.
    ///
    /// # Errors
    /// As [`Host::boot`].
    pub fn boot_again(&mut self) -> Result<()> {
        self.boot()
    }

    /// Restarts the machine from inside and waits until it is up again.
    ///
    /// # Errors
    /// Fails when it does not come up.
    pub fn reboot(&mut self) -> Result<()> {
        let before = self.boot_id()?;
        self.run("systemctl reboot")?;
        self.wait_rebooted(&before, BOOT_LIMIT)
    }

    /// Waits for a boot that is not the one with this id.
    ///
    /// # Errors
    /// Fails when the limit is over.
    pub fn wait_rebooted(&mut self, before: &str, limit: Duration) -> Result<()> {
        wait_for("another boot", limit, || {
            self.leader = self.find_leader();
            Ok(self.boot_id().ok().filter(|id| id != before))
        })
        .with_context(|| format!("the console says:\n{}", self.console_end()))?;
        self.wait_booted(limit)
    }

    /// Shuts the machine down as a person would.
    ///
    /// # Errors
    /// Fails when it is still there after a minute.
    pub fn shutdown(&mut self) -> Result<()> {
        self.run("systemctl poweroff")?;
        wait_until("the machine to shut down", Duration::from_secs(60), || {
            let ended = match &mut self.power {
                Some(power) => power.try_wait()?.is_some(),
                None => true,
            };
            Ok(ended)
        })?;
        self.power_cut()
    }

    /// What the console said last.
    pub fn console_end(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(3000)..]).into_owned()
    }
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
