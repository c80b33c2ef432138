//! A raw commit object: its dates, its signature, and what that is a signature of.
//!
//! Git signs the object without its signature headers (`parse_buffer_signed_by_header` in Git's
//! `commit.c`), so what is left out here has to be exactly what Git leaves out: our own header, and
//! every other that begins with `gpgsig`, each with its continuation lines. Unlike Git we refuse an
//! object with two signatures, or with a first part in another order, instead of making the best of
//! it: two readers that make the best of it differently are how a signature comes to cover something
//! else than what is deployed.

use crate::trust::refusal::Refusal;
use crate::trust::{LARGEST_COMMIT_BYTES, LARGEST_SIGNATURE_BYTES};

/// How a repository names its objects; each has a header of its own for signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFormat {
    /// Names of 40 digits; the header is `gpgsig`.
    Sha1,
    /// Names of 64 digits; the header is `gpgsig-sha256`.
    Sha256,
}

impl ObjectFormat {
    /// Returns the format of a repository in which commits have names of that many digits.
    pub fn of_digits(digits: usize) -> ObjectFormat {
        match digits {
            64 => ObjectFormat::Sha256,
            _ => ObjectFormat::Sha1,
        }
    }

    fn header(self) -> &'static [u8] {
        match self {
            ObjectFormat::Sha1 => b"gpgsig ",
            ObjectFormat::Sha256 => b"gpgsig-sha256 ",
        }
    }
}

/// A commit that is laid out as Git writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitObject {
    /// The committer's date, in seconds since 1970.
    pub committed_at: i64,
    /// The signature as it was made, without the blanks that begin continuation lines.
    pub signature: Option<Vec<u8>>,
    /// What it was made over.
    pub payload: Vec<u8>,
}

/// Which header the continuation lines that come next belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Plain,
    Ours,
    OtherSignature,
}

/// Takes a raw commit object apart.
///
/// # Errors
/// It is too large, not laid out as Git does, or has more than one signature.
pub fn read(raw: &[u8], format: ObjectFormat) -> Result<CommitObject, Refusal> {
    if raw.len() > LARGEST_COMMIT_BYTES {
        return Err(Refusal::TooLarge { what: "the commit".into(), most: LARGEST_COMMIT_BYTES });
    }
    let header_end = raw.windows(2).position(|two| two == b"\n\n").map_or(raw.len(), |at| at + 1);
    let (headers, message) = raw.split_at(header_end);
    if headers.contains(&0) {
        return Err(malformed("a header has a NUL byte in it"));
    }
    let committed_at = laid_out(headers)?;
    let mut payload = Vec::with_capacity(raw.len());
    let mut signature: Option<Vec<u8>> = None;
    let mut inside = Inside::Plain;
    for line in headers.split_inclusive(|byte| *byte == b'\n') {
        let continues = line.first() == Some(&b' ');
        let part = match line.strip_prefix(format.header()) {
            Some(_) if continues => None,
            Some(first) => {
                if signature.is_some() {
                    return Err(malformed("it has more than one signature"));
                }
                inside = Inside::Ours;
                Some(first)
            }
            None if continues => (inside == Inside::Ours).then(|| &line[1..]),
            None => {
                inside = match line.starts_with(b"gpgsig") {
                    true => Inside::OtherSignature,
                    false => Inside::Plain,
                };
                None
            }
        };
        match (inside, part) {
            (Inside::Ours, Some(part)) => signature.get_or_insert_default().extend(part),
            (Inside::Ours | Inside::OtherSignature, None) => {}
            (Inside::Plain | Inside::OtherSignature, _) => payload.extend(line),
        }
    }
    payload.extend(message);
    if signature.as_ref().is_some_and(|signature| signature.len() > LARGEST_SIGNATURE_BYTES) {
        let most = LARGEST_SIGNATURE_BYTES;
        return Err(Refusal::TooLarge { what: "its signature".into(), most });
    }
    Ok(CommitObject { committed_at, signature, payload })
}

/// Holds the first headers against the order in which Git writes them; returns the commit date.
fn laid_out(headers: &[u8]) -> Result<i64, Refusal> {
    let mut lines = headers.split(|byte| *byte == b'\n');
    let mut next = lines.next().unwrap_or_default();
    if !next.starts_with(b"tree ") {
        return Err(malformed("it does not begin with its tree"));
    }
    next = lines.next().unwrap_or_default();
    while next.starts_with(b"parent ") {
        next = lines.next().unwrap_or_default();
    }
    if !next.starts_with(b"author ") {
        return Err(malformed("it has no author where one has to be"));
    }
    let committer = lines.next().unwrap_or_default().strip_prefix(b"committer ");
    let committer = committer.ok_or_else(|| malformed("it has no committer after its author"))?;
    let again: [&[u8]; 4] = [b"tree ", b"parent ", b"author ", b"committer "];
    if lines.any(|line| again.iter().any(|name| line.starts_with(name))) {
        return Err(malformed("one of its headers is there twice"));
    }
    date(committer).ok_or_else(|| malformed("the date of its committer cannot be read"))
}

