//! What `autodeploy-activate.service` does: take the request, or mend what was interrupted, and
//! leave the trial itself to `autodeploy-trial.service`.
//!
//! The trial runs in a transient unit because a daemon-reload gives this one the *new* generation's
//! unit file: changed, removed or masked by the commit on trial, it would not be restarted, or
//! would be restarted as the broken new one. No generation can change a transient unit.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::activator::conduct::event_of;
use crate::activator::host::real::{self, RUNNING};
use crate::activator::record::{Record, Trial};
use crate::activator::report::Loader;
use crate::activator::request::{Closure, Facts, grant, is_repeat, taken};
use crate::activator::trial::phase::{End, Phase};
use crate::activator::{report, trial};
use crate::config::settings::{Paths, Settings};
use crate::effects::journal::{self, About};
use crate::effects::lock::{Lock, wait_for_lock};
use crate::effects::notify::{self, AskedToEnd};
use crate::effects::systemd::Systemd;
use crate::effects::{bootloader, clock, closure, files, profile};
use crate::handover::request::Request;
use crate::model::event::EventKind;

mod arrivals;
mod reading;
mod unit;
mod whole;

pub use arrivals::{Next, rest, rest_if_just_taken, stand_by};
use arrivals::{note_taken, take, take_announcement, take_mark};
pub use reading::load;
use reading::{UNREADABLE, look_at};
use unit::{is_on, real_path, start_trial, wait_for_requests_again};
pub use whole::take_whole;
use whole::{ask_whether_whole, hand_over};

/// The lock's name in the activator's directory: whoever writes the record holds it.
const LOCK: &str = "lock";

/// After a request that cannot be taken away: the path unit would start us again at once.
const PAUSE: Duration = Duration::from_secs(5);

/// How long the service waits for the lock of a trial that is just ending.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// How long the trial process waits for the lock before it ends, and is started again.
const TRIAL_LOCK_LIMIT: Duration = Duration::from_secs(30);

/// How often the lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// What a round of the service works with.
pub struct Round<'a> {
    /// The connection lasts over all rounds: making one takes longer than a question.
    pub systemd: &'a mut Systemd,
    /// The running configuration.
    pub settings: &'a Settings,
    /// Its file.
    pub config: &'a Path,
    /// What was wrong with it.
    pub warnings: &'a [String],
}

/// Does one round of the service.
///
/// # Errors
/// Nothing could be done; the reason is for the journal, and the unit starts again.
pub fn serve(mut round: Round<'_>) -> Result<Next> {
    let served = take_and_go_on(&mut round);
    if let Err(error) = wait_for_requests_again(round.systemd) {
        let message = format!("nobody waits for the next request: {error:#}");
        tell(EventKind::ActivatorFailed, About::default(), &message);
    }
    served
}

fn take_and_go_on(round: &mut Round<'_>) -> Result<Next> {
    let paths = &round.settings.paths;
    let taken = take_announcement(paths).and_then(|next| Ok((next, take(paths)?)));
    if !matches!(taken, Ok((Next::End, None))) {
        note_taken(paths);
    }
    match taken {
        Ok((next, None)) => go_on(round, None).map(|()| next),
        Ok((_, Some(Ok(request)))) => go_on(round, Some(request)).map(|()| Next::End),
        Ok((_, Some(Err(failure)))) => {
            tell(EventKind::RequestRefused, About::default(), &failure.to_string());
            go_on(round, None).map(|()| Next::End)
        }
        Err(error) => {
            // What was interrupted is brought to its end whatever lies there.
            let went_on = go_on(round, None);
            sleep(PAUSE);
            went_on.and(Err(error))
        }
    }
}

