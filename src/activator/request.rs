//! PURE: reading the agent's wish, and whether it is granted.
//!
//! The agent is trusted for *when*, not for *what*: whatever it wrote, only a valid system of this
//! host that was not reverted before, asked for in this boot and for what runs now, is tried.

use crate::activator::record::Record;
use crate::activator::trial::ending;
use crate::activator::trial::phase::{End, Mark};
use crate::handover::request::Request;
use crate::model::deployment::Outcome;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::model::text::escaped;

/// The agent looks at the machine anew, and asks for what it then finds right.
const ASKED_AGAIN: &str = "it is asked for again by itself; `autodeployctl status`";

/// What the machine says about the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// This boot.
    pub boot_id: String,
    /// What `/run/current-system` leads to.
    pub running: Option<StorePath>,
    /// `host` of the running configuration.
    pub host: String,
    /// The running system's `etc/hostname`.
    pub hostname: Option<String>,
    /// The asked-for closure.
    pub closure: Closure,
}

/// What was found at the asked-for path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// There is such a path.
    pub is_there: bool,
    /// The first thing that a NixOS system has and this has not.
    pub lacks: Option<String>,
    /// `host` of its own configuration; or why that cannot be read.
    pub host: Result<String, Failure>,
    /// Its `etc/hostname`.
    pub hostname: Option<String>,
}

/// Reads a request.
///
/// # Errors
/// It is not one.
pub fn parse(bytes: &[u8]) -> Result<Request, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("could not read the request: {}", escaped(&error.to_string(), 300));
        Failure::new(Reason::BAD_REQUEST, message)
            .hint("`autodeployd --version` and `autodeploy-activate --version` have to be the same")
    })
}

/// Tells whether the trial that is on, or the last one, is what this asks for: the agent writes a
/// request again when the report has not named it in time.
///
/// The number alone does not say it: an agent whose history was lost may count from the beginning.
pub fn is_repeat(request: &Request, record: &Record) -> bool {
    record.trial.as_ref().is_some_and(|trial| {
        trial.request.deployment == request.deployment && trial.request.toplevel == request.toplevel
    })
}

/// Says what was taken, with what the agent said in a person's name: nothing proves that, and the
/// journal is where that person finds it.
pub fn taken(request: &Request) -> String {
    let mut said = vec!["took a request".to_owned()];
    said.extend(request.emergency.then(|| "as an emergency".to_owned()));
    said.extend(request.unblocked_by.map(|uid| format!("its closure unblocked by uid {uid}")));
    said.join(", ")
}

/// Grants a request, or says how it ends.
///
/// # Errors
/// The end of the deployment; nothing was touched.
pub fn grant(request: &Request, facts: &Facts, record: &Record) -> Result<(), End> {
    of_this_moment(request, facts).map_err(|failure| ending::failed(failure, true))?;
    not_refused(request, record)?;
    of_this_host(request, facts).map_err(|failure| ending::failed(failure, false))
}

fn of_this_moment(request: &Request, facts: &Facts) -> Result<(), Failure> {
    if request.boot_id != facts.boot_id {
        return Err(Failure::new(
            Reason::STALE_REQUEST,
            "the request was made before the last boot",
        )
        .hint(ASKED_AGAIN));
    }
    match &facts.running {
        Some(running) if *running == request.expected_running => Ok(()),
        Some(running) => Err(Failure::new(
            Reason::STALE_REQUEST,
            format!(
                "the request was made for a machine that runs `{}`, and this one runs `{running}`",
                request.expected_running
            ),
        )
        .hint(ASKED_AGAIN)),
        None => Err(Failure::new(
            Reason::STALE_REQUEST,
            "could not tell what runs: `/run/current-system` does not lead into the Nix store",
        )
        .hint("`readlink -f /run/current-system`")),
    }
}

fn not_refused(request: &Request, record: &Record) -> Result<(), End> {
    match (record.refuses(&request.toplevel), request.unblocked_by) {
        (Some(reverted), None) => Err(End {
            outcome: Outcome::Blocked,
            failure: Failure::new(
                Reason::BLOCKED,
                format!(
                    "the closure is blocked since deployment {} ({}), and nobody unblocked it",
                    reverted.deployment,
                    escaped(reverted.reason.as_str(), 60)
                ),
            )
            .hint(format!("`autodeployctl unblock {}`", request.toplevel)),
            retry: false,
            mark: Mark::None,
            generation: None,
        }),
        (Some(_), Some(_)) | (None, _) => Ok(()),
    }
}

