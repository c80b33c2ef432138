//! A machine that follows the forge, as its operator sees it: outcomes of commits, over the control socket.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::host::Host;
use crate::wait::wait_for;
use crate::world::World;

/// How long a deployment with the short windows of the tests may take before a test gives up.
pub const VERDICT_LIMIT: Duration = Duration::from_secs(90);

impl Host {
    /// How the machine is, as `status --json` has it.
    ///
    /// # Errors
    /// Fails when the agent cannot be asked.
    pub fn status(&self) -> Result<Value> {
        self.ask("GetStatus", &json!({}))
    }

    /// The deployments that `history --json` shows, newest first.
    ///
    /// # Errors
    /// Fails when the agent cannot be asked.
    pub fn deployments(&self) -> Result<Vec<Value>> {
        let listed = self.ask("ListDeployments", &json!({}))?;
        listed["deployments"].as_array().cloned().context("no list of deployments")
    }

    /// Everything about one deployment, as `show --json` has it.
    ///
    /// # Errors
    /// Fails when the agent cannot be asked.
    pub fn deployment(&self, id: &Value) -> Result<Value> {
        self.ask("ShowDeployment", &json!({ "id": id }))
    }

    /// The outcomes of a commit's deployments that have ended, oldest first: `outcome/reason`.
    ///
    /// # Errors
    /// Fails when the agent cannot be asked.
    pub fn outcomes(&self, commit: &str) -> Result<Vec<String>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut ended: Vec<String> = self
            .deployments()?
            .iter()
            .filter(|one| one["commit"] == commit && !one["outcome"].is_null())
            .map(|one| format!("{}/{}", text(&one["outcome"]), text(&one["reason"])))
            .collect();
        ended.reverse();
        Ok(ended)
    }

    /// Waits until a commit's first deployment has ended, and gives it as `show --json` has it.
    ///
    /// # Errors
    /// Fails when it has not ended within [`VERDICT_LIMIT`].
    pub fn verdict(&self, commit: &str) -> Result<Value> {
        self.verdict_number(commit, 1)
    }

    /// Waits until a commit's deployment number `count` (from 1) has ended.
    ///
    /// # Errors
    /// Fails when it has not ended within [`VERDICT_LIMIT`].
    pub fn verdict_number(&self, commit: &str, count: usize) -> Result<Value> {
        let id = wait_for(&format!("verdict {count} about {commit}"), VERDICT_LIMIT, || {
            let all = self.deployments()?;
            let mine: Vec<&Value> =
                all.iter().rev().filter(|one| one["commit"] == commit).collect();
            let ended = mine.get(count - 1).filter(|one| !one["outcome"].is_null());
            Ok(ended.map(|one| one["id"].clone()))
        });
        let id = id.inspect_err(|_| self.tell_all())?;
        self.deployment(&id)
    }

    /// Waits until the machine is in a phase.
    ///
    /// # Errors
    /// Fails when it is not within [`VERDICT_LIMIT`].
    pub fn wait_phase(&self, phase: &str) -> Result<()> {
        let seen = wait_for(&format!("phase {phase}"), VERDICT_LIMIT, || {
            Ok((self.status()?["phase"] == phase).then_some(()))
        });
        seen.inspect_err(|_| self.tell_all())
    }

    /// Prints what a person needs who reads why a test failed.
    pub fn tell_all(&self) {
        let units = "-u autodeploy -u autodeploy-activate -u autodeploy-trial";
        for line in [
            "autodeployctl status".to_owned(),
            "autodeployctl history".to_owned(),
            format!("journalctl --no-pager -n 80 -o short-precise {units}"),
        ] {
            if let Ok(output) = self.run(&line) {
                eprintln!("$ {line}\n{}{}", output.stdout, output.stderr);
            }
        }
    }
}

impl World {
    /// Asserts that running system, profile and boot default are one closure.
    ///
    /// # Errors
    /// Fails with the three when they are not.
    pub fn assert_settled_on(&self, toplevel: &str) -> Result<()> {
        let three = (
            self.host.running_system()?,
            self.host.profile()?.toplevel,
            self.host.boot_default()?.toplevel,
        );
        let expected = (toplevel.to_owned(), toplevel.to_owned(), toplevel.to_owned());
        ensure!(three == expected, "running, profile, boot default: {three:#?}\nnot {toplevel}");
        Ok(())
    }
}

/// The `outcome/reason` of a deployment as `show --json` has it.
pub fn end_of(details: &Value) -> String {
    let text = |name: &str| details["summary"][name].as_str().unwrap_or("null").to_owned();
    format!("{}/{}", text("outcome"), text("reason"))
}
