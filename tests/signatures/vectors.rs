//! Named cases: commits that Git signed itself, and each way in which a signature does not count.

use autodeploy::model::failure::Reason;
use autodeploy::trust::{Keys, Refusal};

use crate::place::{KEYS_MADE, Place};
use crate::scribe::{Draft, for_gpg, seconds, signed};

const DATE: &str = "2024-06-01T12:00:00Z";

fn allow(place: &Place, lines: &str) -> Keys {
    std::fs::write(place.path("allowed"), lines).unwrap();
    place.keys(None)
}

/// Has Git commit and sign, and returns the commit's name.
#[track_caller]
fn commit(place: &Place, format: &str, key: &str) -> String {
    let (format, key) = (format!("gpg.format={format}"), format!("user.signingKey={key}"));
    let who = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", &format, "-c", &key];
    let what = ["commit", "-S", "--allow-empty", "--quiet", "-m", "signed", "-m", "gpgsig no\n x"];
    place.git(&[&who[..], &what[..]].concat(), b"").good("git commit -S");
    let name = place.git(&["rev-parse", "HEAD"], b"").good("git rev-parse");
    String::from_utf8(name).unwrap().trim().to_owned()
}

#[test]
fn what_git_signs_with_a_key_of_ssh_is_believed() {
    let place = Place::new();
    let kinds: [&[&str]; 5] = [
        &["-t", "ed25519"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "3072"],
    ];
    for kind in kinds {
        let name = kind.concat();
        let public = place.ssh_key(&name, kind);
        let keys = allow(&place, &format!("# ours\nx@y {public}\n"));
        let commit = commit(&place, "ssh", place.path(&name).to_str().unwrap());
        let signer = place.verdict(&keys, &commit).unwrap();
        let listed =
            place.run("ssh-keygen", &["-l", "-f", place.path(&name).to_str().unwrap()], b"");
        let listed = String::from_utf8(listed.good("ssh-keygen -l")).unwrap();
        assert_eq!(
            (signer.name.as_str(), Some(signer.key.as_str())),
            ("x@y", listed.split(' ').nth(1))
        );
        assert!(place.git_verifies(&commit).ok);
        let other = allow(&place, &format!("x@y {}\n", place.ssh_key(&format!("not{name}"), kind)));
        assert_eq!(place.verdict(&other, &commit), Err(Refusal::UnknownKey { key: signer.key }));
    }
}

#[test]
fn what_git_signs_with_a_key_of_openpgp_is_believed() {
    let place = Place::new();
    for algorithm in ["ed25519", "rsa2048", "nistp256"] {
        let user = format!("Some One <{algorithm}@b>");
        let key = place.pgp_key(&user, algorithm, ("sign", "never"));
        let commit = commit(&place, "openpgp", &key);
        for armored in [&[][..], &["--armor"][..]] {
            let keys = place.keys(Some(place.keyring(&[&key], armored)));
            let signer = place.verdict(&keys, &commit).unwrap();
            assert_eq!((signer.name, signer.key), (user.clone(), key.clone()));
        }
        assert!(place.git_verifies(&commit).ok);
    }
}

#[test]
fn a_subkey_signs_for_its_key() {
    let place = Place::new();
    let key = place.pgp_key("sub@b", "rsa2048", ("cert", "never"));
    place.gpg(KEYS_MADE, &["--quick-add-key", &key, "ed25519", "sign", "never"], b"");
    let commit = commit(&place, "openpgp", &key);
    let keys = place.keys(Some(place.keyring(&[&key], &[])));
    assert_eq!(place.verdict(&keys, &commit).unwrap().key, key);
    assert!(place.git_verifies(&commit).ok);
    // The same with two files of keys behind each other.
    let other = place.pgp_key("other@b", "ed25519", ("sign", "never"));
    let armored = |key: &str| place.keyring(&[key], &["--armor"]);
    let both = place.keys(Some([armored(&other), armored(&key)].concat()));
    assert_eq!(place.verdict(&both, &commit).unwrap().key, key);
    let only_other = place.keys(Some(armored(&other)));
    let refusal = place.verdict(&only_other, &commit).unwrap_err();
    assert_eq!(refusal.reason(), Reason::UNTRUSTED_KEY);
}

