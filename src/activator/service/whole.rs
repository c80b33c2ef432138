//! Whether the way there and the way back are whole, asked of Nix while the trial starts.
//!
//! The answer goes from the service to the trial process by a file on no disk: it saves a question
//! and decides nothing that could not be asked again.

use std::path::PathBuf;
use std::thread::{JoinHandle, spawn};

use serde::{Deserialize, Serialize};

use crate::config::settings::Paths;
use crate::effects::{files, profile};
use crate::handover::LARGEST_FILE_BYTES;
use crate::handover::request::Request;
use crate::model::deployment::DeploymentId;
use crate::model::store_path::StorePath;

/// The name of the file in the directory of the report.
const FILE: &str = "whole.json";

/// What Nix held for whole when a request was taken.
#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    deployment: DeploymentId,
    paths: Vec<StorePath>,
}

/// Asks Nix whether it holds the way there and the way back for whole.
pub fn ask_whether_whole(paths: &Paths, request: &Request) -> JoinHandle<Vec<StorePath>> {
    let (nix_bin, system_profile) = (paths.nix_bin.clone(), paths.system_profile.clone());
    let (running, new) = (request.expected_running.clone(), request.toplevel.clone());
    spawn(move || {
        let Ok(old) = profile::current(&system_profile) else { return Vec::new() };
        let all = [running, old.toplevel, new];
        let whole = profile::check_valid(&nix_bin, &all.each_ref()).is_ok();
        if whole { all.into() } else { Vec::new() }
    })
}

/// Hands over what is whole, before the lock is let go of. Where that is not known, or cannot be
/// written, the trial asks again, and says why not.
pub fn hand_over(paths: &Paths, deployment: DeploymentId, asked: JoinHandle<Vec<StorePath>>) {
    let whole = Whole { deployment, paths: asked.join().unwrap_or_default() };
    if let Ok(json) = serde_json::to_vec(&whole) {
        let _ = files::write_durably(&file(paths), &json, 0o600);
    }
}

/// Takes what was handed over for this deployment, once: the next process asks again, since garbage
/// may have been collected. Called with the lock.
pub fn take_whole(paths: &Paths, deployment: DeploymentId) -> Vec<StorePath> {
    let file = file(paths);
    let bytes = files::read_limited(&file, LARGEST_FILE_BYTES).ok().flatten().unwrap_or_default();
    if files::remove(&file).is_err() {
        return Vec::new();
    }
    let whole = serde_json::from_slice::<Whole>(&bytes).ok();
    whole.filter(|it| it.deployment == deployment).map(|it| it.paths).unwrap_or_default()
}

fn file(paths: &Paths) -> PathBuf {
    paths.report_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_directory(script: impl FnOnce(&Paths)) {
        let directory = tempfile::tempdir().unwrap();
        let text = "host = \"m\"\n[source]\nurl = \"https://forge.test/infra\"\n";
        let mut paths = crate::config::strict(text, "config.toml", "m").unwrap().paths;
        paths.report_dir = directory.path().to_owned();
        script(&paths);
    }

    fn found(paths: &[StorePath]) -> JoinHandle<Vec<StorePath>> {
        let paths = paths.to_vec();
        spawn(move || paths)
    }

    fn closure() -> StorePath {
        format!("/nix/store/{}-system", "0".repeat(32)).parse().unwrap()
    }

    #[test]
    fn what_is_whole_is_taken_once_and_for_the_deployment_that_it_was_asked_for() {
        with_directory(|paths| {
            hand_over(paths, DeploymentId(7), found(&[closure()]));
            assert_eq!(take_whole(paths, DeploymentId(7)), [closure()]);
            assert_eq!(take_whole(paths, DeploymentId(7)), []);
            hand_over(paths, DeploymentId(7), found(&[closure()]));
            assert_eq!(take_whole(paths, DeploymentId(8)), []);
            assert_eq!(take_whole(paths, DeploymentId(7)), [], "an older answer is no answer");
        });
    }

    #[test]
    fn what_cannot_be_read_is_asked_again() {
        with_directory(|paths| {
            files::write_durably(&file(paths), b"{", 0o600).unwrap();
            assert_eq!(take_whole(paths, DeploymentId(7)), []);
            assert!(!file(paths).exists());
        });
    }
}
