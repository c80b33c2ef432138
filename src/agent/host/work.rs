//! The long operations, on whatever thread they are called: Git and Nix put together.
//!
//! What is damaged of the agent's own (the repository, a derivation that was collected) is made
//! anew here, once, within the operation that found it.

use std::path::PathBuf;

use crate::agent::host::room::with_room;
use crate::agent::rollout::verify::Lineage;
use crate::agent::rollout::{Closure, Done, Operation};
use crate::config::settings::{Build, Settings};
use crate::effects::closure;
use crate::effects::git::{self, FetchLimits, Git, Want};
use crate::effects::halt::Halt;
use crate::effects::nix::{Evaluates, Nix, Resolved};
use crate::effects::remote::Remote;
use crate::handover::lifeline::NixReach;
use crate::model::commit::CommitId;
use crate::model::deployment::DeploymentId;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// Git, Nix, and where they work.
#[derive(Clone)]
pub struct Workshop {
    git: Git,
    nix: Nix,
    remote: Remote,
    limits: FetchLimits,
    build: Build,
    host: String,
    roots: PathBuf,
}

impl Workshop {
    /// Names everything; touches nothing.
    pub fn new(self_exe: PathBuf, settings: &Settings) -> Workshop {
        let state = &settings.paths.state_dir;
        Workshop {
            git: Git::new(self_exe, state.join("repository")).trusting(settings.trust.clone()),
            nix: Nix::new(settings.paths.nix_bin.clone(), state.join("home")),
            remote: Remote::from(&settings.source),
            limits: FetchLimits::from(&settings.source),
            build: settings.build.clone(),
            host: settings.host.clone(),
            roots: state.join("roots"),
        }
    }

    /// Returns the same, with everything that it starts under a switch that ends it.
    pub fn under(&self, halt: &Halt) -> Workshop {
        let own = self.clone();
        Workshop { git: own.git.under(halt.clone()), nix: own.nix.under(halt.clone()), ..own }
    }

    /// Returns how the Git child is started.
    pub fn git(&self) -> Git {
        self.git.clone()
    }

    /// Returns the directory of the roots: one link per deployment, named by its number.
    pub fn roots(&self) -> &PathBuf {
        &self.roots
    }

    /// Carries out one operation.
    ///
    /// # Errors
    /// What it was for is not there; a repeat begins where this one came to.
    pub fn carry_out(&self, operation: &Operation) -> Result<Done, Failure> {
        match operation {
            Operation::Fetch { commit, base } => self.fetch(commit, base.as_ref()),
            Operation::Resolve { commit } => {
                let Resolved { drv, toplevel } = self.resolve(commit)?;
                Ok(Done::Resolved(Closure { toplevel, drv: Some(drv) }))
            }
            Operation::Realise { deployment, commit, closure } => {
                // What lies there already is not fetched or built, and looked at all the same.
                self.of_this_host(&closure.toplevel)?;
                self.realise(*deployment, commit.as_ref(), closure)?;
                self.of_this_host(&closure.toplevel).map(|()| Done::Realised)
            }
        }
    }

    fn fetch(&self, commit: &CommitId, base: Option<&CommitId>) -> Result<Done, Failure> {
        let want = Want { tip: commit.clone(), mark: base.cloned() };
        let (fetched, mended) = match self.git.fetch(&self.remote, &want, &self.limits) {
            Err(failure) if failure.reason == Reason::CLONE_DAMAGED => {
                let mended = self.start_anew(&failure)?;
                (self.git.fetch(&self.remote, &want, &self.limits)?, Some(mended))
            }
            other => (other?, None),
        };
        let found = match fetched.tip == *commit {
            true => fetched.lineage,
            // The branch moved on meanwhile: what was asked for lies below, or is gone.
            false => self.git.lineage(base, commit)?,
        };
        if let Some(base) = base
            && !found.descends
        {
            // A force-push let go of the mark; it is what the next tips are compared with.
            self.git.keep_only(std::slice::from_ref(base))?;
        }
        Ok(Done::Fetched { lineage: lineage(found, base.cloned()), mended })
    }

    fn start_anew(&self, failure: &Failure) -> Result<String, Failure> {
        let aside = self.git.set_aside_and_start_anew()?;
        let aside = aside.map(|path| format!(", was set aside as `{}`", path.display()));
        Ok(format!(
            "the repository was damaged{} and is fetched anew: {}",
            aside.unwrap_or_default(),
            failure.message
        ))
    }

