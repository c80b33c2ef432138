//! `autodeployctl status`

use std::path::Path;

use crate::client::args;
use crate::client::exit::{self, Exit};
use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::moment;
use crate::client::output;
use crate::client::render;
use crate::control::status::Status;

/// Shows how this machine is; with `--check`, judges it.
///
/// # Errors
/// autodeployd is not there.
pub async fn run(socket: &Path, arguments: &args::Status) -> Result<Exit, Failed> {
    let status = Link::open(socket).await?.status().await?;
    let verdict = exit::of_status(&status);
    match (arguments.json, arguments.check) {
        (true, _) => output::print_json(&status)?,
        (false, true) => output::print(&checked(&status, &verdict))?,
        (false, false) => output::print(&render::status::of(&status, &moment()))?,
    }
    Ok(if arguments.check { verdict.exit } else { Exit::Done })
}

/// Returns one line for a monitoring program, with every reason.
fn checked(status: &Status, verdict: &exit::Verdict) -> String {
    let line = match verdict.reasons.is_empty() {
        true => render::headline::of(status, &moment()),
        false => verdict.reasons.join("; "),
    };
    format!("{line}\n")
}
