//! The client's side of the interface: one method per method on the wire.

use futures_util::Stream;

use crate::control::ask::{Refusal, Taken, Word};
use crate::control::deployment::{Details, Listed};
use crate::control::status::Status;

/// What can be asked over a connection.
#[zlink::proxy("org.autodeploy.Control")]
pub trait Proxy {
    /// How is it?
    async fn get_status(&mut self) -> zlink::Result<Result<Status, Refusal>>;
    /// The newest deployments.
    async fn list_deployments(&mut self, limit: u32) -> zlink::Result<Result<Listed, Refusal>>;
    /// One deployment, or the newest.
    async fn show_deployment(&mut self, id: Option<i64>)
    -> zlink::Result<Result<Details, Refusal>>;
    /// The status now, and again whenever it changes.
    #[zlink(more)]
    async fn watch(
        &mut self,
    ) -> zlink::Result<impl Stream<Item = zlink::Result<Result<Status, Refusal>>>>;
    /// Poll now, and deploy what is there.
    async fn run_now(
        &mut self,
        ignore_maintenance: bool,
        emergency: bool,
    ) -> zlink::Result<Result<Taken, Refusal>>;
    /// Go back.
    async fn rollback(&mut self, generation: Option<i64>) -> zlink::Result<Result<Taken, Refusal>>;
    /// Confirm or abort.
    async fn answer(
        &mut self,
        id: Option<i64>,
        answer: Word,
    ) -> zlink::Result<Result<Taken, Refusal>>;
    /// Never try it again by itself.
    async fn block(&mut self, what: &str) -> zlink::Result<Result<Taken, Refusal>>;
    /// Allow it again.
    async fn unblock(&mut self, what: &str) -> zlink::Result<Result<Taken, Refusal>>;
    /// Hold the next trial back.
    async fn pause(&mut self, reason: &str) -> zlink::Result<Result<Taken, Refusal>>;
    /// Let trials go on.
    async fn resume(&mut self) -> zlink::Result<Result<Taken, Refusal>>;
    /// Put a commit in the place of the mark, once.
    async fn reanchor(
        &mut self,
        commit: &str,
        reason: &str,
    ) -> zlink::Result<Result<Taken, Refusal>>;
}