    /// An evaluation that failed is looked at twice: a damaged disk is not the commit's fault.
    fn resolve(&self, commit: &CommitId) -> Result<Resolved, Failure> {
        if self.build.submodules {
            self.git.check_submodules(commit)?;
        }
        let evaluate = || self.nix.resolve(self.git.repository(), commit, &self.build);
        let failure = match evaluate() {
            Ok(resolved) => return Ok(resolved),
            Err(failure) => failure,
        };
        let suspicious = [Reason::EVALUATION_FAILED, Reason::NO_SUCH_HOST, Reason::NOT_A_SYSTEM];
        if !suspicious.contains(&failure.reason) {
            return Err(failure);
        }
        match self.git.check(commit) {
            Err(damage) if damage.reason == Reason::CLONE_DAMAGED => {
                let mended = self.start_anew(&damage)?;
                tracing::warn!("{mended}");
                let want = Want { tip: commit.clone(), mark: None };
                self.git.fetch(&self.remote, &want, &self.limits)?;
                evaluate()
            }
            Ok(()) | Err(_) => Err(failure),
        }
    }

    fn realise(
        &self,
        deployment: DeploymentId,
        commit: Option<&CommitId>,
        closure: &Closure,
    ) -> Result<(), Failure> {
        let root = self.roots.join(deployment.to_string());
        let Some(drv) = &closure.drv else {
            return self.nix.add_root(&closure.toplevel, &root);
        };
        let wanted = Resolved { drv: drv.clone(), toplevel: closure.toplevel.clone() };
        let tools = (&self.nix, &self.build);
        let get = || self.nix.realise(&wanted, &root, &self.build);
        let failure = match with_room(tools, &wanted, get) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if failure.reason == Reason::NO_SPACE {
            return Err(failure);
        }
        // Nothing roots a derivation: a garbage collection since the evaluation took it away.
        match commit {
            Some(commit) if !self.build.substitute_only && !self.nix.is_valid(drv)? => {
                if self.nix.is_valid(&closure.toplevel)? {
                    return self.nix.add_root(&closure.toplevel, &root);
                }
                let again = self.resolve(commit)?;
                self.nix.realise(&again, &root, &self.build)
            }
            Some(_) | None => Err(failure),
        }
    }

    /// Refuses another machine's closure before the activator is asked, which refuses it as well.
    /// What does not say whose it is, is left to that.
    fn of_this_host(&self, toplevel: &StorePath) -> Result<(), Failure> {
        match closure::host(toplevel) {
            Ok(host) if !host.is_empty() && host != self.host => {
                let (theirs, ours) = (escaped(&host, 80), &self.host);
                let message =
                    format!("the closure belongs to host `{theirs}`, and this one is `{ours}`");
                Err(Failure::new(Reason::WRONG_HOST, message).hint(
                    "`build.attribute` has to name the system of this host: `autodeployctl status`",
                ))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Tries what Nix has to do for the next deployment, and whether its signatures could be
    /// verified: a generation with keys that nobody can use would be the last one.
    pub fn reach(&self) -> NixReach {
        let reach = self.nix.reach(&self.roots.join("reach"), Evaluates::Always);
        match reach.error {
            Some(_) => reach,
            None => {
                let error = self.git.keys_are_usable().err().map(|failure| failure.message);
                NixReach { error, ..reach }
            }
        }
    }

    /// Returns those commits that the tip contains; fetches it if it is not there yet.
    ///
    /// # Errors
    /// It cannot be fetched, or the repository is damaged.
    pub fn contains(&self, tip: &CommitId, of: &[CommitId]) -> Result<Vec<CommitId>, Failure> {
        match self.git.contains(tip, of) {
            Ok(contains) => Ok(contains),
            Err(_) => {
                let want = Want { tip: tip.clone(), mark: None };
                self.git.fetch(&self.remote, &want, &self.limits)?;
                self.git.contains(tip, of)
            }
        }
    }
}

fn lineage(found: git::Lineage, base: Option<CommitId>) -> Lineage {
    Lineage {
        base,
        descends: found.descends,
        base_known: found.mark_known,
        subject: found.subject,
        committed_at: found.committed_at,
        base_committed_at: found.mark_committed_at,
        signed: found.signed,
    }
}
