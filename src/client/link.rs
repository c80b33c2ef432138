//! A connection to autodeployd.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use zlink::tokio::unix;

use crate::client::failed::Failed;
use crate::control::ask::{Refusal, Taken, Word};
use crate::control::deployment::Details;
use crate::control::proxy::Proxy;
use crate::control::status::{Status, Summary};

/// autodeployd answers at once what needs no work; later than this counts as not at all.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What a client asks over.
pub struct Link {
    connection: unix::Connection,
    socket: PathBuf,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// autodeployd is not there.
    pub async fn open(socket: &Path) -> Result<Link, Failed> {
        let connected = tokio::time::timeout(ANSWER_LIMIT, unix::connect(socket)).await;
        let connected = connected.map_err(|_| silent(socket))?;
        let connection = connected.map_err(|error| Failed::of_call(socket, error))?;
        Ok(Link { connection, socket: socket.to_owned() })
    }

    /// How is it?
    ///
    /// # Errors
    /// It is gone, or too late.
    pub async fn status(&mut self) -> Result<Status, Failed> {
        soon(&self.socket, self.connection.get_status()).await
    }

    /// The newest deployments.
    ///
    /// # Errors
    /// It is gone, or too late.
    pub async fn deployments(&mut self, limit: u32) -> Result<Vec<Summary>, Failed> {
        let listed = soon(&self.socket, self.connection.list_deployments(limit)).await?;
        Ok(listed.deployments)
    }

    /// One deployment, or the newest.
    ///
    /// # Errors
    /// There is no such, or autodeployd is gone, or too late.
    pub async fn deployment(&mut self, id: Option<i64>) -> Result<Details, Failed> {
        soon(&self.socket, self.connection.show_deployment(id)).await
    }

    /// The status now, and whenever it changes; ends when autodeployd goes.
    ///
    /// # Errors
    /// It is gone.
    pub async fn watch(
        &mut self,
    ) -> Result<impl Stream<Item = Result<Status, Failed>> + '_, Failed> {
        let socket = &self.socket;
        let changes = self.connection.watch().await;
        let changes = changes.map_err(|error| Failed::of_call(socket, error))?;
        Ok(changes.map(move |change| settled(socket, change)))
    }

    /// Carries out an order, however long autodeployd takes over it.
    ///
    /// # Errors
    /// It was refused, it failed, or autodeployd is gone.
    pub async fn order(&mut self, order: &Order) -> Result<Taken, Failed> {
        let connection = &mut self.connection;
        let answer = match order {
            Order::RunNow { ignore_maintenance, emergency } => {
                connection.run_now(*ignore_maintenance, *emergency).await
            }
            Order::Rollback { generation } => connection.rollback(*generation).await,
            Order::Abort => connection.answer(None, Word::Abort).await,
            Order::Block { what } => connection.block(what).await,
            Order::Unblock { what } => connection.unblock(what).await,
            Order::Pause { reason } => connection.pause(reason).await,
            Order::Resume => connection.resume().await,
            Order::Reanchor { commit, reason } => connection.reanchor(commit, reason).await,
        };
        settled(&self.socket, answer)
    }
}

/// What takes the right to act.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Order {
    /// Poll now, and deploy what is there.
    RunNow { ignore_maintenance: bool, emergency: bool },
    /// Go back.
    Rollback { generation: Option<i64> },
    /// End the trial that is on.
    Abort,
    /// Never try it again by itself.
    Block { what: String },
    /// Allow it again.
    Unblock { what: String },
    /// Hold trials back.
    Pause { reason: String },
    /// Let trials go on.
    Resume,
    /// Put a commit in the place of the mark, once.
    Reanchor { commit: String, reason: String },
}

/// Waits for an answer that takes no work.
async fn soon<T>(
    socket: &Path,
    answer: impl Future<Output = zlink::Result<Result<T, Refusal>>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(ANSWER_LIMIT, answer).await {
        Ok(answer) => settled(socket, answer),
        Err(_) => Err(silent(socket)),
    }
}

fn silent(socket: &Path) -> Failed {
    Failed::unreachable(socket, &format!("no answer within {} s", ANSWER_LIMIT.as_secs()))
}

fn settled<T>(socket: &Path, answer: zlink::Result<Result<T, Refusal>>) -> Result<T, Failed> {
    match answer {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(error) => Err(Failed::of_call(socket, error)),
    }
}
