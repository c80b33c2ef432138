//! A Git server's answers, the addresses that lead to it, and the keys that it is known by.

use super::{cut_at, in_pieces, lines, shown};
use crate::effects::git::known_hosts::{Verdict, keys_of};
use crate::effects::remote::address::{self, Address, Scheme};
use crate::effects::remote::answer::{Advertisement, Listing};

/// Laws: an answer means the same in whatever pieces it arrives, and what is wrong with it is said
/// in a line that can be shown.
pub fn answer(bytes: &[u8]) {
    let (pieces, stream) = in_pieces(bytes);
    let pieces: Vec<_> = pieces.collect();
    let advertised = |pieces: &[&[u8]]| {
        let mut advertisement = Advertisement::of("main");
        pieces.iter().try_for_each(|piece| advertisement.feed(piece))?;
        advertisement.end()
    };
    let listed = |pieces: &[&[u8]]| {
        let mut listing = Listing::of("main");
        pieces.iter().try_for_each(|piece| listing.feed(piece))?;
        listing.end()
    };
    let (advertised, whole) = (advertised(&pieces), advertised(&[stream]));
    assert_eq!(advertised, whole);
    if let Err(unusable) = advertised {
        shown(&unusable.to_string(), cut_at(400));
    }
    let (listed, whole) = (listed(&pieces), listed(&[stream]));
    assert_eq!(listed, whole);
    if let Err(unusable) = listed {
        shown(&unusable.to_string(), cut_at(400));
    }
}

/// Laws: what is shown of a URL has no user in it; a redirect leads to the same host, and never
/// from `https` to `http`; nothing breaks out of a header.
pub fn address(bytes: &[u8]) {
    let Some([url, location]) = lines(bytes) else { return };
    let seen = address::shown(url);
    shown(&seen, cut_at(200));
    let authority = |url: &str| {
        let (_, rest) = url.split_once("://")?;
        Some(rest.split('/').next()?.to_owned())
    };
    assert!(!authority(&seen).is_some_and(|authority| authority.contains('@')), "{seen}");
    if let Some(place) = address::ssh_place(url) {
        assert_eq!(address::scheme(url), Some(Scheme::Ssh));
        assert!(!place.host.is_empty());
    }
    let Some(address) = Address::parse(url) else { return };
    let header = |value: &str| value.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(header(&address.host_header()) && header(&address.path));
    let asked = format!("{}/info/refs?service=git-upload-pack", address.path);
    match address.redirected(location, &asked) {
        Ok(target) => {
            assert_eq!(target.host, address.host);
            assert!(target.tls || !address.tls);
            assert!(target.port == address.port || (target.tls && target.port == 443));
            assert!(header(&target.host_header()) && header(&target.path));
        }
        Err(why) => shown(&why, cut_at(400)),
    }
}

/// Laws: what is written for one host reads back the same; a key that is revoked is never believed;
/// and no pattern takes for ever.
pub fn known_hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (host, port) in [("git.example", 22), ("Git.example", 2222), ("::1", 22)] {
        let keys = keys_of(&text, host, port);
        let plain = keys_of(&keys.plain_lines(host, port), host, port);
        assert_eq!(plain.is_empty(), keys.is_empty());
        assert_eq!(plain.plain_lines(host, port), keys.plain_lines(host, port));
        match keys.judge(b"a key") {
            Verdict::Known | Verdict::Other => assert!(!keys.is_empty()),
            Verdict::Unknown => assert!(keys.is_empty()),
            Verdict::Revoked => {}
        }
        let revoked = format!("{text}\n@revoked * ssh-ed25519 YSBrZXk=\n");
        assert_eq!(keys_of(&revoked, host, port).judge(b"a key"), Verdict::Revoked);
    }
}
