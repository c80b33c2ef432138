//! What a single text may be: addresses, names and paths.
//!
//! A rule never repeats the text of an address: a password may be in it.

use crate::config::problem::Complaint;
use crate::model::text::{escaped, is_plain};

/// A test of one text.
pub type Rule = fn(&str) -> Result<(), Complaint>;

const LONGEST_TEXT_BYTES: usize = 4_096;

/// One line without control characters, not empty.
pub fn line(text: &str) -> Result<(), Complaint> {
    if text.is_empty() {
        return Err(Complaint::new("is empty"));
    }
    if text.len() > LONGEST_TEXT_BYTES {
        return Err(Complaint::new(format!("is longer than {LONGEST_TEXT_BYTES} bytes")));
    }
    match is_plain(text) {
        true => Ok(()),
        false => Err(Complaint::new("has a control character in it")),
    }
}

/// Fails with "is `<text>`: must …" unless `good`.
fn must(good: bool, text: &str, be: &str) -> Result<(), Complaint> {
    match good {
        true => Ok(()),
        false => Err(Complaint::new(format!("is `{}`: must {be}", escaped(text, 80)))),
    }
}

/// `source.url`: https, http, ssh or file, without a secret in it.
pub fn remote(text: &str) -> Result<(), Complaint> {
    line(text)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(no_scheme(text));
    };
    if rest.contains(['?', '#', '\\']) || rest.contains(char::is_whitespace) {
        return Err(Complaint::new("has a blank, `?`, `#` or `\\` in it"));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match scheme {
        "http" | "https" => web_authority(authority)?,
        "ssh" => ssh_authority(authority)?,
        "file" if authority.is_empty() => {}
        "file" => {
            return Err(Complaint::new("names a host")
                .hint("a local path has three slashes: `file:///srv/git/infra`"));
        }
        _ => {
            let says = format!("has the scheme `{}`", escaped(scheme, 20));
            return Err(
                Complaint::new(says).hint("use `https://`, `ssh://`, `http://` or `file://`")
            );
        }
    }
    match path.len() > 1 {
        true => Ok(()),
        false => Err(Complaint::new("has no path to a repository")),
    }
}

fn no_scheme(text: &str) -> Complaint {
    let none = Complaint::new("has no scheme");
    if text.starts_with('/') {
        return none.hint("a local path is written `file:///srv/git/infra`");
    }
    match text.contains('@') && text.contains(':') {
        true => none.hint("`git@host:path` is written `ssh://git@host/path`"),
        false => none.hint("use `https://`, `ssh://`, `http://` or `file://`"),
    }
}

fn web_authority(authority: &str) -> Result<(), Complaint> {
    if authority.contains('@') {
        let hint = "the user name goes into `source.username`, the password or token into a file, named by `source.token_file`";
        return Err(Complaint::new("has a user name or a password in it").hint(hint));
    }
    host_and_port(authority)
}

fn ssh_authority(authority: &str) -> Result<(), Complaint> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("git", authority));
    if user.contains(':') {
        let hint = "only keys are used for ssh: see `source.ssh_key_file`";
        return Err(Complaint::new("has a password in it").hint(hint));
    }
    if user.is_empty() {
        return Err(Complaint::new("has an empty user name"));
    }
    if user.starts_with('-') {
        // Whoever hands it to a program would hand over an option.
        return Err(Complaint::new("has no valid user name"));
    }
    host_and_port(host).map_err(|complaint| match host.split_once(':') {
        // What follows the colon may be the first part of a path that was written the short way.
        Some((_, port)) if !port.is_empty() && !port.starts_with(|c: char| c.is_ascii_digit()) => {
            complaint.hint("after `ssh://` the path begins with `/`: `ssh://git@host/path`")
        }
        _ => complaint,
    })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn host_and_port(text: &str) -> Result<(), Complaint> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or((!rest.is_empty()).then_some(""))),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if !is_host(host, text.starts_with('[')) {
        return Err(Complaint::new("has no valid host name"));
    }
    match port.is_none_or(is_port) {
        true => Ok(()),
        false => Err(Complaint::new("has no valid port")),
    }
}

fn is_host(host: &str, bracketed: bool) -> bool {
    match bracketed {
        // Whether the digits make an address is for the resolver to say.
        true => {
            let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
            let digits = address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b));
            digits && address.contains(':') && zone.bytes().all(|b| b.is_ascii_alphanumeric())
        }
        false => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            let named = !host.is_empty() && !host.starts_with('-') && host.len() <= 253;
            named && host.bytes().all(allowed)
        }
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A public key of Nix. The text is not repeated: it may be a secret key that was taken for one.
pub fn closure_key(text: &str) -> Result<(), Complaint> {
    const PUBLIC: usize = 44;
    let in_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let in_key = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
    let (name, key) = text.split_once(':').unwrap_or_default();
    let good = (1..=200).contains(&name.len())
        && name.bytes().all(in_name)
        && key.len() == PUBLIC
        && key.strip_suffix('=').is_some_and(|digits| digits.bytes().all(in_key));
    match good {
        true => Ok(()),
        false => Err(Complaint::new("is no public key of Nix")
            .hint("`nix key convert-secret-to-public` prints one: `NAME:BASE64`, 44 characters of it after the colon")),
    }
}

