//! One HTTP/1.1 connection to a remote, kept for the next poll when the server allows it.
//!
//! No proxy is used, whatever the environment says: a machine that reaches its remote only through
//! one is not supported. A new connection tries the host's addresses one after the other.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509VerifyResult;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio_openssl::SslStream;

use crate::effects::remote::address::Address;
use crate::effects::remote::trouble::Trouble;
use crate::model::text::escaped;

/// The limit on one of several addresses, so that a dead one leaves time for the next.
const ONE_ADDRESS: Duration = Duration::from_secs(5);

/// A resolver needs little room, and the thread is there for one lookup.
const LOOKUP_STACK_BYTES: usize = 512 * 1024;

/// No header of an answer may be larger, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// A question; cheap to ask twice.
pub type Question = Request<Full<Bytes>>;

/// An open connection. Dropping it closes it, also in the middle of an answer.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    place: Address,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Tells whether it leads there, and the server has not closed it.
    pub fn leads_to(&self, address: &Address) -> bool {
        let place = &self.place;
        let same =
            (place.tls, &place.host, place.port) == (address.tls, &address.host, address.port);
        same && !self.sender.is_closed()
    }

    /// Asks, and returns as soon as the head of the answer is there.
    ///
    /// # Errors
    /// The connection broke; it is not to be used again.
    pub async fn ask(&mut self, question: Question) -> Result<Response<Incoming>, Trouble> {
        let broke = |error: hyper::Error| Trouble::Connection(told("the connection broke", &error));
        self.sender.ready().await.map_err(broke)?;
        self.sender.send_request(question).await.map_err(broke)
    }
}

/// Opens connections, and keeps what every one of them needs.
#[derive(Default)]
pub struct Opener {
    lookup: Lookup,
    tls: Option<SslConnector>,
}

impl Opener {
    /// Connects.
    ///
    /// # Errors
    /// No address, no connection, or a certificate that is not believed.
    pub async fn open(&mut self, address: &Address) -> Result<Connection, Trouble> {
        let addresses = self.lookup.of(&address.host, address.port).await?;
        let stream = connect(&addresses, address).await?;
        match address.tls {
            false => shake_hands(TokioIo::new(stream), address).await,
            true => shake_hands(TokioIo::new(self.secure(stream, address).await?), address).await,
        }
    }

    /// Speaks TLS: the certificate has to be valid for the host, by the system's authorities
    /// (`SSL_CERT_FILE` and `SSL_CERT_DIR` are OpenSSL's own way to name others).
    async fn secure(
        &mut self,
        stream: TcpStream,
        address: &Address,
    ) -> Result<SslStream<TcpStream>, Trouble> {
        let failed = |error: &dyn std::error::Error| Trouble::Connection(told("TLS failed", error));
        let connector = match &self.tls {
            Some(connector) => connector,
            // Reading the authorities takes milliseconds and memory: once, and only for https.
            None => self.tls.insert(
                SslConnector::builder(SslMethod::tls_client()).map_err(|e| failed(&e))?.build(),
            ),
        };
        let ssl = connector
            .configure()
            .and_then(|configuration| configuration.into_ssl(&address.host))
            .map_err(|error| failed(&error))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| failed(&error))?;
        let shaken = Pin::new(&mut stream).connect().await;
        let verified = stream.ssl().verify_result();
        match shaken {
            Ok(()) => Ok(stream),
            Err(_) if verified != X509VerifyResult::OK => Err(Trouble::Certificate(
                escaped(&address.host, 200),
                verified.error_string().to_owned(),
            )),
            Err(error) => Err(failed(&error)),
        }
    }
}

async fn connect(addresses: &[SocketAddr], address: &Address) -> Result<TcpStream, Trouble> {
    let mut cause = String::from("no address");
    for (number, one) in addresses.iter().enumerate() {
        let connected = match number + 1 == addresses.len() {
            true => TcpStream::connect(one).await,
            false => tokio::time::timeout(ONE_ADDRESS, TcpStream::connect(one))
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
        };
        match connected {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => cause = error.to_string(),
        }
    }
    let place = escaped(&format!("{}:{}", address.host, address.port), 200);
    Err(Trouble::Connection(format!("could not connect to `{place}`: {cause}")))
}

async fn shake_hands<S>(stream: TokioIo<S>, address: &Address) -> Result<Connection, Trouble>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake(stream)
        .await
        .map_err(|error| Trouble::Connection(told("the connection broke", &error)))?;
    let driver = tokio::spawn(async move {
        // Whoever asked learns of an error by its answer.
        let _ = connection.await;
    });
    Ok(Connection { sender, driver: driver.abort_handle(), place: address.clone() })
}

/// Writes an error with its causes, escaped.
pub fn told(what: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    escaped(&text, 300)
}

type Found = std::io::Result<Vec<SocketAddr>>;

/// Looks names up. The resolver cannot be interrupted, so a lookup that hangs is left behind with
/// its thread; at most one such thread is ever there.
#[derive(Default)]
struct Lookup {
    outstanding: Option<oneshot::Receiver<Found>>,
}

impl Lookup {
    async fn of(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let name = host.to_owned();
        self.of_name(host, move || Ok((name.as_str(), port).to_socket_addrs()?.collect())).await
    }

    async fn of_name(
        &mut self,
        host: &str,
        resolve: impl FnOnce() -> Found + Send + 'static,
    ) -> Result<Vec<SocketAddr>, Trouble> {
        if let Some(earlier) = &mut self.outstanding
            && matches!(earlier.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        {
            return Err(Trouble::LookupStuck);
        }
        let failed = |error: std::io::Error| Trouble::Lookup(escaped(host, 200), error.to_string());
        let (sender, receiver) = oneshot::channel();
        // A plain thread and not tokio's: those are waited for when the runtime ends.
        std::thread::Builder::new()
            .name("name-lookup".to_owned())
            .stack_size(LOOKUP_STACK_BYTES)
            .spawn(move || sender.send(resolve()))
            .map_err(failed)?;
        let found = self.outstanding.insert(receiver).await;
        self.outstanding = None;
        found.unwrap_or_else(|_| Err(std::io::ErrorKind::NotFound.into())).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_lookup_is_left_behind_and_only_one_ever_is() {
        let mut lookup = Lookup::default();
        let (release, stuck) = mpsc::channel::<()>();
        let resolve = move || {
            let _ = stuck.recv();
            Ok(Vec::new())
        };
        let limit = Duration::from_secs(30);
        assert!(tokio::time::timeout(limit, lookup.of_name("h", resolve)).await.is_err());
        let second = lookup.of_name("h", || Ok(Vec::new())).await;
        assert_eq!(second.unwrap_err(), Trouble::LookupStuck);
        // Addresses need no lookup, and so are not in the way.
        assert_eq!(lookup.of("::1", 80).await.unwrap(), ["[::1]:80".parse().unwrap()]);
        drop(release);
        while lookup.of_name("h", || Ok(Vec::new())).await == Err(Trouble::LookupStuck) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_said() {
        let nothing = || Err(std::io::Error::other("no such name"));
        let error = Lookup::default().of_name("h", nothing).await.unwrap_err();
        assert_eq!(error, Trouble::Lookup("h".to_owned(), "no such name".to_owned()));
    }
}
