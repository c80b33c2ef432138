//! A generated corpus: our verdict is that of `git verify-commit`, or the difference is explained.
//!
//! Every commit has its own draw from one seed: a key, a shape, and what is done to it after it was
//! signed. Git is asked with the same keys, once for each commit.

use std::collections::BTreeMap;
use std::sync::Mutex;

use autodeploy::trust::{Keys, Refusal};

use crate::draws::Draws;
use crate::place::{KEYS_MADE, Place};
use crate::scribe::{Draft, for_gpg, seconds, signed, signed_in};

const COMMITS: usize = 240;
const SEED: u64 = 20_240_601;

/// Where we say something else than Git, by the name of the key or of what was done, with the
/// reason. Each has to occur.
const EXPLAINED: [(&str, Says, &str); 9] = [
    ("pgp-over", Says::Yes, "Git asks whether the key counts today, we whether it did then"),
    ("pgp-short", Says::No, "RSA of 1024 bits can be factored"),
    ("pgp-sha1", Says::No, "two commits of the same SHA-1 can be made"),
    ("pgp-text", Says::No, "a signature of a text leaves line ends open"),
    ("pgp-sig-expires", Says::No, "there is no clock in a verdict, so nothing may end by itself"),
    ("pgp-dated-before-the-key", Says::No, "Git looks at no date of the commit for OpenPGP"),
    ("twice", Says::No, "Git makes one signature of two headers"),
    ("no-end", Says::No, "gpg does not miss the last line of a signature"),
    ("junk-behind", Says::No, "ssh-keygen and gpg pass over what comes behind a signature"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Yes,
    No,
}

/// What signs: a name, and how.
enum Signs {
    Ssh(&'static [&'static str]),
    Pgp { user: &'static str, more: &'static [&'static str], at: &'static str },
    SecurityKey,
    Nobody,
}

const DATE: &str = "2024-06-01T12:00:00Z";
const GIT: &[&str] = &["-n", "git"];

const SIGNERS: [(&str, Signs); 23] = [
    ("ssh-ed25519", Signs::Ssh(GIT)),
    ("ssh-ecdsa256", Signs::Ssh(GIT)),
    ("ssh-ecdsa384", Signs::Ssh(GIT)),
    ("ssh-ecdsa521", Signs::Ssh(GIT)),
    ("ssh-rsa", Signs::Ssh(GIT)),
    ("ssh-rsa", Signs::Ssh(&["-n", "git", "-O", "hashalg=sha256"])),
    ("ssh-ed25519", Signs::Ssh(&["-n", "file"])),
    ("ssh-unknown", Signs::Ssh(GIT)),
    ("ssh-over", Signs::Ssh(GIT)),
    ("ssh-not-yet", Signs::Ssh(GIT)),
    ("ssh-for-files", Signs::Ssh(GIT)),
    ("ssh-security-key", Signs::SecurityKey),
    ("pgp-ed25519", Signs::Pgp { user: "ed@b", more: &[], at: DATE }),
    ("pgp-rsa", Signs::Pgp { user: "rsa@b", more: &["--digest-algo", "SHA512"], at: DATE }),
    ("pgp-nist", Signs::Pgp { user: "nist@b", more: &[], at: DATE }),
    ("pgp-subkey", Signs::Pgp { user: "sub@b", more: &[], at: DATE }),
    ("pgp-unknown", Signs::Pgp { user: "unknown@b", more: &[], at: DATE }),
    ("pgp-revoked", Signs::Pgp { user: "revoked@b", more: &[], at: DATE }),
    ("pgp-over", Signs::Pgp { user: "over@b", more: &[], at: "2023-03-01T00:00:00Z" }),
    ("pgp-short", Signs::Pgp { user: "short@b", more: &[], at: DATE }),
    ("pgp-sha1", Signs::Pgp { user: "rsa@b", more: &["--digest-algo", "SHA1"], at: DATE }),
    ("pgp-text", Signs::Pgp { user: "ed@b", more: &["--textmode"], at: DATE }),
    ("nobody", Signs::Nobody),
];

/// More of them, drawn less often than the rest.
const RARE: [(&str, Signs); 2] = [
    (
        "pgp-sig-expires",
        Signs::Pgp { user: "ed@b", more: &["--default-sig-expire", "20y"], at: DATE },
    ),
    ("pgp-dated-before-the-key", Signs::Pgp { user: "ed@b", more: &[], at: DATE }),
];

/// What is done to a commit after it was signed; as often as it stands here, it is drawn.
const DONE: [&str; 16] = [
    "nothing",
    "nothing",
    "nothing",
    "nothing",
    "nothing",
    "nothing",
    "nothing",
    "nothing",
    "flipped",
    "pasted",
    "cut-short",
    "garbled",
    "twice",
    "other-header",
    "junk-behind",
    "no-end",
];

#[test]
fn p19_our_verdict_is_that_of_git_verify_commit() {
    let place = Place::new();
    let keys = prepare(&place);
    let mut draws = Draws(SEED);
    let drawn: Vec<_> = (0..COMMITS).map(|number| draw(&mut draws, number)).collect();
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in drawn.chunks(COMMITS / 4) {
            let (place, keys, results) = (&place, &keys, &results);
            scope.spawn(move || {
                for one in part {
                    let name = place.write(&one.object(place));
                    let ours = place.verdict(keys, &name).map(drop);
                    let git = place.git_verifies(&name);
                    results.lock().unwrap().push((one.label(), ours, git.ok, git.stderr));
                }
            });
        }
    });
    judge(results.into_inner().unwrap());
}

