//! The methods of `org.autodeploy.Control`, as zlink dispatches and describes them.
//!
//! `Approve` of the contract is not here yet.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, stream};
use tokio::sync::{oneshot, watch};
use zlink::Reply;

use crate::agent::control::peer::{Peer, Rights};
use crate::agent::inbox::{Asked, Inbox};
use crate::control::ask::{Ask, Refusal, RunNow, Taken, Told, Word};
use crate::control::deployment::{Check, Details, Event, Evidence, Listed};
use crate::control::status::{
    Blocked, Gate, RebootNeeded, Remote, Running, Stale, Status, Summary,
};
use crate::model::failure::Reason;

/// How many deployments are listed when nobody says.
const LISTED: u32 = 20;

/// What one client talks to.
pub struct Control {
    inbox: Inbox,
    peer: Peer,
    rights: Arc<Rights>,
}

impl Control {
    /// Puts together what the methods need.
    pub fn new(inbox: Inbox, peer: Peer, rights: Arc<Rights>) -> Control {
        Control { inbox, peer, rights }
    }

    /// Hands an order to the loop, if this client may act.
    async fn order(&self, ask: Ask) -> Result<Taken, Refusal> {
        self.rights.clone().may_act(&self.peer).await?;
        match self.ask(ask).await? {
            Told::Done { deployment, message } => Ok(Taken { deployment, message }),
            other => Err(mixed_up(&other)),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Told, Refusal> {
        let (reply, told) = oneshot::channel();
        let asked = Asked { uid: self.peer.uid, ask, reply };
        self.inbox.asks.send(asked).await.map_err(|_| stopping())?;
        told.await.map_err(|_| stopping())?
    }
}

fn stopping() -> Refusal {
    Refusal::NotPossible {
        message: "autodeployd is stopping".to_owned(),
        hint: "ask again in a moment".to_owned(),
    }
}

fn mixed_up(told: &Told) -> Refusal {
    let what = match told {
        Told::Deployments(_) => "a list",
        Told::Deployment(_) => "a deployment",
        Told::Done { .. } => "an acknowledgement",
    };
    Refusal::Failed {
        reason: Reason::INTERNAL.as_str().to_owned(),
        message: format!("autodeployd answered with {what} where something else was asked for"),
        hint: "journalctl -u autodeploy".to_owned(),
    }
}

/// How autodeploy is, what it did, and what it is to do next.
///
/// Everybody may look. Acting takes root or membership of `control.group`.
#[zlink::service(
    interface = "org.autodeploy.Control",
    types = [Running, Remote, Stale, Summary, Blocked, Gate, RebootNeeded, Event, Check, Evidence, Word],
    vendor = "autodeploy",
    product = "autodeployd",
    version = env!("CARGO_PKG_VERSION"),
)]
impl Control {
    /// Everything that is true now.
    async fn get_status(&self) -> Status {
        // Not asked of the loop: whoever looks does not have to wait for what it is at.
        self.inbox.status.borrow().clone()
    }

    /// The status now, and again whenever anything in it changes.
    #[zlink(more)]
    async fn watch(&self, more: bool) -> Changes<Status> {
        Changes::of(self.inbox.status.clone(), more)
    }

    /// The newest deployments first, 20 unless said otherwise.
    async fn list_deployments(&self, limit: Option<u32>) -> Result<Listed, Refusal> {
        match self.ask(Ask::ListDeployments { limit: limit.unwrap_or(LISTED) }).await? {
            Told::Deployments(deployments) => Ok(Listed { deployments }),
            other => Err(mixed_up(&other)),
        }
    }

    /// All that is known of one deployment, of the newest unless said otherwise.
    async fn show_deployment(&self, id: Option<i64>) -> Result<Details, Refusal> {
        match self.ask(Ask::ShowDeployment { id }).await? {
            Told::Deployment(details) => Ok(*details),
            other => Err(mixed_up(&other)),
        }
    }

    /// Polls now and deploys what is there; answers after the poll, with the deployment if there is
    /// one. An emergency passes maintenance, approval and pause, and reduces the checks to the
    /// lifeline.
    async fn run_now(
        &self,
        ignore_maintenance: Option<bool>,
        emergency: Option<bool>,
    ) -> Result<Taken, Refusal> {
        let ignore_maintenance = ignore_maintenance.unwrap_or_default();
        let emergency = emergency.unwrap_or_default();
        self.order(Ask::RunNow(RunNow { ignore_maintenance, emergency })).await
    }

    /// Goes back to what ran before (which ends the trial that is on), or to a generation.
    async fn rollback(&self, generation: Option<i64>) -> Result<Taken, Refusal> {
        self.order(Ask::Rollback { generation }).await
    }

    /// Confirms or aborts the trial that is on.
    async fn answer(&self, id: Option<i64>, answer: Word) -> Result<Taken, Refusal> {
        self.order(Ask::Answer { id, word: answer }).await
    }

    /// Never tries a closure again by itself; named by store path, commit or deployment.
    async fn block(&self, what: String) -> Result<Taken, Refusal> {
        self.order(Ask::Block { what }).await
    }

    /// Allows it again.
    async fn unblock(&self, what: String) -> Result<Taken, Refusal> {
        self.order(Ask::Unblock { what }).await
    }

    /// Holds the next trial back, with a reason for the others who look.
    async fn pause(&self, reason: Option<String>) -> Result<Taken, Refusal> {
        self.order(Ask::Pause { reason: reason.unwrap_or_default() }).await
    }

    /// Lets trials go on.
    async fn resume(&self) -> Result<Taken, Refusal> {
        self.order(Ask::Resume).await
    }

    /// Puts a commit of the branch, by its full name, in the place of the mark, until a tip that
    /// descends from it was kept; answers after a poll. For a branch that was rewritten on purpose.
    async fn reanchor(&self, commit: String, reason: String) -> Result<Taken, Refusal> {
        self.order(Ask::Reanchor { commit, reason }).await
    }
}

/// A value as it changes; ends when nobody can change it any more.
pub struct Changes<T>(Pin<Box<dyn Stream<Item = Reply<T>> + Send>>);

impl<T: Clone + Send + Sync + 'static> Changes<T> {
    /// Starts with the present value, which is also the last one unless `more` are wanted.
    fn of(mut values: watch::Receiver<T>, more: bool) -> Changes<T> {
        let reply = move |value: T| Reply::new(Some(value)).set_continues(Some(more));
        if !more {
            let only = values.borrow().clone();
            return Changes(Box::pin(stream::iter([reply(only)])));
        }
        values.mark_changed();
        Changes(Box::pin(stream::unfold(values, move |mut values| async move {
            values.changed().await.ok()?;
            let value = values.borrow_and_update().clone();
            Some((reply(value), values))
        })))
    }
}

impl<T> Stream for Changes<T> {
    type Item = Reply<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply<T>>> {
        self.0.as_mut().poll_next(cx)
    }
}
