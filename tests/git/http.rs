//! Fetches over HTTP and HTTPS, by the child.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use autodeploy::effects::git::{FetchLimits, Git, Want};
use autodeploy::effects::remote::RefPoll;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

use crate::origin::{Both, LIMITS, assert_failure, git};
use crate::server::{Manner, Server};

#[test]
fn commits_arrive_and_then_only_the_new_ones() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Serve);
    let remote = both.remote(&server.url());
    git(&both.origin, &["tag", "v1"]);
    git(&both.origin, &["branch", "other"]);
    let mark = both.tip();
    assert_eq!(both.fetch(&remote, None).unwrap().tip, mark);
    let next = both.commit("second", "second");
    let fetched = both.fetch(&remote, Some(&mark)).unwrap();
    assert_eq!(fetched.tip, next);
    assert_eq!(fetched.lineage.first_parents, [next]);
    let refs = both.ours(&["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs, "refs/autodeploy/tip\nrefs/heads/autodeploy");
    both.ours(&["fsck", "--full", "--strict"]);
    let objects = both.ours(&["count-objects", "-v"]);
    assert!(objects.contains("in-pack: 6"), "nothing came twice: {objects}");
}

#[test]
fn a_branch_that_went_away_is_said_and_changes_nothing() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Serve);
    let remote = both.remote(&server.url());
    let first = both.fetch(&remote, None).unwrap().tip;
    git(&both.origin, &["switch", "--quiet", "--create", "other"]);
    both.commit("second", "second");
    git(&both.origin, &["branch", "--quiet", "-D", "main"]);
    let failure = both.fetch(&remote, None).unwrap_err();
    assert_eq!(failure.reason.as_str(), "no-such-branch", "{failure}");
    assert_eq!(both.ours(&["rev-parse", "refs/autodeploy/tip"]), first.as_str());
}

#[test]
fn a_fetch_over_the_limit_changes_nothing() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Serve);
    let remote = both.remote(&server.url());
    both.fetch(&remote, None).unwrap();
    let noise = (0..40_000u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)));
    both.commit("large", &noise.collect::<String>()[..100_000]);
    let want = Want { tip: both.tip(), mark: None };
    let limits = FetchLimits { max_bytes: 10_000, ..LIMITS };
    let failure = both.git.fetch(&remote, &want, &limits).unwrap_err();
    assert_eq!(failure.reason.as_str(), "too-large", "{failure}");
    assert_eq!(both.git.fetch(&remote, &want, &LIMITS).unwrap().tip, both.tip());
}

#[test]
fn one_byte_a_second_ends_at_the_limit() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Trickle);
    let want = Want { tip: both.tip(), mark: None };
    let limits = FetchLimits { timeout: Duration::from_millis(500), ..LIMITS };
    let url = server.url();
    assert_failure(
        both.git.fetch(&both.remote(&url), &want, &limits),
        both.directory.path(),
        (
            "unreachable",
            &format!(
                "could not fetch `main` from `{url}`: not finished within 500 ms \
                 (`source.fetch_timeout`)"
            ),
        ),
    );
}

#[test]
fn a_redirect_to_another_host_is_refused_and_one_on_the_same_host_followed() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Serve);
    let other = Server::start(both.directory.path(), Manner::Serve);
    server.turn(Manner::Redirect(format!("http://localhost:{}", other.port)));
    let remote = both.remote(&server.url().replace("/origin", "/old/origin"));
    let failure = both.fetch(&remote, None).unwrap_err();
    assert!(
        failure.message.contains("cannot redirect from '127.0.0.1' to 'localhost'"),
        "{failure}"
    );
    assert_eq!(other.take_seen(), Vec::<String>::new());
    server.turn(Manner::Redirect(String::new()));
    assert_eq!(both.fetch(&remote, None).unwrap().tip, both.tip());
}

