//! Text that is shown, and the texts that are numbers: time spans and sizes.

use crate::config::{size, span};
use crate::model::commit::CommitId;
use crate::model::text::{escaped, escaped_lines};

/// What moves a cursor, forges a line or turns the reading direction.
fn drives(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Laws: nothing that is shown drives a terminal, and it is cut; a span or a size that was read is
/// shown so that it reads back the same.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for limit in [0, 1, 80, usize::MAX] {
        let line = escaped(&text, limit);
        assert!(!line.chars().any(drives), "{line:?}");
        let most = limit.saturating_mul(10).saturating_add(1);
        assert!(line.chars().count() <= most);
        assert_eq!(escaped(&line, usize::MAX), line);
        let block = escaped_lines(&text, limit);
        assert!(!block.chars().any(|c| drives(c) && c != '\n' && c != '\t'), "{block:?}");
        assert!(block.chars().count() <= most);
    }
    if let Ok(read) = span::parse(&text) {
        assert_eq!(span::parse(&span::shown(read)), Ok(read));
    }
    if let Some(read) = size::parse(&text) {
        assert_eq!(size::parse(&size::shown(read)), Some(read));
    }
    if let Ok(commit) = text.parse::<CommitId>() {
        assert_eq!(commit.as_str(), text);
        assert!(text.starts_with(commit.short()));
    }
}
