//! Patterns with `*` and `?`, as boot entries, `known_hosts` and files of allowed signers have them.

/// Tells whether a pattern matches all of a text: `*` is any text, `?` any byte.
///
/// Linear in the text for each `*`, whatever the pattern.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Tells whether a text matches one pattern of a comma-separated list, and none that begins with
/// `!`, wherever that stands.
pub fn is_in_list(list: &str, text: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => found |= matches(pattern.as_bytes(), text.as_bytes()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
    }

    #[test]
    fn lists_match_as_in_openssh() {
        let check = |text: &str, list: &str, expected: bool| {
            assert_eq!(is_in_list(list, text), expected, "{text} in {list}");
        };
        check("git", "git", true);
        check("git", "file,git", true);
        check("git", "g?t", true);
        check("git", "*", true);
        check("git", "*,!git", false);
        check("git", "!git,*", false);
        check("git", "!file", false);
        check("git", "", false);
        check("git", "gi", false);
        check("git", "g*t*", true);
        check("gitgit", "*git", true);
        check("", "*", true);
        check("aaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*a*c", false);
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_they_say() {
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("a*", "abc", true);
        check("*c", "abc", true);
        check("a*c*e", "abcde", true);
        check("a*c*d", "abcde", false);
        check("a?c", "abc", true);
        check("?", "", false);
        check("a", "b", false);
        check("*a*a*a*b", &"a".repeat(60), false);
        check("*?*", "a", true);
        check("**", "ab", true);
    }
}
