//! The Git child looks at the signatures of a range, with the keys as they lie there.

use std::path::PathBuf;

use autodeploy::config::settings::{Signatures, Trust};
use autodeploy::effects::git::{Git, Want};
use autodeploy::effects::remote::Remote;
use autodeploy::model::commit::CommitId;
use autodeploy::model::failure::{Failure, Reason};
use autodeploy::trust::{Examined, Found, Refusal};

use crate::origin::{Both, LIMITS, git};

struct Signed {
    both: Both,
    keys: PathBuf,
}

impl Signed {
    fn new() -> Signed {
        let both = Both::new();
        let keys = both.directory.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        let signed = Signed { both, keys };
        signed.key("ours");
        signed
    }

    fn key(&self, name: &str) -> String {
        let path = self.keys.join(name).display().to_string();
        let arguments = ["-q", "-t", "ed25519", "-N", "", "-f", &path];
        let made = std::process::Command::new("ssh-keygen").args(arguments).status();
        assert!(made.expect("these tests need `ssh-keygen`: install openssh-client").success());
        let public = std::fs::read_to_string(format!("{path}.pub")).unwrap();
        std::fs::write(self.keys.join("allowed"), format!("a@b {public}")).unwrap();
        path
    }

    /// Commits as somebody; nobody signs with no key.
    fn commit(&self, message: &str, key: Option<&str>) -> CommitId {
        let key = key.map(|key| format!("user.signingKey={}", self.keys.join(key).display()));
        let sign = match &key {
            Some(key) => vec!["-c", "gpg.format=ssh", "-c", key, "commit", "-S"],
            None => vec!["commit"],
        };
        git(&self.both.origin, &[&sign[..], &["-q", "--allow-empty", "-m", message]].concat());
        self.both.tip()
    }

    fn looks(&self, signatures: Signatures, mark: Option<&CommitId>) -> Result<Examined, Failure> {
        let trust = Trust {
            signatures,
            allowed_signers_file: Some(self.keys.join("allowed")),
            openpgp_keyring_file: None,
        };
        let executable = PathBuf::from(env!("CARGO_BIN_EXE_autodeployd"));
        let ours = self.both.directory.path().join("state/repository");
        let git = Git::new(executable, ours).trusting(trust);
        let want = Want { tip: self.both.tip(), mark: mark.cloned() };
        let remote: Remote = self.both.file_remote();
        Ok(git.fetch(&remote, &want, &LIMITS)?.lineage.signed)
    }
}

fn refused(found: &Found) -> (&CommitId, &Refusal) {
    match found {
        Found::Refused { commit, refusal } => (commit, refusal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p19_every_commit_since_the_mark_is_looked_at_or_the_tip_alone() {
    let signed = Signed::new();
    let mark = signed.both.tip();
    let first = signed.commit("one", Some("ours"));
    let off = signed.looks(Signatures::Off, Some(&mark)).unwrap();
    assert_eq!(off.found, Found::NotAsked);
    let good = signed.looks(Signatures::EveryCommit, Some(&mark)).unwrap();
    match &good.found {
        Found::Good { by, oldest: Some((oldest, _)) } => {
            assert_eq!((by.len(), by[0].name.as_str(), oldest), (1, "a@b", &first));
        }
        other => panic!("{other:?}"),
    }
    assert_ne!(good.under, off.under);
    let bad = signed.commit("two", None);
    let top = signed.commit("three", Some("ours"));
    let every = signed.looks(Signatures::EveryCommit, Some(&mark)).unwrap();
    assert_eq!(refused(&every.found), (&bad, &Refusal::Unsigned));
    assert_eq!(every.under, good.under);
    let tip = signed.looks(Signatures::Tip, Some(&mark)).unwrap();
    assert!(matches!(tip.found, Found::Good { .. }), "{tip:?}");
    // Without a mark there is nothing to come from: the tip is looked at alone.
    let alone = signed.looks(Signatures::EveryCommit, None).unwrap();
    assert!(matches!(alone.found, Found::Good { .. }), "{alone:?}");
    // What was kept is not looked at again.
    let kept = signed.looks(Signatures::EveryCommit, Some(&top)).unwrap();
    assert_eq!(kept.found, Found::Good { by: Vec::new(), oldest: None });

    signed.key("another");
    let others = signed.looks(Signatures::EveryCommit, Some(&mark)).unwrap();
    assert_ne!(others.under, good.under);
    assert!(
        matches!(refused(&others.found), (commit, Refusal::UnknownKey { .. }) if *commit == first)
    );
}

#[test]
fn keys_that_cannot_be_read_are_said_to_be_unusable() {
    let signed = Signed::new();
    let mark = signed.both.tip();
    signed.commit("one", Some("ours"));
    let allowed = signed.keys.join("allowed");
    let check = |expected: &str| {
        let failure = signed.looks(Signatures::EveryCommit, Some(&mark)).unwrap_err();
        assert_eq!(failure.reason, Reason::KEYS_UNUSABLE);
        assert!(failure.message.contains(expected), "{}", failure.message);
    };
    std::fs::write(&allowed, "a@b nonsense").unwrap();
    check("`trust.allowed_signers_file`: line 1: unknown option `nonsense`");
    std::fs::write(&allowed, vec![b'#'; 2 << 20]).unwrap();
    check("is larger than 1048576 bytes");
    std::fs::remove_file(&allowed).unwrap();
    check("is not there");
}

#[test]
fn a_commit_of_megabytes_is_not_read() {
    let signed = Signed::new();
    let mark = signed.both.tip();
    let path = signed.both.directory.path().join("message");
    std::fs::write(&path, "m".repeat(2 << 20)).unwrap();
    let path = path.display().to_string();
    git(&signed.both.origin, &["commit", "-q", "--allow-empty", "-F", &path]);
    let huge = signed.looks(Signatures::EveryCommit, Some(&mark)).unwrap_err();
    assert_eq!(huge.reason, Reason::TOO_LARGE, "{huge:?}");
}
