//! A machine, a forge and a cable between them: what every case starts from.

use std::path::PathBuf;

use anyhow::Result;

use crate::disk;
use crate::forge::{Forge, Scheme};
use crate::host::{Host, HostOptions};
use crate::infra::Infra;
use crate::network::Network;
use crate::package;
use crate::place::Place;
use crate::stock;

/// Everything of one case; dropping it removes everything.
#[derive(Debug)]
pub struct World {
    pub host: Host,
    pub forge: Forge,
    /// The first commit, whose closure is generation 1.
    pub first_commit: String,
    pub first_toplevel: String,
    // Last, so that processes are gone before what they stand on.
    place: Place,
}

impl World {
    /// Boots a machine that runs the first commit of an infra repository with nothing special in it.
    ///
    /// # Errors
    /// Fails when anything of it does; what was made is removed.
    pub fn boot(label: &str) -> Result<World> {
        World::boot_with(label, HostOptions::default(), |_, _| Ok(()))
    }

    /// Boots a machine after `prepare` had its way with the repository and the machine's disk.
    ///
    /// # Errors
    /// As [`World::boot`].
    pub fn boot_with(
        label: &str,
        options: HostOptions,
        prepare: impl FnOnce(&Infra, &Host) -> Result<()>,
    ) -> Result<World> {
        let mut world = World::install(label, options, prepare)?;
        world.host.boot()?;
        Ok(world)
    }

    /// Boots a machine that follows the forge with the autodeploy that was built last.
    ///
    /// # Errors
    /// As [`World::boot`]; also when autodeploy's binaries are not built.
    pub fn following(label: &str, scheme: Scheme) -> Result<World> {
        World::boot_with(label, HostOptions::default(), |infra, host| {
            infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
            infra.config(&infra.default_config(scheme.url(), "8s", "2s"))
        })
    }

    /// Installs a machine and leaves it without power.
    ///
    /// # Errors
    /// As [`World::boot`].
    pub fn install(
        label: &str,
        options: HostOptions,
        prepare: impl FnOnce(&Infra, &Host) -> Result<()>,
    ) -> Result<World> {
        World::install_over(&stock::below(&options)?, label, options, prepare)
    }

    /// As [`World::install`], on a disk over these trees.
    pub(crate) fn install_over(
        below: &[PathBuf],
        label: &str,
        options: HostOptions,
        prepare: impl FnOnce(&Infra, &Host) -> Result<()>,
    ) -> Result<World> {
        let place = Place::claim(label)?;
        disk::in_memory_if_wanted(&place.path)?;
        let network = Network::make(&place.name)?;
        let infra = Infra::make(place.path.join("infra"), &options.name)?;
        let forge = Forge::make(network, &place.path.join("forge"), infra)?;
        let binds = [
            format!("{}:/srv/infra", forge.infra.path.display()),
            format!("{}:/srv/git/infra.git", forge.repository().display()),
        ];
        let host = Host::lay_out(&place, below, &options, &binds)?;
        forge.introduce_to(&host.root)?;
        prepare(&forge.infra, &host)?;
        let first_commit = forge.push("first", |_| Ok(()))?;
        let first_toplevel = host.install(&first_commit)?;
        Ok(World { host, forge, first_commit, first_toplevel, place })
    }

    /// Builds the closure of a commit on the running machine and gives its path.
    ///
    /// # Errors
    /// Fails with Nix's words when it does not build.
    pub fn build(&self, commit: &str) -> Result<String> {
        self.host.sh(&format!(
            "nix build --no-link --print-out-paths --no-update-lock-file \
             'git+file:///srv/infra?rev={commit}#nixosConfigurations.\"{}\".config.system.build.toplevel'",
            self.host.name
        ))
    }

    /// Leaves everything running when the program ends, and gives the place's name.
    ///
    /// `place::clear` of [`Place::path`], or the program `host --end NAME`, ends it.
    pub fn keep(mut self) -> String {
        self.place.keep();
        let name = self.place.name.clone();
        std::mem::forget(self);
        name
    }
}
