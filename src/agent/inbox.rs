//! The seam between the control socket and the loop: one message in, one message back.

use tokio::sync::{mpsc, oneshot, watch};

use crate::control::ask::{Ask, Refusal, Told};
use crate::control::status::Status;

/// Something asked over the control socket, already allowed.
pub struct Asked {
    /// Who asked, by peer credentials.
    pub uid: u32,
    /// What.
    pub ask: Ask,
    /// Where the answer goes; nobody may be listening any more.
    pub reply: oneshot::Sender<Result<Told, Refusal>>,
}

/// What the control server holds: a way to ask, and the status as it changes (for `Watch`).
#[derive(Clone)]
pub struct Inbox {
    /// To the loop. Bounded: whoever floods the socket waits, the loop does not.
    pub asks: mpsc::Sender<Asked>,
    /// The latest status; changes whenever anything in it does.
    pub status: watch::Receiver<Status>,
}
