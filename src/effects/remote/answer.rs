//! PURE: what a Git server answers to "where is this branch?", over bytes as they arrive.
//!
//! Two questions, two answers. `info/refs` brings either the capabilities of version 2 or, from an
//! older server, every ref there is (version 0 and 1). `ls-refs` of version 2 brings the refs with
//! the asked-for prefix. Refs other than the one that is wanted are passed over unread, so an
//! answer of any size needs no room. See gitprotocol-v2(5) and gitprotocol-pack(5).

use std::fmt;

use crate::effects::remote::pkt_line::{self, Malformed, Packet, Packets};
use crate::model::commit::CommitId;
use crate::model::text::escaped;

/// Why an answer could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not made of packets.
    Malformed(Malformed),
    /// The server said so, in its own words (escaped).
    Refused(String),
    /// It is made of packets, but is no answer to the question.
    Unexpected(&'static str),
    /// Its objects have SHA-256 names, which the library that fetches them cannot read.
    Sha256,
}

impl From<Malformed> for Unusable {
    fn from(malformed: Malformed) -> Unusable {
        Unusable::Malformed(malformed)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Malformed(malformed) => malformed.fmt(f),
            Unusable::Refused(words) => write!(f, "the server said `{words}`"),
            Unusable::Unexpected(what) => f.write_str(what),
            Unusable::Sha256 => f.write_str("the repository uses SHA-256 object names"),
        }
    }
}

impl std::error::Error for Unusable {}

/// What `info/refs` brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// The server speaks version 2: ask it with [`ls_refs_request`].
    Version2,
    /// An older server: this is the branch, if it is there.
    Tip(Option<CommitId>),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Before `# service=git-upload-pack`, or the first line where a server leaves that out.
    Start,
    /// Between the service line and what is advertised.
    Announced,
    /// The refs of version 0 and 1; the first carries the capabilities.
    Refs { first: bool },
    /// The capabilities of version 2.
    Capabilities { ls_refs: bool },
    /// After the last flush.
    Over { version_2: bool },
}

/// Reads the answer to `info/refs?service=git-upload-pack`.
#[derive(Debug)]
pub struct Advertisement {
    packets: Packets,
    wanted: String,
    state: State,
    tip: Option<CommitId>,
}

impl Advertisement {
    /// Looks for `branch`, without `refs/heads/`.
    pub fn of(branch: &str) -> Advertisement {
        Advertisement {
            packets: Packets::default(),
            wanted: full_name(branch),
            state: State::Start,
            tip: None,
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// It is no advertisement of a Git repository.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Unusable> {
        let Advertisement { packets, wanted, state, tip } = self;
        packets.feed(piece, |packet| {
            let next = after(std::mem::replace(state, State::Start), packet, wanted, tip)?;
            *state = next;
            Ok(())
        })
    }

    /// Says what was advertised, once the answer is over.
    ///
    /// # Errors
    /// It ended too early.
    pub fn end(self) -> Result<Advertised, Unusable> {
        self.packets.end()?;
        match self.state {
            State::Over { version_2: true } => Ok(Advertised::Version2),
            State::Over { version_2: false } => Ok(Advertised::Tip(self.tip)),
            State::Start | State::Announced | State::Refs { .. } | State::Capabilities { .. } => {
                Err(Unusable::Unexpected("the list of refs ended early"))
            }
        }
    }
}

/// One step through an advertisement.
fn after(
    state: State,
    packet: Packet<'_>,
    wanted: &str,
    tip: &mut Option<CommitId>,
) -> Result<State, Unusable> {
    match (state, packet) {
        (State::Start, Packet::Line(b"# service=git-upload-pack")) => Ok(State::Announced),
        (State::Announced, Packet::Flush) => Ok(State::Refs { first: true }),
        (State::Start | State::Refs { first: true }, Packet::Line(b"version 2")) => {
            Ok(State::Capabilities { ls_refs: false })
        }
        (State::Refs { first: true }, Packet::Line(b"version 1")) => {
            Ok(State::Refs { first: true })
        }
        (State::Start, Packet::Line(line)) => {
            refused(line)?;
            Err(Unusable::Unexpected("the answer is not that of a Git server"))
        }
        (State::Refs { first }, Packet::Line(line)) => {
            refused(line)?;
            if let Some(found) = reference(line, wanted, first)? {
                *tip = Some(found);
            }
            Ok(State::Refs { first: false })
        }
        // An empty repository has no line at all in version 1.
        (State::Refs { .. }, Packet::Flush) => Ok(State::Over { version_2: false }),
        (State::Capabilities { ls_refs }, Packet::Line(line)) => {
            if line == b"object-format=sha256" {
                return Err(Unusable::Sha256);
            }
            let named = line == b"ls-refs" || line.starts_with(b"ls-refs=");
            Ok(State::Capabilities { ls_refs: ls_refs || named })
        }
        (State::Capabilities { ls_refs: true }, Packet::Flush) => {
            Ok(State::Over { version_2: true })
        }
        (State::Capabilities { ls_refs: false }, Packet::Flush) => {
            Err(Unusable::Unexpected("the server speaks version 2 but does not list refs"))
        }
        _ => Err(Unusable::Unexpected("the answer is not that of a Git server")),
    }
}

/// Writes the question of version 2: one branch, nothing else.
pub fn ls_refs_request(branch: &str) -> Vec<u8> {
    let mut message = Vec::new();
    pkt_line::write_line(&mut message, "command=ls-refs");
    pkt_line::write_line(&mut message, "object-format=sha1");
    pkt_line::write_delimiter(&mut message);
    pkt_line::write_line(&mut message, &format!("ref-prefix {}", full_name(branch)));
    pkt_line::write_flush(&mut message);
    message
}

/// Reads the answer to [`ls_refs_request`].
#[derive(Debug)]
pub struct Listing {
    packets: Packets,
    wanted: String,
    over: bool,
    tip: Option<CommitId>,
}

impl Listing {
    /// Looks for `branch`, without `refs/heads/`.
    pub fn of(branch: &str) -> Listing {
        Listing { packets: Packets::default(), wanted: full_name(branch), over: false, tip: None }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// It is no list of refs.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Unusable> {
        let Listing { packets, wanted, over, tip } = self;
        packets.feed(piece, |packet| match packet {
            Packet::Flush | Packet::ResponseEnd => {
                *over = true;
                Ok(())
            }
            Packet::Line(line) if !*over => {
                refused(line)?;
                if let Some(found) = reference(line, wanted, false)? {
                    *tip = Some(found);
                }
                Ok(())
            }
            Packet::Line(_) | Packet::Delimiter => {
                Err(Unusable::Unexpected("the answer is not a list of refs"))
            }
        })
    }

