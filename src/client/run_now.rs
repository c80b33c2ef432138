//! `autodeployctl run-now`

use std::path::Path;

use crate::client::act::{Act, carry_out};
use crate::client::args;
use crate::client::exit::{Exit, Wanted};
use crate::client::failed::Failed;
use crate::client::follow::Gates;
use crate::client::link::Order;

/// Polls now, deploys what is there and waits for the outcome.
///
/// # Errors
/// Those of [`carry_out`].
pub async fn run(socket: &Path, arguments: &args::RunNow) -> Result<Exit, Failed> {
    let args::RunNow { ignore_maintenance, emergency, .. } = *arguments;
    let act = Act {
        order: Order::RunNow { ignore_maintenance, emergency },
        asking: "polling",
        gates: if arguments.wait { Gates::WaitToo } else { Gates::Stop },
        waiting: &arguments.waiting,
        wanted: |_| Wanted::Run,
    };
    carry_out(socket, act).await
}
