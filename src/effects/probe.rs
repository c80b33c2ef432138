//! One try of an `http` or `tcp` check, for the unprivileged unit that runs it.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// How much of a body is looked at, in bytes.
const BODY: u64 = 1 << 20;

/// Connects, and hangs up.
///
/// # Errors
/// Why no address of it accepted.
pub fn tcp(address: &str, limit: Duration) -> Result<String, String> {
    let mut last = "it has no address".to_owned();
    for address in address.to_socket_addrs().map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(_) => return Ok("accepted".to_owned()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Gets a page: the answer's status, and its body as text.
///
/// Follows no redirect, uses no proxy, and believes the certificates that the system believes.
///
/// # Errors
/// Why there was no answer.
pub fn http(url: &str, limit: Duration) -> Result<(u16, String), String> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::NativeTls)
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    let agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent("autodeploy")
        .timeout_global(Some(limit))
        .build()
        .new_agent();
    let answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    let read = answer.into_body().into_reader().take(BODY).read_to_end(&mut body);
    read.map_err(|error| format!("answered {status}, and then: {error}"))?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        });
        address.to_string()
    }

    #[test]
    fn status_and_body_come_back_and_redirects_are_not_followed() {
        let ok = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!(http(&format!("http://{ok}/"), LIMIT), Ok((200, "hi".to_owned())));
        let moved = server("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(http(&format!("http://{moved}/"), LIMIT), Ok((302, String::new())));
    }

    #[test]
    fn a_closed_port_is_refused() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        assert_eq!(tcp(&closed, LIMIT), Err("Connection refused (os error 111)".to_owned()));
        assert!(http(&format!("http://{closed}/"), LIMIT).is_err());
    }
}
