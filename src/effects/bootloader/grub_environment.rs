//! GRUB's environment block: a file of exactly 1024 bytes that GRUB itself can write into.
//!
//! It begins with a line that is always the same, then come `NAME=VALUE` lines, and the rest is
//! filled up with `#`. GRUB writes over the blocks of the file where they lie, so the length must
//! never change. The format is that of GRUB's `lib/envblk`.

/// The first line, with its end.
const HEADER: &[u8] = b"# GRUB Environment Block\n";

/// The length of the file.
const BYTES: usize = 1024;

/// The variables of a block, each line as it stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    lines: Vec<Vec<u8>>,
}

/// Reads a block; `None` if it is not one.
pub fn parse(bytes: &[u8]) -> Option<Environment> {
    (bytes.len() == BYTES).then_some(())?;
    let mut rest = bytes.strip_prefix(HEADER)?;
    let mut lines = Vec::new();
    while let Some(end) = end_of_line(rest) {
        lines.push(rest[..end].to_vec());
        rest = &rest[end + 1..];
    }
    rest.iter().all(|byte| *byte == b'#').then_some(Environment { lines })
}

/// A backslash before the end of a line makes it part of the value.
fn end_of_line(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    bytes.iter().position(|byte| match (escaped, byte) {
        (true, _) => {
            escaped = false;
            false
        }
        (false, b'\\') => {
            escaped = true;
            false
        }
        (false, b'\n') => true,
        (false, _) => false,
    })
}

impl Environment {
    /// Returns a variable; an empty one is none.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = self.lines.iter().find_map(|line| value_of(line, name))?;
        let mut plain = Vec::new();
        let mut bytes = value.iter();
        while let Some(byte) = bytes.next() {
            plain.push(if *byte == b'\\' { *bytes.next()? } else { *byte });
        }
        String::from_utf8(plain).ok().filter(|value| !value.is_empty())
    }

    /// Sets a variable, or takes it away; the others stay as they are.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.lines.retain(|line| value_of(line, name).is_none());
        if let Some(value) = value {
            let mut line = format!("{name}=").into_bytes();
            for byte in value.bytes() {
                if matches!(byte, b'\\' | b'\n') {
                    line.push(b'\\');
                }
                line.push(byte);
            }
            self.lines.push(line);
        }
    }

    /// Returns the block; `None` if there is too much in it.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = HEADER.to_vec();
        for line in &self.lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        (bytes.len() <= BYTES).then(|| {
            bytes.resize(BYTES, b'#');
            bytes
        })
    }
}

fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(lines: &str) -> Vec<u8> {
        let mut bytes = [HEADER, lines.as_bytes()].concat();
        bytes.resize(BYTES, b'#');
        bytes
    }

    #[test]
    fn a_variable_is_set_and_taken_away_and_the_rest_stays() {
        let others = "# WARNING: edited by tools only\nsaved_entry=NixOS\nodd=a\\\\b\\\nc\n";
        let mut environment = parse(&block(others)).unwrap();
        assert_eq!(environment.get("odd").unwrap(), "a\\b\nc");
        assert_eq!(environment.get("next_entry"), None);
        environment.set("next_entry", Some("NixOS - Profile 'autodeploy'>1"));
        let bytes = environment.bytes().unwrap();
        assert_eq!(bytes, block(&format!("{others}next_entry=NixOS - Profile 'autodeploy'>1\n")));
        let mut again = parse(&bytes).unwrap();
        assert_eq!(again.get("next_entry").unwrap(), "NixOS - Profile 'autodeploy'>1");
        again.set("next_entry", Some("2>0"));
        again.set("next_entry", None);
        assert_eq!(again.bytes().unwrap(), block(others));
    }

    #[test]
    fn a_value_comes_back_as_it_was_given() {
        let mut environment = Environment::default();
        environment.set("next_entry", Some("a\\b\n#c=d"));
        let read = parse(&environment.bytes().unwrap()).unwrap();
        assert_eq!(read.get("next_entry").unwrap(), "a\\b\n#c=d");
        // What GRUB leaves of a variable that it has forgotten.
        assert_eq!(parse(&block("next_entry=\n")).unwrap().get("next_entry"), None);
        assert_eq!(parse(&block("next_entry_x=1\n")).unwrap().get("next_entry"), None);
    }

    #[test]
    fn what_is_no_block_is_not_read_and_too_much_is_not_written() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&block("")[1..]), None);
        assert_eq!(parse(&[b'#'; BYTES]), None);
        let mut torn = block("saved_entry=1\n");
        torn[BYTES - 1] = 0;
        assert_eq!(parse(&torn), None);
        let mut environment = Environment::default();
        environment.set("next_entry", Some(&"x".repeat(BYTES)));
        assert_eq!(environment.bytes(), None);
    }
}
