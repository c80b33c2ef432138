//! PURE: which host keys are believed, by OpenSSH's `known_hosts` (see sshd(8)).
//!
//! Understood are names, patterns with `*`, `?` and `!`, `[host]:port`, hashed names and
//! `@revoked`. `@cert-authority` lines are passed over: libssh2 knows no host certificates.

use openssl::base64::{decode_block, encode_block};
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::model::pattern::is_in_list;

/// What is said of a key that a host presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is one of the host's keys.
    Known,
    /// The host has keys, and this is none of them.
    Other,
    /// The host has no key.
    Unknown,
    /// It is marked as not to be believed any more.
    Revoked,
}

/// The host's keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HostKeys {
    /// Type and base64 of each.
    believed: Vec<(String, String)>,
    revoked: Vec<String>,
}

/// Finds the keys of a host. `host` is without brackets, lines that cannot be read are none.
pub fn keys_of(text: &str, host: &str, port: u16) -> HostKeys {
    let name = name_of(host, port);
    let mut keys = HostKeys::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let (Some(hosts), Some(kind), Some(key)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if hosts.starts_with('#') || !names(hosts, &name) {
            continue;
        }
        match marker {
            None => keys.believed.push((kind.to_owned(), key.to_owned())),
            Some("@revoked") => keys.revoked.push(key.to_owned()),
            Some(_) => (),
        }
    }
    keys
}

impl HostKeys {
    /// Tells whether there is none that could be believed.
    pub fn is_empty(&self) -> bool {
        self.believed.is_empty()
    }

    /// Judges the key that a host presents, as bytes.
    pub fn judge(&self, presented: &[u8]) -> Verdict {
        let same = |key: &str| decode_block(key).is_ok_and(|bytes| bytes == presented);
        if self.revoked.iter().any(|key| same(key)) {
            return Verdict::Revoked;
        }
        match self.believed.iter().any(|(_, key)| same(key)) {
            true => Verdict::Known,
            false if self.believed.is_empty() => Verdict::Unknown,
            false => Verdict::Other,
        }
    }

    /// Writes them as plain lines of a `known_hosts` file.
    ///
    /// libgit2 reads such a file, and only from the home directory, to ask the host for a kind of
    /// key that is in it; otherwise a host with several keys would show one that is not.
    pub fn plain_lines(&self, host: &str, port: u16) -> String {
        let name = name_of(host, port);
        self.believed.iter().map(|(kind, key)| format!("{name} {kind} {key}\n")).collect()
    }
}

/// Returns the key's fingerprint, as `ssh-keygen -l` shows it.
pub fn fingerprint(key: &[u8]) -> String {
    match hash(MessageDigest::sha256(), key) {
        Ok(digest) => format!("SHA256:{}", encode_block(&digest).trim_end_matches('=')),
        Err(_) => "SHA256:?".to_owned(),
    }
}

fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    }
}

/// Tells whether a comma-separated list of patterns, or a hash, names the host.
fn names(list: &str, name: &str) -> bool {
    if let Some(rest) = list.strip_prefix("|1|") {
        return rest.split_once('|').is_some_and(|(salt, hash)| is_hash_of(salt, hash, name));
    }
    // As OpenSSH does it: in names of hosts upper and lower case are the same.
    is_in_list(&list.to_ascii_lowercase(), name)
}

/// HMAC-SHA1 of the name, keyed with the salt.
fn is_hash_of(salt: &str, hash: &str, name: &str) -> bool {
    let computed = || {
        let key = PKey::hmac(&decode_block(salt)?)?;
        let mut signer = Signer::new(MessageDigest::sha1(), &key)?;
        signer.update(name.as_bytes())?;
        signer.sign_to_vec()
    };
    matches!((computed(), decode_block(hash)), (Ok(computed), Ok(hash)) if computed == hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAAA";
    const TWO: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBBB";

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, expected: Verdict) {
        let presented = decode_block(ONE).unwrap();
        assert_eq!(keys_of(text, host, port).judge(&presented), expected, "{text}");
    }

    #[test]
    fn a_key_is_known_other_unknown_or_revoked() {
        let one = format!("h ssh-ed25519 {ONE} comment\n");
        let two = format!("h ssh-ed25519 {TWO}\n");
        check(&one, "h", 22, Verdict::Known);
        check(&one, "H", 22, Verdict::Known);
        check(&two, "h", 22, Verdict::Other);
        check(&format!("{two}{one}"), "h", 22, Verdict::Known);
        check(&one, "other", 22, Verdict::Unknown);
        check("", "h", 22, Verdict::Unknown);
        check(&format!("{one}@revoked * ssh-ed25519 {ONE}"), "h", 22, Verdict::Revoked);
        check(&format!("@cert-authority h ssh-ed25519 {ONE}"), "h", 22, Verdict::Unknown);
        check(&format!("# {one}"), "h", 22, Verdict::Unknown);
        check("h ssh-ed25519 not-base64!", "h", 22, Verdict::Other);
        check("h ssh-ed25519", "h", 22, Verdict::Unknown);
    }

    #[test]
    fn names_are_patterns_with_a_port() {
        let line = |hosts: &str| format!("{hosts} ssh-ed25519 {ONE}");
        check(&line("[h]:2222"), "h", 2222, Verdict::Known);
        check(&line("h"), "h", 2222, Verdict::Unknown);
        check(&line("a,h"), "h", 22, Verdict::Known);
        check(&line("*.example,10.0.0.?"), "git.example", 22, Verdict::Known);
        check(&line("*.example,10.0.0.?"), "10.0.0.7", 22, Verdict::Known);
        check(&line("*.example,10.0.0.?"), "10.0.0.77", 22, Verdict::Unknown);
        check(&line("*.example,!git.example"), "git.example", 22, Verdict::Unknown);
        check(&line("*.Example,!Git.Example"), "git.example", 22, Verdict::Unknown);
        check(&line("*.Example,!Git.Example"), "web.example", 22, Verdict::Known);
        check(&line("*a*a*a*b"), &"a".repeat(60), 22, Verdict::Unknown);
    }

    #[test]
    fn hashed_names_are_found() {
        // `ssh-keygen -H` of `git.example`, and of `[git.example]:2222`.
        let salt = encode_block(&[7; 20]);
        let hashed = |name: &str| {
            let key = PKey::hmac(&[7; 20]).unwrap();
            let mut signer = Signer::new(MessageDigest::sha1(), &key).unwrap();
            signer.update(name.as_bytes()).unwrap();
            let hash = encode_block(&signer.sign_to_vec().unwrap());
            format!("|1|{salt}|{hash} ssh-ed25519 {ONE}")
        };
        check(&hashed("git.example"), "git.example", 22, Verdict::Known);
        check(&hashed("git.example"), "git.example2", 22, Verdict::Unknown);
        check(&hashed("[git.example]:2222"), "git.example", 2222, Verdict::Known);
        check(&format!("|1|{salt} ssh-ed25519 {ONE}"), "git.example", 22, Verdict::Unknown);
    }

    #[test]
    fn only_this_hosts_keys_are_written_plainly() {
        let text = format!("*,!x ssh-ed25519 {ONE}\nx ssh-ed25519 {TWO}\n");
        let lines = keys_of(&text, "h", 2222).plain_lines("h", 2222);
        assert_eq!(lines, format!("[h]:2222 ssh-ed25519 {ONE}\n"));
    }

    #[test]
    fn a_fingerprint_is_the_one_that_ssh_keygen_shows() {
        assert_eq!(fingerprint(b""), "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
    }
}
