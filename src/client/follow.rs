//! Waiting for the end of a deployment, also across the agent's restart in the middle.

use futures_util::StreamExt;
use tokio::time::{Duration, Instant, timeout_at};

use crate::client::contact::{Contact, SILENCE};
use crate::client::exit::Wanted;
use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::progress::Progress;
use crate::client::render::words;
use crate::control::deployment::Details;
use crate::control::status::{Gate, Status};
use crate::model::deployment::{Outcome, Phase};

/// A gate that opens by itself within this time has held nothing back (a fresh poll before the
/// trial is one).
const HELD_GRACE: Duration = Duration::from_secs(2);

/// A superseded deployment's successor is there within this time.
const SUCCESSOR_LIMIT: Duration = Duration::from_secs(10);

/// Whether a gate ends the waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// It does.
    Stop,
    /// It does not.
    WaitToo,
}

/// What ends the waiting, beside an outcome.
#[derive(Clone, Copy)]
pub struct Until {
    /// Whether a gate does.
    pub gates: Gates,
    /// What was wanted: who wants it to run does not wait for somebody's reboot.
    pub wanted: fn(&Details) -> Wanted,
}

/// How the waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// With an outcome.
    Ended(Box<Details>),
    /// At a gate.
    Held(Box<Details>, Vec<Gate>),
    /// It waits for a boot, which may be weeks away.
    Armed(Box<Details>),
}

/// Follows deployment `id`, and what supersedes it, to its end.
///
/// # Errors
/// autodeployd stayed away, or knows no such deployment.
pub async fn to_the_end(
    mut id: i64,
    until: Until,
    contact: &mut Contact,
    progress: &Progress,
) -> Result<Followed, Failed> {
    let mut said = String::new();
    loop {
        let followed =
            match once(id, until, contact, &mut Saying { progress, said: &mut said }).await {
                Ok(followed) => followed,
                Err(failed) => {
                    contact.missed(failed, progress).await?;
                    // What it says when it is back is news, even if it is the same.
                    said.clear();
                    continue;
                }
            };
        match &followed {
            Followed::Ended(details) if is_superseded(details) => {
                match successor(id, contact).await {
                    Some(newer) => {
                        progress.say(&format!("deployment {id} was superseded by {newer}"));
                        id = newer;
                    }
                    None => return Ok(followed),
                }
            }
            Followed::Ended(_) | Followed::Held(..) | Followed::Armed(_) => return Ok(followed),
        }
    }
}

/// Says a thing once.
struct Saying<'a> {
    progress: &'a Progress,
    said: &'a mut String,
}

impl Saying<'_> {
    fn say(&mut self, text: String) {
        if *self.said != text {
            self.progress.say(&text);
            *self.said = text;
        }
    }
}

/// Follows over one connection, until that breaks.
async fn once(
    id: i64,
    until: Until,
    contact: &mut Contact,
    saying: &mut Saying<'_>,
) -> Result<Followed, Failed> {
    let mut asking = Link::open(contact.socket()).await?;
    let mut watching = Link::open(contact.socket()).await?;
    let mut changes = std::pin::pin!(watching.watch().await?);
    let mut held_since: Option<Instant> = None;
    loop {
        let grace =
            held_since.filter(|_| until.gates == Gates::Stop).map(|since| since + HELD_GRACE);
        let limit = grace.unwrap_or_else(|| Instant::now() + SILENCE);
        let status = match timeout_at(limit, changes.next()).await {
            Ok(Some(change)) => Some(change?),
            Ok(None) => return Err(Failed::unreachable(contact.socket(), "it went away")),
            Err(_) => None,
        };
        let seen = match status {
            Some(status) => look(&status, id),
            // Nothing new for long: a question shows whether it still lives.
            None => Seen::Elsewhere,
        };
        let details = match seen {
            Seen::Going { phase, .. } if phase == Phase::Armed.as_str() => {
                asking.deployment(Some(id)).await?
            }
            Seen::Going { phase, gates } => {
                contact.heard();
                held_since = held_since.filter(|_| phase == Phase::Held.as_str());
                if phase == Phase::Held.as_str() {
                    held_since.get_or_insert_with(Instant::now);
                }
                saying.say(going(id, &phase, &gates));
                continue;
            }
            Seen::Ended | Seen::Elsewhere => asking.deployment(Some(id)).await?,
        };
        contact.heard();
        if details.summary.outcome.is_some() {
            return Ok(Followed::Ended(Box::new(details)));
        }
        if details.phase == Phase::Armed.as_str() && (until.wanted)(&details) == Wanted::Run {
            return Ok(Followed::Armed(Box::new(details)));
        }
        if details.phase != Phase::Held.as_str() {
            held_since = None;
        } else if until.gates == Gates::Stop
            && held_since.get_or_insert_with(Instant::now).elapsed() >= HELD_GRACE
        {
            let gates = asking.status().await?.gates;
            return Ok(Followed::Held(Box::new(details), gates));
        }
        saying.say(going(id, &details.phase, &[]));
    }
}

/// What a status tells of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// It is in flight.
    Going {
        /// The phase.
        phase: String,
        /// What holds it back, if it is held.
        gates: Vec<Gate>,
    },
    /// It has an outcome.
    Ended,
    /// The status is about another one.
    Elsewhere,
}

fn look(status: &Status, id: i64) -> Seen {
    match status.deployment.as_ref().filter(|deployment| deployment.id == id) {
        None => Seen::Elsewhere,
        Some(deployment) if deployment.outcome.is_some() => Seen::Ended,
        Some(_) => Seen::Going { phase: status.phase.clone(), gates: status.gates.clone() },
    }
}

fn going(id: i64, phase: &str, gates: &[Gate]) -> String {
    let held = gates.first().filter(|_| phase == Phase::Held.as_str());
    let why = held.map(|gate| format!(": {}", words::line(&gate.message))).unwrap_or_default();
    format!("deployment {id} is {}{why}", words::phase(phase))
}

fn is_superseded(details: &Details) -> bool {
    details.summary.outcome.as_deref() == Some(Outcome::Superseded.as_str())
}

/// Returns the deployment that came after `id`, as soon as there is one.
async fn successor(id: i64, contact: &Contact) -> Option<i64> {
    let newest = async {
        loop {
            if let Ok(mut link) = Link::open(contact.socket()).await
                && let Ok(deployments) = link.deployments(1).await
                && let Some(newest) = deployments.first().filter(|one| one.id > id)
            {
                return newest.id;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::time::timeout(SUCCESSOR_LIMIT, newest).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Status), expected: Seen) {
        let mut status = fixtures::status();
        status.deployment.as_mut().unwrap().outcome = None;
        status.phase = "watching".into();
        change(&mut status);
        assert_eq!(look(&status, 7), expected);
    }

    #[test]
    fn a_status_is_read_for_one_deployment() {
        check(|_| {}, Seen::Going { phase: "watching".into(), gates: vec![] });
        check(|status| status.deployment = None, Seen::Elsewhere);
        check(|status| status.deployment.as_mut().unwrap().id = 8, Seen::Elsewhere);
        check(
            |status| status.deployment.as_mut().unwrap().outcome = Some("kept".into()),
            Seen::Ended,
        );
    }

    #[test]
    fn a_gate_is_named_while_it_holds() {
        let gate = Gate { kind: "paused".into(), message: "paused by uid 0".into(), until: None };
        let gates = [gate];
        assert_eq!(going(7, "held", &gates), "deployment 7 is held back: paused by uid 0");
        assert_eq!(going(7, "watching", &gates), "deployment 7 is on trial: being watched");
    }
}
