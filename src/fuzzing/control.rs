//! The control socket: whatever any local user sends, in whatever pieces.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::in_pieces;
use crate::agent::control::conversation::hold;
use crate::agent::control::line::Line;
use crate::agent::control::methods::Control;
use crate::agent::control::peer::{Peer, Rights};
use crate::agent::inbox::{Asked, Inbox};
use crate::control::ask::{Ask, Refusal, Told};
use crate::control::status::Status;

/// Laws: the conversation ends when the client goes; every answer is a whole frame with one object
/// in it; nobody gets more answers than they asked questions.
pub fn control(bytes: &[u8]) {
    let (pieces, stream) = in_pieces(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = runtime.block_on(converse(pieces));
    let questions = stream.split(|byte| *byte == 0).count();
    let answers: Vec<_> = heard.split(|byte| *byte == 0).collect();
    let (unfinished, answers) = answers.split_last().unwrap();
    assert!(unfinished.is_empty(), "an answer has no end");
    assert!(answers.len() <= questions, "{} answers to {questions}", answers.len());
    for answer in answers {
        let answer: Value = serde_json::from_slice(answer).unwrap();
        assert!(answer.is_object(), "{answer}");
    }
}

/// Says it all, hangs up, and returns what was answered.
async fn converse(pieces: impl Iterator<Item = &[u8]>) -> Vec<u8> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (asks, asked) = mpsc::channel(4);
    let (_changes, status) = watch::channel(status());
    let peer = Peer { uid: 0, gids: vec![0] };
    let rights = Arc::new(Rights { group: "wheel".to_owned() });
    let control = Control::new(Inbox { asks, status }, peer, rights);
    tokio::spawn(answer(asked));
    let held = tokio::spawn(hold(Line::new(ours), control));
    let (mut ear, mut mouth) = theirs.into_split();
    let hearing = tokio::spawn(async move {
        let mut heard = Vec::new();
        // Whoever is hung up on in the middle of a question has heard all the same.
        let _ = ear.read_to_end(&mut heard).await;
        heard
    });
    for piece in pieces {
        if mouth.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(mouth);
    held.await.unwrap();
    hearing.await.unwrap()
}

/// Plays the loop.
async fn answer(mut asked: mpsc::Receiver<Asked>) {
    while let Some(Asked { ask, reply, .. }) = asked.recv().await {
        let told = match ask {
            Ask::ListDeployments { .. } => Ok(Told::Deployments(Vec::new())),
            Ask::ShowDeployment { .. } => Err(Refusal::NotFound {
                message: "there is none".to_owned(),
                hint: "`autodeployctl history`".to_owned(),
            }),
            _ => Ok(Told::Done { deployment: None, message: "done".to_owned() }),
        };
        let _ = reply.send(told);
    }
}

fn status() -> Status {
    let status = json!({
        "host": "box", "phase": "idle", "boot_default": null, "deployment": null,
        "running": { "toplevel": "", "commit": null, "generation": null },
        "remote": {
            "url": "https://forge.example/infra", "branch": "main", "tip": null,
            "last_success_at": null, "last_error": null, "stale": false,
        },
        "checks": [], "blocked": [], "gates": [], "warnings": [],
        "reboot_needed": { "needed": false, "reasons": [] },
    });
    serde_json::from_value(status).unwrap()
}
