//! Text that came from outside, made safe to show.
//!
//! Commit subjects, program output and server messages pass through here before they reach a
//! terminal, the journal or the history, so that none of them can move a cursor or forge a line.

/// Returns `text` with every control character escaped, cut to at most `limit` characters.
///
/// A cut text ends in `…`. Line ends are escaped too: the result is always one line.
pub fn escaped(text: &str, limit: usize) -> String {
    cut(text, limit, |c| !is_unsafe(c))
}

/// Like [`escaped`], but keeps line ends and tabs: for program output shown as a block.
pub fn escaped_lines(text: &str, limit: usize) -> String {
    cut(text, limit, |c| c == '\n' || c == '\t' || !is_unsafe(c))
}

fn cut(text: &str, limit: usize, keeps: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            shown.push('…');
            break;
        }
        match keeps(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

/// Controls (C0, C1, DEL), line and paragraph separators, and the bidirectional overrides that
/// make a text read as another one than it is (CVE-2021-42574).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_a_terminal() {
        assert_eq!(escaped("ok\x1b[31m\r\n", 80), r"ok\u{1b}[31m\u{d}\u{a}");
        assert_eq!(escaped("a\u{202e}b\u{9b}", 80), r"a\u{202e}b\u{9b}");
        assert_eq!(escaped_lines("a\n\tb\x07", 80), "a\n\tb\\u{7}");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(escaped("abcdef", 3), "abc…");
        assert_eq!(escaped("abc", 3), "abc");
        assert_eq!(escaped("äöü", 2), "äö…");
    }
}
