//! The disks that every case starts from: a machine with autodeploy on it, and closures to be tried.
//!
//! They are made once for each state of the sources; a case works on a copy.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use autodeploy_testhost::base::fingerprint;
use autodeploy_testhost::host::{Host, HostOptions};
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::world::World;
use autodeploy_testhost::{package, place, run};

use crate::disks;
use crate::loader::Loader;
use crate::machine::Machine;
use crate::parts::{self, resource};

/// Says to whom it may concern that the remote was polled; the real agent is not what is tried here.
const AGENT: &str = include_str!("../guest/agent");
const AGENT_UNIT: &str = include_str!("../guest/agent.service");
const URL: &str = "http://forge/git/infra.git";

/// Disks on which a machine is installed, and its closures by name.
#[derive(Debug, Clone)]
pub struct Image {
    pub loader: Loader,
    pub folder: PathBuf,
    /// `first` is generation 1 and the default.
    pub closures: BTreeMap<String, String>,
}

/// Gives the disks for a loader, and makes them when they are not there.
///
/// # Errors
/// Fails when the machine cannot be installed, or a tool is missing.
pub fn image(loader: Loader) -> Result<Image> {
    let name = format!("boot-image-{}-{:016x}", loader.word(), state_of_sources()?);
    let folder = place::once(&place::folder().join(name), |folder| {
        clear_old(loader)?;
        make(loader, folder)
    })?;
    let text = fs::read_to_string(folder.join("closures.json"))?;
    Ok(Image { loader, folder, closures: serde_json::from_str(&text)? })
}

/// Removes the images of earlier builds, each some 700 MB; one of the last hour may be in use.
fn clear_old(loader: Loader) -> Result<()> {
    run::shell(&format!(
        "find '{}' -maxdepth 1 -type d -name 'boot-image-{}-*' -mmin +60 -exec rm -rf {{}} +",
        place::folder().display(),
        loader.word()
    ))?;
    Ok(())
}

