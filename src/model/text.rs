//! Text that came from outside, made safe to show.
//!
//! Commit subjects, program output and server messages pass through here before they reach a
//! terminal, the journal or the history, so that none of them can move a cursor or forge a line, and
//! so that no password in an address goes on (a flake's input may have one).

use std::borrow::Cow;

/// Returns `text` with every control character escaped and no password in an address, cut to at most
/// `limit` characters.
///
/// A cut text ends in `…`. Line ends are escaped too: the result is always one line.
pub fn escaped(text: &str, limit: usize) -> String {
    cut(text, limit, |c| !is_unsafe(c))
}

/// Like [`escaped`], but keeps line ends and tabs: for program output shown as a block.
pub fn escaped_lines(text: &str, limit: usize) -> String {
    cut(text, limit, |c| c == '\n' || c == '\t' || !is_unsafe(c))
}

/// Takes out who somebody is in the addresses of a text: `https://me:word@host` is
/// `https://…@host`. A plain name stays in `ssh://git@host`, which is no secret there.
fn without_passwords(text: &str) -> Cow<'_, str> {
    if !text.contains("://") || !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let ends = |c: char| c.is_whitespace() || "/?#'\"`<>".contains(c);
        let (authority, tail) = after.split_at(after.find(ends).unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            Some((user, _)) if before.ends_with("ssh://") && !user.contains(':') => {
                shown.push_str(authority);
            }
            Some((_, host)) => shown.extend(["…@", host]),
            None => shown.push_str(authority),
        }
        rest = tail;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

fn cut(text: &str, limit: usize, keeps: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    for (count, c) in without_passwords(text).chars().enumerate() {
        if count == limit {
            shown.push('…');
            break;
        }
        match keeps(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
    }
    // What ended an address before, a form feed say, is written out by now and ends none.
    match without_passwords(&shown) {
        Cow::Borrowed(_) => shown,
        Cow::Owned(shown) => shown,
    }
}

/// Tells whether a text is one line that can be shown as it is.
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(is_unsafe)
}

/// Makes JSON safe to show: what [`escaped`] would write otherwise, and JSON may hold as it is, is
/// written as `\u…`. A program reads the same value from it.
pub fn escaped_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // The line ends and blanks of JSON itself; within its strings serde writes them escaped.
        match !is_unsafe(c) || c == '\n' {
            true => shown.push(c),
            false => {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                shown.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    shown
}

/// What moves a cursor, ends a line, or makes a text read as another one than it is.
///
/// Controls (C0, C1, DEL), line and paragraph separators; marks, embeddings, overrides and isolates
/// of direction (CVE-2021-42574); what takes no room on a screen, so that two names look alike.
/// The joiners U+200C and U+200D stay: whole scripts cannot be written without them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
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
    fn nothing_reads_as_something_else() {
        for c in "\u{61c}\u{200b}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{e0041}"
            .chars()
        {
            assert_eq!(escaped(&format!("a{c}b"), 80), format!("a{}b", c.escape_unicode()));
            assert_eq!(escaped_lines(&c.to_string(), 80), c.escape_unicode().to_string());
        }
        let fine = "Größe 一 \u{5e9}\u{5dc}\u{5d5}\u{5dd} می\u{200c}خواهم 👩\u{200d}💻 �";
        assert_eq!(escaped(fine, 80), fine);
    }

    #[test]
    fn no_password_of_an_address_goes_on() {
        for (text, shown) in [
            ("https://me:word@h/x", "https://…@h/x"),
            ("'git+https://token@h/x?rev=1'", "'git+https://…@h/x?rev=1'"),
            ("a http://a:b@c:80 and ssh://me:word@h/x", "a http://…@c:80 and ssh://…@h/x"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("https://a:b@c@h", "https://…@h"),
            ("https://h/a@b me@h", "https://h/a@b me@h"),
            ("://@", "://…@"),
            ("https://me:wo\u{c}rd@h/x", "https://…@h/x"),
        ] {
            assert_eq!(escaped(text, 80), shown);
            assert_eq!(escaped_lines(text, 80), shown);
        }
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = "a\u{9b}31m\u{202e}\u{e0041}\u{7f}\n\x1b é";
        let json = serde_json::to_string_pretty(&[value]).unwrap();
        let shown = escaped_json(&json);
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [value]);
        assert_eq!(shown, "[\n  \"a\\u009b31m\\u202e\\udb40\\udc41\\u007f\\n\\u001b é\"\n]");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(escaped("abcdef", 3), "abc…");
        assert_eq!(escaped("abc", 3), "abc");
        assert_eq!(escaped("äöü", 2), "äö…");
    }
}
