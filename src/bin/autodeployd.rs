//! `autodeployd`: the agent. As `autodeployd git-child REQUEST` it is the agent's own Git child.

use std::process::ExitCode;

use autodeploy::effects::git;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(first), Some(request)) if first == git::CHILD_ARGUMENT => git::child(&request),
        _ => ExitCode::SUCCESS,
    }
}