/// Changes the first signature on the first subkey of a keyring.
fn with_binding(keyring: &[u8], change: impl FnOnce(&mut pgp::packet::Signature)) -> Vec<u8> {
    use pgp::composed::{Deserializable, SignedPublicKey};
    use pgp::ser::Serialize;
    let mut key = SignedPublicKey::from_bytes(keyring).unwrap();
    change(&mut key.public_subkeys[0].signatures[0]);
    key.to_bytes().unwrap()
}

#[test]
fn a_subkey_has_to_say_itself_that_it_belongs_to_the_key() {
    use pgp::packet::SubpacketData;
    let place = Place::new();
    let key = place.pgp_key("sub@b", "rsa2048", ("cert", "never"));
    place.gpg(KEYS_MADE, &["--quick-add-key", &key, "ed25519", "sign", "never"], b"");
    let commit = commit(&place, "openpgp", &key);
    let keyring = place.keyring(&[&key], &[]);
    let same = with_binding(&keyring, |_| {});
    assert_eq!(place.verdict(&place.keys(Some(same)), &commit).unwrap().key, key);
    let alone = with_binding(&keyring, |binding| {
        let config = binding.config().unwrap();
        let back =
            |one: &pgp::packet::Subpacket| matches!(one.data, SubpacketData::EmbeddedSignature(_));
        let at = config.unhashed_subpackets().position(back).unwrap();
        binding.unhashed_subpacket_remove(at).unwrap();
    });
    let refusal = place.verdict(&place.keys(Some(alone)), &commit).unwrap_err();
    let why = "the subkey does not say itself that it belongs to the key".to_owned();
    assert_eq!(refusal, Refusal::MayNotSign { key, why });
    assert_eq!(refusal.reason(), Reason::UNTRUSTED_KEY);
}

#[test]
fn a_subkey_counts_for_its_own_time_and_not_for_longer_than_its_key() {
    let place = Place::new();
    let sign = |key: &str, at: &str| {
        let draft = Draft::new("m", at);
        let arguments = ["--armor", "--detach-sign", "--local-user", key];
        let time = for_gpg(draft.committed_at);
        let signature = place.gpg(&time, &arguments, draft.payload().as_bytes());
        (place.write(&signed(&draft.payload(), &signature)), draft)
    };
    let until = seconds("2023-01-01T00:00:00Z") + 365 * 24 * 3600;
    for (name, key_lasts, subkey_lasts) in [("a@b", "never", "1y"), ("c@d", "1y", "5y")] {
        let key = place.pgp_key(name, "rsa2048", ("cert", key_lasts));
        place.gpg(KEYS_MADE, &["--quick-add-key", &key, "ed25519", "sign", subkey_lasts], b"");
        let (good, draft) = sign(&key, "2023-06-01T00:00:00Z");
        let keys = place.keys(Some(place.keyring(&[&key], &[])));
        assert_eq!(place.verdict(&keys, &good).unwrap().key, key);
        // The same signature under a later date is one of another commit; of the dates alone, the
        // commit's counts as well.
        let later = Draft { committed_at: seconds(DATE), ..draft };
        let arguments = ["--armor", "--detach-sign", "--local-user", &key];
        let payload = later.payload();
        let within = place.gpg("20230601T000000", &arguments, payload.as_bytes());
        let over = place.write(&signed(&payload, &within));
        assert_eq!(place.verdict(&keys, &over), Err(Refusal::Expired { key, until }));
    }
}

/// Signs a draft with the key `one` of SSH.
fn with_ssh(place: &Place, draft: &Draft, arguments: &[&str]) -> String {
    let payload = draft.payload();
    let signature = place.ssh_sign(&place.path("one"), arguments, payload.as_bytes());
    place.write(&signed(&payload, &signature))
}

