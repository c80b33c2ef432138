//! Switching systems by hand, as an operator would.

use std::time::Duration;

use anyhow::Result;

use super::Host;
use crate::run::Output;

/// How long a switch by hand may take.
const SWITCH_LIMIT: Duration = Duration::from_secs(60);

impl Host {
    /// Runs a closure's `switch-to-configuration`; its exit code is the caller's to judge.
    ///
    /// # Errors
    /// Fails when it does not end within a minute.
    pub fn switch(&self, toplevel: &str, action: &str) -> Result<Output> {
        self.run_limited(
            &format!("cd /; {toplevel}/bin/switch-to-configuration {action}"),
            SWITCH_LIMIT,
        )
    }

    /// Makes a closure the profile's current generation.
    ///
    /// # Errors
    /// Fails when `nix-env` does.
    pub fn set_profile(&self, toplevel: &str) -> Result<()> {
        self.sh(&format!("nix-env -p /nix/var/nix/profiles/system --set {toplevel}"))?;
        Ok(())
    }
}
