//! A Git server in a namespace of its own: http, https, ssh; it can be cut off in several ways.

mod faults;
mod keys;
mod servers;

use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::Result;

use crate::infra::Infra;
use crate::network::Network;
use crate::{base, cgroup, disk, run};

pub use faults::Names;
pub use keys::DEPLOY_KEY;

/// The forge, with the work tree that pushes to it.
#[derive(Debug)]
pub struct Forge {
    pub infra: Infra,
    /// The server's own disk.
    pub root: PathBuf,
    network: Network,
    servers: Vec<Child>,
    name_server: Option<Child>,
}

/// How the machine reaches the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
    Ssh,
    File,
    /// A server that sends one byte a second; it runs after [`Forge::drip`].
    Drip,
}

impl Scheme {
    /// The repository's address as the machine writes it.
    pub fn url(self) -> &'static str {
        match self {
            Scheme::Http => "http://forge/git/infra.git",
            Scheme::Https => "https://forge/git/infra.git",
            Scheme::Ssh => "ssh://git@forge/srv/git/infra.git",
            Scheme::File => "file:///srv/git/infra.git",
            Scheme::Drip => "http://forge:8001/git/infra.git",
        }
    }
}

impl Forge {
    /// Makes the server's disk with an empty bare repository, and starts the servers.
    ///
    /// # Errors
    /// Fails when something of it cannot be made; what was made goes with its place.
    pub fn make(network: Network, folder: &Path, infra: Infra) -> Result<Forge> {
        let root = disk::overlay(&[base::tree()?], folder)?;
        run::shell(&format!(
            "git init -q --bare -b main '{root}/srv/git/infra.git'
             git config --file '{root}/srv/git/infra.git/config' receive.autogc false
             git config --file '{root}/etc/gitconfig' safe.directory '*'",
            root = root.display()
        ))?;
        let mut forge = Forge { infra, root, network, servers: Vec::new(), name_server: None };
        forge.make_keys()?;
        forge.configure()?;
        forge.names(Names::Known)?;
        forge.start_name_server()?;
        forge.start_servers()?;
        Ok(forge)
    }

    /// The bare repository as seen from outside.
    pub fn repository(&self) -> PathBuf {
        self.root.join("srv/git/infra.git")
    }

    /// Changes the repository, commits and pushes; gives the commit's id.
    ///
    /// # Errors
    /// Fails when the change, Git, or the push does.
    pub fn push(&self, message: &str, change: impl FnOnce(&Infra) -> Result<()>) -> Result<String> {
        change(&self.infra)?;
        let commit = self.infra.commit(message)?;
        self.push_as_it_is(&[])?;
        Ok(commit)
    }

    /// Replaces the tip by another commit on its parent, as `git push --force` after an amend.
    ///
    /// # Errors
    /// As [`Forge::push`].
    pub fn force_push(
        &self,
        message: &str,
        change: impl FnOnce(&Infra) -> Result<()>,
    ) -> Result<String> {
        self.infra.git(&["reset", "-q", "--hard", "HEAD~1"])?;
        change(&self.infra)?;
        let commit = self.infra.commit(message)?;
        self.push_as_it_is(&["--force"])?;
        Ok(commit)
    }

    /// Pushes a commit that undoes another one; gives its id.
    ///
    /// # Errors
    /// Fails when Git does.
    pub fn revert(&self, commit: &str) -> Result<String> {
        self.infra.git(&["revert", "--no-edit", commit])?;
        self.push_as_it_is(&[])?;
        self.infra.git(&["rev-parse", "HEAD"])
    }

    /// Pushes the work tree's branch, whatever was done to it.
    ///
    /// # Errors
    /// Fails when Git does.
    pub fn push_as_it_is(&self, options: &[&str]) -> Result<()> {
        let repository = self.repository().display().to_string();
        let mut words = vec!["push", "-q"];
        words.extend(options);
        words.extend([repository.as_str(), "HEAD:main"]);
        self.infra.git(&words)?;
        Ok(())
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        self.stop_servers();
        cgroup::end(&self.network.names);
        if let Some(mut server) = self.name_server.take() {
            let _ = server.wait();
        }
    }
}
