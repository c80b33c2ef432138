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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
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
