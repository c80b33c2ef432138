//! `autodeployctl reanchor`

use std::path::Path;

use crate::client::act::{Act, carry_out};
use crate::client::args;
use crate::client::exit::{Exit, Wanted};
use crate::client::failed::Failed;
use crate::client::follow::Gates;
use crate::client::link::Order;

/// Puts a commit in the place of the mark, and waits for what becomes of the tip.
///
/// # Errors
/// Those of [`carry_out`].
pub async fn run(socket: &Path, arguments: &args::Reanchor) -> Result<Exit, Failed> {
    let act = Act {
        order: Order::Reanchor {
            commit: arguments.commit.clone(),
            reason: arguments.reason.clone(),
        },
        asking: "polling, and looking for the commit",
        gates: Gates::Stop,
        waiting: &arguments.waiting,
        wanted: |_| Wanted::Run,
    };
    carry_out(socket, act).await
}
