//! `autodeployctl history`

use std::path::Path;

use crate::client::args;
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::moment;
use crate::client::output;
use crate::client::render;

/// Lists deployments, newest first.
///
/// # Errors
/// autodeployd is not there.
pub async fn run(socket: &Path, arguments: &args::History) -> Result<Exit, Failed> {
    let deployments = Link::open(socket).await?.deployments(arguments.limit).await?;
    match arguments.json {
        true => output::print_json(&deployments)?,
        false => output::print(&render::history::of(&deployments, &moment()))?,
    }
    Ok(Exit::Done)
}
