//! Whether what autodeploy says of itself is what the outside observer sees.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::host::Host;
use crate::observer::Sight;

/// What the activator's record says of its last trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub deployment: u64,
    pub commit: String,
    pub toplevel: String,
    /// Every phase so far, the present one last.
    pub phases: Vec<String>,
    /// Once it has ended.
    pub outcome: Option<String>,
}

impl Recorded {
    /// Reads the record from outside; `None` before the first trial.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn read(host: &Host) -> Result<Option<Recorded>> {
        let path = host.outside("/var/lib/autodeploy-activate/trial.json");
        let Ok(bytes) = fs::read(path) else { return Ok(None) };
        let record: Value = serde_json::from_slice(&bytes).context("the record is not JSON")?;
        let trial = &record["trial"];
        if trial.is_null() {
            return Ok(None);
        }
        let steps = trial["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Some(Recorded {
            deployment: trial["request"]["deployment"].as_u64().context("no deployment")?,
            commit: text(&trial["request"]["commit"]),
            toplevel: text(&trial["request"]["toplevel"]),
            phases: steps.iter().map(|step| text(&step["phase"])).collect(),
            outcome: trial["phase"]["outcome"].as_str().map(str::to_owned),
        }))
    }

    /// The phase that it is in.
    pub fn phase(&self) -> &str {
        self.phases.last().map_or("", String::as_str)
    }

    /// Whether the machine has to look as it does, and is not between two systems.
    fn fits(&self, sight: &Sight, old: &str) -> bool {
        match (self.phase(), self.outcome.as_deref()) {
            ("ended", Some("kept")) => sight.is_all(&self.toplevel),
            ("ended", Some(_)) => sight.is_all(old),
            ("requested" | "baseline" | "rechecking", _) => sight.is_all(old),
            ("watching", _) => sight.is_trial_of(&self.toplevel, old),
            _ => false,
        }
    }
}

/// What the record has to have come to before it is compared.
#[derive(Debug, Clone)]
pub enum Until<'a> {
    /// Nothing: the trial goes on without whoever was interrupted.
    Now,
    /// Past what it said when the trial was interrupted; what had ended stays as it is.
    Past(Option<&'a Recorded>),
    /// A trial of this commit.
    TrialOf(&'a str),
}

impl Until<'_> {
    fn is_reached(&self, recorded: Option<&Recorded>) -> bool {
        match self {
            Until::Now => true,
            Until::Past(then) => {
                recorded != *then || recorded.is_none_or(|it| it.outcome.is_some())
            }
            Until::TrialOf(commit) => recorded.is_some_and(|it| it.commit == *commit),
        }
    }
}

/// Whether record, status and history say what the observer sees; `None` if they do, otherwise
/// what they still say.
///
/// # Errors
/// Somebody cannot be asked, or the observer finds something lost.
pub fn disagreement(host: &Host, old: &str, until: &Until<'_>) -> Result<Option<String>> {
    let (recorded, sight) = (Recorded::read(host)?, Sight::of(host)?);
    let words = |what: &str| Ok(Some(format!("{what}\n{recorded:#?}\n{sight:#?}")));
    let fits = match &recorded {
        None => sight.is_all(old),
        Some(recorded) => recorded.fits(&sight, old),
    };
    if !fits || !until.is_reached(recorded.as_ref()) {
        return words("the record is not what is seen");
    }
    let status = host.status()?;
    let running = sight.running.as_ref().map(|running| running.system.as_str());
    if status["running"]["toplevel"].as_str() != running {
        return words(&format!("the status has another running system: {:#}", status["running"]));
    }
    let default = &status["boot_default"]["toplevel"];
    if recorded.is_some() && default.as_str() != Some(&sight.default) {
        return words(&format!("the status has another boot default: {default:#}"));
    }
    if let Some(told) = recorded.as_ref().and_then(|recorded| recorded.outcome.as_ref()) {
        let history = host.deployments()?;
        let id = recorded.as_ref().map(|recorded| recorded.deployment);
        let row = history.iter().find(|row| row["id"].as_u64() == id);
        let outcome = row.map(|row| text(&row["outcome"]));
        if outcome.as_ref() != Some(told) {
            return words(&format!("the history has the outcome {outcome:?}"));
        }
    }
    // It may have gone on while all of these were asked.
    match (Recorded::read(host)? == recorded, Sight::of(host)? == sight) {
        (true, true) => Ok(None),
        _ => words("it is going on"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