#[test]
fn a_key_of_ssh_counts_for_what_and_when_its_line_says() {
    let place = Place::new();
    let public = place.ssh_key("one", &["-t", "ed25519"]);
    let draft = Draft::new("m", DATE);
    let good = with_ssh(&place, &draft, &["-n", "git"]);
    let at = draft.committed_at;
    let check = |line: &str, expected: Result<(), &dyn Fn(String) -> Refusal>| {
        let keys = allow(&place, &format!("x@y {line}{public}\n"));
        let known = allow(&place, &format!("x@y {public}\n"));
        let key = place.verdict(&known, &good).unwrap().key;
        allow(&place, &format!("x@y {line}{public}\n"));
        let verdict = place.verdict(&keys, &good).map(drop);
        assert_eq!(verdict, expected.map_err(|refusal| refusal(key)), "{line}");
        assert_eq!(place.git_verifies(&good).ok, verdict.is_ok(), "{line}");
    };
    check("", Ok(()));
    check("namespaces=\"file,git\" ", Ok(()));
    check("valid-after=\"20240601120000Z\",valid-before=\"20240601120001Z\" ", Ok(()));
    check("namespaces=\"file\" ", Err(&|key| Refusal::NotForGit { key }));
    check(
        "valid-after=\"20240601120001\" ",
        Err(&|key| Refusal::NotYetValid { key, from: at + 1 }),
    );
    check("valid-before=\"20240601115959\" ", Err(&|key| Refusal::Expired { key, until: at - 1 }));
    let file = with_ssh(&place, &draft, &["-n", "file"]);
    let keys = allow(&place, &format!("x@y {public}\n"));
    let namespace = "file".to_owned();
    assert_eq!(place.verdict(&keys, &file), Err(Refusal::WrongNamespace { namespace }));
    assert!(!place.git_verifies(&file).ok);
}

#[test]
fn a_signature_is_one_of_its_own_commit_alone() {
    let place = Place::new();
    let public = place.ssh_key("one", &["-t", "ed25519"]);
    let pgp = place.pgp_key("pgp@b", "ed25519", ("sign", "never"));
    allow(&place, &format!("x@y {public}\n"));
    let keys = place.keys(Some(place.keyring(&[&pgp], &[])));
    let (one, two) = (Draft::new("one", DATE), Draft::new("two", DATE));
    let time = for_gpg(one.committed_at);
    let by_pgp = |draft: &Draft| {
        let arguments = ["--armor", "--detach-sign", "--local-user", &pgp];
        place.gpg(&time, &arguments, draft.payload().as_bytes())
    };
    let by_ssh = |draft: &Draft| {
        place.ssh_sign(&place.path("one"), &["-n", "git"], draft.payload().as_bytes())
    };
    for sign in [&by_ssh as &dyn Fn(&Draft) -> Vec<u8>, &by_pgp] {
        let right = place.write(&signed(&one.payload(), &sign(&one)));
        assert!(place.verdict(&keys, &right).is_ok() && place.git_verifies(&right).ok);
        let pasted = place.write(&signed(&two.payload(), &sign(&one)));
        let refusal = place.verdict(&keys, &pasted).unwrap_err();
        assert!(matches!(refusal, Refusal::BadSignature { .. }), "{refusal:?}");
        assert!(!place.git_verifies(&pasted).ok);
        // The same words with another parent are another commit.
        let moved = Draft { parents: 2, ..one.clone() };
        let moved = place.write(&signed(&moved.payload(), &sign(&one)));
        assert!(place.verdict(&keys, &moved).is_err());
    }
    let unsigned = place.write(two.payload().as_bytes());
    assert_eq!(place.verdict(&keys, &unsigned), Err(Refusal::Unsigned));
}

#[test]
fn a_key_of_openpgp_that_is_revoked_or_over_does_not_count() {
    let place = Place::new();
    let revoked = place.pgp_key("revoked@b", "ed25519", ("sign", "never"));
    let over = place.pgp_key("over@b", "ed25519", ("sign", "1y"));
    let encrypts = place.pgp_key("cert@b", "ed25519", ("cert", "never"));
    let sign = |key: &str, at: &str, committed: &str| {
        let draft = Draft::new("m", committed);
        let arguments = ["--armor", "--detach-sign", "--local-user", key];
        let signature = place.gpg(&for_gpg(seconds(at)), &arguments, draft.payload().as_bytes());
        place.write(&signed(&draft.payload(), &signature))
    };
    let by_revoked = sign(&revoked, DATE, DATE);
    let (within, after) = ("2023-06-01T00:00:00Z", "2024-06-01T00:00:00Z");
    let in_time = sign(&over, within, within);
    let set_back = sign(&over, within, after);
    let older = sign(&over, within, "2022-01-01T00:00:00Z");
    place.pgp_revoke(&revoked);
    let keys = place.keys(Some(place.keyring(&[&revoked, &over, &encrypts], &[])));
    assert_eq!(place.verdict(&keys, &by_revoked), Err(Refusal::Revoked { key: revoked }));
    assert!(!place.git_verifies(&by_revoked).ok);
    // Git asks gpg whether the key counts today; we ask whether it did when the commit was made.
    assert_eq!(place.verdict(&keys, &in_time).unwrap().key, over);
    let until = seconds("2023-01-01T00:00:00Z") + 365 * 24 * 3600;
    let expected = Refusal::Expired { key: over.clone(), until };
    assert_eq!(place.verdict(&keys, &set_back), Err(expected));
    let from = seconds("2023-01-01T00:00:00Z");
    assert_eq!(place.verdict(&keys, &older), Err(Refusal::NotYetValid { key: over, from }));
}

