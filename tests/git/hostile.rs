//! Servers that never come to an end: each poll and each fetch ends all the same, with a sentence,
//! and the next poll of a good server works.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use autodeploy::effects::git::{FetchLimits, Want};
use autodeploy::effects::remote::{RefPoll, Remote};
use autodeploy::model::failure::Failure;
use autodeploy::model::text::is_plain;

use crate::origin::{Both, LIMITS};
use crate::server::{Manner, Server};

/// For what only the deadline ends.
const SHORT: Duration = Duration::from_millis(400);

/// For what something else has to end long before it.
const LONG: Duration = Duration::from_secs(120);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

const ADVERTISES: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\
      Content-Length: 999999999999999\r\n\r\n001e# service=git-upload-pack\n0000";

type Spoken = io::Result<()>;

/// Serves on loopback until the test's process ends: each connection is `speak`'s as soon as
/// something came over it.
fn start(speak: impl Fn(&mut TcpStream) -> Spoken + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let speak = std::sync::Arc::new(speak);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let speak = speak.clone();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                // Who hung up is not spoken to any more.
                let _ = speak(&mut stream);
                let _ = io::copy(&mut stream, &mut io::sink());
            });
        }
    });
    port
}

/// Says the first once and the second for ever.
fn flood(first: &'static [u8], then: &[u8]) -> impl Fn(&mut TcpStream) -> Spoken + use<> {
    let many = then.repeat(1 + (64 << 10) / then.len());
    move |stream| {
        stream.write_all(first)?;
        loop {
            stream.write_all(&many)?;
        }
    }
}

