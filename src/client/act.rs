//! An order, and the wait for what becomes of it: what `run-now`, `rollback` and `abort` share.

use std::cell::Cell;
use std::path::Path;

use serde::Serialize;

use crate::client::args::Waiting;
use crate::client::contact::Contact;
use crate::client::exit::{self, Exit, Wanted};
use crate::client::failed::Failed;
use crate::client::follow::{self, Followed, Gates, Until};
use crate::client::link::{Link, Order};
use crate::client::output;
use crate::client::progress::Progress;
use crate::client::render::{show, words};
use crate::control::ask::Taken;
use crate::control::deployment::Details;
use crate::control::status::Gate;

/// What to order, and how to wait for it.
pub struct Act<'a> {
    /// The order.
    pub order: Order,
    /// What to say while it is not answered yet.
    pub asking: &'a str,
    /// Whether a gate ends the waiting.
    pub gates: Gates,
    /// Whether to wait at all.
    pub waiting: &'a Waiting,
    /// What counts as success, once the deployment is known.
    pub wanted: fn(&Details) -> Wanted,
}

/// What became of an order; the JSON of `--json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Became {
    /// One sentence.
    pub message: String,
    /// What to type next; may be empty.
    pub hint: String,
    /// The deployment, as it was last seen; null if there was nothing to do.
    pub deployment: Option<Details>,
    /// What holds it back.
    pub gates: Vec<Gate>,
    /// The exit code.
    #[serde(serialize_with = "as_code")]
    pub exit: Exit,
}

fn as_code<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*exit as u8)
}

impl Became {
    /// Returns it as people read it.
    pub fn text(&self) -> String {
        match self.hint.as_str() {
            "" => format!("{}\n", self.message),
            hint => format!("{}\n\nhint: {hint}\n", self.message),
        }
    }
}

/// Orders, waits and says what became of it.
///
/// # Errors
/// It was refused, autodeployd is away, or the person stopped waiting.
pub async fn carry_out(socket: &Path, act: Act<'_>) -> Result<Exit, Failed> {
    let progress = Progress::new(act.waiting.json);
    let following = Cell::new(None);
    let became = tokio::select! {
        became = became(socket, &act, &progress, &following) => became,
        _ = tokio::signal::ctrl_c() => Err(interrupted(following.get())),
    };
    progress.finish();
    let became = became?;
    match act.waiting.json {
        true => output::print_json(&became)?,
        false => output::print(&became.text())?,
    }
    Ok(became.exit)
}

async fn became(
    socket: &Path,
    act: &Act<'_>,
    progress: &Progress,
    following: &Cell<Option<i64>>,
) -> Result<Became, Failed> {
    let mut contact = Contact::new(socket);
    let taken = ordered(act, &mut contact, progress).await?;
    let Some(id) = taken.deployment else { return Ok(nothing_to_do(&taken)) };
    following.set(Some(id));
    if act.waiting.no_wait {
        return not_waited_for(socket, id, &taken).await;
    }
    let until = Until { gates: act.gates, wanted: act.wanted };
    let followed = follow::to_the_end(id, until, &mut contact, progress).await?;
    Ok(match followed {
        Followed::Ended(details) => ended((act.wanted)(&details), *details),
        Followed::Held(details, gates) => held(*details, gates),
        Followed::Armed(details) => armed(*details),
    })
}

/// Gives the order, again if autodeployd went away over it: each of these orders may be repeated.
async fn ordered(
    act: &Act<'_>,
    contact: &mut Contact,
    progress: &Progress,
) -> Result<Taken, Failed> {
    // Not there to begin with is an answer; only what was there may be waited for.
    let mut link = Some(Link::open(contact.socket()).await?);
    progress.say(act.asking);
    loop {
        let socket = contact.socket().to_owned();
        let answer = async {
            let mut link = match link.take() {
                Some(link) => link,
                None => Link::open(&socket).await?,
            };
            link.order(&act.order).await
        };
        match contact.patiently(answer).await {
            Ok(taken) => return Ok(taken),
            Err(failed) => contact.missed(failed, progress).await?,
        }
    }
}

fn nothing_to_do(taken: &Taken) -> Became {
    Became {
        message: words::line(&taken.message),
        hint: String::new(),
        deployment: None,
        gates: vec![],
        exit: Exit::Done,
    }
}

async fn not_waited_for(socket: &Path, id: i64, taken: &Taken) -> Result<Became, Failed> {
    // Only for `--json`; a person has the number.
    let deployment = match Link::open(socket).await {
        Ok(mut link) => link.deployment(Some(id)).await.ok(),
        Err(_) => None,
    };
    Ok(Became {
        message: format!("{} (deployment {id}, not waited for)", words::line(&taken.message)),
        hint: format!("autodeployctl show {id}"),
        deployment,
        gates: vec![],
        exit: Exit::Done,
    })
}

