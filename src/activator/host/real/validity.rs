//! What is asked of Nix before anything is tried: are the way there and the way back whole, and is
//! the way there signed.

use std::path::Path;
use std::thread::{JoinHandle, spawn};

use super::{Machine, ROOTS};
use crate::activator::record::Profile;
use crate::config::settings::Closures;
use crate::effects::{profile, signed};
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;

/// Why nothing can be tried, and whether it may be tried again.
type Refused = (Failure, bool);

impl Machine {
    /// Asks Nix, beside whatever else is looked at.
    ///
    /// What was found whole when the request was taken is not asked about again. Signatures always
    /// are, here and nowhere else: this is on the way of everything that comes to run.
    pub(super) fn validity(
        &self,
        running: &StorePath,
        profile: &Profile,
        new: &StorePath,
    ) -> JoinHandle<Result<(), Refused>> {
        let nix_bin = self.paths().nix_bin.clone();
        let (running, old, new) = (running.clone(), profile.old.toplevel.clone(), new.clone());
        let asked_before = [&running, &old, &new].iter().all(|path| self.whole.contains(path));
        let closures = self.settings.closures.clone();
        spawn(move || {
            let all = [&running, &old, &new];
            if !asked_before {
                // Tried again: a Nix that gives no answer looks the same as a path that is not whole.
                whole(&nix_bin, all).map_err(|failure| (failure, true))?;
            }
            match closures {
                // What runs and is the default is no way anywhere.
                Closures::Signed { .. } if running == new && old == new => Ok(()),
                Closures::Signed { keys } => is_signed(&nix_bin, &new, &keys),
                Closures::Any => Ok(()),
            }
        })
    }
}

fn whole(nix_bin: &Path, [running, old, new]: [&StorePath; 3]) -> Result<(), Failure> {
    let Err(together) = profile::check_valid(nix_bin, &[running, old, new]) else {
        return Ok(());
    };
    match profile::check_valid(nix_bin, &[new]) {
        Ok(()) => Err(Failure::new(
            Reason::NO_WAY_BACK,
            format!("the running system is not whole in the Nix store: {together:#}"),
        )
        .hint("`nix-store --verify --check-contents` looks at all of it")),
        Err(error) => Err(Failure::new(
            Reason::INVALID_PATH,
            format!("`{new}` is not valid in the Nix store: {error:#}"),
        )
        .hint(format!("`nix-store --realise {new}`, then `autodeployctl run-now`"))),
    }
}

/// Rooted first: the agent may delete what only its own root holds, and have it made anew.
fn is_signed(nix_bin: &Path, new: &StorePath, keys: &[String]) -> Result<(), Refused> {
    profile::root(Path::new(ROOTS), &[("new", new)]).map_err(|error| {
        let message = format!("could not root `{new}`: {error:#}");
        (Failure::new(Reason::INTERNAL, message).hint("is there room in `/nix/var`?"), true)
    })?;
    signed::check(nix_bin, new, keys).map_err(|failure| {
        let retry = failure.reason != Reason::CLOSURE_NOT_SIGNED;
        (failure, retry)
    })
}
