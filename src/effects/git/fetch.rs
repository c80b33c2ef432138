//! Asking and fetching over the network, and the limits on both.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use git2::cert::Cert;
use git2::{
    AutotagOption, CertificateCheckStatus, Cred, CredentialType, Direction, Error, ErrorClass,
    ErrorCode, FetchOptions, Oid, Progress, RemoteCallbacks, RemoteRedirect, Repository,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::effects::files;
use crate::effects::git::known_hosts::{self, HostKeys, Verdict};
use crate::effects::git::{answer, at_once, clone, local, says};
use crate::effects::process::memory;
use crate::effects::remote::Remote;
use crate::effects::remote::address::{self, Place, Scheme};
use crate::effects::remote::http::read_token;
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};
use crate::model::text::escaped;

/// A server that sends less than this much in [`SLOW`] is given up.
const SLOW_BYTES: u64 = 60 * 1000;
const SLOW: Duration = Duration::from_secs(60);

/// More objects than this no repository of a configuration has (all of Linux has 11 million).
const MOST_OBJECTS: usize = 16 << 20;

/// The largest file of host keys that is read, in bytes.
const LARGEST_KNOWN_HOSTS: u64 = 4 << 20;

/// What is to be fetched, and how much at most.
pub struct Job<'a> {
    /// Ours.
    pub repository: PathBuf,
    /// The child's home.
    pub home: PathBuf,
    /// Theirs.
    pub remote: &'a Remote,
    /// The limit, in bytes.
    pub max_bytes: u64,
}

/// Returns where the branch is.
///
/// # Errors
/// See [`crate::effects::git::Git::poll`].
pub fn poll(remote: &Remote, home: &Path) -> Result<CommitId, Failure> {
    let place = Path::new("the remote");
    match speaks(remote)? {
        Scheme::File => clone::commit_id(place, local::tip(remote)?),
        Scheme::Ssh | Scheme::Http | Scheme::Https => {
            let way = Way::to(remote, home)?;
            let wanted = format!("refs/heads/{}", remote.branch);
            let found = way.heads(&wanted).map_err(|error| way.explain(None, &error))?;
            clone::commit_id(place, found.ok_or_else(|| says::no_branch(remote))?)
        }
    }
}

/// Brings the branch's tip and returns it.
///
/// # Errors
/// See [`crate::effects::git::Git::fetch`].
pub fn fetch(own: &Repository, job: &Job<'_>) -> Result<CommitId, Failure> {
    let (place, remote) = (clone::place(own), job.remote);
    let tip = match speaks(remote)? {
        Scheme::File => clone::commit_id(place, local::copy(own, remote, job.max_bytes)?)?,
        Scheme::Ssh | Scheme::Http | Scheme::Https => {
            let way = Way::to(remote, &job.home)?;
            let arrived = way.bring(own, job.max_bytes);
            let arrived = arrived.map_err(|error| way.explain(Some(place), &error))?;
            clone::commit_id(place, arrived.ok_or_else(|| says::no_branch(remote))?)?
        }
    };
    clone::hold_tip(own, &tip)?;
    Ok(tip)
}

/// Refuses every scheme that autodeploy does not speak: libgit2 knows more of them.
fn speaks(remote: &Remote) -> Result<Scheme, Failure> {
    address::scheme(&remote.url).ok_or_else(|| {
        says::could_not_fetch(remote, Reason::UNREACHABLE, "autodeploy does not speak this scheme")
            .hint("`source.url` begins with `https://`, `ssh://`, `http://` or `file://`")
    })
}

/// The way to a remote: what we show of ourselves, and what we want to see of it.
struct Way<'a> {
    remote: &'a Remote,
    token: Option<String>,
    hosts: Option<(Place, HostKeys)>,
    /// Why a callback of ours said no: libgit2 brings only a code back.
    refusal: RefCell<Option<Failure>>,
}