fn go_on(round: &mut Round<'_>, request: Option<Request>) -> Result<()> {
    let paths = &round.settings.paths;
    let directory = &paths.activator_state_dir;
    if is_on(round.systemd) {
        // Without the lock: the file is replaced and never half written.
        refuse_while_on(request.as_ref(), &look_at(directory));
        return Ok(());
    }
    let Some(lock) = lock(directory, LOCK_LIMIT, &|| true)? else {
        refuse_while_on(request.as_ref(), &look_at(directory));
        return Ok(());
    };
    let mut record = load(round.settings);
    record.warnings.retain(|warning| warning.starts_with(UNREADABLE));
    record.warnings.extend(round.warnings.iter().cloned());
    note_mark(paths, &mut record);
    match (record.unfinished().is_some(), request) {
        (true, request) => {
            refuse_while_on(request.as_ref(), &record);
            publish(paths, &record);
            drop(lock);
            // `/etc` may be the new system's by now; what permits is what ran before.
            let config = record.unfinished().and_then(|trial| trial.config.clone());
            let config = config.filter(|path| path.exists());
            start_trial(round.systemd, config.as_deref().unwrap_or(round.config))
        }
        (false, Some(request)) if is_repeat(&request, &record) => {
            ignore(&request);
            publish(paths, &record);
            Ok(())
        }
        (false, Some(request)) => begin(round, (record, lock), request),
        (false, None) => {
            real::unroot(look_at_the_loader(paths, &record).loose());
            publish(paths, &record);
            Ok(())
        }
    }
}

/// Remembers what the agent says of the mark. While a trial is on the record is the trial's, and
/// what was said waits.
fn note_mark(paths: &Paths, record: &mut Record) {
    if record.unfinished().is_some() {
        return;
    }
    let told = take_mark(paths).filter(|told| record.mark.as_ref() != Some(told));
    let Some(told) = told else { return };
    record.mark = Some(told);
    if let Err(error) = real::save(&paths.activator_state_dir, record) {
        tell(EventKind::ActivatorFailed, About::default(), &format!("{error:#}"));
    }
}

fn refuse_while_on(request: Option<&Request>, record: &Record) {
    match request {
        None => {}
        Some(request) if is_repeat(request, record) => ignore(request),
        Some(request) => {
            let message = "refused a request: another trial is on, and goes on\n\n\
                           hint: `autodeployctl status` shows it; the agent asks again afterwards";
            tell(EventKind::RequestRefused, asked(request), message);
        }
    }
}

fn ignore(request: &Request) {
    let message = "a request came again; it is in the record, and nothing changes";
    tell(EventKind::RequestRepeated, asked(request), message);
}

fn asked(request: &Request) -> About<'_> {
    About {
        deployment: Some(request.deployment),
        commit: request.commit.as_ref(),
        closure: Some(&request.toplevel),
        ..About::default()
    }
}

fn lock(directory: &Path, limit: Duration, goes_on: &dyn Fn() -> bool) -> Result<Option<Lock>> {
    files::make_directory(directory, 0o700)?;
    let until = clock::monotonic() + limit;
    wait_for_lock(&directory.join(LOCK), &mut || {
        sleep(LOCK_PAUSE);
        clock::monotonic() < until && goes_on()
    })
}

/// Takes the lock for the trial process, which waits for the service to let go of it.
///
/// Nobody else should have it. Whoever has it all the same, a hand or a fault of ours, holds the
/// trial up as it stands: nothing goes forward, and the boot default is still the old system. The
/// process asks for it for half a minute, fails, which is an event at err, and is started again
/// with pauses that grow to half a minute, until it gets it or the machine goes down.
///
/// # Errors
/// Somebody else holds it.
pub fn lock_for_trial(directory: &Path, asked_to_end: &AskedToEnd) -> Result<Lock> {
    let goes_on = || {
        notify::beat();
        !asked_to_end.came()
    };
    lock(directory, TRIAL_LOCK_LIMIT, &goes_on)?.with_context(|| {
        let path = directory.join(LOCK);
        let path = path.display();
        format!("somebody holds `{path}`, so the trial cannot go on; `fuser -v {path}` shows who")
    })
}

