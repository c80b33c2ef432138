//! `autodeployctl abort`

use std::path::Path;

use crate::client::act::{Act, carry_out};
use crate::client::args;
use crate::client::exit::{Exit, Wanted};
use crate::client::failed::Failed;
use crate::client::follow::Gates;
use crate::client::link::Order;

/// Ends the trial that is on, and waits until it is gone.
///
/// # Errors
/// Those of [`carry_out`].
pub async fn run(socket: &Path, waiting: &args::Waiting) -> Result<Exit, Failed> {
    let act = Act {
        order: Order::Abort,
        asking: "asking to end the trial",
        gates: Gates::WaitToo,
        waiting,
        wanted: |_| Wanted::Gone,
    };
    carry_out(socket, act).await
}
