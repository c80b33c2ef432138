//! The child's main: one question from the arguments, one answer on standard output.

use std::process::ExitCode;

use nix::sys::prctl::set_dumpable;

use crate::config::settings::Trust;
use crate::effects::git::answer::answer;
use crate::effects::git::ask::Ask;
use crate::effects::git::{
    Fetched, Want, clone, fetch, lineage, says, signatures, submodules, tidy, weigh,
};
use crate::effects::process::memory;
use crate::model::failure::{Failure, Reason};
use crate::model::text::escaped;

/// Answers one request of [`crate::effects::git::Git`] and ends.
///
/// `json` is the argument after [`crate::effects::git::CHILD_ARGUMENT`]. Exit code 0 means that
/// there is an answer, whatever it says.
pub fn child(json: &str) -> ExitCode {
    // A crash leaves no image of the memory that the token and the key are in, and nobody else of
    // the same user looks into it.
    let _ = set_dumpable(false);
    answer_before_a_panic_ends_us();
    let ask = match serde_json::from_str::<Ask>(json) {
        Ok(ask) => ask,
        Err(error) => {
            let message = format!("the request cannot be read: {error}");
            return answer::<()>(Err(Failure::new(Reason::INTERNAL, message)));
        }
    };
    let (at_first, at_most) = ask.memory();
    if let Err(error) = memory::limit(at_first, at_most) {
        let message = format!("the memory of the Git child could not be limited: {error}");
        return answer::<()>(Err(Failure::new(Reason::INTERNAL, message)));
    }
    match ask {
        Ask::Poll { remote, home } => answer(fetch::poll(&remote, &home)),
        Ask::Fetch { repository, home, remote, want, trust, max_bytes } => {
            let job = fetch::Job { repository, home, remote: &remote, max_bytes };
            answer(fetch_and_look(&job, &want, &trust))
        }
        Ask::Lineage { repository, want, trust } => {
            answer(clone::open(&repository).and_then(|own| lineage::of(&own, &want, &trust)))
        }
        Ask::Keys { trust } => answer(signatures::keys(&trust).map(drop)),
        Ask::Contains { repository, tip, of } => {
            answer(clone::open(&repository).and_then(|own| lineage::contains(&own, &tip, &of)))
        }
        Ask::Keep { repository, commits } => {
            answer(clone::open(&repository).and_then(|own| clone::keep_only(&own, &commits)))
        }
        Ask::Submodules { repository, tip } => {
            answer(clone::open(&repository).and_then(|own| submodules::check(&own, &tip)))
        }
        Ask::Check { repository, tip } => {
            answer(clone::open(&repository).and_then(|own| clone::check(&own, &tip)))
        }
    }
}

/// A library that gives up over hostile bytes would look like a damaged repository from outside,
/// and that is fetched anew.
fn answer_before_a_panic_ends_us() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = format!("the Git child gave up at `{}`", escaped(&at, 200));
        answer::<()>(Err(Failure::new(Reason::INTERNAL, message)));
    }));
}

fn fetch_and_look(job: &fetch::Job<'_>, want: &Want, trust: &Trust) -> Result<Fetched, Failure> {
    let own = clone::open_or_make(&job.repository)?;
    let own = clone::without_ballast(own, job.max_bytes)?;
    clone::sweep(&own);
    clone::compare_packs(&own)?;
    tidy::tidy(&own);
    let tip = match clone::has(&own, &want.tip) {
        true => clone::hold_tip(&own, &want.tip).map(|()| want.tip.clone())?,
        false => fetch::fetch(&own, job)
            .map_err(|failure| says::full_disk(&job.repository).unwrap_or(failure))?,
    };
    weigh::weigh(&own, &tip, job.max_bytes)?;
    let lineage = lineage::of(&own, &Want { tip: tip.clone(), mark: want.mark.clone() }, trust)?;
    Ok(Fetched { tip, lineage })
}
