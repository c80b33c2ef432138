//! PURE: Git's pkt-line framing, over bytes that arrive in pieces of any size.
//!
//! A packet is four hexadecimal digits (its length, those four included) and a payload; the
//! lengths 0, 1 and 2 are markers without one. See gitprotocol-common(5). Never more than one
//! packet (64 KiB) is held, whatever the server sends.

use std::fmt;

/// The longest packet that Git allows, its length digits included.
pub const LONGEST_PACKET: usize = 65_520;

const DIGITS: usize = 4;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A line; Git usually ends it with a line feed, which is taken off here.
    Line(&'a [u8]),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section (version 2).
    Delimiter,
    /// `0002`: the end of a response (version 2 over a stateless connection).
    ResponseEnd,
}

/// Bytes that are no packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The length is not four hexadecimal digits, or 3, or too large.
    Length([u8; DIGITS]),
    /// The answer ended inside a packet.
    CutShort,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Length(digits) => {
                let shown = String::from_utf8_lossy(digits);
                write!(f, "`{}` is no length of a packet", crate::model::text::escaped(&shown, 8))
            }
            Malformed::CutShort => f.write_str("the answer ended in the middle of a packet"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Cuts a stream of bytes into packets.
#[derive(Debug, Default)]
pub struct Packets {
    /// What arrived of a packet that is not whole yet.
    held: Vec<u8>,
}

impl Packets {
    /// Takes the next piece, and hands on every packet that is whole by now.
    ///
    /// # Errors
    /// The bytes are no packets, or `each` refused one; what is left is not to be read further.
    pub fn feed<E: From<Malformed>>(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(Packet<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.held.is_empty() {
            let wanted = match self.held.len() < DIGITS {
                true => DIGITS,
                false => size(&self.held)?,
            };
            let (taken, rest) = piece.split_at((wanted - self.held.len()).min(piece.len()));
            self.held.extend_from_slice(taken);
            piece = rest;
            if self.held.len() < wanted {
                return Ok(());
            }
            if self.held.len() == size(&self.held)? {
                each(packet(&self.held))?;
                self.held.clear();
            }
        }
        while piece.len() >= DIGITS && piece.len() >= size(piece)? {
            let (whole, rest) = piece.split_at(size(piece)?);
            each(packet(whole))?;
            piece = rest;
        }
        self.held.extend_from_slice(piece);
        Ok(())
    }

    /// Tells whether the stream may end here.
    ///
    /// # Errors
    /// It ended inside a packet.
    pub fn end(&self) -> Result<(), Malformed> {
        match self.held.is_empty() {
            true => Ok(()),
            false => Err(Malformed::CutShort),
        }
    }
}

/// Returns the size of the packet that begins here, its digits included; at least [`DIGITS`].
fn size(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut digits = [0; DIGITS];
    digits.copy_from_slice(&bytes[..DIGITS]);
    let malformed = Malformed::Length(digits);
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed);
    }
    let text = std::str::from_utf8(&digits).map_err(|_| malformed.clone())?;
    match usize::from_str_radix(text, 16) {
        Ok(0..=2) => Ok(DIGITS),
        Ok(size @ DIGITS..=LONGEST_PACKET) => Ok(size),
        _ => Err(malformed),
    }
}

/// Reads one whole packet.
fn packet(whole: &[u8]) -> Packet<'_> {
    match (&whole[..DIGITS], &whole[DIGITS..]) {
        (b"0000", _) => Packet::Flush,
        (b"0001", _) => Packet::Delimiter,
        (b"0002", _) => Packet::ResponseEnd,
        (_, line) => Packet::Line(line.strip_suffix(b"\n").unwrap_or(line)),
    }
}

/// Appends a line, with the line feed that Git expects.
///
/// Ours are short: a text that fits in no packet is cut.
pub fn write_line(message: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(LONGEST_PACKET - DIGITS - 1)];
    message.extend_from_slice(format!("{:04x}", text.len() + DIGITS + 1).as_bytes());
    message.extend_from_slice(text);
    message.push(b'\n');
}