    /// Says where the branch is, once the answer is over; `None` if it is nowhere.
    ///
    /// # Errors
    /// It ended too early.
    pub fn end(self) -> Result<Option<CommitId>, Unusable> {
        self.packets.end()?;
        match self.over {
            true => Ok(self.tip),
            false => Err(Unusable::Unexpected("the list of refs ended early")),
        }
    }
}

fn full_name(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

/// Passes on what a server says instead of an answer.
fn refused(line: &[u8]) -> Result<(), Unusable> {
    match line.strip_prefix(b"ERR ") {
        Some(words) => Err(Unusable::Refused(escaped(&String::from_utf8_lossy(words), 300))),
        None => Ok(()),
    }
}

/// Reads `<name> <ref>` with what may follow it: capabilities after a NUL in the first line of
/// version 0, attributes after a space in version 2. Other refs than the wanted one are `None`.
fn reference(line: &[u8], wanted: &str, first: bool) -> Result<Option<CommitId>, Unusable> {
    let (line, capabilities) = match line.iter().position(|byte| *byte == 0) {
        Some(at) if first => (&line[..at], &line[at + 1..]),
        Some(_) => return Err(Unusable::Unexpected("a ref has a NUL in its name")),
        None => (line, &line[line.len()..]),
    };
    if capabilities.split(|byte| *byte == b' ').any(|one| one == b"object-format=sha256") {
        return Err(Unusable::Sha256);
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(name), Some(reference)) = (words.next(), words.next()) else {
        return Err(Unusable::Unexpected("a line of the answer is not a ref"));
    };
    if reference != wanted.as_bytes() {
        return Ok(None);
    }
    let name = std::str::from_utf8(name).ok().and_then(|name| name.parse::<CommitId>().ok());
    match name {
        Some(name) if name.as_str().len() == 40 => Ok(Some(name)),
        Some(_) => Err(Unusable::Sha256),
        None => Err(Unusable::Unexpected("the branch has no valid commit name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// Writes lines as packets; `~` is a flush, `|` a delimiter.
    fn packets(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            match *line {
                "~" => pkt_line::write_flush(&mut bytes),
                "|" => pkt_line::write_delimiter(&mut bytes),
                line => pkt_line::write_line(&mut bytes, line),
            }
        }
        bytes
    }

    fn advertised(bytes: &[u8]) -> Result<Advertised, Unusable> {
        let mut advertisement = Advertisement::of("main");
        bytes.chunks(3).try_for_each(|piece| advertisement.feed(piece))?;
        advertisement.end()
    }

    fn listed(bytes: &[u8]) -> Result<Option<CommitId>, Unusable> {
        let mut listing = Listing::of("main");
        bytes.chunks(3).try_for_each(|piece| listing.feed(piece))?;
        listing.end()
    }

    #[track_caller]
    fn check_advertised(lines: &[&str], expected: Result<Advertised, &str>) {
        let seen = advertised(&packets(lines)).map_err(|error| error.to_string());
        assert_eq!(seen, expected.map_err(str::to_owned), "{lines:?}");
    }

    #[track_caller]
    fn check_listed(lines: &[&str], expected: Result<Option<&str>, &str>) {
        let seen = listed(&packets(lines)).map_err(|error| error.to_string());
        let expected = expected.map(|tip| tip.map(|tip| tip.parse().unwrap()));
        assert_eq!(seen, expected.map_err(str::to_owned), "{lines:?}");
    }

    const SERVICE: &str = "# service=git-upload-pack";
    const NOT_GIT: &str = "the answer is not that of a Git server";
    const EARLY: &str = "the list of refs ended early";

    #[test]
    fn version_2_is_recognised() {
        let all = [SERVICE, "~", "version 2", "agent=git/2.47", "ls-refs=unborn", "fetch", "~"];
        check_advertised(&all, Ok(Advertised::Version2));
        // Git leaves the service line out when version 2 was asked for.
        check_advertised(&all[2..], Ok(Advertised::Version2));
        check_advertised(&all[..6], Err(EARLY));
        check_advertised(
            &["version 2", "fetch", "~"],
            Err("the server speaks version 2 but does not list refs"),
        );
        check_advertised(
            &["version 2", "ls-refs", "object-format=sha256", "~"],
            Err("the repository uses SHA-256 object names"),
        );
    }

    #[test]
    fn an_older_server_lists_everything() {
        let tip = |name: &str| Ok(Advertised::Tip(Some(name.parse().unwrap())));
        let head = format!("{A} HEAD\0multi_ack side-band-64k symref=HEAD:refs/heads/main");
        let main = format!("{B} refs/heads/main");
        let other = format!("{A} refs/heads/main2");
        check_advertised(&[SERVICE, "~", &head, &main, &other, "~"], tip(B));
        check_advertised(&[SERVICE, "~", "version 1", &head, &main, "~"], tip(B));
        check_advertised(&[SERVICE, "~", &format!("{main}\0caps"), "~"], tip(B));
        check_advertised(&[SERVICE, "~", &head, &other, "~"], Ok(Advertised::Tip(None)));
        check_advertised(&[SERVICE, "~", "version 1", "~"], Ok(Advertised::Tip(None)));
        let empty = format!("{} capabilities^{{}}\0caps", "0".repeat(40));
        check_advertised(&[SERVICE, "~", &empty, "~"], Ok(Advertised::Tip(None)));
        check_advertised(&[SERVICE, "~", &head, &main], Err(EARLY));
        check_advertised(&[SERVICE], Err(EARLY));
        check_advertised(&[], Err(EARLY));
    }

    #[test]
    fn what_no_git_server_says_is_refused() {
        check_advertised(&["hello"], Err(NOT_GIT));
        check_advertised(&["~"], Err(NOT_GIT));
        check_advertised(&[SERVICE, "hello"], Err(NOT_GIT));
        check_advertised(&[SERVICE, "~", "|"], Err(NOT_GIT));
        check_advertised(&[SERVICE, "~", "hello"], Err("a line of the answer is not a ref"));
        check_advertised(
            &[SERVICE, "~", "zz refs/heads/main"],
            Err("the branch has no valid commit name"),
        );
        check_advertised(&["ERR no such\x1brepo"], Err(r"the server said `no such\u{1b}repo`"));
        let sha256 = format!("{} HEAD\0object-format=sha256", "a".repeat(64));
        check_advertised(&[SERVICE, "~", &sha256], Err("the repository uses SHA-256 object names"));
        let error = advertised(b"<html>").unwrap_err().to_string();
        assert_eq!(error, "`<htm` is no length of a packet");
    }

    #[test]
    fn the_question_asks_for_one_branch() {
        assert_eq!(
            String::from_utf8(ls_refs_request("main")).unwrap(),
            "0014command=ls-refs\n0017object-format=sha1\n0001001fref-prefix refs/heads/main\n0000"
        );
    }

    #[test]
    fn only_exactly_the_branch_counts() {
        let main = format!("{A} refs/heads/main");
        let longer = format!("{B} refs/heads/main/2");
        check_listed(&[&main, &longer, "~"], Ok(Some(A)));
        check_listed(&[&longer, "~"], Ok(None));
        check_listed(&["~"], Ok(None));
        check_listed(&[&format!("{main} symref-target:x"), "~"], Ok(Some(A)));
        check_listed(&[&main], Err(EARLY));
        check_listed(&[&main, "~", &main], Err("the answer is not a list of refs"));
        check_listed(&["|"], Err("the answer is not a list of refs"));
        check_listed(&[&main.to_uppercase()], Err(EARLY));
        check_listed(&["ERR not allowed"], Err("the server said `not allowed`"));
        check_listed(&[&format!("{main}\0x"), "~"], Err("a ref has a NUL in its name"));
    }

    #[test]
    fn a_list_of_any_length_needs_no_room() {
        let mut listing = Listing::of("main");
        let lines: Vec<u8> = packets(&[&format!("{B} refs/heads/other")]).repeat(1000);
        for _ in 0..200 {
            listing.feed(&lines).unwrap();
        }
        listing.feed(&packets(&[&format!("{A} refs/heads/main"), "~"])).unwrap();
        assert_eq!(listing.end().unwrap(), Some(A.parse().unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = advertised(&bytes);
            let _ = listed(&bytes);
        }
    }
}
