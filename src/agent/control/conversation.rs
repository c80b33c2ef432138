//! One client from its first call to its last.

use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use zlink::service::{MethodReply, Service};
use zlink::{Call, Connection, Reply, varlink_service};

use crate::agent::control::line::Line;
use crate::agent::control::methods::Control;
use crate::control::{INTERFACE, METHODS};

/// A client that asks nothing for this long is closed; one that waits for an answer, or watches,
/// is not.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// A call as it came, before its method is known.
#[derive(Debug, Deserialize)]
struct Raw {
    method: String,
    #[serde(default)]
    parameters: Option<Value>,
}

/// Answers calls until the client goes, sends what is no call, or is silent for too long.
pub async fn hold(line: Line, mut control: Control) {
    let mut connection = Connection::new(line.clone());
    while let Ok(Ok((call, _))) =
        tokio::time::timeout(IDLE_LIMIT, connection.receive_call::<Raw>()).await
    {
        // An error here is the client's going away.
        match answer(call, &mut control, &mut connection).await {
            Ok(Next::Call) => {}
            Ok(Next::Watch(changes)) => {
                // Nobody asks while watching: any stir is the end of it.
                tokio::select! {
                    ended = tell(changes, &mut connection) => if ended.is_err() { return },
                    () = line.stirs() => return,
                }
            }
            Err(_) => return,
        }
    }
}

/// What follows an answer.
enum Next {
    Call,
    Watch(<Control as Service<Line>>::ReplyStream),
}

async fn answer(
    call: Call<Raw>,
    control: &mut Control,
    connection: &mut Connection<Line>,
) -> zlink::Result<Next> {
    let text = json!({ "method": call.method().method, "parameters": call.method().parameters });
    let text = text.to_string();
    let Ok(method) = serde_json::from_str(&text) else {
        connection.send_error(&misunderstood(&call.method().method), vec![]).await?;
        return Ok(Next::Call);
    };
    let typed = Call::new(method).set_more(call.more()).set_upgrade(call.upgrade());
    let (reply, _) = control.handle(&typed, connection, vec![]).await;
    let wanted = !call.oneway();
    match reply {
        MethodReply::Multi(changes) => return Ok(Next::Watch(changes)),
        MethodReply::Single(parameters) if wanted => {
            connection.send_reply(&Reply::new(parameters), vec![]).await?;
        }
        MethodReply::Error(error) if wanted => connection.send_error(&error, vec![]).await?,
        // One-way calls get no answer, and no method of ours upgrades.
        _ => {}
    }
    Ok(Next::Call)
}

/// Says what is wrong with a call that could not be read. zlink would blame the parameters of a
/// method that does not exist.
fn misunderstood(method: &str) -> varlink_service::Error<'static> {
    let known = match method.rsplit_once('.') {
        Some((INTERFACE, name)) => METHODS.contains(&name),
        Some(("org.varlink.service", name)) => {
            matches!(name, "GetInfo" | "GetInterfaceDescription")
        }
        Some(_) | None => false,
    };
    match known {
        true => varlink_service::Error::InvalidParameter { parameter: "parameters".into() },
        false => varlink_service::Error::MethodNotFound { method: method.to_owned().into() },
    }
}

/// Sends changes until there are no more; then the client may ask again, if it was told so.
async fn tell(
    mut changes: <Control as Service<Line>>::ReplyStream,
    connection: &mut Connection<Line>,
) -> zlink::Result<()> {
    let mut more = false;
    while let Some((reply, _)) = changes.next().await {
        match reply {
            Ok(reply) => {
                more = reply.continues().unwrap_or_default();
                connection.send_reply(&reply, vec![]).await?;
            }
            Err(never) => connection.send_error(&never, vec![]).await?,
        }
    }
    match more {
        true => Err(zlink::Error::UnexpectedEof),
        false => Ok(()),
    }
}