/// Appends a marker.
pub fn write_delimiter(message: &mut Vec<u8>) {
    message.extend_from_slice(b"0001");
}

/// Appends a marker.
pub fn write_flush(message: &mut Vec<u8>) {
    message.extend_from_slice(b"0000");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` in pieces of `piece` bytes; packets are written as text, one per entry.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<String>, Malformed> {
        let mut packets = Packets::default();
        let mut seen = Vec::new();
        for part in bytes.chunks(piece) {
            packets.feed(part, |packet| {
                seen.push(match packet {
                    Packet::Line(line) => format!("={}", String::from_utf8_lossy(line)),
                    other => format!("{other:?}"),
                });
                Ok::<(), Malformed>(())
            })?;
            assert!(packets.held.len() <= LONGEST_PACKET);
        }
        packets.end()?;
        Ok(seen)
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<&[&str], Malformed>) {
        for piece in [1, 2, 3, 5, 7, 4096] {
            let seen = read(bytes, piece);
            match &expected {
                Ok(lines) => assert_eq!(seen.as_deref().unwrap(), *lines, "pieces of {piece}"),
                Err(error) => assert_eq!(seen.unwrap_err(), *error, "pieces of {piece}"),
            }
        }
    }

    fn length(digits: &[u8; 4]) -> Malformed {
        Malformed::Length(*digits)
    }

    #[test]
    fn packets_are_read_whatever_the_pieces() {
        check(b"", Ok(&[]));
        check(b"0006a\n0005b0000", Ok(&["=a", "=b", "Flush"]));
        check(b"0004000100020000", Ok(&["=", "Delimiter", "ResponseEnd", "Flush"]));
        check(b"0005\n0006\n\n", Ok(&["=", "=\n"]));
        check(b"000Aabcdef", Ok(&["=abcdef"]));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        check(b"0003", Err(length(b"0003")));
        check(b"<!DOCTYPE html>", Err(length(b"<!DO")));
        check(b"+004", Err(length(b"+004")));
        check(b"0006a\nzzzz", Err(length(b"zzzz")));
        check(b"fff1", Err(length(b"fff1")));
        check(b"ffff", Err(length(b"ffff")));
        check(b"\xff\xff\xff\xff", Err(length(b"\xff\xff\xff\xff")));
    }

    #[test]
    fn an_answer_that_ends_early_is_noticed() {
        check(b"000", Err(Malformed::CutShort));
        check(b"0006a", Err(Malformed::CutShort));
        check(b"fff0", Err(Malformed::CutShort));
        check(b"00000", Err(Malformed::CutShort));
    }

    #[test]
    fn the_longest_packet_is_read_and_a_longer_one_is_not() {
        let mut bytes = b"fff0".to_vec();
        bytes.resize(LONGEST_PACKET, b'x');
        assert_eq!(read(&bytes, 1000).unwrap()[0].len(), LONGEST_PACKET - 4 + 1);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut message = Vec::new();
        write_line(&mut message, "command=ls-refs");
        write_delimiter(&mut message);
        write_line(&mut message, &"x".repeat(LONGEST_PACKET));
        write_flush(&mut message);
        let seen = read(&message, 4096).unwrap();
        assert_eq!(seen[0], "=command=ls-refs");
        assert_eq!(seen[1], "Delimiter");
        assert_eq!(seen[2].len(), LONGEST_PACKET - 5 + 1);
        assert_eq!(seen[3], "Flush");
    }

    #[test]
    fn a_bad_length_is_shown_escaped() {
        assert_eq!(length(b"\x1b[2J").to_string(), r"`\u{1b}[2J` is no length of a packet");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, piece in 1usize..64) {
            let _ = read(&bytes, piece);
        }
    }
}