/// The address of an `http` check.
pub fn page(text: &str) -> Result<(), Complaint> {
    line(text)?;
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err(Complaint::new("must begin with `http://` or `https://`"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority.contains('@') {
        return Err(Complaint::new("has a user name or a password in it"));
    }
    if text.contains(char::is_whitespace) {
        return Err(Complaint::new("has a blank in it"));
    }
    host_and_port(authority)
}

/// The address of a `tcp` check.
pub fn address(text: &str) -> Result<(), Complaint> {
    line(text)?;
    let hint = "for example `127.0.0.1:22` or `[::1]:22`";
    let no_port = || Complaint::new("has no port").hint(hint);
    host_and_port(text).map_err(|complaint| complaint.hint(hint))?;
    match text.rsplit_once(':') {
        Some((host, _)) if !host.starts_with('[') || host.ends_with(']') => Ok(()),
        _ => Err(no_port()),
    }
}

/// The name of this machine in the flake: it becomes part of an attribute path.
pub fn host(text: &str) -> Result<(), Complaint> {
    line(text)?;
    let good =
        text.len() <= 253 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    must(good, text, "be of letters, digits, `-`, `.` and `_`, and at most 253 long")
}

/// A branch by its short name, by the rules of `git check-ref-format`.
pub fn branch(text: &str) -> Result<(), Complaint> {
    line(text)?;
    if let Some(short) = text.strip_prefix("refs/heads/") {
        let hint = format!("write `branch = \"{}\"`", escaped(short, 80));
        return Err(Complaint::new("begins with `refs/heads/`").hint(hint));
    }
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let good = text.split('/').all(part)
        && !text.contains([' ', '~', '^', ':', '?', '*', '[', '\\'])
        && !text.contains("..")
        && !text.contains("@{")
        && !text.starts_with('-')
        && !text.ends_with('.')
        && text != "@"
        && text != "HEAD";
    must(good, text, "be a branch name")
}

/// A full commit name.
pub fn commit(text: &str) -> Result<(), Complaint> {
    let commit = text.parse::<crate::model::commit::CommitId>();
    commit.map(drop).map_err(|error| Complaint::new(format!("is wrong: {error}")))
}

/// An absolute path without detours.
pub fn path(text: &str) -> Result<(), Complaint> {
    line(text)?;
    let good = text.starts_with('/') && text.split('/').all(|part| part != ".." && part != ".");
    must(good, text, "be an absolute path without `.` and `..`")
}

/// A file with a secret: never in the store, which everybody on the machine can read.
pub fn secret_file(text: &str) -> Result<(), Complaint> {
    path(text)?;
    let hint = "write the path as a text in quotes, or Nix copies the file into its store";
    match text.starts_with("/nix/store/") {
        true => Err(Complaint::new("lies in the Nix store, which everybody can read").hint(hint)),
        false => Ok(()),
    }
}

/// A folder in the repository: it becomes part of a flake's address.
pub fn subdirectory(text: &str) -> Result<(), Complaint> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._+".contains(&b);
    let part =
        |part: &str| !part.is_empty() && part != ".." && part != "." && part.bytes().all(plain);
    must(
        text.is_empty() || text.split('/').all(part),
        text,
        "be a relative path of letters, digits, `-`, `.`, `_`, `+` and `/`, without `.` and `..`",
    )
}

/// The name of a user or a group.
pub fn account(text: &str) -> Result<(), Complaint> {
    line(text)?;
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    must(
        first && rest && text.len() <= 31,
        text,
        "be a name of letters, digits, `-` and `_`, and at most 31 long",
    )
}

/// A unit by its full name.
pub fn unit(text: &str) -> Result<(), Complaint> {
    const KINDS: &[&str] = &[
        "automount",
        "device",
        "mount",
        "path",
        "scope",
        "service",
        "slice",
        "socket",
        "swap",
        "target",
        "timer",
    ];
    line(text)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let known =
        text.rsplit_once('.').is_some_and(|(name, kind)| !name.is_empty() && KINDS.contains(&kind));
    must(
        known && text.len() <= 255 && text.bytes().all(allowed),
        text,
        "be a full unit name, for example `web.service`",
    )
}

/// The name of a check: it becomes part of a unit's name.
pub fn check_name(text: &str) -> Result<(), Complaint> {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    must(
        first && rest && text.len() <= 64,
        text,
        "be of letters, digits, `-` and `_`, and at most 64 long",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(rule: Rule, good: &[&str], bad: &[(&str, &str)]) {
        for text in good {
            assert_eq!(rule(text), Ok(()), "{text}");
        }
        for (text, says) in bad {
            assert_eq!(rule(text).unwrap_err().says, *says, "{text}");
        }
    }

    #[test]
    fn a_remote_has_a_scheme_a_path_and_no_secret() {
        let good = [
            "https://git.example.org/infra.git",
            "http://[::1]:8080/infra",
            "ssh://git@host:2222/infra",
            "ssh://host/~me/infra",
            "file:///srv/git/infra",
        ];
        check(
            remote,
            &good,
            &[
                ("", "is empty"),
                ("git@host:infra", "has no scheme"),
                ("/srv/git", "has no scheme"),
                ("ftp://host/x", "has the scheme `ftp`"),
                ("ext::sh -c true", "has no scheme"),
                ("HTTPS://host/x", "has the scheme `HTTPS`"),
                ("https://me:secret@host/x", "has a user name or a password in it"),
                ("https://secret@host/x", "has a user name or a password in it"),
                ("ssh://me:secret@host/x", "has a password in it"),
                ("ssh://@host/x", "has an empty user name"),
                ("ssh://git@host:infra/x", "has no valid port"),
                ("ssh://-oProxyCommand/x", "has no valid host name"),
                ("ssh://-l@host/x", "has no valid user name"),
                ("https://-host/x", "has no valid host name"),
                ("--upload-pack=touch x", "has no scheme"),
                ("https://host", "has no path to a repository"),
                ("https://host/", "has no path to a repository"),
                ("https:///x", "has no valid host name"),
                ("https://ho st/x", "has a blank, `?`, `#` or `\\` in it"),
                ("https://host/x?token=secret", "has a blank, `?`, `#` or `\\` in it"),
                ("https://host:0/x", "has no valid port"),
                ("https://[::1]x/x", "has no valid port"),
                ("file://host/x", "names a host"),
                ("https://host/\u{1b}", "has a control character in it"),
            ],
        );
        let hint = remote("git@host:infra").unwrap_err().hint.unwrap();
        assert_eq!(hint, "`git@host:path` is written `ssh://git@host/path`");
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        check(
            address,
            &["127.0.0.1:22", "[::1]:22", "[fe80::1%eth0]:22", "db.internal:5432"],
            &[
                ("127.0.0.1", "has no port"),
                ("[::1]", "has no port"),
                ("::1:22", "has no valid host name"),
                (":22", "has no valid host name"),
                ("host:65536", "has no valid port"),
                ("host:+22", "has no valid port"),
                ("host:", "has no valid port"),
            ],
        );
        check(
            page,
            &["http://[::1]/health", "https://host:8443", "http://h/x?deep=1"],
            &[
                ("ftp://h/", "must begin with `http://` or `https://`"),
                ("http://me:pw@h/", "has a user name or a password in it"),
                ("http://h/a b", "has a blank in it"),
                ("http:///x", "has no valid host name"),
            ],
        );
    }

    #[test]
    fn a_branch_is_what_git_calls_one() {
        let must = |text| format!("is `{text}`: must be a branch name");
        check(
            branch,
            &["main", "release/25.11", "a-b_c@d", "x.lockx"],
            &[
                ("refs/heads/main", "begins with `refs/heads/`"),
                ("a..b", &must("a..b")),
                ("a b", &must("a b")),
                ("/a", &must("/a")),
                ("a//b", &must("a//b")),
                ("a.lock", &must("a.lock")),
                ("-x", &must("-x")),
                ("@", &must("@")),
                ("HEAD", &must("HEAD")),
            ],
        );
    }

    #[test]
    fn paths_are_absolute_and_secrets_not_in_the_store() {
        let must = |text| format!("is `{text}`: must be an absolute path without `.` and `..`");
        check(
            secret_file,
            &["/etc/autodeploy/key", "/run/keys/x"],
            &[
                ("key", &must("key")),
                ("/a/../b", &must("/a/../b")),
                ("/nix/store/x-key", "lies in the Nix store, which everybody can read"),
            ],
        );
        let must = |text| {
            format!(
                "is `{text}`: must be a relative path of letters, digits, `-`, `.`, `_`, `+` and `/`, without `.` and `..`"
            )
        };
        check(
            subdirectory,
            &["", "hosts", "a/b-c"],
            &[
                ("/a", &must("/a")),
                ("a/../b", &must("a/../b")),
                ("a&b", &must("a&b")),
                ("a/", &must("a/")),
            ],
        );
    }

    #[test]
    fn names_are_plain() {
        assert!(host("web-1.example").is_ok() && host("a\"b").is_err() && host("").is_err());
        assert!(account("wheel").is_ok() && account("0wheel").is_err() && account("a b").is_err());
        assert!(unit("web@1.service").is_ok() && unit("web").is_err() && unit(".service").is_err());
        assert!(
            check_name("web-1").is_ok() && check_name("a.b").is_err() && check_name("").is_err()
        );
        assert!(commit(&"a".repeat(40)).is_ok() && commit("main").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_address_is_repeated(text in "\\PC*", url in "(https|ssh|file)://[\\[\\]:@/a?%1.-]{0,20}") {
            for rule in [line, remote, page, address, host, branch, commit, path, secret_file, subdirectory, account, unit, check_name] {
                let _ = (rule(&text), rule(&url));
            }
            if let Err(complaint) = remote(&format!("https://name:s3cr3t@{text}")) {
                prop_assert!(!complaint.says.contains("s3cr3t"));
            }
        }
    }
}
