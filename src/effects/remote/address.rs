//! PURE: the parts of a remote's URL, and where a redirect may lead.
//!
//! Only what the poll needs: `http` and `https` in parts; for the other schemes just which one it
//! is. A password never gets past the configuration; what stands before `@` is cut off all the
//! same before a URL is shown.

use crate::model::text::escaped;

/// How a remote is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
    /// `ssh://`
    Ssh,
    /// `file://`
    File,
}

/// Returns the scheme of a URL; `None` for one that autodeploy does not speak (`git://`, `ext::`,
/// the short form `user@host:path`, which has none).
pub fn scheme(url: &str) -> Option<Scheme> {
    match url.split_once("://")? {
        ("http", _) => Some(Scheme::Http),
        ("https", _) => Some(Scheme::Https),
        ("ssh", _) => Some(Scheme::Ssh),
        ("file", _) => Some(Scheme::File),
        _ => None,
    }
}

/// Returns the URL without what stands before `@`, and escaped: for people.
pub fn shown(url: &str) -> String {
    let without = url.split_once("://").and_then(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://{host}{path}"))
    });
    escaped(without.as_deref().unwrap_or(url), 200)
}

/// Tells whether credentials for one URL may be sent to another: one on the same host and port, or
/// from `http` to `https` on the same host. For other schemes there are no redirects.
pub fn is_same_place(url: &str, other: &str) -> bool {
    match (Address::parse(url), Address::parse(other)) {
        (Some(one), Some(other)) => one.may_lead_to(&other),
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => true,
    }
}

/// Where an `http(s)` repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Begins with `/`, has no `/` at its end.
    pub path: String,
}