/// A closure, what its commit changes, and what its boot is meant to do.
type Variant = (&'static str, fn(&Infra, Loader, &Path) -> Result<()>);

const VARIANTS: [Variant; 4] = [
    ("good", |infra, loader, parts| {
        // Another kernel file, and another parameter.
        let mut kernel = fs::read(parts.join("kernel"))?;
        kernel.extend_from_slice(b"another");
        fs::write(host_file(infra, "kernel"), kernel)?;
        infra.set("kernel-params", &format!("{} trial=good\n", loader.kernel_params()))
    }),
    ("panics", |infra, _, parts| {
        fs::copy(parts.join("initrd-panics"), host_file(infra, "initrd")).map(drop)?;
        Ok(())
    }),
    ("hangs", |infra, _, parts| {
        fs::copy(parts.join("initrd-hangs"), host_file(infra, "initrd")).map(drop)?;
        Ok(())
    }),
    ("sick", |infra, loader, _| {
        infra.set("kernel-params", &format!("{} trial=sick\n", loader.kernel_params()))?;
        infra.service("web", "echo the disk is on fire; exit 7")
    }),
];

fn host_file(infra: &Infra, name: &str) -> PathBuf {
    infra.path.join(format!("hosts/{}/{name}", infra.host))
}

fn make(loader: Loader, folder: &Path) -> Result<()> {
    eprintln!("installing a machine with {} (once for each build, half a minute)", loader.word());
    let parts = parts::folder()?;
    let world = World::install(
        &format!("image-{}", loader.word()),
        HostOptions::default(),
        |infra, host| {
            prepare_disk(&parts, host)?;
            prepare_infra(loader, &parts, infra, host)
        },
    )?;
    let mut closures = BTreeMap::from([("first".to_owned(), world.first_toplevel.clone())]);
    for (name, change) in VARIANTS {
        let commit = world.forge.push(name, |infra| change(infra, loader, &parts))?;
        closures.insert(name.to_owned(), build(&world, &commit)?);
        world.forge.infra.git(&["revert", "--no-edit", "HEAD"])?;
    }
    disks::make(loader, &parts, &world.host.root, folder)?;
    fs::write(folder.join("closures.json"), serde_json::to_string_pretty(&closures)?)?;
    first_boot(Image { loader, folder: folder.to_path_buf(), closures })
}

/// Boots the machine once, and keeps its memory and its disks as they are then.
fn first_boot(image: Image) -> Result<()> {
    let folder = image.folder.clone();
    let mut machine = Machine::lay_out("first-boot", image)?;
    machine.power_on()?;
    let boot = machine.wait_booted()?;
    fs::write(folder.join("boot-id"), boot)?;
    machine.freeze(&folder.join("memory"))?;
    for name in ["root.img", "esp.img", "vars.fd"] {
        if folder.join(name).exists() {
            run::shell(&format!(
                "cp --sparse=always '{}' '{}'",
                machine.file(name).display(),
                folder.join(name).display()
            ))?;
        }
    }
    Ok(())
}

/// What a machine of its own has beyond a container: a kernel's modules, loaders, the way in.
fn prepare_disk(parts: &Path, host: &Host) -> Result<()> {
    run::shell(&format!(
        "cp -a --no-clobber '{parts}/tree/.' '{root}/'
         install -D -m 755 '{listen}' '{root}/usr/lib/testboot/listen'
         units='{root}/usr/lib/systemd/system'
         cp '{listen}.service' \"$units/testboot-listen.service\"
         ln -s ../testboot-listen.service \"$units/sysinit.target.wants/\"
         echo {id} > '{root}/etc/boot-disk'
         # They find nothing on such a machine, and cost a third of each boot.
         rm -f '{root}'/usr/lib/systemd/system-generators/*
         cd \"$units/sysinit.target.wants\"
         rm -f systemd-tpm2-* systemd-pcr* systemd-binfmt* proc-sys-fs-binfmt* systemd-hibernate* \
           systemd-machine-id-commit* kmod-static-nodes* systemd-sysusers* sys-kernel-* sys-fs-* dev-hugepages* \
           systemd-tmpfiles-setup-dev* systemd-random-seed* systemd-modules-load* systemd-sysctl*
         rm -f ../modprobe@.service",
        parts = parts.display(),
        root = host.root.display(),
        listen = resource("guest/listen").display(),
        id = disks::ROOT_ID,
    ))?;
    Ok(())
}

fn prepare_infra(loader: Loader, parts: &Path, infra: &Infra, host: &Host) -> Result<()> {
    for name in ["kernel", "initrd"] {
        fs::copy(parts.join(name), infra.path.join("common").join(name))?;
    }
    loader.describe_in(infra)?;
    infra.set("units/host-network.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")?;
    infra.etc("systemd/system.conf.d/watchdog.conf", "[Manager]\nRuntimeWatchdogSec=60s\n")?;
    infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
    infra.etc("agent", AGENT)?;
    infra.set("units/autodeploy.service", AGENT_UNIT)?;
    infra.config(&infra.default_config(URL, "180s", "4s"))
}

fn build(world: &World, commit: &str) -> Result<String> {
    let line = format!(
        "export NIX_REMOTE= NIX_CONFIG='experimental-features = nix-command flakes
         sandbox = false
         build-users-group =
         substituters =
         flake-registry ='
         nix build --no-link --print-out-paths --no-update-lock-file \
           'git+file:///srv/infra?rev={commit}#nixosConfigurations.\"{}\".config.system.build.toplevel'",
        world.host.name
    );
    let output = world.host.run_without_boot(&line)?.ok().context("could not build a closure")?;
    Ok(output.lines().last().unwrap_or_default().to_owned())
}

/// Changes with everything that the disks are made of.
fn state_of_sources() -> Result<u64> {
    let project = place::project();
    let mut seen = parts::folder()?.display().to_string();
    // As they were when this program was built, and not as they are now.
    seen += concat!(include_str!("image.rs"), include_str!("disks.rs"), include_str!("loader.rs"));
    for folder in [
        "systemd",
        "tests/host/base-tree",
        "tests/host/infra",
        "tests/host/stand-in",
        "tests/boot/guest",
    ] {
        let sums = "-type f -exec cksum {} + | LC_ALL=C sort";
        seen += &run::shell(&format!("find '{}' {sums}", project.join(folder).display()))?;
    }
    seen += &package::state(&package::binaries())?;
    Ok(fingerprint(seen.as_bytes()))
}