/// `Name <address> SECONDS ZONE`
fn date(committer: &[u8]) -> Option<i64> {
    let after = committer.iter().rposition(|byte| *byte == b'>')?;
    let rest = std::str::from_utf8(&committer[after + 1..]).ok()?;
    let mut words = rest.split_ascii_whitespace();
    let (seconds, zone) = (words.next()?, words.next()?);
    let plain = seconds.bytes().all(|byte| byte.is_ascii_digit());
    let zone = zone.strip_prefix(['+', '-'])?;
    let good = plain && zone.bytes().all(|byte| byte.is_ascii_digit()) && words.next().is_none();
    good.then(|| seconds.parse().ok())?
}

fn malformed(what: &str) -> Refusal {
    Refusal::Malformed { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
        author A <a@b> 10 +0000\ncommitter C <c@d> 1700000000 +0100\n";

    #[track_caller]
    fn check(raw: &str, signature: Option<&str>, payload: &str) {
        let read = read(raw.as_bytes(), ObjectFormat::Sha1).unwrap();
        assert_eq!(read.signature.map(|one| String::from_utf8(one).unwrap()).as_deref(), signature);
        assert_eq!(String::from_utf8(read.payload).unwrap(), payload);
        assert_eq!(read.committed_at, 1_700_000_000);
    }

    #[test]
    fn the_payload_is_the_object_without_its_signatures() {
        let plain = format!("{HEAD}\nsubject\n");
        check(&plain, None, &plain);
        let signed = format!("{HEAD}gpgsig BEGIN\n one\n \n END\n\nsubject\n\ngpgsig not one\n");
        let payload = format!("{HEAD}\nsubject\n\ngpgsig not one\n");
        check(&signed, Some("BEGIN\none\n\nEND\n"), &payload);
        // What comes after a signature stays, and belongs to it no more.
        let more = format!("{HEAD}gpgsig X\n y\nencoding latin1\n z\n\nm");
        check(&more, Some("X\ny\n"), &format!("{HEAD}encoding latin1\n z\n\nm"));
        // The signature for the other object format is left out, and is none of ours.
        let other = format!("{HEAD}gpgsig-sha256 X\n y\n\nm");
        check(&other, None, &format!("{HEAD}\nm"));
        let tag = format!("{HEAD}mergetag object a\n gpgsig x\n\nm");
        check(&tag, None, &tag);
        // No message at all.
        check(&format!("{HEAD}gpgsig X\n"), Some("X\n"), HEAD);
    }

    #[test]
    fn a_repository_of_long_names_has_another_header() {
        let raw = format!("{HEAD}gpgsig X\n y\ngpgsig-sha256 Z\n w\n\nm");
        let read = read(raw.as_bytes(), ObjectFormat::of_digits(64)).unwrap();
        assert_eq!(read.signature.unwrap(), b"Z\nw\n");
        assert_eq!(read.payload, format!("{HEAD}\nm").into_bytes());
    }

    #[track_caller]
    fn check_refused(raw: &[u8], expected: &str) {
        let refusal = read(raw, ObjectFormat::Sha1).unwrap_err();
        assert!(refusal.sentence().contains(expected), "{}", refusal.sentence());
    }

    #[test]
    fn what_git_would_not_write_is_refused() {
        let with = |from: &str, to: &str| format!("{HEAD}\nm").replace(from, to).into_bytes();
        check_refused(&format!("{HEAD}gpgsig A\ngpgsig B\n\nm").into_bytes(), "more than one");
        let between = format!("{HEAD}gpgsig A\n b\nencoding x\ngpgsig B\n\nm");
        check_refused(between.as_bytes(), "more than one");
        check_refused(&with("tree", "trunk"), "begin with its tree");
        check_refused(&with("author", "auth0r"), "no author");
        check_refused(&with("committer", "commit"), "no committer");
        check_refused(&with("\n\nm", "\ncommitter X <x@y> 1 +0000\n\nm"), "there twice");
        check_refused(&with("\n\nm", "\ntree x\n\nm"), "there twice");
        check_refused(&with("1700000000 +0100", "-5 +0100"), "cannot be read");
        check_refused(&with("1700000000 +0100", "99999999999999999999 +0100"), "cannot be read");
        check_refused(&with("1700000000 +0100", "17 0100"), "cannot be read");
        check_refused(&with("C <c@d>", "C\0 <c@d>"), "NUL");
        check_refused(b"", "begin with its tree");
        let huge = format!("{HEAD}\n{}", "m".repeat(LARGEST_COMMIT_BYTES));
        check_refused(huge.as_bytes(), "larger than");
        let huge = format!("{HEAD}gpgsig {}\n\nm", "x".repeat(LARGEST_SIGNATURE_BYTES));
        check_refused(huge.as_bytes(), "larger than");
    }

    proptest::proptest! {
        #[test]
        fn no_object_panics(raw: Vec<u8>, tail: String) {
            let _ = read(&raw, ObjectFormat::Sha1);
            let _ = read(format!("{HEAD}{tail}").as_bytes(), ObjectFormat::Sha256);
        }
    }
}