/// Grants or refuses, and records either.
fn begin(
    round: &mut Round<'_>,
    (mut record, lock): (Record, Lock),
    request: Request,
) -> Result<()> {
    let (settings, config) = (round.settings, round.config);
    let paths = &settings.paths;
    let deployment = request.deployment;
    // Takes its time, and waits for nothing of what follows.
    let whole = ask_whether_whole(paths, &request);
    let granted = grant(&request, &facts(settings, &request), &record);
    if granted.is_ok() && request.unblocked_by.is_some() {
        record.clear(&request.toplevel);
    }
    let (boot_id, at) = (clock::boot_id()?, clock::now_text());
    let mut trial = Trial::new(request, boot_id.clone(), at.clone());
    trial.config = Some(real_path(config));
    if let Err(end) = &granted {
        trial.enter(Phase::Ended(end.clone()), &boot_id, &at);
    }
    record.trial = Some(trial);
    let saved = real::save(&paths.activator_state_dir, &record);
    if let Err(error) = saved {
        return not_recorded(paths, record, &format!("{error:#}"));
    }
    publish(paths, &record);
    let Some(trial) = &record.trial else { return Ok(()) };
    match granted {
        Ok(()) => {
            tell(EventKind::RequestTaken, about(trial, None), &taken(&trial.request));
            let started = start_trial(round.systemd, config);
            hand_over(paths, deployment, whole);
            // The trial process takes it.
            drop(lock);
            started
        }
        Err(end) => {
            tell(EventKind::RequestRefused, about(trial, Some(&end)), &end.failure.to_string());
            Ok(())
        }
    }
}

/// Nothing goes forward without a record; the report still says so.
fn not_recorded(paths: &Paths, mut record: Record, cause: &str) -> Result<()> {
    let policy = record.trial.as_ref().map(|trial| record.policy(trial));
    let (Some(trial), Some(policy)) = (record.trial.as_mut(), policy) else { return Ok(()) };
    if let Some(ended) = trial::unrecorded(&Phase::Baseline, cause, &policy) {
        trial.enter(ended, &clock::boot_id()?, &clock::now_text());
    }
    publish(paths, &record);
    if let Some((trial, end)) = record.trial.as_ref().and_then(|trial| Some((trial, trial.end()?)))
    {
        tell(event_of(end.outcome), about(trial, Some(end)), &end.failure.to_string());
    }
    Ok(())
}

fn about<'a>(trial: &'a Trial, end: Option<&'a End>) -> About<'a> {
    About {
        deployment: Some(trial.request.deployment),
        commit: trial.request.commit.as_ref(),
        closure: Some(&trial.request.toplevel),
        outcome: end.map(|end| end.outcome),
        reason: end.map(|end| &end.failure.reason),
    }
}

fn facts(settings: &Settings, request: &Request) -> Facts {
    let toplevel = &request.toplevel;
    let running = profile::store_path(Path::new(RUNNING)).ok();
    let host = closure::host(toplevel);
    Facts {
        boot_id: clock::boot_id().unwrap_or_default(),
        host: settings.host.clone(),
        hostname: running.as_ref().and_then(closure::hostname),
        running,
        closure: Closure {
            // Whether Nix holds it for whole is asked in the baseline, beside everything else.
            is_there: toplevel.as_path().exists(),
            lacks: closure::lacks(toplevel).map(str::to_owned),
            host,
            hostname: closure::hostname(toplevel),
        },
    }
}

/// A report that cannot be written is told: neither a trial nor its way back waits for it.
fn publish(paths: &Paths, record: &Record) {
    let report = report::of(record, &look_at_the_loader(paths, record));
    if let Err(error) = real::publish(&paths.report_dir, &report) {
        let message = format!("could not write the report: {error:#}");
        tell(EventKind::ActivatorFailed, About::default(), &message);
    }
}

fn look_at_the_loader(paths: &Paths, record: &Record) -> Loader {
    let profile = profile::current(&paths.system_profile).ok().map(|profile| profile.toplevel);
    let default = bootloader::default().map(|path| report::boot_default(record, path, profile));
    Loader { default, never_once: bootloader::why_never_once() }
}

fn tell(kind: EventKind, about: About<'_>, message: &str) {
    journal::record(kind, about, message);
}
