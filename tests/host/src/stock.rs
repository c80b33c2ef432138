//! What a machine finds in its store at once: autodeploy's package and a first closure, installed
//! once and laid between the base tree and the machine's own disk.
//!
//! Only the paths are there, and no profile leads to them: a machine still evaluates, builds and
//! installs its own first closure.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::base::{self, fingerprint};
use crate::forge::Scheme;
use crate::host::HostOptions;
use crate::world::World;
use crate::{package, place, run};

/// Gives the trees that a machine's disk lies on, the uppermost first, and makes what is not there.
///
/// Without `AUTODEPLOY_HOST_QUICK`, with a store of its own, or where autodeploy is not built, that
/// is the base tree alone. Safe to call from several processes at once: one makes, the others wait.
///
/// # Errors
/// Fails when one cannot be made; then nothing with its name exists.
pub fn below(options: &HostOptions) -> Result<Vec<PathBuf>> {
    let base = base::tree()?;
    let Ok(state) = package::state(&package::binaries()) else { return Ok(vec![base]) };
    if !place::is_quick() || options.store_bytes.is_some() {
        return Ok(vec![base]);
    }
    let print = fingerprint(format!("{} {state}", base.display()).as_bytes());
    let stock = place::folder().join(format!("stock-{print:016x}"));
    let stock = place::once(&stock, |unfinished| make(&base, unfinished))?;
    Ok(vec![stock, base])
}

fn make(base: &Path, unfinished: &Path) -> Result<()> {
    let options = HostOptions::default();
    let world = World::install_over(&[base.to_owned()], "stock", options, |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        infra.config(&infra.default_config(Scheme::Http.url(), "8s", "2s"))
    })?;
    run::shell(&format!(
        "mkdir -p '{to}/nix/var/nix' '{to}/opt'
         cp -a '{from}/nix/store' '{to}/nix/'
         cp -a '{from}/nix/var/nix/db' '{to}/nix/var/nix/'
         cp -a '{from}/opt/autodeploy' '{to}/opt/'",
        from = world.host.root.display(),
        to = unfinished.display()
    ))?;
    Ok(())
}