fn judge(results: Vec<(String, Result<(), Refusal>, bool, String)>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut both_good, mut both_bad) = (0, 0);
    assert_eq!(results.len(), COMMITS);
    let mut unexplained = Vec::new();
    for (label, ours, git, said) in results {
        let we_say = match (ours.is_ok(), git) {
            (true, true) => {
                both_good += 1;
                continue;
            }
            (false, false) => {
                both_bad += 1;
                continue;
            }
            (true, false) => Says::Yes,
            (false, true) => Says::No,
        };
        let parts: Vec<_> = label.split(' ').collect();
        match EXPLAINED.iter().find(|(name, says, _)| parts.contains(name) && *says == we_say) {
            Some((name, _, _)) => *seen.entry(name).or_default() += 1,
            None => unexplained.push(format!("{label}: {ours:?}, and Git: {said}")),
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for (name, _, _) in EXPLAINED {
        assert!(seen.contains_key(name), "nothing differs by `{name}`: {seen:?}");
    }
    // A corpus that only one side ever accepts would show nothing.
    assert!(both_good > COMMITS / 6 && both_bad > COMMITS / 6, "{both_good} {both_bad}");
}

/// Makes all keys, and lets Git and us know most of them.
fn prepare(place: &Place) -> Keys {
    let kinds: [(&str, &[&str]); 9] = [
        ("ssh-ed25519", &["-t", "ed25519"]),
        ("ssh-ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ssh-ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ssh-ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("ssh-rsa", &["-t", "rsa", "-b", "2048"]),
        ("ssh-unknown", &["-t", "ed25519"]),
        ("ssh-over", &["-t", "ed25519"]),
        ("ssh-not-yet", &["-t", "ed25519"]),
        ("ssh-for-files", &["-t", "ed25519"]),
    ];
    let mut lines = "# who may sign\n\n".to_owned();
    for (name, kind) in kinds {
        let public = place.ssh_key(name, kind);
        let options = match name {
            "ssh-unknown" => continue,
            "ssh-over" => "valid-before=\"20240601115959\" ",
            "ssh-not-yet" => "valid-after=\"20240601120001Z\",namespaces=\"git\" ",
            "ssh-for-files" => "namespaces=\"file,!git\" ",
            "ssh-ed25519" => "namespaces=\"git\",valid-after=\"20240601\" ",
            _ => "",
        };
        lines.push_str(&format!("{name}@b,*@c {options}{public} comment\n"));
    }
    lines.push_str(&format!("\"security key\" {}\n", crate::security_key::public()));
    std::fs::write(place.path("allowed"), lines).unwrap();

    let always = ("sign", "never");
    for (user, algorithm, usage) in [
        ("ed@b", "ed25519", always),
        ("rsa@b", "rsa2048", always),
        ("nist@b", "nistp256", always),
        ("sub@b", "rsa2048", ("cert", "never")),
        ("unknown@b", "ed25519", always),
        ("revoked@b", "ed25519", always),
        ("over@b", "ed25519", ("sign", "1y")),
        ("short@b", "rsa1024", always),
    ] {
        place.pgp_key(user, algorithm, usage);
    }
    let of = |user: &str| place.pgp_fingerprint(user);
    place.gpg(KEYS_MADE, &["--quick-add-key", &of("sub@b"), "ed25519", "sign", "never"], b"");
    let known: Vec<_> = ["ed@b", "rsa@b", "nist@b", "sub@b", "revoked@b", "over@b", "short@b"]
        .into_iter()
        .map(of)
        .collect();
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    // With its revocation gpg would not sign any more: Git and we learn of it here only.
    let revocation = place.pgp_revocation(&of("revoked@b"));
    let keyring = place.keyring_with(&known, &revocation);
    place.keys(Some(keyring))
}

struct Drawn {
    signer: &'static (&'static str, Signs),
    done: &'static str,
    draft: Draft,
    number: usize,
}

fn draw(draws: &mut Draws, number: usize) -> Drawn {
    let signer = match draws.below(12) {
        0 => &RARE[draws.below(RARE.len())],
        _ => &SIGNERS[draws.below(SIGNERS.len())],
    };
    let message = draws.one_of(&[
        "subject\n",
        "subject\n\nbody\n",
        "",
        "no line end",
        "subject\n\ngpgsig -----BEGIN SSH SIGNATURE-----\n x\n",
        "\n\n\nblank lines\r\n and \u{1b}[31mmore\u{1b}[0m\n",
    ]);
    let date = match signer.0 {
        "pgp-over" => "2023-03-01T00:00:00Z",
        "pgp-dated-before-the-key" => "2022-12-31T23:59:59Z",
        _ => DATE,
    };
    let mut draft = Draft::new(&format!("{number} {message}"), date);
    draft.parents = draws.below(4);
    draft.more_headers = draws
        .one_of(&[
            "",
            "",
            "encoding ISO-8859-1\n",
            "mergetag object a\n type commit\n \n -----BEGIN\n",
        ])
        .to_owned();
    Drawn { signer, done: draws.one_of(&DONE), draft, number }
}

impl Drawn {
    fn label(&self) -> String {
        format!("{} {} {}", self.number, self.signer.0, self.done)
    }

    fn signature(&self, place: &Place, payload: &str) -> Option<Vec<u8>> {
        let (name, signs) = self.signer;
        let payload = payload.as_bytes();
        Some(match signs {
            Signs::Ssh(arguments) => place.ssh_sign(&place.path(name), arguments, payload),
            Signs::SecurityKey => crate::security_key::sign(payload),
            Signs::Pgp { user, more, at } => {
                let sign = ["--armor", "--detach-sign", "--local-user", user];
                place.gpg(&for_gpg(seconds(at)), &[more, &sign[..]].concat(), payload)
            }
            Signs::Nobody => return None,
        })
    }

    fn object(&self, place: &Place) -> Vec<u8> {
        let payload = self.draft.payload();
        let other = Draft { parents: self.draft.parents + 1, ..self.draft.clone() }.payload();
        let of = if self.done == "pasted" { &other } else { &payload };
        let Some(signature) = self.signature(place, of) else { return payload.into_bytes() };
        let text = String::from_utf8(signature.clone()).unwrap();
        let middle = text.len() / 2;
        match self.done {
            "flipped" => signed(&payload.replacen("author A", "author B", 1), &signature),
            "cut-short" => signed(&payload, &signature[..middle]),
            "garbled" => {
                let mut garbled = signature;
                garbled[middle] = if garbled[middle] == b'A' { b'B' } else { b'A' };
                signed(&payload, &garbled)
            }
            "twice" => {
                let once = String::from_utf8(signed(&payload, &signature)).unwrap();
                signed(&once, &signature)
            }
            "other-header" => signed_in(&payload, "gpgsig-sha256", &signature),
            "junk-behind" => signed(&payload, format!("{text}junk\n").as_bytes()),
            "no-end" => {
                let end = text.rfind("-----END").unwrap();
                signed(&payload, &text.as_bytes()[..end])
            }
            _ => signed(&payload, &signature),
        }
    }
}