impl<'a> Way<'a> {
    fn to(remote: &'a Remote, home: &Path) -> Result<Way<'a>, Failure> {
        let token = match &remote.token_file {
            Some(file) => Some(read_token(file).map_err(|cause| {
                says::could_not_fetch(remote, Reason::ACCESS_DENIED, &cause)
                    .hint("the file of `source.token_file` has to be readable by the agent")
            })?),
            None => None,
        };
        let hosts = match address::scheme(&remote.url) {
            Some(Scheme::Ssh) => Some(ssh_host(remote, home)?),
            Some(Scheme::Http | Scheme::Https | Scheme::File) | None => None,
        };
        Ok(Way { remote, token, hosts, refusal: RefCell::new(None) })
    }

    fn heads(&self, wanted: &str) -> Result<Option<Oid>, Error> {
        let mut remote = git2::Remote::create_detached(self.remote.url.as_str())?;
        let connection = remote.connect_auth(Direction::Fetch, Some(self.callbacks()), None)?;
        let heads = connection.list()?;
        Ok(heads.iter().find(|head| head.name() == wanted).map(|head| head.oid()))
    }

    fn bring(&self, own: &Repository, max_bytes: u64) -> Result<Option<Oid>, Error> {
        let arriving = Arc::new(Arriving::default());
        guard(
            &arriving,
            says::could_not_fetch(self.remote, Reason::UNREACHABLE, "less than 1 kB/s for 60 s"),
        );
        let mut callbacks = self.callbacks();
        let seen = Arc::clone(&arriving);
        let mut is_first = true;
        callbacks.transfer_progress(move |progress| {
            if std::mem::take(&mut is_first) {
                // The server has said what it has, and the objects come.
                memory::raise();
            }
            seen.note(&progress);
            let refusal = match () {
                () if progress.received_bytes() as u64 > max_bytes => {
                    Some(local::too_large(self.remote, max_bytes))
                }
                () if progress.total_objects() > MOST_OBJECTS => {
                    let cause = format!("more than {MOST_OBJECTS} objects");
                    Some(says::could_not_fetch(self.remote, Reason::TOO_LARGE, &cause))
                }
                () => None,
            };
            let fits = refusal.is_none();
            if let Some(failure) = refusal {
                self.refusal.borrow_mut().get_or_insert(failure);
            }
            fits
        });
        let seen = Arc::clone(&arriving);
        callbacks.sideband_progress(move |_| {
            // The server is counting or compressing: it works, and sends little.
            seen.words.fetch_add(1, Ordering::Relaxed);
            true
        });
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks)
            .download_tags(AutotagOption::None)
            .update_fetchhead(false)
            // Only to other paths of the same host.
            .follow_redirects(RemoteRedirect::None);
        let wanted = format!("refs/heads/{}", self.remote.branch);
        let mut remote = own.remote_anonymous(&self.remote.url)?;
        let seen = Arc::clone(&arriving);
        at_once::send(move || seen.over.load(Ordering::Relaxed));
        let fetched = remote.fetch(&[&wanted], Some(&mut options), None);
        arriving.over.store(true, Ordering::Relaxed);
        fetched?;
        // What the server said at the beginning of this very fetch.
        Ok(remote.list()?.iter().find(|head| head.name() == wanted).map(|head| head.oid()))
    }

    fn callbacks<'c>(&'c self) -> RemoteCallbacks<'c>
    where
        'a: 'c,
    {
        let mut callbacks = RemoteCallbacks::new();
        let mut tried = false;
        callbacks.credentials(move |url, named, allowed| {
            // libgit2 follows a redirect to another port of the host, and asks again from there.
            if !address::is_same_place(&self.remote.url, url) {
                return Err(denied("a redirect leads elsewhere, and wants credentials there"));
            }
            if allowed.contains(CredentialType::USERNAME) {
                return Cred::username(named.unwrap_or(&self.remote.username));
            }
            if std::mem::replace(&mut tried, true) {
                return Err(denied("the remote refused it"));
            }
            self.credential(named.unwrap_or(&self.remote.username), allowed)
        });
        // For https OpenSSL looks at the certificate, and libgit2 says best what it thinks of it.
        if let Some((place, keys)) = &self.hosts {
            callbacks.certificate_check(move |certificate, _| {
                self.host_key(place, keys.judge(presented(certificate)), presented(certificate))
            });
        }
        callbacks
    }

    fn credential(&self, user: &str, allowed: CredentialType) -> Result<Cred, Error> {
        if allowed.contains(CredentialType::SSH_KEY) {
            let Some(key) = &self.remote.ssh_key_file else {
                return Err(denied("there is no `source.ssh_key_file`"));
            };
            if let Err(error) = std::fs::File::open(key) {
                let cause = format!("could not read the key `{}`: {error}", key.display());
                return Err(denied(&cause));
            }
            return Cred::ssh_key(user, None, key, None);
        }
        match &self.token {
            Some(token) if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) => {
                Cred::userpass_plaintext(user, token)
            }
            _ => Err(denied("the remote wants credentials and there are none")),
        }
    }

    fn host_key(
        &self,
        place: &Place,
        verdict: Verdict,
        key: &[u8],
    ) -> Result<CertificateCheckStatus, Error> {
        if verdict == Verdict::Known {
            return Ok(CertificateCheckStatus::CertificateOk);
        }
        let failure = host_key_refused(self.remote, place, verdict, key);
        self.refusal.borrow_mut().get_or_insert(failure);
        Err(Error::new(ErrorCode::Certificate, ErrorClass::Ssh, "the host key is not believed"))
    }

    fn explain(&self, repository: Option<&Path>, error: &Error) -> Failure {
        match self.refusal.borrow_mut().take() {
            Some(failure) => failure,
            None => says::theirs(self.remote, repository, error),
        }
    }
}

fn denied(cause: &str) -> Error {
    Error::new(ErrorCode::Auth, ErrorClass::Callback, cause)
}

/// Returns the key that a host shows; empty if libssh2 does not give it, which matches none.
fn presented<'c>(certificate: &'c Cert<'_>) -> &'c [u8] {
    certificate.as_hostkey().and_then(|key| key.hostkey()).unwrap_or_default()
}

