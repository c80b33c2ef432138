//! Polls over HTTP, in-process.

use std::time::Duration;

use autodeploy::effects::remote::{PollFailure, Polled, RefPoll, Remote};

use crate::origin::{Both, git};
use crate::server::{Manner, Server};

const LIMIT: Duration = Duration::from_secs(20);

const GET: &str = "GET /origin/.git/info/refs?service=git-upload-pack";
const POST: &str = "POST /origin/.git/git-upload-pack";

struct World {
    both: Both,
    server: Server,
    polls: RefPoll,
    remote: Remote,
}

impl World {
    fn new(manner: Manner) -> World {
        let both = Both::new();
        let server = Server::start(both.directory.path(), manner);
        let remote = both.remote(&server.url());
        World { polls: RefPoll::new(both.git.clone()), both, server, remote }
    }

    async fn poll(&mut self) -> Result<Polled, PollFailure> {
        self.polls.tip(&self.remote, LIMIT).await
    }

    /// Polls well, and returns what the server saw of it.
    async fn good(&mut self) -> Vec<String> {
        let polled = self.poll().await.unwrap();
        assert_eq!(polled.tip, self.both.tip());
        self.server.take_seen()
    }

    /// Polls badly; returns code, cause, hint and the pause that the server wants.
    async fn bad(&mut self) -> (String, String, Option<String>, Option<u64>) {
        let PollFailure { failure, retry_after } = self.poll().await.unwrap_err();
        let before = format!("could not ask `{}` for `main`: ", self.remote.url);
        let cause =
            failure.message.replace(&before, "").replace(&self.server.port.to_string(), "PORT");
        let reason = failure.reason.as_str().to_owned();
        (reason, cause, failure.hint, retry_after.map(|wait| wait.as_secs()))
    }
}

#[tokio::test]
async fn the_second_poll_is_one_request_over_the_same_connection() {
    let mut world = World::new(Manner::Serve);
    assert_eq!(world.good().await, [format!("0 {GET}"), format!("0 {POST}")]);
    assert_eq!(world.good().await, [format!("0 {POST}")]);
    world.both.commit("second", "second");
    assert_eq!(world.good().await, [format!("0 {POST}")]);
}

#[tokio::test]
async fn a_server_without_version_2_lists_everything() {
    let mut world = World::new(Manner::OldProtocol);
    git(&world.both.origin, &["branch", "main2"]);
    assert_eq!(world.good().await, [format!("0 {GET}")]);
    world.both.commit("second", "second");
    assert_eq!(world.good().await, [format!("0 {GET}")]);
    world.remote.branch = "none".to_owned();
    assert_eq!(world.bad().await.0, "no-such-branch");
}

#[tokio::test]
async fn a_server_that_hung_up_is_asked_over_a_new_connection() {
    let mut world = World::new(Manner::Serve);
    world.good().await;
    world.server.turn(Manner::HangUp);
    assert_eq!(world.good().await, [format!("0 {POST}")]);
    world.server.turn(Manner::Serve);
    assert_eq!(world.good().await, [format!("1 {POST}")]);
}

