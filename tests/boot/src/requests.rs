//! Requests to the activator by hand, and its report: whatever a case shows is the activator's own doing.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::machine::Machine;

const FOLDER: &str = "/run/autodeploy";
/// How long a trial may take from one phase to another, boots not counted.
const PHASE_LIMIT: Duration = Duration::from_secs(480);

impl Machine {
    /// Asks the activator to try a closure of the image, as deployment `number`.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn ask(&self, number: u64, name: &str) -> Result<()> {
        let request = json!({
            "version": 1,
            "deployment": number,
            "kind": "follow",
            "commit": "c".repeat(40),
            "toplevel": self.closure(name),
            "expected_running": self.sh("readlink -f /run/current-system")?,
            "boot_id": self.sh("cat /proc/sys/kernel/random/boot_id")?,
        });
        self.hand_over("request", &request)
    }

    /// Says a word about the deployment that is on, as user 1000.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn answer(&self, number: u64, word: &str) -> Result<()> {
        let answer = json!({"version": 1, "deployment": number, "answer": word, "uid": 1000});
        self.hand_over("answer", &answer)
    }

    fn hand_over(&self, name: &str, value: &Value) -> Result<()> {
        let line = format!(
            "echo '{value}' > {FOLDER}/{name}.new; mv {FOLDER}/{name}.new {FOLDER}/{name}.json"
        );
        self.sh(&line).map(drop)
    }

    /// The trial of a deployment as the report has it; none while the report is of another one.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn trial(&self, number: u64) -> Result<Option<Value>> {
        let text = self.run("cat /run/autodeploy-activate/report.json")?.stdout;
        let report: Value = serde_json::from_str(&text).unwrap_or_default();
        let trial = report["trial"].clone();
        Ok((trial["deployment"] == number).then_some(trial))
    }

    /// Waits until a deployment is in a phase, as the report names it.
    ///
    /// # Errors
    /// Fails, with the activator's journal, when it ends otherwise or is not there in time.
    pub fn wait_phase(&self, number: u64, phase: &str) -> Result<()> {
        let trial = self
            .wait_trial(number, |trial| trial["phase"] == phase || !trial["outcome"].is_null())?;
        if trial["phase"] != phase {
            bail!("it ended before it was {phase}: {trial:#}\n{}", self.journal());
        }
        Ok(())
    }

    /// Waits until a deployment has ended, and gives `outcome/reason`.
    ///
    /// # Errors
    /// Fails, with the activator's journal, when it has not in time.
    pub fn wait_end(&self, number: u64) -> Result<String> {
        let trial = self.wait_trial(number, |trial| !trial["outcome"].is_null())?;
        let word = |name: &str| trial[name].as_str().unwrap_or("none").to_owned();
        Ok(format!("{}/{}", word("outcome"), word("reason")))
    }

    fn wait_trial(&self, number: u64, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PHASE_LIMIT;
        loop {
            let trial = self.trial(number).with_context(|| self.console_end())?;
            match trial {
                Some(trial) if is_it(&trial) => return Ok(trial),
                seen if Instant::now() > deadline => {
                    bail!("deployment {number} is at {seen:#?}\n{}", self.journal())
                }
                // Each question costs such a machine a tenth of a second.
                _ => thread::sleep(Duration::from_millis(500)),
            }
        }
    }

    /// What the activator said, for a person who reads why a test failed.
    fn journal(&self) -> String {
        let line = "journalctl -q --no-pager -o short-precise -t autodeploy-activate | tail -60";
        self.run(line).map(|output| output.stdout).unwrap_or_default()
    }
}