#[tokio::test]
async fn credentials_do_not_go_where_a_redirect_leads() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Serve);
    // Another port of the same host, which libgit2 would follow.
    let other = Server::start(both.directory.path(), Manner::Only("git:word"));
    server.turn(Manner::Redirect(format!("http://127.0.0.1:{}", other.port)));
    let mut remote = both.remote(&server.url().replace("/origin", "/old/origin"));
    let file = both.directory.path().join("token");
    std::fs::write(&file, "word\n").unwrap();
    remote.token_file = Some(file);
    let failure = both.fetch(&remote, None).unwrap_err();
    assert_eq!(failure.reason.as_str(), "access-denied");
    assert!(
        failure.message.ends_with(": a redirect leads elsewhere, and wants credentials there"),
        "{failure}"
    );
    let polled = RefPoll::new(both.git.clone()).tip(&remote, LIMITS.timeout).await;
    let message = polled.unwrap_err().failure.message;
    assert!(message.ends_with("leads to another host and is not followed"), "{message}");
    assert!(server.was_shown("git:word"), "the remote itself may see it");
    assert!(!other.was_shown("git:word"));
}

/// The child of a test, with everything that it was given written down.
fn listening_child(both: &Both) -> (Git, PathBuf) {
    let given = both.directory.path().join("given");
    let script = both.directory.path().join("autodeployd");
    let (real, log) = (env!("CARGO_BIN_EXE_autodeployd"), given.display());
    let text =
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >> {log}\nenv >> {log}\nexec {real} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    (Git::new(script, both.directory.path().join("state/repository")), given)
}

#[test]
fn the_child_learns_no_secret_by_its_arguments_or_environment() {
    let both = Both::new();
    let (git, given) = listening_child(&both);
    let server = Server::start(both.directory.path(), Manner::Only("git:word-of-the-token"));
    let mut remote = both.remote(&server.url());
    let file = both.directory.path().join("token");
    std::fs::write(&file, "word-of-the-token\n").unwrap();
    remote.token_file = Some(file);
    let want = Want { tip: both.tip(), mark: None };
    assert_eq!(git.fetch(&remote, &want, &LIMITS).unwrap().tip, both.tip());
    let given = std::fs::read_to_string(given).unwrap();
    assert!(given.contains("git-child") && given.contains("\"token_file\":\""), "{given}");
    assert!(!given.contains("word-of-the-token"), "{given}");
    let names: BTreeSet<_> = given.lines().filter_map(|line| line.split_once('=')).collect();
    let names: Vec<_> = names.iter().map(|(n, _)| *n).filter(|n| !n.starts_with('{')).collect();
    let expected = ["HOME", "LC_ALL", "PWD", "SSL_CERT_FILE"];
    assert!(names.iter().all(|name| expected.contains(name)), "{names:?}");
}

#[test]
fn the_token_opens_the_way_and_is_never_shown() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Only("git:word"));
    let mut remote = both.remote(&server.url());
    assert_eq!(both.fetch(&remote, None).unwrap_err().reason.as_str(), "access-denied");
    let file = both.directory.path().join("token");
    remote.token_file = Some(file.clone());
    std::fs::write(&file, "other-word\n").unwrap();
    let failure = both.fetch(&remote, None).unwrap_err();
    assert_eq!(failure.reason.as_str(), "access-denied", "{failure}");
    assert!(!failure.to_string().contains("other-word"), "{failure}");
    std::fs::write(&file, "word\n").unwrap();
    assert_eq!(both.fetch(&remote, None).unwrap().tip, both.tip());
}

#[test]
fn a_server_that_breaks_off_changes_nothing() {
    let both = Both::new();
    let server = Server::start(both.directory.path(), Manner::Serve);
    let remote = both.remote(&server.url());
    both.fetch(&remote, None).unwrap();
    both.commit("second", "second");
    for manner in [
        Manner::Status(500, "X: y"),
        Manner::Says(b"<html>".to_vec(), 6),
        Manner::Says(b"001e# service=git-upload-pack\n".to_vec(), 30),
    ] {
        server.turn(manner.clone());
        let failure = both.fetch(&remote, None).unwrap_err();
        assert_ne!(failure.reason.as_str(), "clone-damaged", "{manner:?}: {failure}");
    }
    server.turn(Manner::Serve);
    assert_eq!(both.fetch(&remote, None).unwrap().tip, both.tip());
}