fn of_this_host(request: &Request, facts: &Facts) -> Result<(), Failure> {
    let closure = &facts.closure;
    let toplevel = &request.toplevel;
    if !closure.is_there {
        let message = format!("there is no `{toplevel}`");
        return Err(Failure::new(Reason::INVALID_PATH, message)
            .hint(format!("`nix-store --realise {toplevel}`, then `autodeployctl run-now`")));
    }
    if let Some(lacks) = &closure.lacks {
        let message = format!("`{toplevel}` is not a NixOS system: it has no `{lacks}`");
        return Err(Failure::new(Reason::NOT_A_SYSTEM, message)
            .hint("`build.attribute` has to name a system's `config.system.build.toplevel`"));
    }
    let host = closure.host.clone()?;
    if host != facts.host {
        let message = match host.as_str() {
            "" => {
                format!("the closure does not say for which host it is; this is `{}`", facts.host)
            }
            host => format!(
                "the closure belongs to host `{}`, and this one is `{}`",
                escaped(host, 80),
                facts.host
            ),
        };
        return Err(Failure::new(Reason::WRONG_HOST, message).hint(
            "`build.attribute` has to name the system of this host: `autodeployctl status`",
        ));
    }
    match (&closure.hostname, &facts.hostname) {
        (Some(theirs), Some(ours)) if theirs != ours && *theirs != facts.host => {
            let message = format!(
                "the closure is for a machine named `{}`, and this one is named `{}`",
                escaped(theirs, 80),
                escaped(ours, 80)
            );
            Err(Failure::new(Reason::WRONG_HOST, message).hint(
                "a machine is renamed by `nixos-rebuild` by hand, or by naming it like `host`",
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activator::record::Trial;
    use crate::activator::record::tests::{path, request};
    use crate::activator::trial::phase::Phase;
    use crate::model::deployment::DeploymentId;

    fn facts() -> Facts {
        Facts {
            boot_id: "boot-1".to_owned(),
            running: Some(path('a')),
            host: "box".to_owned(),
            hostname: Some("box".to_owned()),
            closure: Closure {
                is_there: true,
                lacks: None,
                host: Ok("box".to_owned()),
                hostname: Some("box".to_owned()),
            },
        }
    }

    fn with_closure(change: impl FnOnce(&mut Closure)) -> Facts {
        let mut facts = facts();
        change(&mut facts.closure);
        facts
    }

    #[track_caller]
    fn check(facts: Facts, expected: &str) {
        let end = grant(&request(), &facts, &Record::default());
        if let Err(end) = &end {
            assert!(end.failure.hint.as_ref().unwrap().contains('`'), "{:?}", end.failure);
        }
        let words = end.map_or_else(
            |end| format!("{} {} retry={}", end.outcome, end.failure.reason, end.retry),
            |()| "granted".to_owned(),
        );
        assert_eq!(words, expected);
    }

    #[test]
    fn only_a_system_of_this_host_asked_for_now_is_granted() {
        check(facts(), "granted");
        let stale = "failed stale-request retry=true";
        check(Facts { boot_id: "boot-2".to_owned(), ..facts() }, stale);
        check(Facts { running: Some(path('c')), ..facts() }, stale);
        check(Facts { running: None, ..facts() }, stale);
        let invalid = with_closure(|closure| closure.is_there = false);
        check(invalid, "failed invalid-path retry=false");
        let lacks = with_closure(|closure| closure.lacks = Some("nixos-version".to_owned()));
        check(lacks, "failed not-a-system retry=false");
        let missing = Failure::new(Reason::NO_CONFIGURATION, "there is none");
        let bare = with_closure(|closure| closure.host = Err(missing));
        check(bare, "failed no-configuration retry=false");
        let wrong = "failed wrong-host retry=false";
        check(with_closure(|closure| closure.host = Ok("other".to_owned())), wrong);
        check(with_closure(|closure| closure.host = Ok(String::new())), wrong);
        check(with_closure(|closure| closure.hostname = Some("other".to_owned())), wrong);
        check(with_closure(|closure| closure.hostname = None), "granted");
        // The machine is being named as the configuration names it already.
        check(Facts { hostname: Some("installer".to_owned()), ..facts() }, "granted");
    }

    #[test]
    fn a_reverted_closure_is_refused_until_a_person_unblocks_it() {
        let mut record = Record {
            trial: Some(Trial::new(request(), "boot-1".to_owned(), "then".to_owned())),
            ..Record::default()
        };
        let failure = Failure::new(Reason::UNHEALTHY, "red");
        record.remember(&ending::revert_failed(failure), "now");
        let refused = grant(&request(), &facts(), &record).unwrap_err();
        assert_eq!((refused.outcome, refused.retry), (Outcome::Blocked, false));
        assert_eq!(
            refused.failure.message,
            "the closure is blocked since deployment 4 (unhealthy), and nobody unblocked it"
        );
        let unblocked = Request { unblocked_by: Some(0), ..request() };
        assert_eq!(grant(&unblocked, &facts(), &record), Ok(()));
    }

    #[track_caller]
    fn repeats(asked: Request, end: Option<End>, expected: bool) {
        let mut trial = Trial::new(request(), "boot-1".to_owned(), "then".to_owned());
        if let Some(end) = end {
            trial.enter(Phase::Ended(end), "boot-1", "now");
        }
        let record = Record { trial: Some(trial), ..Record::default() };
        assert_eq!(is_repeat(&asked, &record), expected);
    }

    #[test]
    fn a_request_that_is_in_the_record_already_is_a_repeat() {
        let stale = Request { expected_running: path('b'), boot_id: "boot-2".into(), ..request() };
        for end in [None, Some(ending::kept(7)), Some(ending::shut_down())] {
            repeats(request(), end.clone(), true);
            repeats(stale.clone(), end.clone(), true);
            repeats(Request { deployment: DeploymentId(5), ..request() }, end.clone(), false);
            repeats(Request { toplevel: path('c'), ..request() }, end, false);
        }
        assert!(!is_repeat(&request(), &Record::default()));
    }

    #[test]
    fn what_is_said_in_a_persons_name_is_told() {
        assert_eq!(taken(&request()), "took a request");
        let more = Request { emergency: true, unblocked_by: Some(1000), ..request() };
        let said = "took a request, as an emergency, its closure unblocked by uid 1000";
        assert_eq!(taken(&more), said);
    }

    #[test]
    fn what_is_not_a_request_is_named_without_its_control_characters() {
        let failure = parse(b"{\"version\": \"\x1b[2J\"}").unwrap_err();
        assert_eq!(failure.reason, Reason::BAD_REQUEST);
        assert!(!failure.message.contains('\x1b'), "{}", failure.message);
        let json = serde_json::to_vec(&request()).unwrap();
        assert_eq!(parse(&json), Ok(request()));
    }
}
