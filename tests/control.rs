//! The control server as any Varlink client sees it: frames on a socket.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/fake_agent.rs"]
#[allow(dead_code)]
mod fake_agent;

use std::path::Path;
use std::time::Duration;

use autodeploy::control::METHODS;
use autodeploy::control::ask::Word;
use autodeploy::control::ask::{Ask, Refusal, RunNow, Told};
use fake_agent::{
    Answer, COMMIT, FakeAgent, details, done, idle, in_phase, open_directory, summary,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// A hang is a failure.
const LIMIT: Duration = Duration::from_secs(20);

/// A client that speaks frames and knows nothing else.
struct Plain(BufReader<UnixStream>);

impl Plain {
    async fn connect(socket: &Path) -> Plain {
        Plain(BufReader::new(UnixStream::connect(socket).await.unwrap()))
    }

    async fn send(&mut self, frame: &[u8]) {
        self.0.get_mut().write_all(frame).await.unwrap();
    }

    async fn call(&mut self, method: &str, parameters: Value) {
        let mut frame = json!({ "method": method, "parameters": parameters }).to_string();
        frame.push('\0');
        self.send(frame.as_bytes()).await;
    }

    /// The next frame; `None` when the server closed.
    async fn next(&mut self) -> Option<Value> {
        let mut frame = Vec::new();
        let reading = self.0.read_until(0, &mut frame);
        match tokio::time::timeout(LIMIT, reading).await.expect("no answer") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_slice(frame.strip_suffix(&[0]).unwrap()).unwrap()),
        }
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.call(&format!("org.autodeploy.Control.{method}"), parameters).await;
        self.next().await.unwrap()
    }
}

fn silent() -> Answer {
    Box::new(|_| None)
}

#[tokio::test]
async fn it_describes_itself() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    let mut client = Plain::connect(&agent.socket).await;

    client.call("org.varlink.service.GetInfo", json!({})).await;
    let info = client.next().await.unwrap()["parameters"].take();
    assert_eq!(info["interfaces"], json!(["org.autodeploy.Control", "org.varlink.service"]));
    assert_eq!(info["product"], "autodeployd");

    let which = json!({ "interface": "org.autodeploy.Control" });
    client.call("org.varlink.service.GetInterfaceDescription", which).await;
    let description = client.next().await.unwrap()["parameters"]["description"].take();
    let expected = include_str!("control/org.autodeploy.Control.varlink");
    assert_eq!(description.as_str().unwrap().trim_end(), expected.trim_end());
    let methods: Vec<_> = expected
        .lines()
        .filter_map(|line| Some(line.strip_prefix("method ")?.split_once('(')?.0))
        .collect();
    assert_eq!(methods, METHODS);
}

#[tokio::test]
async fn everybody_may_look() {
    let directory = open_directory();
    let answer: Answer = Box::new(|ask| match ask {
        Ask::ListDeployments { limit: 20 } => {
            Some(Ok(Told::Deployments(vec![summary(7, Some("kept"))])))
        }
        Ask::ShowDeployment { id: Some(7) } => {
            Some(Ok(Told::Deployment(Box::new(details(7, "idle", Some("kept"))))))
        }
        Ask::ShowDeployment { .. } => Some(Err(Refusal::NotFound {
            message: "there is no deployment 9".into(),
            hint: "autodeployctl history".into(),
        })),
        other => panic!("{other:?}"),
    });
    let agent = FakeAgent::start(directory.path(), idle(), answer);
    let mut client = Plain::connect(&agent.socket).await;

    let status = client.ask("GetStatus", json!({})).await;
    assert_eq!(status["parameters"], serde_json::to_value(idle()).unwrap());
    let listed = client.ask("ListDeployments", json!({})).await;
    assert_eq!(listed["parameters"]["deployments"][0]["outcome"], "kept");
    let shown = client.ask("ShowDeployment", json!({ "id": 7 })).await;
    assert_eq!(shown["parameters"]["summary"]["id"], 7);
    let missing = client.ask("ShowDeployment", json!({ "id": 9 })).await;
    assert_eq!(
        missing,
        json!({
            "error": "org.autodeploy.Control.NotFound",
            "parameters": {
                "message": "there is no deployment 9",
                "hint": "autodeployctl history",
            },
        })
    );
}