/// Makes an authority and a certificate of it for 127.0.0.1.
fn certificates() -> (X509, X509, PKey<Private>) {
    let sign = |name: &str, issuer: Option<(&X509, &PKey<Private>)>| {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(name.len() as u32).unwrap().to_asn1_integer().unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(issuer.map_or(&subject, |(of, _)| of.subject_name())).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
        let extension = match issuer {
            None => BasicConstraints::new().critical().ca().build().unwrap(),
            Some((of, _)) => {
                let context = builder.x509v3_context(Some(of), None);
                let names =
                    SubjectAlternativeName::new().ip("127.0.0.1").dns("h.example").build(&context);
                names.unwrap()
            }
        };
        builder.append_extension(extension).unwrap();
        builder.sign(issuer.map_or(&key, |(_, key)| key), MessageDigest::sha256()).unwrap();
        (builder.build(), key)
    };
    let (authority, its_key) = sign("an authority", None);
    let (certificate, key) = sign("a server", Some((&authority, &its_key)));
    (authority, certificate, key)
}

/// OpenSSL learns of an authority by the environment, and nobody changes that while threads run:
/// the test starts itself once more, with the authority and without.
#[test]
fn https_is_believed_by_its_authority_and_host() {
    const URL: &str = "AUTODEPLOY_TEST_URL";
    const EXPECTED: &str = "AUTODEPLOY_TEST_EXPECTED";
    if let Ok(url) = std::env::var(URL) {
        return ask_over_tls(&url, &std::env::var(EXPECTED).unwrap());
    }
    let both = Both::new();
    let (authority, certificate, key) = certificates();
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    let server = Server::start_tls(both.directory.path(), acceptor.build());
    let believed = both.directory.path().join("authority.pem");
    std::fs::write(&believed, authority.to_pem().unwrap()).unwrap();
    let nothing = both.directory.path().join("nothing.pem");
    std::fs::write(&nothing, "").unwrap();
    let plain = Server::start(both.directory.path(), Manner::Serve);
    server.turn(Manner::Redirect(format!("http://127.0.0.1:{}", plain.port)));
    for (file, host, path, expected) in [
        (&believed, "127.0.0.1", "/origin", both.tip().as_str()),
        (&nothing, "127.0.0.1", "/origin", "access-denied"),
        (&believed, "localhost", "/origin", "access-denied"),
        // What is asked for over TLS does not go on without it.
        (&believed, "127.0.0.1", "/old/origin", "unreachable"),
    ] {
        let url = server.url().replace("http://127.0.0.1", &format!("https://{host}"));
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "http::https_is_believed_by_its_authority_and_host"])
            .env(URL, url.replace("/origin", path))
            .env(EXPECTED, expected)
            .env("SSL_CERT_FILE", file)
            .env("SSL_CERT_DIR", both.directory.path().join("none"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout) + String::from_utf8_lossy(&again.stderr);
        assert!(again.status.success(), "{host} {expected}: {said}");
    }
    assert_eq!(plain.take_seen(), Vec::<String>::new());
}

/// Polls in-process and fetches by the child; `expected` is the tip, or the code of a failure.
fn ask_over_tls(url: &str, expected: &str) {
    let both = Both::new();
    let remote = both.remote(url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut polls = RefPoll::new(both.git.clone());
    let polled = runtime.block_on(polls.tip(&remote, LIMITS.timeout));
    let seen = polled.map_or_else(|e| e.failure.reason.to_string(), |ok| ok.tip.to_string());
    assert_eq!(seen, expected);
    let want = Want { tip: "a".repeat(40).parse().unwrap(), mark: None };
    let fetched = both.git.fetch(&remote, &want, &LIMITS);
    let said = format!("{fetched:?}");
    let seen = fetched.map_or_else(|failure| failure.reason.to_string(), |ok| ok.tip.to_string());
    assert_eq!(seen, expected, "{said}");
}
