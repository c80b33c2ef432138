//! The record as the service and the trial find it.

use std::path::Path;

use crate::activator::host::real::{self, RUNNING};
use crate::activator::rebuilt;
use crate::activator::record::{self, Record};
use crate::config::settings::Settings;
use crate::effects::journal::About;
use crate::effects::{bootloader, clock, closure, files, profile};
use crate::handover::{LARGEST_FILE_BYTES, report};
use crate::model::event::EventKind;
use crate::model::store_path::StorePath;

use super::tell;

/// How the warning about a record that was set aside begins; only that one is kept in the record.
pub const UNREADABLE: &str = "the activator's record";

/// Reads the record for a look; what cannot be read is left to whoever holds the lock.
pub fn look_at(directory: &Path) -> Record {
    let bytes = files::read_limited(&directory.join(record::FILE), record::LARGEST_BYTES);
    bytes.ok().flatten().and_then(|bytes| record::parse(&bytes).ok()).unwrap_or_default()
}

/// Reads the record; what cannot be read is set aside and said, and what the report still knows
/// takes its place.
pub fn load(settings: &Settings) -> Record {
    let paths = &settings.paths;
    let path = paths.activator_state_dir.join(record::FILE);
    let unreadable = match files::read_limited(&path, record::LARGEST_BYTES) {
        Ok(None) => return Record::default(),
        Ok(Some(bytes)) => match record::parse(&bytes) {
            Ok(record) => return record,
            Err(unreadable) => unreadable.0,
        },
        Err(error) => format!("{error:#}"),
    };
    let aside = match files::set_aside(&path) {
        Ok(aside) => format!("is kept as `{}`", aside.display()),
        Err(error) => format!("could not be set aside: {error:#}"),
    };
    let mut record = rebuild(settings);
    let mut message = format!(
        "{UNREADABLE} `{}` was unreadable and {aside}: {unreadable}; \
                 `df -h` and `journalctl -k -p err` show a full or failing disk",
        path.display()
    );
    match record.unfinished() {
        Some(_) => message
            .push_str("; the report says what ran before, and the trial is brought to its end"),
        None => message.push_str(&disagreement(&paths.system_profile)),
    }
    tell(EventKind::RecordUnreadable, About::default(), &message);
    record.warnings = vec![message];
    // Kept, so that it is said until a deployment was kept.
    if let Err(error) = real::save(&paths.activator_state_dir, &record) {
        tell(EventKind::ActivatorFailed, About::default(), &format!("{error:#}"));
    }
    record
}

/// Puts together what the report of this boot still says; nothing, where there is none.
fn rebuild(settings: &Settings) -> Record {
    let report = settings.paths.report_dir.join(report::FILE);
    let read = files::read_limited(&report, LARGEST_FILE_BYTES).ok().flatten();
    let read = read.and_then(|bytes| serde_json::from_slice::<report::Report>(&bytes).ok());
    let (Some(report), Ok(boot_id)) = (read, clock::boot_id()) else { return Record::default() };
    let path = settings.paths.system_profile.clone();
    let profile = profile::current(&path).ok().map(|old| record::Profile::system(path, old));
    let running = profile::store_path(Path::new(RUNNING)).ok();
    let standing = rebuilt::Standing { running, profile, boot_id, at: clock::now_text() };
    // `/etc` is the new system's by now; what permits is what ran before.
    let old = rebuilt::ran_before(&report, &standing)
        .and_then(|old| closure::configuration(old).ok())
        .and_then(|text| crate::config::lenient(&text, &settings.host).ok());
    let old = old.map_or_else(|| settings.clone(), |(old, _)| old);
    rebuilt::record(report, standing, &old)
}

/// Without a record nothing is moved; a person is told if what runs is not what boots.
fn disagreement(system_profile: &Path) -> String {
    let running = profile::store_path(Path::new(RUNNING)).ok();
    let system = profile::store_path(system_profile).ok();
    let default = bootloader::default();
    let shown = |path: &Option<StorePath>| {
        path.as_ref().map_or_else(|| "unknown".to_owned(), |path| format!("`{path}`"))
    };
    match running == system && (default.is_none() || default == running) {
        true => "; what runs is what boots".to_owned(),
        false => format!(
            "; it runs {}, the profile is {}, the boot default is {}: \
             `nixos-rebuild switch` by hand makes them agree",
            shown(&running),
            shown(&system),
            shown(&default)
        ),
    }
}