/// Reads the keys of the host, and puts them where libgit2 looks for them.
fn ssh_host(remote: &Remote, home: &Path) -> Result<(Place, HostKeys), Failure> {
    let refused = |cause: &str| says::could_not_fetch(remote, Reason::ACCESS_DENIED, cause);
    let place = address::ssh_place(&remote.url).ok_or_else(|| refused("the URL cannot be read"))?;
    let file = &remote.known_hosts_file;
    let bytes = std::fs::canonicalize(file)
        .map_err(anyhow::Error::from)
        .and_then(|file| files::read_limited(&file, LARGEST_KNOWN_HOSTS))
        .map_err(|error| {
            refused(&format!("could not read the host keys `{}`: {error:#}", file.display()))
                .hint("`source.known_hosts_file` is where host keys are looked up")
        })?
        .unwrap_or_default();
    let keys = known_hosts::keys_of(&String::from_utf8_lossy(&bytes), &place.host, place.port);
    if keys.is_empty() {
        return Err(host_key_refused(remote, &place, Verdict::Unknown, &[]));
    }
    let lines = keys.plain_lines(&place.host, place.port);
    let target = home.join(".ssh/known_hosts");
    let there = files::read_limited(&target, LARGEST_KNOWN_HOSTS).ok().flatten();
    if there.as_deref() != Some(lines.as_bytes()) {
        let directory = home.join(".ssh");
        std::fs::create_dir_all(&directory)
            .map_err(anyhow::Error::from)
            .and_then(|()| files::write_durably(&target, lines.as_bytes(), 0o600))
            .map_err(|error| {
                let message = format!("could not write `{}`: {error:#}", target.display());
                says::full_disk(home).unwrap_or(Failure::new(Reason::INTERNAL, message))
            })?;
    }
    Ok((place, keys))
}

fn host_key_refused(remote: &Remote, place: &Place, verdict: Verdict, presented: &[u8]) -> Failure {
    let host = escaped(&place.host, 200);
    let file = remote.known_hosts_file.display();
    let key = known_hosts::fingerprint(presented);
    let cause = match verdict {
        Verdict::Known | Verdict::Unknown => format!("no key of host `{host}` is in `{file}`"),
        Verdict::Other => format!("host `{host}` shows `{key}`, which is not its key in `{file}`"),
        Verdict::Revoked => format!("host `{host}` shows `{key}`, which is revoked in `{file}`"),
    };
    let failure = says::could_not_fetch(remote, Reason::ACCESS_DENIED, &cause);
    let port = place.port;
    match verdict {
        Verdict::Known | Verdict::Unknown => failure.hint(format!(
            "`ssh-keyscan -p {port} {host}` prints its keys: compare them with what the host's \
             owner publishes, then add them there"
        )),
        Verdict::Other | Verdict::Revoked => failure.hint(
            "either the host has a new key, or somebody stands in between: ask its owner before \
             you change the file",
        ),
    }
}

/// What has arrived so far.
#[derive(Default)]
struct Arriving {
    bytes: AtomicU64,
    words: AtomicU64,
    over: AtomicBool,
}

impl Arriving {
    fn note(&self, progress: &Progress<'_>) {
        self.bytes.store(progress.received_bytes() as u64, Ordering::Relaxed);
        let (received, total) = (progress.received_objects(), progress.total_objects());
        if total > 0 && received == total {
            self.over.store(true, Ordering::Relaxed);
        }
    }
}

/// Watches what arrives from a thread of its own, and ends the child when that is too little:
/// libgit2 waits for a slow server without calling us.
fn guard(arriving: &Arc<Arriving>, failure: Failure) {
    let arriving = Arc::clone(arriving);
    std::thread::spawn(move || {
        let mut pace = Pace { since: Instant::now(), bytes: 0, words: 0 };
        while !arriving.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
            let bytes = arriving.bytes.load(Ordering::Relaxed);
            let words = arriving.words.load(Ordering::Relaxed);
            if pace.is_too_slow(Instant::now(), bytes, words) {
                let _ = answer::answer::<()>(Err(failure));
                // A normal exit would wait for libgit2, which is what cannot be waited for.
                let _ = kill(Pid::this(), Signal::SIGKILL);
                return;
            }
        }
    });
}

/// The stretch of time that is being judged.
struct Pace {
    since: Instant,
    bytes: u64,
    words: u64,
}

impl Pace {
    /// Judges one stretch after the other; one in which the server said what it is doing is fine.
    fn is_too_slow(&mut self, now: Instant, bytes: u64, words: u64) -> bool {
        if now.duration_since(self.since) < SLOW {
            return false;
        }
        let slow = bytes.saturating_sub(self.bytes) < SLOW_BYTES && words == self.words;
        *self = Pace { since: now, bytes, words };
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_less_than_a_kilobyte_a_second_for_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace { since: start, bytes: 0, words: 0 };
        assert!(!pace.is_too_slow(at(59), 0, 0));
        assert!(!pace.is_too_slow(at(60), SLOW_BYTES, 0));
        assert!(!pace.is_too_slow(at(120), SLOW_BYTES, 1), "it said what it is doing");
        assert!(!pace.is_too_slow(at(179), SLOW_BYTES, 1));
        assert!(pace.is_too_slow(at(180), 2 * SLOW_BYTES - 1, 1));
    }
}
