//! A security key (FIDO) in software: what `sk-ssh-ed25519@openssh.com` would sign, without one.

use std::sync::OnceLock;

use openssl::base64::encode_block;
use openssl::pkey::{Id, PKey, Private};
use openssl::sha::{sha256, sha512};
use openssl::sign::Signer;

const KIND: &[u8] = b"sk-ssh-ed25519@openssh.com";
const APPLICATION: &[u8] = b"ssh:";
/// Somebody touched it, for the seventh time.
const FLAGS_AND_COUNTER: [u8; 5] = [1, 0, 0, 0, 7];

fn key() -> &'static PKey<Private> {
    static KEY: OnceLock<PKey<Private>> = OnceLock::new();
    KEY.get_or_init(|| PKey::generate_ed25519().unwrap())
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn public_blob() -> Vec<u8> {
    assert_eq!(key().id(), Id::ED25519);
    let raw = key().raw_public_key().unwrap();
    [string(KIND), string(&raw), string(APPLICATION)].concat()
}

/// Returns `type base64`.
pub fn public() -> String {
    format!("{} {}", std::str::from_utf8(KIND).unwrap(), encode_block(&public_blob()))
}

/// Signs as `ssh-keygen -Y sign -n git` would with such a key.
pub fn sign(document: &[u8]) -> Vec<u8> {
    let head = |tail: &[u8]| {
        let (namespace, nothing, hash) = (string(b"git"), string(b""), string(b"sha512"));
        [&namespace[..], &nothing, &hash, tail].concat()
    };
    let data = [b"SSHSIG", &head(&string(&sha512(document)))[..]].concat();
    let over = [&sha256(APPLICATION)[..], &FLAGS_AND_COUNTER, &sha256(&data)].concat();
    let raw = Signer::new_without_digest(key()).unwrap().sign_oneshot_to_vec(&over).unwrap();
    let signature = [string(KIND), string(&raw), FLAGS_AND_COUNTER.to_vec()].concat();
    let public = string(&public_blob());
    let blob = [b"SSHSIG", &1u32.to_be_bytes()[..], &public, &head(&string(&signature))].concat();
    let base64 = encode_block(&blob);
    let lines: Vec<_> =
        base64.as_bytes().chunks(70).map(|l| std::str::from_utf8(l).unwrap()).collect();
    let body = lines.join("\n");
    format!("-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n").into_bytes()
}
