//! A small HTTP server on loopback that runs `git http-backend`, and misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::ssl::SslAcceptor;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Manner {
    /// As it should.
    Serve,
    /// As a server that does not know version 2.
    OldProtocol,
    /// As it should, to who shows this `user:password`.
    Only(&'static str),
    /// With a redirect from `/old/…` to this place with the rest of the path; otherwise as it
    /// should.
    Redirect(String),
    /// With this status and header.
    Status(u16, &'static str),
    /// With these bytes as an advertisement of this length, over and over.
    Says(Vec<u8>, usize),
    /// As it should, but for objects: with these bytes.
    Packs(Vec<u8>),
    /// With one byte a second, for ever.
    Trickle,
    /// As it should, and closes the connection without saying so beforehand.
    HangUp,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub connection: usize,
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    body: Vec<u8>,
}

#[derive(Clone)]
pub struct Server {
    pub port: u16,
    root: PathBuf,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves the repositories below `root`; runs until the test's process ends.
    pub fn start(root: &Path, manner: Manner) -> Server {
        Server::listen(root, manner, None)
    }

    /// The same over TLS.
    pub fn start_tls(root: &Path, acceptor: SslAcceptor) -> Server {
        Server::listen(root, Manner::Serve, Some(acceptor))
    }

    fn listen(root: &Path, manner: Manner, tls: Option<SslAcceptor>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            port: listener.local_addr().unwrap().port(),
            root: root.to_owned(),
            manner: Arc::new(Mutex::new(manner)),
            seen: Arc::default(),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                // Head and body are two writes: without this, 40 ms lie between them.
                stream.set_nodelay(true).unwrap();
                let (serving, tls) = (serving.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serving.serve(stream, number),
                    // A client that does not believe us hangs up.
                    Some(tls) => tls.accept(stream).map_or((), |s| serving.serve(s, number)),
                });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/origin/.git", self.port)
    }

    pub fn turn(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Returns what came since the last time, as `connection METHOD path`.
    pub fn take_seen(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let line = |r: &Request| format!("{} {} {}", r.connection, r.method, r.path);
        seen.iter().map(line).collect()
    }

    /// Tells whether anything of what came since the last time held this text.
    pub fn was_shown(&self, text: &str) -> bool {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.iter().any(|request| {
            let basic = openssl::base64::encode_block(text.as_bytes());
            let held = |value: &String| value.contains(text) || value.contains(&basic);
            held(&request.path) || request.headers.values().any(held)
        })
    }

    fn serve(&self, stream: impl Read + Write, connection: usize) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_request(&mut stream, connection) {
            self.seen.lock().unwrap().push(request.clone());
            let manner = self.manner.lock().unwrap().clone();
            // Whoever does not want our answer to its end hangs up.
            if self.answer(stream.get_mut(), &request, &manner).is_err() {
                return;
            }
            if matches!(manner, Manner::HangUp) {
                return;
            }
        }
    }

    fn answer(
        &self,
        stream: &mut impl Write,
        request: &Request,
        manner: &Manner,
    ) -> std::io::Result<()> {
        let advertisement = "Content-Type: application/x-git-upload-pack-advertisement\r\n";
        match manner {
            Manner::Serve | Manner::HangUp => self.backend(stream, request, true),
            Manner::OldProtocol => self.backend(stream, request, false),
            Manner::Only(pair) => {
                let basic = format!("Basic {}", openssl::base64::encode_block(pair.as_bytes()));
                match request.headers.get("authorization") {
                    Some(shown) if *shown == basic => self.backend(stream, request, true),
                    _ => respond(stream, 401, "WWW-Authenticate: Basic realm=\"x\"\r\n", b"no"),
                }
            }
            Manner::Redirect(place) => match request.path.strip_prefix("/old") {
                Some(rest) => respond(stream, 301, &format!("Location: {place}{rest}\r\n"), b""),
                None => self.backend(stream, request, true),
            },
            Manner::Status(status, header) => {
                respond(stream, *status, &format!("{header}\r\n"), b"words of the server")
            }
            Manner::Says(bytes, length) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\n{advertisement}Content-Length: {length}\r\n\r\n"
                )?;
                for _ in 0..length / bytes.len() {
                    stream.write_all(bytes)?;
                }
                Ok(())
            }
            Manner::Packs(bytes) => match request.method.as_str() {
                "POST" => {
                    let kind = "Content-Type: application/x-git-upload-pack-result\r\n";
                    respond(stream, 200, kind, bytes)
                }
                _ => self.backend(stream, request, true),
            },
            Manner::Trickle => {
                write!(stream, "HTTP/1.1 200 OK\r\n{advertisement}Content-Length: 9999\r\n\r\n")?;
                for byte in b"001e# service=git-upload-pack\n".iter().cycle() {
                    stream.write_all(&[*byte])?;
                    stream.flush()?;
                    std::thread::sleep(Duration::from_secs(1));
                }
                Ok(())
            }
        }
    }

    /// Runs `git http-backend` as a CGI program.
    fn backend(
        &self,
        stream: &mut impl Write,
        request: &Request,
        version_2: bool,
    ) -> std::io::Result<()> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let protocol = if version_2 { header("git-protocol") } else { String::new() };
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("HTTP_GIT_PROTOCOL", protocol)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().unwrap().write_all(&request.body)?;
        let output = child.wait_with_output()?.stdout;
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let (head, body) = (String::from_utf8_lossy(&output[..end]), &output[end + 4..]);
        let (mut status, mut headers) = (200, String::new());
        for line in head.lines() {
            match line.strip_prefix("Status: ") {
                Some(code) => status = code[..3].parse().unwrap(),
                None => headers.push_str(&format!("{line}\r\n")),
            }
        }
        respond(stream, status, &headers, body)
    }
}

fn respond(
    stream: &mut impl Write,
    status: u16,
    headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} Words\r\n{headers}Content-Length: {length}\r\n\r\n")?;
    stream.write_all(body)?;
    stream.flush()
}

fn read_request(stream: &mut impl BufRead, connection: usize) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            stream.by_ref().take(size).read_to_end(&mut body).ok()?;
            stream.read_line(&mut String::new()).ok()?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        stream.by_ref().take(length).read_to_end(&mut body).ok()?;
    }
    Some(Request { connection, method, path, headers, body })
}
