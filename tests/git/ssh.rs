//! `ssh://` remotes, against OpenSSH's own server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use autodeploy::effects::remote::Remote;

use crate::origin::{Both, assert_failure};

const POLL: Duration = Duration::from_secs(20);

/// A server with two kinds of host keys, that lets one key in.
struct Sshd {
    both: Both,
    remote: Remote,
    child: Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_key(directory: &Path, name: &str, kind: &str) -> PathBuf {
    let path = directory.join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "for a test", "-t", kind, "-f"])
        .arg(&path)
        .status()
        .expect("this test needs `ssh-keygen`: install openssh-client");
    assert!(made.success());
    path
}

impl Sshd {
    fn start() -> Sshd {
        let program = Path::new("/usr/sbin/sshd");
        assert!(
            program.exists(),
            "this test needs `{}`: install openssh-server",
            program.display()
        );
        let both = Both::new();
        let here = both.directory.path().to_owned();
        let keys =
            [make_key(&here, "host_ed25519", "ed25519"), make_key(&here, "host_ecdsa", "ecdsa")];
        let client = make_key(&here, "client", "ed25519");
        fs::copy(client.with_extension("pub"), here.join("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut configuration = format!(
            "ListenAddress 127.0.0.1:{port}\nAuthorizedKeysFile {}/authorized_keys\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             PermitRootLogin yes\nAllowUsers root\n",
            here.display()
        );
        for key in keys {
            configuration.push_str(&format!("HostKey {}\n", key.display()));
        }
        fs::write(here.join("sshd_config"), configuration).unwrap();
        // Where Debian's sshd empties itself into; no test needs what is in it.
        fs::create_dir_all("/run/sshd").expect("this test has to run as root");
        let child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(here.join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + POLL;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen");
            std::thread::yield_now();
        }
        let mut remote = both.remote(&format!("ssh://127.0.0.1:{port}{}", both.origin.display()));
        remote.username = "root".to_owned();
        remote.ssh_key_file = Some(client);
        let sshd = Sshd { both, remote, child, port };
        sshd.believe("host_ed25519");
        sshd
    }

    /// Makes `known_hosts` hold just this key.
    fn believe(&self, key: &str) {
        let public = fs::read_to_string(self.path(key).with_extension("pub")).unwrap();
        let line = format!("[127.0.0.1]:{} {public}", self.port);
        fs::write(self.path("known_hosts"), line).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.both.directory.path().join(name)
    }

    /// Polls and fetches; both have to fail alike.
    #[track_caller]
    fn check_refused(&self, cause: &str, hint: Option<&str>) {
        let here = self.both.directory.path();
        let url = format!("ssh://127.0.0.1:{}DIR/origin", self.port);
        let message = format!("could not fetch `main` from `{url}`: {cause}");
        let expected = ("access-denied", message.as_str());
        let polled = self.both.git.poll(&self.remote, POLL);
        if let Some(hint) = hint {
            let seen = polled.as_ref().unwrap_err().hint.clone().unwrap();
            assert_eq!(seen, hint.replace("PORT", &self.port.to_string()));
        }
        assert_failure(polled, here, expected);
        assert_failure(self.both.fetch(&self.remote, None), here, expected);
    }
}

#[test]
fn commits_arrive_with_a_key_from_a_known_host() {
    let sshd = Sshd::start();
    assert_eq!(sshd.both.git.poll(&sshd.remote, POLL).unwrap(), sshd.both.tip());
    assert_eq!(sshd.both.fetch(&sshd.remote, None).unwrap().tip, sshd.both.tip());
    let next = sshd.both.commit("second", "second");
    assert_eq!(sshd.both.fetch(&sshd.remote, None).unwrap().tip, next);
    let mut remote = sshd.remote.clone();
    remote.branch = "none".to_owned();
    let failure = sshd.both.git.poll(&remote, POLL).unwrap_err();
    assert_eq!(failure.reason.as_str(), "no-such-branch");
}

#[test]
fn the_kind_of_key_that_is_known_is_asked_for() {
    let sshd = Sshd::start();
    for key in ["host_ecdsa", "host_ed25519"] {
        sshd.believe(key);
        assert_eq!(sshd.both.git.poll(&sshd.remote, POLL).unwrap(), sshd.both.tip(), "{key}");
    }
}

#[test]
fn hashed_names_of_ssh_keygen_are_understood() {
    let sshd = Sshd::start();
    let hashed = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(sshd.path("known_hosts"))
        .stderr(Stdio::null())
        .status();
    assert!(hashed.unwrap().success());
    assert!(fs::read_to_string(sshd.path("known_hosts")).unwrap().starts_with("|1|"));
    assert_eq!(sshd.both.git.poll(&sshd.remote, POLL).unwrap(), sshd.both.tip());
}

#[test]
fn an_unknown_host_is_refused() {
    let sshd = Sshd::start();
    fs::write(sshd.path("known_hosts"), "").unwrap();
    sshd.check_refused(
        "no key of host `127.0.0.1` is in `DIR/known_hosts`",
        Some(
            "`ssh-keyscan -p PORT 127.0.0.1` prints its keys: compare them with what the host's \
             owner publishes, then add them there",
        ),
    );
}

#[test]
fn a_changed_host_key_is_refused() {
    let sshd = Sshd::start();
    make_key(sshd.both.directory.path(), "another", "ed25519");
    sshd.believe("another");
    let shown = Command::new("ssh-keygen")
        .args(["-l", "-f"])
        .arg(sshd.path("host_ed25519.pub"))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let fingerprint = shown.split(' ').nth(1).unwrap();
    sshd.check_refused(
        &format!(
            "host `127.0.0.1` shows `{fingerprint}`, which is not its key in `DIR/known_hosts`"
        ),
        None,
    );
}

#[test]
fn a_key_that_is_refused_missing_or_unreadable_is_said() {
    let mut sshd = Sshd::start();
    let stranger = make_key(sshd.both.directory.path(), "stranger", "ed25519");
    sshd.remote.ssh_key_file = Some(stranger.clone());
    sshd.check_refused(
        "the remote refused it",
        Some("is the key or token of this machine allowed to read the repository?"),
    );
    fs::remove_file(&stranger).unwrap();
    sshd.check_refused(
        "could not read the key `DIR/stranger`: No such file or directory (os error 2)",
        None,
    );
    sshd.remote.ssh_key_file = None;
    sshd.check_refused("there is no `source.ssh_key_file`", None);
}

#[test]
fn a_repository_that_is_not_there_is_no_damage_of_ours() {
    let mut sshd = Sshd::start();
    sshd.remote.url = format!("ssh://127.0.0.1:{}/nowhere", sshd.port);
    let failure = sshd.both.fetch(&sshd.remote, None).unwrap_err();
    assert!(["unreachable", "fetch-failed"].contains(&failure.reason.as_str()), "{failure}");
}

#[test]
fn nothing_of_a_key_is_left_in_the_childs_home() {
    let sshd = Sshd::start();
    sshd.both.git.poll(&sshd.remote, POLL).unwrap();
    let home = sshd.path("state/git-home/.ssh");
    let names = fs::read_dir(&home).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["known_hosts"]);
    let mode = fs::metadata(home.join("known_hosts")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
