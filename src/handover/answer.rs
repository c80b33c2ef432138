//! `answer.json`: what a person said about the trial that is on.

use serde::{Deserialize, Serialize};

use crate::model::deployment::DeploymentId;

/// The file's name.
pub const FILE: &str = "answer.json";

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It works.
    Confirm,
    /// Go back.
    Abort,
    /// A newer commit is ready: what waits for its boot is taken back.
    Supersede,
}

/// An answer is for one deployment; for any other it means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`crate::handover::VERSION`]
    pub version: u32,
    /// The deployment it is about.
    pub deployment: DeploymentId,
    /// What was said.
    pub answer: Word,
    /// Who said it, by peer credentials.
    pub uid: u32,
}
