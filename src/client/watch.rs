//! `autodeployctl watch`

use std::path::Path;

use futures_util::StreamExt;
use tokio::time::timeout;

use crate::client::args;
use crate::client::contact::{Contact, SILENCE};
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::moment;
use crate::client::output;
use crate::client::progress::Progress;
use crate::client::render::{headline, news};
use crate::control::status::Status;

/// Says what changes, a line each, until interrupted; across restarts of autodeployd.
///
/// # Errors
/// autodeployd stayed away, or nobody reads any more.
pub async fn run(socket: &Path, arguments: &args::Watch) -> Result<Exit, Failed> {
    // Not there to begin with is an answer.
    drop(Link::open(socket).await?);
    let progress = if arguments.json { Progress::None } else { Progress::Lines };
    let mut contact = Contact::new(socket);
    let mut before = None;
    tokio::select! {
        failed = async {
            loop {
                let failed = once(&mut contact, arguments.json, &mut before).await;
                if let Err(failed) = contact.missed(failed, &progress).await {
                    return failed;
                }
            }
        } => Err(failed),
        // Being interrupted is how this ends.
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

/// Watches over one connection until that breaks, and returns why.
async fn once(contact: &mut Contact, json: bool, before: &mut Option<Status>) -> Failed {
    let watched = async {
        let mut asking = Link::open(contact.socket()).await?;
        let mut watching = Link::open(contact.socket()).await?;
        let mut changes = std::pin::pin!(watching.watch().await?);
        loop {
            let status = match timeout(SILENCE, changes.next()).await {
                Ok(Some(change)) => change?,
                Ok(None) => return Err(Failed::unreachable(contact.socket(), "it went away")),
                Err(_) => asking.status().await?,
            };
            contact.heard();
            tell(before.as_ref(), &status, json)?;
            *before = Some(status);
        }
    };
    let watched: Result<std::convert::Infallible, Failed> = watched.await;
    match watched {
        Ok(never) => match never {},
        Err(failed) => failed,
    }
}

fn tell(before: Option<&Status>, status: &Status, json: bool) -> Result<(), Failed> {
    if json {
        return match before {
            Some(before) if before == status => Ok(()),
            Some(_) | None => output::print_json_line(status),
        };
    }
    let (moment, lines) = match before {
        Some(before) => (moment(), news::between(before, status)),
        None => (moment(), vec![headline::of(status, &moment())]),
    };
    let time = moment.now.to_string();
    let lines = lines.iter().map(|line| format!("{}  {line}\n", moment.clock(&time)));
    output::print(&lines.collect::<String>())
}
