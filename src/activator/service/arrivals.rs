//! What the agent puts into its directory for us: taken away first of all, whatever it is.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::activator::request::parse;
use crate::config::settings::Paths;
use crate::effects::{files, inbox};
use crate::handover::mark::{self, Mark};
use crate::handover::request::{self, Request};
use crate::handover::{LARGEST_FILE_BYTES, announcement};
use crate::model::failure::{Failure, Reason};

/// What starts the service.
const ARRIVALS: [&str; 2] = [request::FILE, announcement::FILE];

/// The name under which a request is taken away.
const TAKEN: &str = "taken.json";

/// The name under which an announcement is taken away.
const ANNOUNCED: &str = "announced";

/// The name under which a mark is taken away.
const MARK: &str = "mark.json";

/// How long an announced request is waited for. One that comes later starts the service.
const STAND_BY: Duration = Duration::from_secs(60);

/// What comes after a round of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A request was announced.
    StandBy,
    /// A request was taken, or nothing was there.
    End,
}

/// How far apart two arrivals are taken that each start us, and two announcements.
///
/// The path unit starts us for each of either, without a limit, or an honest agent could be locked
/// out. The pause is what keeps a hostile one from taking the machine's time by writing them in a
/// loop: as long as we run, systemd does not look at the path.
const PACE: Duration = Duration::from_secs(1);

/// The file whose time says when something was last taken.
const LAST_TAKEN: &str = "last-taken";

/// Pauses before the next announcement may be taken.
pub fn rest() {
    sleep(PACE);
}

/// Pauses if something is there and something was taken less than [`PACE`] ago.
///
/// Before and not after the work: whoever has begun a trial has to be gone when the switch comes, or
/// the new generation's activator would not be started by it, and not be seen to crash.
pub fn rest_if_just_taken(paths: &Paths) {
    if !inbox::holds(&paths.runtime_dir, &ARRIVALS) {
        return;
    }
    let passed = inbox::since_stamp(&paths.report_dir.join(LAST_TAKEN));
    if let Some(left) = passed.and_then(|passed| PACE.checked_sub(passed)) {
        sleep(left);
    }
}

/// Notes that something was taken. The directory is on no disk; where it cannot be written there is
/// no pause.
pub fn note_taken(paths: &Paths) {
    let _ = inbox::stamp(&paths.report_dir.join(LAST_TAKEN));
}

/// Takes the request away first of all.
pub fn take(paths: &Paths) -> Result<Option<Result<Request, Failure>>> {
    files::make_directory(&paths.report_dir, 0o755)?;
    let from = paths.runtime_dir.join(request::FILE);
    let to = paths.report_dir.join(TAKEN);
    match inbox::take(&from, &to, LARGEST_FILE_BYTES) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => Ok(Some(parse(&bytes))),
        // Gone, and not readable: as good as refused. Still there: we would be started for ever.
        Err(error) if !from.exists() => {
            let message = format!("could not read the request: {error:#}");
            Ok(Some(Err(Failure::new(Reason::BAD_REQUEST, message))))
        }
        Err(error) => Err(error),
    }
}

/// Waits for the request that was announced; tells whether there is something to take.
///
/// systemd takes longer to start a process than this one needs for the request, and here it is
/// started while the closure is still being realised.
///
/// # Errors
/// The directory cannot be watched. A request starts the service all the same.
pub fn stand_by(paths: &Paths) -> Result<bool> {
    inbox::wait_for(&paths.runtime_dir, &ARRIVALS, STAND_BY)
}

/// Takes the announcement away: what lies there would start us for ever.
pub fn take_announcement(paths: &Paths) -> Result<Next> {
    files::make_directory(&paths.report_dir, 0o755)?;
    let from = paths.runtime_dir.join(announcement::FILE);
    match inbox::take(&from, &paths.report_dir.join(ANNOUNCED), LARGEST_FILE_BYTES) {
        Ok(None) => Ok(Next::End),
        Ok(Some(_)) => Ok(Next::StandBy),
        // Gone, and not what it should be.
        Err(_) if !from.exists() => Ok(Next::End),
        Err(error) => Err(error),
    }
}

/// Takes away what the agent says of the mark; what cannot be read is as good as not said.
pub fn take_mark(paths: &Paths) -> Option<Mark> {
    let (from, to) = (paths.runtime_dir.join(mark::FILE), paths.report_dir.join(MARK));
    let bytes = inbox::take(&from, &to, LARGEST_FILE_BYTES).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}
