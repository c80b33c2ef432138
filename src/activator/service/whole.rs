//! Whether the way there and the way back are whole, asked of Nix while the trial starts.

use std::thread::{JoinHandle, spawn};

use crate::activator::host::real;
use crate::activator::record::Record;
use crate::config::settings::Paths;
use crate::effects::journal::{self, About};
use crate::effects::profile;
use crate::handover::request::Request;
use crate::model::event::EventKind;
use crate::model::store_path::StorePath;

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

/// Writes down what is whole. Where that is not known the trial asks again, and says why not.
pub fn note_whole(paths: &Paths, mut record: Record, whole: JoinHandle<Vec<StorePath>>) {
    let whole = whole.join().unwrap_or_default();
    if let Some(trial) = record.trial.as_mut().filter(|_| !whole.is_empty()) {
        trial.whole = whole;
        if let Err(error) = real::save(&paths.activator_state_dir, &record) {
            let message = format!("{error:#}");
            journal::record(EventKind::ActivatorFailed, About::default(), &message);
        }
    }
}
