//! A directory with keys, a repository, and the programs that work on both.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use autodeploy::trust::commit_object::ObjectFormat;
use autodeploy::trust::{KeyFiles, Keys, Refusal, Signer};
use jiff::tz::TimeZone;
use tempfile::TempDir;

/// When the keys are made: long before the commits.
pub const KEYS_MADE: &str = "20230101T000000";

/// All that a test needs. `home` is GnuPG's with the secret keys, `known` the one with those that
/// are in the keyring.
pub struct Place {
    directory: TempDir,
    pub repository: PathBuf,
    home: PathBuf,
    known: PathBuf,
}

/// What a program printed, if it succeeded.
pub struct Ended {
    pub ok: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn good(self, what: &str) -> Vec<u8> {
        assert!(self.ok, "{what}: {}", self.stderr);
        self.stdout
    }
}

impl Place {
    pub fn new() -> Place {
        // Short: the path of GnuPG's socket may have 107 bytes.
        let directory = tempfile::Builder::new().prefix("sig").tempdir().unwrap();
        let of = |name: &str| directory.path().join(name);
        let (repository, home, known) = (of("r"), of("g"), of("k"));
        for path in [&repository, &home, &known] {
            std::fs::create_dir(path).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(path, mode).unwrap();
        }
        let place = Place { directory, repository, home, known };
        place.git(&["init", "--quiet", "--initial-branch=main"], b"").good("git init");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a program with nothing of this machine's configuration.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = Command::new(program);
        command.args(arguments).env("GNUPGHOME", &self.home);
        ended(command, &self.repository, input)
    }

    #[track_caller]
    pub fn git(&self, arguments: &[&str], input: &[u8]) -> Ended {
        self.run("git", arguments, input)
    }

    /// Runs gpg as if it was that time.
    #[track_caller]
    pub fn gpg(&self, time: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let time = format!("--faked-system-time={time}!");
        let all = ["--batch", "--quiet", "--pinentry-mode=loopback", "--passphrase=", &time];
        let all: Vec<_> = all.iter().chain(arguments).copied().collect();
        self.run("gpg", &all, input).good(&format!("gpg {arguments:?}"))
    }

    /// Makes a key for SSH; returns `type base64`.
    pub fn ssh_key(&self, name: &str, arguments: &[&str]) -> String {
        let path = self.path(name);
        let path = path.to_str().unwrap();
        let all = [arguments, &["-q", "-N", "", "-C", name, "-f", path]].concat();
        self.run("ssh-keygen", &all, b"").good("ssh-keygen");
        let public = std::fs::read_to_string(format!("{path}.pub")).unwrap();
        let words: Vec<_> = public.split_whitespace().take(2).collect();
        words.join(" ")
    }

    /// Makes a key for OpenPGP; returns its fingerprint.
    pub fn pgp_key(&self, user: &str, algorithm: &str, (usage, expires): (&str, &str)) -> String {
        self.gpg(KEYS_MADE, &["--quick-generate-key", user, algorithm, usage, expires], b"");
        self.pgp_fingerprint(user)
    }

    pub fn pgp_fingerprint(&self, user: &str) -> String {
        let listed = self.gpg(KEYS_MADE, &["--with-colons", "--list-keys", user], b"");
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Revokes a key with the certificate that was made beside it.
    pub fn pgp_revoke(&self, fingerprint: &str) {
        self.gpg(KEYS_MADE, &["--import"], &self.pgp_revocation(fingerprint));
    }

    pub fn pgp_revocation(&self, fingerprint: &str) -> Vec<u8> {
        let path = self.home.join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        let text = std::fs::read_to_string(path).unwrap().replace("\n:-----", "\n-----");
        text.into_bytes()
    }

    /// Signs with a key for SSH, in a namespace.
    pub fn ssh_sign(&self, key: &Path, arguments: &[&str], document: &[u8]) -> Vec<u8> {
        let key = key.to_str().unwrap();
        let all = [&["-Y", "sign", "-q", "-f", key], arguments].concat();
        self.run("ssh-keygen", &all, document).good("ssh-keygen -Y sign")
    }

    /// Exports keys, and lets Git's gpg know exactly these.
    pub fn keyring(&self, fingerprints: &[&str], armored: &[&str]) -> Vec<u8> {
        let arguments = [armored, &["--export"], fingerprints].concat();
        let keyring = self.gpg(KEYS_MADE, &arguments, b"");
        self.know(&["--import"], &keyring);
        keyring
    }

    /// The same, and revokes one of them there only.
    pub fn keyring_with(&self, fingerprints: &[&str], revocation: &[u8]) -> Vec<u8> {
        self.keyring(fingerprints, &[]);
        self.know(&["--import"], revocation);
        self.know(&["--export"], b"")
    }

    fn know(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet"]).args(arguments).env("GNUPGHOME", &self.known);
        ended(command, &self.repository, input).good(&format!("gpg {arguments:?}"))
    }

    /// Writes an object as it is; returns its name.
    pub fn write(&self, raw: &[u8]) -> String {
        let arguments = ["hash-object", "-t", "commit", "-w", "--literally", "--stdin"];
        let name = self.git(&arguments, raw).good("git hash-object");
        String::from_utf8(name).unwrap().trim().to_owned()
    }

    /// Asks Git, with the same keys.
    pub fn git_verifies(&self, name: &str) -> Ended {
        let allowed = format!("gpg.ssh.allowedSignersFile={}", self.path("allowed").display());
        let mut command = Command::new("git");
        command.args(["-c", &allowed, "verify-commit", name]).env("GNUPGHOME", &self.known);
        ended(command, &self.repository, b"")
    }

    /// Reads the keys as the Git child does.
    pub fn keys(&self, keyring: Option<Vec<u8>>) -> Keys {
        let allowed_signers = std::fs::read(self.path("allowed")).ok();
        let files = KeyFiles { allowed_signers, openpgp_keyring: keyring };
        Keys::parse(&files, &TimeZone::UTC).unwrap()
    }

    /// Asks us about a commit of the repository.
    pub fn verdict(&self, keys: &Keys, name: &str) -> Result<Signer, Refusal> {
        let raw = self.git(&["cat-file", "commit", name], b"").good("git cat-file");
        keys.verdict(&raw, ObjectFormat::of_digits(name.len()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The agents that gpg started for these two homes, and no others.
        for home in [&self.home, &self.known] {
            let mut command = Command::new("gpgconf");
            command.args(["--kill", "all"]).env("GNUPGHOME", home);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

#[track_caller]
fn ended(mut command: Command, directory: &Path, input: &[u8]) -> Ended {
    command
        .current_dir(directory)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let missing =
        "these tests need `git`, `ssh-keygen` and `gpg`: see tests/host/install-requirements";
    let mut child = command.spawn().expect(missing);
    // Who does not read it, has no use for it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ended {
        ok: output.status.success(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
