//! `autodeployctl generations`

use std::path::Path;

use crate::client::args;
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::moment;
use crate::client::output;
use crate::client::render::generations::{self, Generation};
use crate::control::status::Summary;
use crate::effects::generations::{Profile, read};

/// As much of the history as is ever kept by default.
const HISTORY: u32 = 1000;

/// Lists the generations of the profile, with what autodeploy knows of each.
///
/// The profile is read here: it is no state of the agent's, and there without it.
///
/// # Errors
/// The profile cannot be read. If only autodeployd is not there, the list is printed without its
/// knowledge before the error comes back.
pub async fn run(socket: &Path, arguments: &args::Generations) -> Result<Exit, Failed> {
    let mut generations = listed(read(&arguments.profile)?);
    let history = history(socket).await;
    generations::explain(&mut generations, history.as_deref().unwrap_or_default());
    match arguments.json {
        true => output::print_json(&generations)?,
        false => output::print(&generations::of(&generations, &moment()))?,
    }
    history.map(|_| Exit::Done)
}

async fn history(socket: &Path) -> Result<Vec<Summary>, Failed> {
    Link::open(socket).await?.deployments(HISTORY).await
}

fn listed(profile: Profile) -> Vec<Generation> {
    let runs = |link: &Option<String>, toplevel: &str| link.as_deref() == Some(toplevel);
    let one = |link: &crate::effects::generations::Link| Generation {
        generation: link.number,
        toplevel: link.toplevel.clone(),
        created_at: link.created_at.clone(),
        current: profile.current == Some(link.number),
        running: runs(&profile.running, &link.toplevel),
        booted: runs(&profile.booted, &link.toplevel),
        commit: None,
        deployment: None,
        outcome: None,
    };
    profile.links.iter().rev().map(one).collect()
}
