//! `autodeployctl show`

use std::path::Path;

use crate::client::args;
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::moment;
use crate::client::output;
use crate::client::render;

/// Shows all that is known of a deployment, of the newest unless said otherwise.
///
/// # Errors
/// There is no such deployment, or autodeployd is not there.
pub async fn run(socket: &Path, arguments: &args::Show) -> Result<Exit, Failed> {
    let details = Link::open(socket).await?.deployment(arguments.id).await?;
    match arguments.json {
        true => output::print_json(&details)?,
        false => output::print(&render::show::of(&details, &moment()))?,
    }
    Ok(Exit::Done)
}
