//! The agent's side of the files of the handover: it reads the report and writes the others.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::config::settings::Paths;
use crate::effects::files::{self, Version};
use crate::handover::LARGEST_FILE_BYTES;
use crate::handover::announcement;
use crate::handover::answer::{self, Answer};
use crate::handover::lifeline::{self, Lifeline};
use crate::handover::mark::{self, Mark};
use crate::handover::report::{self, Report};
use crate::handover::request::{self, Request};

/// Only root and the agent read what the agent writes.
const MODE: u32 = 0o640;

/// Where the files are, and the report as last read.
pub struct Handover {
    runtime_dir: PathBuf,
    report: PathBuf,
    seen: Option<(Version, Result<Rc<Report>, String>)>,
}

impl Handover {
    /// Names the places; nothing is touched.
    pub fn new(paths: &Paths) -> Handover {
        let report = paths.report_dir.join(report::FILE);
        Handover { runtime_dir: paths.runtime_dir.clone(), report, seen: None }
    }

    /// Lets the activator get ready for a request.
    ///
    /// # Errors
    /// The request is taken a little later.
    pub fn announce(&self) -> Result<()> {
        files::write_durably(&self.runtime_dir.join(announcement::FILE), b"", MODE)
    }

    /// Writes the request. A repeat replaces one that was not taken yet.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn request(&self, request: &Request) -> Result<()> {
        self.write(request::FILE, request)
    }

    /// Writes what a person said.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn answer(&self, answer: &Answer) -> Result<()> {
        self.write(answer::FILE, answer)
    }

    /// Writes the mark. A repeat replaces one that was not taken yet.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn mark(&self, mark: &Mark) -> Result<()> {
        self.write(mark::FILE, mark)
    }

    /// Writes the lifeline.
    ///
    /// # Errors
    /// The last one stands.
    pub fn lifeline(&self, lifeline: &Lifeline) -> Result<()> {
        self.write(lifeline::FILE, lifeline)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(value).context("could not put it into JSON")?;
        files::write_durably(&self.runtime_dir.join(name), &bytes, MODE)
    }

    /// Tells whether an agent ran before in this boot.
    pub fn ran_before(&self, boot_id: &str) -> bool {
        let path = self.runtime_dir.join(lifeline::FILE);
        let bytes = files::read_limited(&path, LARGEST_FILE_BYTES).ok().flatten();
        let lifeline: Option<Lifeline> =
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        lifeline.is_some_and(|lifeline| lifeline.boot_id == boot_id)
    }

    /// Reads the activator's report; `None` if there is none in this boot.
    ///
    /// # Errors
    /// It is there and cannot be read; one sentence.
    pub fn report(&mut self) -> Result<Option<Rc<Report>>, String> {
        // Reading it again for nothing is what a look saves.
        let Some(version) = files::version(&self.report) else {
            self.seen = None;
            return Ok(None);
        };
        let (known, report) = match self.seen.take() {
            Some(seen) if seen.0 == version => seen,
            Some(_) | None => (version, self.read()),
        };
        let answer = report.clone().map(Some);
        self.seen = Some((known, report));
        answer
    }

    fn read(&self) -> Result<Rc<Report>, String> {
        let name = self.report.display();
        let bytes = files::read_limited(&self.report, LARGEST_FILE_BYTES)
            .map_err(|error| format!("{error:#}"))?
            .unwrap_or_default();
        serde_json::from_slice(&bytes)
            .map(Rc::new)
            .map_err(|error| format!("could not read `{name}`: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handover(directory: &std::path::Path) -> Handover {
        Handover {
            runtime_dir: directory.into(),
            report: directory.join("report.json"),
            seen: None,
        }
    }

    #[test]
    fn a_report_is_read_again_when_it_was_replaced_and_only_then() {
        let directory = tempfile::tempdir().unwrap();
        let mut handover = handover(directory.path());
        assert_eq!(handover.report(), Ok(None));

        let path = directory.path().join("report.json");
        files::write_durably(&path, br#"{"version":1,"later":true}"#, 0o644).unwrap();
        let first = handover.report().unwrap().unwrap();
        assert_eq!(first.version, 1);
        assert!(Rc::ptr_eq(&first, &handover.report().unwrap().unwrap()));

        files::write_durably(&path, br#"{"version":2}"#, 0o644).unwrap();
        assert_eq!(handover.report().unwrap().unwrap().version, 2);

        files::write_durably(&path, b"{", 0o644).unwrap();
        assert!(handover.report().unwrap_err().starts_with("could not read `"));

        std::fs::remove_file(&path).unwrap();
        assert_eq!(handover.report(), Ok(None));
    }

    #[test]
    fn only_a_lifeline_of_this_boot_shows_that_an_agent_ran_before() {
        let directory = tempfile::tempdir().unwrap();
        let handover = handover(directory.path());
        assert!(!handover.ran_before("boot-1"));
        let lifeline = Lifeline {
            version: 1,
            invocation_id: "a".into(),
            boot_id: "boot-1".into(),
            poll: None,
            nix: None,
        };
        handover.lifeline(&lifeline).unwrap();
        assert!(handover.ran_before("boot-1"));
        assert!(!handover.ran_before("boot-2"));
    }
}