#[tokio::test]
async fn orders_reach_the_loop_with_the_user_who_gave_them() {
    let directory = open_directory();
    let answer: Answer = Box::new(|_| done(Some(8), "taken"));
    let agent = FakeAgent::start(directory.path(), idle(), answer);
    let mut client = Plain::connect(&agent.socket).await;
    let orders = [
        ("RunNow", json!({}), Ask::RunNow(RunNow::default())),
        (
            "RunNow",
            json!({ "ignore_maintenance": true, "emergency": true }),
            Ask::RunNow(RunNow { ignore_maintenance: true, emergency: true }),
        ),
        ("Rollback", json!({ "generation": 41 }), Ask::Rollback { generation: Some(41) }),
        ("Rollback", json!({}), Ask::Rollback { generation: None }),
        ("Answer", json!({ "answer": "abort" }), Ask::Answer { id: None, word: Word::Abort }),
        (
            "Answer",
            json!({ "id": 7, "answer": "confirm" }),
            Ask::Answer { id: Some(7), word: Word::Confirm },
        ),
        ("Block", json!({ "what": "7" }), Ask::Block { what: "7".into() }),
        ("Unblock", json!({ "what": "7" }), Ask::Unblock { what: "7".into() }),
        ("Pause", json!({ "reason": "racks" }), Ask::Pause { reason: "racks".into() }),
        ("Pause", json!({}), Ask::Pause { reason: String::new() }),
        ("Resume", json!({}), Ask::Resume),
        (
            "Reanchor",
            json!({ "commit": COMMIT, "reason": "moved" }),
            Ask::Reanchor { commit: COMMIT.into(), reason: "moved".into() },
        ),
    ];
    for (method, parameters, expected) in orders {
        let answer = client.ask(method, parameters).await;
        let parameters = json!({ "deployment": 8, "message": "taken" });
        assert_eq!(answer["parameters"], parameters, "{method}");
        let uid = nix::unistd::getuid().as_raw();
        assert_eq!(agent.asked.lock().unwrap().pop(), Some((uid, expected)));
    }
}

#[tokio::test]
async fn wrong_calls_are_named_and_the_next_one_is_answered() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    let mut client = Plain::connect(&agent.socket).await;
    let wrong = json!({
        "error": "org.varlink.service.InvalidParameter",
        "parameters": { "parameter": "parameters" },
    });
    assert_eq!(client.ask("Answer", json!({ "answer": "maybe" })).await, wrong);
    assert_eq!(client.ask("Block", json!({})).await, wrong);
    assert_eq!(client.ask("Reanchor", json!({ "commit": COMMIT })).await, wrong);
    assert_eq!(client.ask("ShowDeployment", json!({ "id": "seven" })).await, wrong);
    let unknown = client.ask("Approve", json!({})).await;
    assert_eq!(unknown["error"], "org.varlink.service.MethodNotFound");
    assert_eq!(client.ask("GetStatus", json!({})).await["parameters"]["host"], "web1");
    assert!(agent.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_call_ends_the_connection() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    for frame in [&b"GET / HTTP/1.1\r\n\r\n\0"[..], b"\0", b"[]\0", b"{}\0", b"{\"method\":1}\0"] {
        let mut client = Plain::connect(&agent.socket).await;
        client.send(frame).await;
        assert_eq!(client.next().await, None, "{frame:?}");
    }
}

