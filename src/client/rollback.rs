//! `autodeployctl rollback`

use std::path::Path;

use crate::client::act::{Act, carry_out};
use crate::client::args;
use crate::client::exit::{Exit, Wanted};
use crate::client::failed::Failed;
use crate::client::follow::Gates;
use crate::client::link::Order;

/// Goes back to what ran before, or to a generation, and waits for the outcome.
///
/// # Errors
/// Those of [`carry_out`].
pub async fn run(socket: &Path, arguments: &args::Rollback) -> Result<Exit, Failed> {
    let act = Act {
        order: Order::Rollback { generation: arguments.generation },
        asking: "asking to go back",
        gates: Gates::Stop,
        waiting: &arguments.waiting,
        wanted: Wanted::of_rollback,
    };
    carry_out(socket, act).await
}
