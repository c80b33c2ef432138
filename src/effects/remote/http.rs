//! Asking an `http(s)` remote where a branch is, in-process and cheaply.
//!
//! The first poll asks `info/refs` and learns whether the server speaks version 2 of Git's
//! protocol; from then on one `ls-refs` for one branch is all that goes over a connection that is
//! kept. Nothing here has a time limit of its own beyond telling a dead kept connection from a
//! slow server: the caller drops the whole poll at its deadline, and with it the connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::effects::files;
use crate::effects::remote::Remote;
use crate::effects::remote::address::Address;
use crate::effects::remote::answer::{
    Advertised, Advertisement, Listing, Unusable, ls_refs_request,
};
use crate::effects::remote::connection::{Connection, Opener, Question, told};
use crate::effects::remote::trouble::Trouble;
use crate::model::commit::CommitId;

/// No answer may be larger, in bytes: some 200,000 refs of an old server.
const LARGEST_ANSWER: u64 = 16 << 20;

/// No token is larger, in bytes.
const LARGEST_TOKEN: u64 = 64 * 1024;

const MOST_REDIRECTS: usize = 3;

const DISCOVERY: &str = "/info/refs?service=git-upload-pack";

const USER_AGENT: &str = concat!("git/2.0 (autodeploy ", env!("CARGO_PKG_VERSION"), ")");

/// What is kept from poll to poll.
#[derive(Default)]
pub struct Http {
    opener: Opener,
    connection: Option<Connection>,
    known: Option<Known>,
}

/// What the last good poll learned of a URL.
#[derive(Clone)]
struct Known {
    url: String,
    /// Where its redirects led.
    address: Address,
    version_2: bool,
}

/// One poll's view.
struct Poll<'a> {
    remote: &'a Remote,
    authorization: Option<HeaderValue>,
    /// How long a kept connection may be silent before it is taken for dead.
    patience: Duration,
}

impl Http {
    /// Returns the tip of the branch; `limit` is when the caller will give up.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn tip(&mut self, remote: &Remote, limit: Duration) -> Result<CommitId, Trouble> {
        let poll = Poll { remote, authorization: authorization(remote)?, patience: limit / 3 };
        if let Some(known) = self.known.take().filter(|known| known.url == remote.url)
            && known.version_2
        {
            match self.list(&poll, &known.address).await {
                Err(trouble) if trouble.may_be_outdated() => (),
                answered => {
                    self.known = Some(known);
                    return answered?.ok_or(Trouble::NoBranch);
                }
            }
        }
        let (address, advertised) = self.discover(&poll).await?;
        let version_2 = advertised == Advertised::Version2;
        let tip = match advertised {
            Advertised::Version2 => self.list(&poll, &address).await?,
            Advertised::Tip(tip) => tip,
        };
        self.known = Some(Known { url: remote.url.clone(), address, version_2 });
        tip.ok_or(Trouble::NoBranch)
    }

    /// Asks which protocol is spoken, and where.
    async fn discover(&mut self, poll: &Poll<'_>) -> Result<(Address, Advertised), Trouble> {
        let unreadable = || Trouble::Connection("the URL cannot be read".to_owned());
        let mut address = Address::parse(&poll.remote.url).ok_or_else(unreadable)?;
        for _ in 0..=MOST_REDIRECTS {
            let question = question(poll, &address, DISCOVERY, None)?;
            let (connection, answer) = self.ask(poll, &address, question).await?;
            if answer.status().is_redirection() {
                let location = answer.headers().get(header::LOCATION);
                let location = location.and_then(|value| value.to_str().ok()).unwrap_or_default();
                let asked = format!("{}{DISCOVERY}", address.path);
                address = address.redirected(location, &asked).map_err(Trouble::Redirect)?;
                continue;
            }
            let mut advertisement = Advertisement::of(&poll.remote.branch);
            expect(&answer, "application/x-git-upload-pack-advertisement")?;
            read(answer, |piece| advertisement.feed(piece)).await?;
            self.connection = Some(connection);
            return Ok((address, advertisement.end()?));
        }
        Err(Trouble::Redirect(format!("more than {MOST_REDIRECTS} redirects")))
    }

    /// Asks for the one branch.
    async fn list(
        &mut self,
        poll: &Poll<'_>,
        address: &Address,
    ) -> Result<Option<CommitId>, Trouble> {
        let body = Bytes::from(ls_refs_request(&poll.remote.branch));
        let question = question(poll, address, "/git-upload-pack", Some(body))?;
        let (connection, answer) = self.ask(poll, address, question).await?;
        if answer.status().is_redirection() {
            return Err(Trouble::Redirect("a redirect in the middle of a poll".to_owned()));
        }
        let mut listing = Listing::of(&poll.remote.branch);
        expect(&answer, "application/x-git-upload-pack-result")?;
        read(answer, |piece| listing.feed(piece)).await?;
        self.connection = Some(connection);
        Ok(listing.end()?)
    }

    /// Asks over the kept connection, else over a new one. The connection comes back with the
    /// answer: only a poll that read all of that may keep it.
    async fn ask(
        &mut self,
        poll: &Poll<'_>,
        address: &Address,
        question: Question,
    ) -> Result<(Connection, Response<Incoming>), Trouble> {
        if let Some(mut kept) = self.connection.take().filter(|kept| kept.leads_to(address)) {
            let asked = tokio::time::timeout(poll.patience, kept.ask(question.clone())).await;
            // The server may have closed it at this very moment: that is no failure yet.
            if let Ok(Ok(answer)) = asked {
                return Ok((kept, answer));
            }
        }
        let mut opened = self.opener.open(address).await?;
        let answer = opened.ask(question).await?;
        Ok((opened, answer))
    }
}

