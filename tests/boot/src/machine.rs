//! A whole machine: power, a watchdog, a console, and lines that run inside.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use autodeploy_testhost::run::{self, Output};
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::{cgroup, place::Place};

use crate::channel::Channel;
use crate::image::{self, Image};
use crate::loader::Loader;

/// How long a machine may take from power to systemd, firmware and loader included; about 20 s are
/// usual, and many times that beside a busy neighbour.
pub const BOOT_LIMIT: Duration = Duration::from_secs(480);
/// How long a line may take unless said otherwise.
pub const LINE_LIMIT: Duration = Duration::from_secs(240);

/// A machine of one case; dropping it removes everything.
#[derive(Debug)]
pub struct Machine {
    pub image: Image,
    power: Option<Child>,
    channel: Option<RefCell<Channel>>,
    // Last, so that the process is gone before what it stands on.
    place: Place,
}

impl Machine {
    /// A machine that runs: its first boot was finished when the image was made, and goes on from there.
    ///
    /// # Errors
    /// Fails when the image cannot be made, or the machine does not answer.
    pub fn running(label: &str, loader: Loader) -> Result<Machine> {
        let mut machine = Machine::lay_out(label, image::image(loader)?)?;
        let memory = format!("exec:cat '{}'", machine.image.folder.join("memory").display());
        machine.switch_on(&["-incoming", &memory])?;
        machine.go_on()?;
        let boot = fs::read_to_string(machine.image.folder.join("boot-id"))?;
        if let Some(channel) = &machine.channel {
            channel.borrow_mut().expect_boot(&boot);
        }
        machine.sh("true").with_context(|| machine.console_end())?;
        Ok(machine)
    }

    /// Lays a machine out, without power.
    ///
    /// # Errors
    /// Fails when its disks cannot be copied.
    pub fn lay_out(label: &str, image: Image) -> Result<Machine> {
        let place = Place::claim(label)?;
        run::shell(&format!(
            "for file in '{}'/*.img '{0}'/vars.fd; do
               [ ! -e \"$file\" ] || cp --sparse=always \"$file\" '{}/'
             done",
            image.folder.display(),
            place.path.display()
        ))?;
        Ok(Machine { image, power: None, channel: None, place })
    }

    /// A file of the machine's, outside.
    pub fn file(&self, name: &str) -> PathBuf {
        self.place.path.join(name)
    }

    /// The path of a closure of the image.
    ///
    /// # Panics
    /// When the image has no closure of this name.
    pub fn closure(&self, name: &str) -> &str {
        &self.image.closures[name]
    }

    /// Switches the power on and waits for nothing.
    ///
    /// # Errors
    /// Fails when there is power already, or `qemu` cannot be started.
    pub fn power_on(&mut self) -> Result<()> {
        self.switch_on(&[])
    }

    fn switch_on(&mut self, more: &[&str]) -> Result<()> {
        if self.power.is_some() {
            bail!("there is power already");
        }
        let socket = self.file("port");
        let _ = fs::remove_file(&socket);
        let mut command = self.supply(&socket)?;
        command.args(more);
        let log = fs::File::options().create(true).append(true).open(self.file("qemu.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.power = Some(command.spawn().context("could not switch the power on")?);
        let channel = Channel::open(&socket).with_context(|| self.words_of_qemu())?;
        self.channel = Some(RefCell::new(channel));
        Ok(())
    }

    /// Writes the memory of the running machine to a file, and cuts the power at that moment.
    ///
    /// # Errors
    /// Fails when `qemu` does not write it.
    pub fn freeze(&mut self, memory: &Path) -> Result<()> {
        // Stopped first: while it runs, `qemu` 7.2 without KVM misses pages that are written to.
        let orders = format!("stop\nmigrate \"exec:cat > '{}'\"\ninfo migrate\n", memory.display());
        self.order(&orders, "Migration status: completed").context("could not keep the memory")?;
        self.power_cut()
    }

    /// A memory that was written while the machine stood still is loaded standing still.
    fn go_on(&self) -> Result<()> {
        wait_until("the machine to go on", BOOT_LIMIT, || {
            self.order("cont\ninfo status\n", "VM status: running").map(|()| true)
        })
    }

    /// Gives orders to `qemu`'s monitor, and waits until it says the words.
    fn order(&self, orders: &str, words: &str) -> Result<()> {
        let mut monitor = UnixStream::connect(self.file("monitor"))?;
        monitor.set_read_timeout(Some(Duration::from_secs(120)))?;
        monitor.write_all(orders.as_bytes())?;
        let mut said = String::new();
        for line in BufReader::new(monitor).lines() {
            let line = line.with_context(|| format!("the monitor said: {said}"))?;
            if line.contains(words) {
                return Ok(());
            }
            said += &line;
            // The last order was answered, and otherwise.
            if line.starts_with("VM status") || line.contains("Migration status: failed") {
                break;
            }
        }
        bail!("the monitor said: {said}")
    }

    fn words_of_qemu(&self) -> String {
        fs::read_to_string(self.file("qemu.log")).unwrap_or_default()
    }

    /// `qemu` in a control group of its own: whatever a killed test leaves is ended by the next one.
    fn supply(&self, socket: &Path) -> Result<Command> {
        let mut script = String::new();
        for folder in cgroup::make(&self.place.name)? {
            script += &format!("echo $$ > '{}/cgroup.procs'\n", folder.display());
        }
        script += "exec \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", &script, "power", "qemu-system-x86_64"]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        command.args(["-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-m", "768"]);
        if self.image.loader == Loader::SystemdBoot {
            let code =
                "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd";
            let variables =
                format!("if=pflash,unit=1,format=raw,file={}", self.file("vars.fd").display());
            command.args(["-drive", code, "-drive", &variables]);
        }
        for (number, name) in ["root", "esp"].iter().enumerate() {
            let file = self.file(&format!("{name}.img"));
            if file.exists() {
                let drive =
                    format!("if=none,id={name},format=raw,cache=unsafe,file={}", file.display());
                let first = if self.image.loader == Loader::Grub { 0 } else { 1 };
                let order = if number == first { 0 } else { 1 };
                let device = format!("virtio-blk-pci,drive={name},bootindex={order}");
                command.args(["-drive", &drive, "-device", &device]);
            }
        }
        let console =
            format!("file,id=console,append=on,path={}", self.file("console.log").display());
        let port = format!("socket,id=port,server=on,wait=off,path={}", socket.display());
        command.args(["-chardev", &console, "-serial", "chardev:console", "-chardev", &port]);
        let monitor = format!("unix:{},server=on,wait=off", self.file("monitor").display());
        command.args(["-monitor", &monitor, "-device", "virtio-serial-pci"]);
        command.args(["-device", "virtserialport,chardev=port,name=autodeploy-test"]);
        command.args(["-device", "virtio-rng-pci"]);
        // A reset ends `qemu`, and `wait_booted` switches the power on again: after a kept memory of
        // more than half a minute, a reset leaves OVMF in a storm of timer interrupts for ever.
        command.args(["-device", "i6300esb", "-action", "watchdog=reset,reboot=shutdown"]);
        Ok(command)
    }

    /// Waits until systemd has started everything after the next boot; gives the boot's id.
    ///
    /// # Errors
    /// Fails, with the end of the console's output, when that takes longer than [`BOOT_LIMIT`].
    pub fn wait_booted(&mut self) -> Result<String> {
        let deadline = Instant::now() + BOOT_LIMIT;
        let boot = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let channel = self.channel.as_ref().context("no power")?;
            let boot = channel.borrow_mut().next_boot(left);
            match boot {
                Ok(boot) => break boot,
                Err(_) if self.was_reset()? => self.switch_on(&[])?,
                Err(error) => {
                    return Err(error.context(format!("the console says:\n{}", self.console_end())));
                }
            }
        };
        let state = self.run_limited("systemctl is-system-running --wait", BOOT_LIMIT)?;
        match state.text() {
            "running" | "degraded" => Ok(boot),
            other => bail!("the machine is `{other}`\n{}", self.console_end()),
        }
    }

    /// Tells whether `qemu` ended by itself, which is a reset; the power is off then.
    fn was_reset(&mut self) -> Result<bool> {
        let Some(power) = &mut self.power else { return Ok(false) };
        // The line to it is closed a moment before it is gone.
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            match power.try_wait()? {
                Some(status) if status.success() => break,
                Some(status) => bail!("`qemu` ended with {status}: {}", self.words_of_qemu()),
                None if Instant::now() > until => return Ok(false),
                None => sleep(Duration::from_millis(50)),
            }
        }
        self.power_cut()?;
        Ok(true)
    }