fn ended(wanted: Wanted, details: Details) -> Became {
    let outcome = details.summary.outcome.as_deref().unwrap_or_default();
    let exit = exit::of_outcome(wanted, outcome);
    let hint = match (&details.hint, exit.is_bad()) {
        (Some(hint), _) => words::line(hint),
        (None, true) => format!("autodeployctl show {}", details.summary.id),
        (None, false) => String::new(),
    };
    Became {
        message: show::headline(&details),
        hint,
        deployment: Some(details),
        gates: vec![],
        exit,
    }
}

fn held(details: Details, gates: Vec<Gate>) -> Became {
    let id = details.summary.id;
    let named =
        |gate: &Gate| format!("{} ({})", words::line(&gate.kind), words::line(&gate.message));
    let names: Vec<_> = gates.iter().map(named).collect();
    let message = match names.is_empty() {
        true => show::headline(&details),
        false => format!("deployment {id} is held back by {}", names.join(", ")),
    };
    let opens = gates.first().and_then(|gate| words::opens(&gate.kind));
    let hint = match opens {
        Some(opens) => format!("{opens}, or wait for it with `autodeployctl run-now --wait`"),
        None => "wait for it with `autodeployctl run-now --wait`".to_owned(),
    };
    Became { message, hint, deployment: Some(details), gates, exit: Exit::Held }
}

/// Done, as far as it goes without a reboot.
fn armed(details: Details) -> Became {
    let id = details.summary.id;
    let commit = words::of_commit(details.summary.commit.as_deref());
    Became {
        message: format!(
            "deployment {id}{commit} is armed: the next boot tries it, and whatever boots after \
             that brings the old system back unless it was kept"
        ),
        hint: "`systemctl reboot` when it suits; `autodeployctl abort` takes it back".to_owned(),
        deployment: Some(details),
        gates: vec![],
        exit: Exit::Done,
    }
}

fn interrupted(following: Option<i64>) -> Failed {
    let (message, hint) = match following {
        Some(id) => (
            format!("no longer waiting; deployment {id} goes on"),
            format!("autodeployctl show {id}"),
        ),
        None => (
            "no longer waiting; what was asked for goes on".to_owned(),
            "autodeployctl status".to_owned(),
        ),
    };
    Failed { exit: Exit::Interrupted, message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;

    #[track_caller]
    fn check(became: Became, exit: Exit, text: &str) {
        assert_eq!((became.exit, became.text().as_str()), (exit, text));
    }

    #[test]
    fn a_bad_end_has_its_hint() {
        check(
            ended(Wanted::Run, fixtures::reverted()),
            Exit::Bad,
            "deployment 8 (commit c0ffee12) reverted: generation 43 was not healthy within 2 min\n\
             \nhint: autodeployctl log 8\n",
        );
        let hintless = Details { hint: None, ..fixtures::reverted() };
        check(
            ended(Wanted::Run, hintless.clone()),
            Exit::Bad,
            "deployment 8 (commit c0ffee12) reverted: generation 43 was not healthy within 2 min\n\
             \nhint: autodeployctl show 8\n",
        );
        check(
            ended(Wanted::Gone, hintless),
            Exit::Done,
            "deployment 8 (commit c0ffee12) reverted: generation 43 was not healthy within 2 min\n",
        );
    }

    #[test]
    fn a_gate_is_named_with_what_opens_it() {
        let mut details = Details { hint: None, ..fixtures::reverted() };
        details.summary.outcome = None;
        details.phase = "held".into();
        let gate = Gate { kind: "paused".into(), message: "moving racks".into(), until: None };
        check(
            held(details.clone(), vec![gate]),
            Exit::Held,
            "deployment 8 is held back by paused (moving racks)\n\nhint: autodeployctl resume, or \
             wait for it with `autodeployctl run-now --wait`\n",
        );
        details.summary.message = String::new();
        check(
            held(details, vec![]),
            Exit::Held,
            "deployment 8 (commit c0ffee12) is held back\n\nhint: wait for it with `autodeployctl \
             run-now --wait`\n",
        );
    }

    #[test]
    fn what_is_armed_is_done_until_somebody_reboots() {
        let mut details = Details { hint: None, ..fixtures::reverted() };
        details.summary.outcome = None;
        details.phase = "armed".into();
        check(
            armed(details),
            Exit::Done,
            "deployment 8 (commit c0ffee12) is armed: the next boot tries it, and whatever boots \
             after that brings the old system back unless it was kept\n\nhint: `systemctl reboot` \
             when it suits; `autodeployctl abort` takes it back\n",
        );
    }

    #[test]
    fn an_interrupted_wait_says_that_the_deployment_goes_on() {
        let failed = interrupted(Some(7));
        assert_eq!(
            (failed.exit, failed.to_string().as_str()),
            (
                Exit::Interrupted,
                "no longer waiting; deployment 7 goes on\n\nhint: autodeployctl show 7"
            )
        );
    }
}
