//! Why a call of Nix did not end well: asked a second time, cheaply, where the exit code does not
//! tell.

use std::path::Path;
use std::time::Duration;

use crate::config::settings::Build;
use crate::config::size;
use crate::effects::nix::Nix;
use crate::effects::nix::installable::Installable;
use crate::effects::nix::told::{self, BuildEnd, Missing};
use crate::effects::process::{Ended, Status};
use crate::effects::room;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// The limit on the second look at an evaluation that failed.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// With less room than this, in bytes, whatever failed failed for want of room.
const NEARLY_FULL: u64 = 16 << 20;

/// A path that is in no store, to ask the daemon about.
const NOWHERE: &str = "/nix/store/00000000000000000000000000000000-autodeploy-asks";

impl Nix {
    /// Says why an evaluation did not end well.
    pub(super) fn why_not_evaluated(
        &self,
        ended: &Ended,
        what: &str,
        (wanted, build): (&Installable, &Build),
    ) -> Failure {
        if ended.status == Status::Stopped {
            return stopped(what);
        }
        if let Some(failure) = self.full_disk(ended, what).or_else(|| self.lost_daemon(what)) {
            return failure;
        }
        if ran_out_of_memory(ended) {
            let limit = size::shown(build.evaluation_memory);
            return evaluation_failed(ended, what)
                .hint(format!("the evaluator may take `{limit}` (`build.evaluation_memory`)"));
        }
        let looked = self.evaluator_for(SECOND_LOOK, build);
        let looked = looked.args(["--expr", &wanted.missing_part()]);
        let missing = self.halt.run(&looked).ok().filter(Ended::succeeded);
        match missing.map(|ended| told::json::<Option<Missing>>(&ended.stdout)) {
            Some(Ok(Some(missing))) => no_such_host(what, &missing),
            Some(Ok(None) | Err(_)) | None => evaluation_failed(ended, what),
        }
    }

    /// Says why a build did not end well.
    pub(super) fn why_not_built(&self, ended: &Ended, what: &str) -> Failure {
        let cause = told::cause_of_build(&ended.stderr);
        let end = match ended.status {
            Status::Stopped => return stopped(what),
            Status::Code(code) => told::build_end(code),
            Status::Signal(_) | Status::TimedOut => BuildEnd::Unsaid,
        };
        let failed = |reason| {
            let failure = Failure::new(reason, format!("{what}: {cause}"));
            failure.hint(match told::failed_derivation(&ended.stderr) {
                Some(drv) => format!("`nix log {drv}` shows all of its output"),
                None => "`journalctl -u nix-daemon -e` shows what the Nix daemon said".to_owned(),
            })
        };
        match end {
            BuildEnd::TimedOut => failed(Reason::BUILD_TIMEOUT),
            BuildEnd::Failed | BuildEnd::HashMismatch => {
                self.full_disk(ended, what).unwrap_or_else(|| failed(Reason::BUILD_FAILED))
            }
            BuildEnd::Done | BuildEnd::Unsaid => self
                .full_disk(ended, what)
                .or_else(|| self.lost_daemon(what))
                .unwrap_or_else(|| failed(Reason::BUILD_FAILED)),
        }
    }

    /// Says why a path could not be substituted.
    pub(super) fn why_not_substituted(&self, ended: &Ended, path: &StorePath) -> Failure {
        let what = format!("could not substitute `{}`", path.name());
        if ended.status == Status::Stopped {
            return stopped(&what);
        }
        self.full_disk(ended, &what).or_else(|| self.lost_daemon(&what)).unwrap_or_else(|| {
            // Nix's own words are `build of … failed`.
            let message = format!("{what}: no cache that can be reached has it");
            Failure::new(Reason::NOT_SUBSTITUTABLE, message).hint(
                "has CI pushed it already, and does `nix.settings.substituters` name that cache?",
            )
        })
    }

    /// Says that the daemon does not answer, if it does not.
    fn lost_daemon(&self, what: &str) -> Option<Failure> {
        let nowhere = NOWHERE.parse::<StorePath>().ok()?;
        let failure = self.is_valid(&nowhere).err()?;
        let message = format!("{what}: {}", failure.message);
        Some(Failure { message, ..failure })
    }

    /// Says that a disk is full, if one is. A build that failed for want of room has given it
    /// back by now: there its own words are all there is.
    pub(super) fn full_disk(&self, ended: &Ended, what: &str) -> Option<Failure> {
        let home = self.home.ancestors().find(|place| place.exists())?;
        let full = ["/nix/store", "/nix/var/nix/db"]
            .iter()
            .map(Path::new)
            .chain([home])
            .find(|place| room::is_full(place, NEARLY_FULL))
            .map(|place| format!("no room left in `{}`", place.display()));
        let words = "No space left on device";
        let said = String::from_utf8_lossy(&ended.stderr).contains(words);
        let cause = full.or_else(|| said.then(|| words.to_lowercase()))?;
        Some(
            Failure::new(Reason::NO_SPACE, format!("{what}: {cause}"))
                .hint("`nix-collect-garbage` makes room"),
        )
    }
}

/// Tells whether memory was what an evaluation lacked. Only the hint depends on it, so that its words
/// may be read: nobody can be asked afterwards, and the exit code is that of a typo.
fn ran_out_of_memory(ended: &Ended) -> bool {
    let said = String::from_utf8_lossy(&ended.stderr).to_lowercase();
    let words = ["out of memory", "cannot allocate memory", "bad_alloc", "bad alloc"];
    words.iter().any(|words| said.contains(words))
}

fn no_such_host(what: &str, missing: &Missing) -> Failure {
    let name = escaped(&missing.missing, 100);
    let failure = Failure::new(Reason::NO_SUCH_HOST, format!("{what}: the flake has no `{name}`"));
    let there: Vec<_> =
        missing.there.iter().take(20).map(|name| format!("`{}`", escaped(name, 60))).collect();
    match there.is_empty() {
        true => failure.hint("`host` and `build` in the configuration say what is looked for"),
        false => failure.hint(format!("there is {}", there.join(", "))),
    }
}

/// Says that an evaluation failed, in the evaluator's own words.
pub(super) fn evaluation_failed(ended: &Ended, what: &str) -> Failure {
    let cause = match ended.status {
        Status::Code(_) => told::cause_of_evaluation(&ended.stderr),
        other => format!("`nix` {}", told::how(other)),
    };
    Failure::new(Reason::EVALUATION_FAILED, format!("{what}: {cause}"))
        .hint("`nix eval` of that attribute in a clone of the commit shows the whole trace")
}

/// Says that the daemon does not do its part.
pub(super) fn unreachable(what: &str, cause: &str) -> Failure {
    Failure::new(Reason::NIX_UNREACHABLE, format!("{what}: {cause}")).hint(
        "`systemctl status nix-daemon.socket`; the agent's user needs `nix.settings.allowed-users`",
    )
}

/// Whoever stopped it knows why, and asks nothing of this.
fn stopped(what: &str) -> Failure {
    Failure::new(Reason::INTERNAL, format!("{what}: it was ended early"))
}