    /// Cuts the power: what was not written to the disk is lost.
    ///
    /// # Errors
    /// Fails when `qemu` cannot be ended.
    pub fn power_cut(&mut self) -> Result<()> {
        self.channel = None;
        if let Some(mut power) = self.power.take() {
            power.kill()?;
            power.wait()?;
        }
        Ok(())
    }

    /// Shuts down as a person would, and waits until the power is off.
    ///
    /// # Errors
    /// Fails when it is still on after two minutes.
    pub fn shutdown(&mut self) -> Result<()> {
        self.run("systemctl --no-block poweroff")?;
        wait_until("the power to be off", Duration::from_secs(120), || {
            Ok(self
                .power
                .as_mut()
                .is_none_or(|power| power.try_wait().is_ok_and(|end| end.is_some())))
        })?;
        self.power_cut()
    }

    /// Runs a shell line as root.
    ///
    /// # Errors
    /// Fails when the machine has no power or the line does not end in time.
    pub fn run(&self, line: &str) -> Result<Output> {
        self.run_limited(line, LINE_LIMIT)
    }

    /// Runs a shell line as root with a limit of its own.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_limited(&self, line: &str, limit: Duration) -> Result<Output> {
        let channel = self.channel.as_ref().context("no power")?;
        channel.borrow_mut().run(line, limit)
    }

    /// Runs a shell line as root that must succeed, and gives its trimmed output.
    ///
    /// # Errors
    /// Also fails when the exit status is not 0.
    pub fn sh(&self, line: &str) -> Result<String> {
        self.run(line)?.ok().with_context(|| format!("running `{line}`"))
    }

    /// The closure that was booted.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn booted_system(&self) -> Result<String> {
        self.sh("readlink -f /run/booted-system")
    }

    /// Everything that was written to the console since the machine was laid out.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.file("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the console said last.
    pub fn console_end(&self) -> String {
        let text = self.console();
        let from = text.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
        text[from..].to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.power_cut();
    }
}