#[tokio::test]
async fn watching_begins_with_now_and_tells_every_change() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    let mut client = Plain::connect(&agent.socket).await;
    let call = json!({ "method": "org.autodeploy.Control.Watch", "more": true }).to_string() + "\0";
    client.send(call.as_bytes()).await;
    let first = client.next().await.unwrap();
    assert_eq!(
        (&first["parameters"]["phase"], &first["continues"]),
        (&json!("idle"), &json!(true))
    );
    for phase in ["fetching", "switching"] {
        agent.status.send_replace(in_phase(8, phase));
        let change = client.next().await.unwrap();
        assert_eq!(change["parameters"]["phase"], phase);
    }
    // When there is nobody left who could change it, the client is told by the end.
    agent.stop().await;
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn watching_without_more_is_one_look() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    let mut client = Plain::connect(&agent.socket).await;
    let only = client.ask("Watch", json!({})).await;
    assert_eq!((&only["parameters"]["phase"], &only["continues"]), (&json!("idle"), &json!(false)));
    assert_eq!(client.ask("GetStatus", json!({})).await["parameters"]["phase"], "idle");
}

#[tokio::test]
async fn nobody_hinders_the_others() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    // One that says half a word, one whose order is never answered, one that never reads.
    let mut half = Plain::connect(&agent.socket).await;
    half.send(b"{\"method\":").await;
    let mut waiting = Plain::connect(&agent.socket).await;
    waiting.call("org.autodeploy.Control.RunNow", json!({})).await;
    agent.was_asked(|ask| matches!(ask, Ask::RunNow(_))).await;
    let mut deaf = Plain::connect(&agent.socket).await;
    let call = json!({ "method": "org.autodeploy.Control.Watch", "more": true }).to_string() + "\0";
    deaf.send(call.as_bytes()).await;

    let mut client = Plain::connect(&agent.socket).await;
    for round in 0..200 {
        let warnings = vec![format!("{round}"), "x".repeat(20_000)];
        agent.status.send_replace(with_warnings(warnings));
        let status = client.ask("GetStatus", json!({})).await;
        assert_eq!(status["parameters"]["warnings"][0], format!("{round}"));
    }
}

fn with_warnings(warnings: Vec<String>) -> autodeploy::control::status::Status {
    autodeploy::control::status::Status { warnings, ..idle() }
}

#[tokio::test]
async fn a_giant_frame_is_cut() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    let mut giant = Plain::connect(&agent.socket).await;
    let mut sent = 0;
    while sent < 100 << 20 {
        match giant.0.get_mut().write_all(&[b' '; 64 << 10]).await {
            Ok(()) => sent += 64 << 10,
            Err(_) => break,
        }
    }
    // What the socket's buffers hold, and no more, was taken.
    assert!(sent < 4 << 20, "{sent} bytes were taken");
    let mut client = Plain::connect(&agent.socket).await;
    assert_eq!(client.ask("GetStatus", json!({})).await["parameters"]["host"], "web1");
}

#[tokio::test]
async fn one_user_cannot_take_all_the_places() {
    let directory = open_directory();
    let agent = FakeAgent::start(directory.path(), idle(), silent());
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = Plain::connect(&agent.socket).await;
        assert_eq!(client.ask("GetStatus", json!({})).await["parameters"]["host"], "web1");
        clients.push(client);
    }
    let mut one_more = Plain::connect(&agent.socket).await;
    assert_eq!(one_more.next().await, None);
    // A place that is left is free: by one who was silent, and by one who watched.
    let mut leaving = clients.pop().unwrap();
    let call = json!({ "method": "org.autodeploy.Control.Watch", "more": true }).to_string() + "\0";
    leaving.send(call.as_bytes()).await;
    leaving.next().await.unwrap();
    drop(leaving);
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let mut client = Plain::connect(&agent.socket).await;
        let call = json!({ "method": "org.autodeploy.Control.GetStatus" }).to_string() + "\0";
        let sent = client.0.get_mut().write_all(call.as_bytes()).await;
        if sent.is_ok() && client.next().await.is_some() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the place is not free");
    }
}