/// Says the first at once, and then a byte a second.
fn drip(first: &'static [u8]) -> impl Fn(&mut TcpStream) -> Spoken {
    move |stream| {
        stream.write_all(first)?;
        loop {
            stream.write_all(b"y")?;
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn ref_line(name: &str) -> Vec<u8> {
    let line = format!("{} refs/heads/{name}\n", "a".repeat(40));
    format!("{:04x}{line}", line.len() + 4).into_bytes()
}

struct World {
    both: Both,
    good: Server,
    polls: RefPoll,
}

impl World {
    fn new() -> World {
        let both = Both::new();
        let good = Server::start(both.directory.path(), Manner::Serve);
        World { polls: RefPoll::new(both.git.clone()), both, good }
    }

    fn seen(&self, failure: Failure, url: &str) -> (String, String) {
        assert!(failure.hint.is_some(), "{failure}");
        assert!(failure.message.len() < 600, "{failure}");
        (failure.reason.to_string(), failure.message.replace(url, "URL"))
    }

    /// Polls badly, and then a good server well.
    async fn poll(&mut self, remote: &Remote, limit: Duration) -> (String, String) {
        let failure = self.polls.tip(remote, limit).await.unwrap_err().failure;
        let good = self.both.remote(&self.good.url());
        assert_eq!(self.polls.tip(&good, LIMITS.timeout).await.unwrap().tip, self.both.tip());
        self.seen(failure, &remote.url)
    }

    /// Fetches badly, and then from a good server well.
    fn fetch(&self, remote: &Remote, limit: Duration) -> (String, String) {
        let want = Want { tip: "b".repeat(40).parse().unwrap(), mark: None };
        let limits = FetchLimits { timeout: limit, ..LIMITS };
        let failure = self.both.git.fetch(remote, &want, &limits).unwrap_err();
        let good = self.both.remote(&self.good.url());
        assert_eq!(self.both.fetch(&good, None).unwrap().tip, self.both.tip());
        self.seen(failure, &remote.url)
    }

    async fn check(
        &mut self,
        port: u16,
        polled: (Duration, &str, &str),
        fetched: (Duration, &str, &str),
    ) {
        self.check_at(&format!("http://127.0.0.1:{port}/x"), polled, fetched).await;
    }

    async fn check_at(
        &mut self,
        url: &str,
        polled: (Duration, &str, &str),
        fetched: (Duration, &str, &str),
    ) {
        let remote = self.both.remote(url);
        let (limit, reason, cause) = polled;
        let expected = (reason.to_owned(), format!("could not ask `URL` for `main`: {cause}"));
        assert_eq!(self.poll(&remote, limit).await, expected);
        let (limit, reason, cause) = fetched;
        let expected = (reason.to_owned(), format!("could not fetch `main` from `URL`: {cause}"));
        assert_eq!(self.fetch(&remote, limit), expected);
    }
}

const NO_ANSWER: (Duration, &str, &str) = (SHORT, "unreachable", "no answer within 400 ms");

const NOT_FINISHED: (Duration, &str, &str) =
    (SHORT, "unreachable", "not finished within 400 ms (`source.fetch_timeout`)");

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let mut world = World::new();
    let silent = start(|_| Ok(()));
    world.check(silent, NO_ANSWER, NOT_FINISHED).await;
    // Here what came before the silence was the hello of TLS.
    let url = format!("https://127.0.0.1:{silent}/x");
    world.check_at(&url, NO_ANSWER, NOT_FINISHED).await;
}

#[tokio::test]
async fn a_byte_a_second_ends_at_the_deadline_wherever_it_begins() {
    let mut world = World::new();
    for first in [b"HTTP/1.1 200 " as &[u8], OK, b"HTTP/1.1 200 OK\r\nX-Y: "] {
        let port = start(drip(first));
        world.check(port, NO_ANSWER, NOT_FINISHED).await;
    }
}

#[tokio::test]
async fn headers_without_end_are_left() {
    let mut world = World::new();
    let too_large = (LONG, "unreachable", "the connection broke: message head is too large");
    let lines = start(flood(OK, b"X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"));
    world.check(lines, too_large, NOT_FINISHED).await;
    let line = start(flood(b"HTTP/1.1 200 OK\r\nX-Filler: ", b"y"));
    world.check(line, too_large, NOT_FINISHED).await;
}

#[tokio::test]
async fn interim_answers_without_end_are_left() {
    let mut world = World::new();
    let interim = format!("HTTP/1.1 100 Continue\r\nX-Filler: {}\r\n\r\n", "y".repeat(4000));
    let port = start(flood(b"", interim.as_bytes()));
    let fetch = (LONG, "unreachable", "unexpected http status code: 100");
    world.check(port, NO_ANSWER, fetch).await;
}

#[tokio::test]
async fn refs_without_end_are_left() {
    let mut world = World::new();
    let port = start(flood(ADVERTISES, &ref_line(&"x".repeat(30_000))));
    let answer = (LONG, "too-large", "the answer is larger than 16777216 bytes");
    let fetch = (LONG, "too-large", "the answer takes more memory than a fetch may have");
    world.check(port, answer, fetch).await;
}

#[tokio::test]
async fn a_line_that_ends_nowhere_ends_at_the_deadline() {
    let mut world = World::new();
    let port = start(|stream| {
        stream.write_all(ADVERTISES)?;
        stream.write_all(b"fff0")?;
        drip(b"")(stream)
    });
    world.check(port, NO_ANSWER, NOT_FINISHED).await;
}

#[tokio::test]
async fn ten_megabytes_of_refs_are_read() {
    let mut world = World::new();
    let tip = world.both.tip();
    let refs = ref_line(&"x".repeat(100)).repeat((10 << 20) / 150);
    let line = format!("{tip} refs/heads/main\n");
    let last = format!("{:04x}{line}0000", line.len() + 4);
    let head = String::from_utf8_lossy(ADVERTISES).into_owned();
    let bytes = "001e# service=git-upload-pack\n0000".len() + refs.len() + last.len();
    let head = head.replace("999999999999999", &bytes.to_string());
    let answer = [head.as_bytes(), &refs, last.as_bytes()].concat();
    let port = start(move |stream| stream.write_all(&answer));
    let remote = world.both.remote(&format!("http://127.0.0.1:{port}/x"));
    assert_eq!(world.polls.tip(&remote, LONG).await.unwrap().tip, tip);
}

#[tokio::test]
async fn the_words_of_a_server_are_one_line_whatever_they_are() {
    let mut world = World::new();
    let words = b"ERR \x1b]0;forged\x07\x1b[2J\r\nMESSAGE=forged \xe2\x80\xae\xc2\x9b31m\xff";
    let error = format!("{:04x}", words.len() + 4).into_bytes();
    let refused = [ADVERTISES, &error, words].concat();
    let moved = "HTTP/1.1 302 F\u{9b}ound\r\nLocation: http://other/\u{9b}31m\u{202e}forged\r\n\
                 Content-Length: 0\r\n\r\n";
    let typed =
        "HTTP/1.1 200 OK\r\nContent-Type: \u{9b}31m\u{202e}forged\r\nContent-Length: 0\r\n\r\n";
    for (answer, is_shown) in [
        (refused, true),
        (moved.as_bytes().to_vec(), false),
        (typed.as_bytes().to_vec(), false),
        (b"HTTP/1.1 500 \x1b[2J forged\r\nContent-Length: 0\r\n\r\n".to_vec(), false),
    ] {
        let port = start(move |stream| stream.write_all(&answer));
        let remote = world.both.remote(&format!("http://127.0.0.1:{port}/x"));
        for (_, message) in [world.poll(&remote, LONG).await, world.fetch(&remote, LONG)] {
            assert!(is_plain(&message), "{message:?}");
            assert!(!is_shown || message.contains("forged"), "{message}");
        }
    }
}

#[test]
fn an_ssh_server_that_says_nothing_or_never_ends_is_left() {
    let world = World::new();
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIAlTHPUzZxSZjS8Tfc5XmUEIIOYRcrfhcrpfTrAdgUvC";
    for speak in [
        Box::new(|_: &mut TcpStream| Ok(())) as Box<dyn Fn(&mut TcpStream) -> Spoken + Send + Sync>,
        Box::new(drip(b"SSH-2.0-")),
        Box::new(flood(b"", b"a line before the banner\r\n")),
    ] {
        let port = start(speak);
        let mut remote = world.both.remote(&format!("ssh://127.0.0.1:{port}/x"));
        std::fs::write(&remote.known_hosts_file, format!("[127.0.0.1]:{port} ssh-ed25519 {key}\n"))
            .unwrap();
        remote.ssh_key_file = Some("/nowhere".into());
        let failure = world.both.git.poll(&remote, SHORT).unwrap_err();
        let (reason, message) = world.seen(failure, &remote.url);
        assert_eq!(reason, "unreachable", "{message}");
        let (reason, message) = world.fetch(&remote, SHORT);
        assert_eq!(reason, "unreachable", "{message}");
    }
}