impl Address {
    /// Reads an `http://` or `https://` URL; `None` if it is none, or has a query or fragment.
    pub fn parse(url: &str) -> Option<Address> {
        let (tls, rest) = match scheme(url)? {
            Scheme::Http => (false, &url["http://".len()..]),
            Scheme::Https => (true, &url["https://".len()..]),
            Scheme::Ssh | Scheme::File => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(port) => port.parse().ok()?,
            None => default_port(tls),
        };
        let usable = !host.is_empty() && is_plain(host) && is_path(path);
        usable.then(|| Address {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// Returns the value of the `Host` header.
    pub fn host_header(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == default_port(self.tls) {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// Returns the repository that a redirect of `asked` (a path below this one's, with its query)
    /// leads to, or why it is not followed.
    ///
    /// Followed is what stays on the same host and port, or goes from `http` to `https` on the
    /// same host: the token is sent there, and the next poll goes there at once.
    ///
    /// # Errors
    /// The place, shown, with why not.
    pub fn redirected(&self, location: &str, asked: &str) -> Result<Address, String> {
        let refused = |why: &str| format!("a redirect to `{}` {why}", shown(location));
        let service = asked.strip_prefix(&self.path).unwrap_or(asked);
        let Some(repository) = location.strip_suffix(service) else {
            return Err(refused("does not lead to a repository"));
        };
        let target = match repository.starts_with('/') && !repository.starts_with("//") {
            true => is_path(repository).then(|| Address {
                path: repository.trim_end_matches('/').to_owned(),
                ..self.clone()
            }),
            false => Address::parse(repository),
        };
        let target = target.ok_or_else(|| refused("cannot be read"))?;
        if !self.may_lead_to(&target) {
            return Err(refused("leads to another host and is not followed"));
        }
        Ok(target)
    }

    fn may_lead_to(&self, target: &Address) -> bool {
        let upgraded = !self.tls && target.tls && target.port == default_port(true);
        let same_place = target.tls == self.tls && target.port == self.port;
        target.host == self.host && (same_place || upgraded)
    }
}

/// A host and the port that SSH is spoken on there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Reads an `ssh://[user@]host[:port]/path` URL; `None` if it is none.
pub fn ssh_place(url: &str) -> Option<Place> {
    let rest = url.strip_prefix("ssh://")?;
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(authority)?;
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => 22,
    };
    (!host.is_empty()).then(|| Place { host: host.to_ascii_lowercase(), port })
}

/// Nothing in it ends a header or a request line.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_path(text: &str) -> bool {
    is_plain(text) && !text.contains(['?', '#'])
}

fn default_port(tls: bool) -> u16 {
    match tls {
        true => 443,
        false => 80,
    }
}

/// Splits `host[:port]`, with brackets around an IPv6 address.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<(bool, &str, u16, &str)>) {
        let seen = Address::parse(url);
        let seen = seen.as_ref().map(|a| (a.tls, a.host.as_str(), a.port, a.path.as_str()));
        assert_eq!(seen, expected, "{url}");
    }

    #[test]
    fn an_address_has_four_parts() {
        check("https://git.example/infra.git", Some((true, "git.example", 443, "/infra.git")));
        check("http://Git.Example:8080/a/b/", Some((false, "git.example", 8080, "/a/b")));
        check("https://me@git.example/x", Some((true, "git.example", 443, "/x")));
        check("http://[::1]:81/x", Some((false, "::1", 81, "/x")));
        check("http://[::1]", Some((false, "::1", 80, "")));
        check("http://[::1]x/", None);
        check("http://host:port/", None);
        check("http://host:/", None);
        check("http:///x", None);
        check("http://host/a b", None);
        check("http://host/a\r\nX: y", None);
        check("http://host/a?b", None);
        check("ssh://host/a", None);
        check("host/a", None);
    }

    #[test]
    fn an_ssh_url_has_a_host_and_a_port() {
        let check = |url: &str, expected: Option<(&str, u16)>| {
            let seen = ssh_place(url);
            let seen = seen.as_ref().map(|place| (place.host.as_str(), place.port));
            assert_eq!(seen, expected, "{url}");
        };
        check("ssh://git@Git.Example/infra", Some(("git.example", 22)));
        check("ssh://git.example:2222/infra", Some(("git.example", 2222)));
        check("ssh://git@[::1]:2222/infra", Some(("::1", 2222)));
        check("ssh:///infra", None);
        check("ssh://h:0x/infra", None);
        check("https://h/infra", None);
    }

    #[test]
    fn only_four_schemes_are_spoken() {
        assert_eq!(scheme("ssh://h/x"), Some(Scheme::Ssh));
        assert_eq!(scheme("file:///x"), Some(Scheme::File));
        for url in ["git://h/x", "ext::sh -c x", "git@h:x", "/x", "HTTP://h/x", "ftp://h/x", ""] {
            assert_eq!(scheme(url), None, "{url}");
        }
    }

    #[test]
    fn what_stands_before_the_host_is_not_shown() {
        assert_eq!(shown("https://me:word@h/x@y"), "https://h/x@y");
        assert_eq!(shown("https://me:w@rd@h"), "https://h");
        assert_eq!(shown("ssh://git@h/x"), "ssh://h/x");
        assert_eq!(shown("file:///a@b/c"), "file:///a@b/c");
        assert_eq!(shown("x\x1b"), r"x\u{1b}");
    }

    #[test]
    fn the_host_header_names_a_port_that_is_not_the_usual_one() {
        let header = |url: &str| Address::parse(url).unwrap().host_header();
        assert_eq!(header("https://h/x"), "h");
        assert_eq!(header("https://h:80/x"), "h:80");
        assert_eq!(header("http://[::1]:81/x"), "[::1]:81");
    }

    #[track_caller]
    fn check_redirect(location: &str, expected: Result<&str, &str>) {
        let from = Address::parse("http://h:8080/old").unwrap();
        let seen = from.redirected(location, "/old/info/refs?service=git-upload-pack");
        let expected = expected.map(|url| Address::parse(url).unwrap());
        assert_eq!(seen, expected.map_err(str::to_owned), "{location}");
    }

    #[test]
    fn credentials_go_only_where_the_url_leads() {
        let check = |other: &str, expected: bool| {
            assert_eq!(is_same_place("http://h:8080/x", other), expected, "{other}");
        };
        check("http://h:8080/x/info/refs", true);
        check("https://h/x", true);
        for other in ["http://h/x", "http://h:8081/x", "https://h:8443/x", "http://i:8080/x", "?"] {
            check(other, false);
        }
        assert!(!is_same_place("https://h/x", "http://h/x"));
        assert!(is_same_place("ssh://git@h/x", "ssh://git@h/x"));
    }

    #[test]
    fn redirects_stay_on_the_host() {
        let tail = "/info/refs?service=git-upload-pack";
        check_redirect(&format!("/new{tail}"), Ok("http://h:8080/new"));
        check_redirect(&format!("http://h:8080/new{tail}"), Ok("http://h:8080/new"));
        check_redirect(&format!("https://h/old{tail}"), Ok("https://h/old"));
        let no = |place: &str| {
            format!("a redirect to `{place}` leads to another host and is not followed")
        };
        for place in ["http://other:8080/old", "https://h:8443/old", "http://h/old"] {
            check_redirect(&format!("{place}{tail}"), Err(&no(&format!("{place}{tail}"))));
        }
        check_redirect("/login", Err("a redirect to `/login` does not lead to a repository"));
        let far = format!("//other/old{tail}");
        check_redirect(&far, Err(&format!("a redirect to `{far}` cannot be read")));
        for odd in ["/new\n", "/a b", "/a?b=", "/a#b"] {
            let odd = format!("{odd}{tail}");
            let shown = odd.replace('\n', r"\u{a}");
            check_redirect(&odd, Err(&format!("a redirect to `{shown}` cannot be read")));
        }
        let user = format!("http://me@h:8080/new{tail}");
        check_redirect(&user, Ok("http://h:8080/new"));
    }
}