#[tokio::test]
async fn a_server_that_unlearned_version_2_is_asked_anew() {
    let mut world = World::new(Manner::Serve);
    world.good().await;
    world.server.turn(Manner::OldProtocol);
    let seen = world.good().await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].ends_with(POST) && seen[1].ends_with(GET), "{seen:?}");
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_said() {
    let mut world = World::new(Manner::Serve);
    world.remote.branch = "none".to_owned();
    for _ in 0..2 {
        let (reason, message, hint, _) = world.bad().await;
        assert_eq!(reason, "no-such-branch");
        assert_eq!(message, "`http://127.0.0.1:PORT/origin/.git` has no branch `none`");
        assert!(hint.unwrap().starts_with("`git ls-remote --heads http"));
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let mut world = World::new(Manner::Serve);
    for (status, header, reason, wait) in [
        (401, "X: y", "access-denied", None),
        (403, "X: y", "access-denied", None),
        (404, "X: y", "access-denied", None),
        (429, "Retry-After: 120", "unreachable", Some(120)),
        (503, "Retry-After: 999999999", "unreachable", Some(86_400)),
        (500, "X: y", "unreachable", None),
    ] {
        world.server.turn(Manner::Status(status, header));
        let seen = world.bad().await;
        let expected = (reason.to_owned(), format!("the server answered {status}"), wait);
        assert_eq!((seen.0, seen.1, seen.3), expected);
        world.server.turn(Manner::Serve);
        world.good().await;
    }
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed_and_remembered() {
    let mut world = World::new(Manner::Redirect(String::new()));
    world.remote.url = world.remote.url.replace("/origin", "/old/origin");
    let old = GET.replace("/origin", "/old/origin");
    let seen = world.good().await;
    assert_eq!(seen, [format!("0 {old}"), format!("1 {GET}"), format!("1 {POST}")]);
    assert_eq!(world.good().await, [format!("1 {POST}")]);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused() {
    let mut world = World::new(Manner::Redirect("http://localhost:1".to_owned()));
    world.remote.url = world.remote.url.replace("/origin", "/old/origin");
    let (reason, cause, hint, _) = world.bad().await;
    assert_eq!(reason, "unreachable");
    assert_eq!(
        cause,
        "a redirect to `http://localhost:1/origin/.git/info/refs?service=git-upload-pack` leads \
         to another host and is not followed"
    );
    assert_eq!(hint.unwrap(), "put the repository's own address into `source.url`");
}

#[tokio::test]
async fn redirects_end() {
    let mut world = World::new(Manner::Redirect("/old".to_owned()));
    world.remote.url = world.remote.url.replace("/origin", "/old/origin");
    assert_eq!(world.bad().await.1, "more than 3 redirects");
    assert_eq!(world.server.take_seen().len(), 4);
}

#[tokio::test]
async fn the_token_is_read_afresh_for_each_poll_and_never_shown() {
    let mut world = World::new(Manner::Only("git:word"));
    assert_eq!(world.bad().await.0, "access-denied");
    let file = world.both.directory.path().join("token");
    world.remote.token_file = Some(file.clone());
    let (reason, cause, ..) = world.bad().await;
    assert_eq!(reason, "access-denied");
    assert!(cause.starts_with("could not read `/"), "{cause}");
    std::fs::write(&file, "other-word\n").unwrap();
    let shown = format!("{:?}", world.bad().await);
    assert!(!shown.contains("other-word"), "{shown}");
    std::fs::write(&file, "word\n").unwrap();
    world.good().await;
    world.good().await;
    std::fs::write(&file, "changed\n").unwrap();
    assert_eq!(world.bad().await.0, "access-denied");
}

#[tokio::test]
async fn one_byte_a_second_ends_at_the_limit() {
    let mut world = World::new(Manner::Trickle);
    let failure = world.polls.tip(&world.remote, Duration::from_millis(300)).await.unwrap_err();
    assert!(failure.failure.message.ends_with("no answer within 300 ms"), "{failure:?}");
    world.server.turn(Manner::Serve);
    world.good().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_ends_at_the_limit() {
    let mut world = World::new(Manner::Serve);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.remote.url = format!("http://{}/x", silent.local_addr().unwrap());
    let failure = world.polls.tip(&world.remote, Duration::from_millis(300)).await.unwrap_err();
    assert!(failure.failure.message.ends_with("no answer within 300 ms"), "{failure:?}");
}

#[tokio::test]
async fn nobody_there_is_said() {
    let mut world = World::new(Manner::Serve);
    world.remote.url = "http://127.0.0.1:1/x".to_owned();
    let (reason, cause, ..) = world.bad().await;
    assert_eq!(reason, "unreachable");
    assert_eq!(cause, "could not connect to `127.0.0.1:1`: Connection refused (os error 111)");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_left() {
    let line = format!("003e{} refs/heads/x{}\n", "a".repeat(40), "y".repeat(4));
    let line = line.replacen("003e", &format!("{:04x}", line.len()), 1).into_bytes();
    let mut world = World::new(Manner::Says(line, 1 << 40));
    let (reason, cause, ..) = world.bad().await;
    assert_eq!(reason, "unreachable", "{cause}");
    let mut start = b"001e# service=git-upload-pack\n0000".to_vec();
    let line = format!("{} refs/heads/x", "a".repeat(40));
    for _ in 0..1000 {
        start.extend(format!("{:04x}{line}\n", line.len() + 5).bytes());
    }
    // The second time round it is no ref any more, but that many refs are passed over first.
    world.server.turn(Manner::Says(start.clone(), start.len()));
    assert_eq!(world.bad().await.1, "the list of refs ended early");
    let lines = start.split_off(34);
    let endless: Vec<u8> = [start, lines.repeat(310)].concat();
    assert!(endless.len() > 16 << 20);
    world.server.turn(Manner::Says(endless.clone(), endless.len()));
    let (reason, cause, ..) = world.bad().await;
    assert_eq!(
        (reason.as_str(), cause.as_str()),
        ("too-large", "the answer is larger than 16777216 bytes")
    );
}

#[tokio::test]
async fn what_is_no_git_server_is_said() {
    let mut world = World::new(Manner::Says(b"<!DOCTYPE html>".to_vec(), 15));
    assert_eq!(world.bad().await.1, "`<!DO` is no length of a packet");
    world.server.turn(Manner::Status(200, "Content-Type: text/html"));
    assert_eq!(world.bad().await.1, "the answer is not that of a Git server");
}

#[tokio::test]
async fn files_are_asked_by_the_child() {
    let mut world = World::new(Manner::Serve);
    world.remote = world.both.file_remote();
    assert_eq!(world.poll().await.unwrap().tip, world.both.tip());
    world.remote.branch = "none".to_owned();
    assert_eq!(world.poll().await.unwrap_err().failure.reason.as_str(), "no-such-branch");
}