/// Makes a GET, or with a body a POST.
fn question(
    poll: &Poll<'_>,
    address: &Address,
    service: &str,
    body: Option<Bytes>,
) -> Result<Question, Trouble> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{service}", address.path))
        .header(header::HOST, address.host_header())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::PRAGMA, "no-cache")
        .header("git-protocol", "version=2");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-git-upload-pack-request");
    }
    if let Some(value) = &poll.authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    request
        .body(Full::new(body.unwrap_or_default()))
        .map_err(|error| Trouble::Connection(told("the URL cannot be asked for", &error)))
}

/// Makes the `Authorization` header from the token file, which is read afresh for every poll.
fn authorization(remote: &Remote) -> Result<Option<HeaderValue>, Trouble> {
    let Some(file) = &remote.token_file else { return Ok(None) };
    let token = read_token(file).map_err(Trouble::Token)?;
    let pair = format!("{}:{token}", remote.username);
    let basic = format!("Basic {}", openssl::base64::encode_block(pair.as_bytes()));
    let mut value = HeaderValue::try_from(basic)
        .map_err(|_| Trouble::Token("the token cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Reads a token: one line of text, what surrounds it taken off.
///
/// # Errors
/// A sentence that says what is wrong with the file, and nothing of what is in it.
pub fn read_token(file: &std::path::Path) -> Result<String, String> {
    // systemd hands credentials over as links as well: the file is opened through them.
    let place = std::fs::canonicalize(file)
        .map_err(|error| format!("could not read `{}`: {error}", file.display()))?;
    let bytes = match files::read_limited(&place, LARGEST_TOKEN) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(format!("there is no `{}`", file.display())),
        Err(error) => return Err(format!("{error:#}")),
    };
    let text = String::from_utf8(bytes).unwrap_or_default();
    match text.trim() {
        "" => Err(format!("`{}` holds no token", file.display())),
        token if token.contains(char::is_control) => {
            Err(format!("`{}` holds more than one line", file.display()))
        }
        token => Ok(token.to_owned()),
    }
}

/// Refuses everything but 200 with the content that Git's protocol prescribes.
fn expect(answer: &Response<Incoming>, content_type: &str) -> Result<(), Trouble> {
    if answer.status() != StatusCode::OK {
        let retry_after = retry_after(answer.headers(), jiff::Timestamp::now());
        return Err(Trouble::Status(answer.status().as_u16(), retry_after));
    }
    let seen = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match seen == Some(content_type) {
        true => Ok(()),
        false => Err(Unusable::Unexpected("the answer is not that of a Git server").into()),
    }
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

async fn read(
    answer: Response<Incoming>,
    mut feed: impl FnMut(&[u8]) -> Result<(), Unusable>,
) -> Result<(), Trouble> {
    let mut body = answer.into_body();
    let mut room = LARGEST_ANSWER;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Trouble::Connection(told("the answer broke off", &error)))?;
        let Some(piece) = frame.data_ref() else { continue };
        room = room.checked_sub(piece.len() as u64).ok_or(Trouble::TooLarge(LARGEST_ANSWER))?;
        feed(piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let check = |text: &'static str, seconds: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now).map(|d| d.as_secs()), seconds, "{text}");
        };
        check("120", Some(120));
        check("Tue, 01 Jan 2030 00:05:00 GMT", Some(300));
        check("Mon, 31 Dec 2029 23:00:00 GMT", Some(0));
        check("-5", None);
        check("soon", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_token_is_one_line_without_what_surrounds_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let check = |content: &str, expected: Result<&str, &str>| {
            std::fs::write(&file, content).unwrap();
            let name = file.display().to_string();
            let seen = read_token(&file).map_err(|error| error.replace(&name, "FILE"));
            assert_eq!(seen, expected.map(str::to_owned).map_err(str::to_owned), "{content:?}");
        };
        check("word\n", Ok("word"));
        check("  word \r\n", Ok("word"));
        check("\n", Err("`FILE` holds no token"));
        check("a\nb\n", Err("`FILE` holds more than one line"));
        check(&"x".repeat(70_000), Err("`FILE` is larger than 65536 bytes"));
    }
}