#[test]
fn a_certificate_is_refused_by_its_name() {
    let place = Place::new();
    let authority = place.ssh_key("ca", &["-t", "ed25519"]);
    place.ssh_key("one", &["-t", "ed25519"]);
    let (ca, one) = (place.path("ca"), place.path("one"));
    let arguments =
        ["-q", "-s", ca.to_str().unwrap(), "-I", "x", "-n", "x@y", one.to_str().unwrap()];
    place.run("ssh-keygen", &arguments, b"").good("ssh-keygen -s");
    let draft = Draft::new("m", DATE);
    let certificate = place.path("one-cert.pub");
    let signature = place.ssh_sign(&certificate, &["-n", "git"], draft.payload().as_bytes());
    let commit = place.write(&signed(&draft.payload(), &signature));
    let another = place.ssh_key("another", &["-t", "ed25519"]);
    let lines = format!("x@y cert-authority {authority}\nz@y {another}\n");
    let keys = allow(&place, &lines);
    assert_eq!(place.verdict(&keys, &commit), Err(Refusal::CertificateUnsupported));
    assert_eq!(Refusal::CertificateUnsupported.reason(), Reason::UNSUPPORTED_SIGNATURE);
}

#[test]
fn weak_digests_and_short_keys_prove_nothing() {
    let place = Place::new();
    let good = place.pgp_key("good@b", "rsa2048", ("sign", "never"));
    let short = place.pgp_key("short@b", "rsa1024", ("sign", "never"));
    let keys = place.keys(Some(place.keyring(&[&good, &short], &[])));
    let check = |key: &str, more: &[&str], expected: &str| {
        let draft = Draft::new("m", DATE);
        let arguments = [more, &["--armor", "--detach-sign", "--local-user", key]].concat();
        let time = for_gpg(draft.committed_at);
        let signature = place.gpg(&time, &arguments, draft.payload().as_bytes());
        let commit = place.write(&signed(&draft.payload(), &signature));
        let refusal = place.verdict(&keys, &commit).unwrap_err();
        assert_eq!(refusal.reason(), Reason::UNSUPPORTED_SIGNATURE);
        assert!(refusal.sentence().contains(expected), "{}", refusal.sentence());
    };
    check(&good, &["--digest-algo", "SHA1"], "SHA1");
    check(&short, &[], "an RSA key of 1024 bits");
    check(&good, &["--default-sig-expire", "1y"], "expires by itself");
    check(&good, &["--textmode"], "leaves line ends open");
}

#[test]
fn a_file_of_keys_that_is_none_is_said_to_be_none() {
    use autodeploy::trust::{KeyFiles, Unusable};
    use jiff::tz::TimeZone;
    let place = Place::new();
    let key = place.pgp_key("a@b", "ed25519", ("sign", "never"));
    let secret = place.gpg(KEYS_MADE, &["--armor", "--export-secret-keys", &key], b"");
    let binary = place.keyring(&[&key], &[]);
    let check = |keyring: &[u8], expected: &str| {
        let files = KeyFiles { openpgp_keyring: Some(keyring.to_vec()), ..KeyFiles::default() };
        let Unusable(why) = Keys::parse(&files, &TimeZone::UTC).unwrap_err();
        assert!(why.starts_with("`trust.openpgp_keyring_file`: "), "{why}");
        assert!(why.contains(expected), "{why}");
    };
    check(&secret, "there is a private key in it");
    check(b"", "there is no public key in it");
    check(&binary[..binary.len() - 20], "it is no keyring as `gpg --export` writes it");
    check(b"KBXf nonsense", "it is no keyring");
    check(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense", "it is no keyring");
}
