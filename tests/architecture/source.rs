//! Rust files as the rules see them: without comments, texts and tests.

use std::fs;
use std::path::Path;

/// One file of the crate.
pub struct Source {
    /// From the folder of the crate, for example `src/model/commit.rs`.
    pub path: String,
    /// As it stands on disk.
    pub text: String,
    /// Without comments and without the contents of texts; the lines stay where they are.
    pub code: String,
}

impl Source {
    /// Returns the code before the tests, which by custom stand at the end of a file.
    pub fn tested(&self) -> &str {
        let marks = self.code.match_indices("#[cfg(test)]\n");
        let mut tests = marks.filter(|(at, mark)| {
            let next = self.code[at + mark.len()..].lines().next().unwrap_or_default();
            // A module in a file of its own ends with its line.
            has_word(next, "mod") && next.trim_end().ends_with('{')
        });
        tests.next().map_or(&self.code, |(at, _)| &self.code[..at])
    }

    /// Says whether the whole file is a test or made for tests.
    pub fn is_test(&self) -> bool {
        let fake = ["fake.rs", "sweep.rs"].iter().any(|name| self.path.ends_with(name));
        let simulated = self.path.starts_with("src/simulation");
        fake || simulated || self.path.contains("/tests/") || self.path.ends_with("tests.rs")
    }

    /// Returns the numbers of the lines before the tests that have one of `words` in them.
    pub fn lines_with(&self, words: &[&str]) -> Vec<usize> {
        let lines = self.tested().lines().enumerate();
        let found = lines.filter(|(_, line)| words.iter().any(|word| has_word(line, word)));
        found.map(|(number, _)| number + 1).collect()
    }
}

/// Says whether `word` is in `line` and is not a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(joins) && !line[at + word.len()..].starts_with(joins))
}

/// Reads every Rust file below a folder, in the order of their names.
pub fn all(folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|one| one.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(all(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            let path = path.to_str().unwrap().to_owned();
            found.push(Source { path, code: code_of(&text), text });
        }
    }
    found
}

/// Blanks comments and the contents of texts and characters, line ends excepted.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, is_code) = token(rest, code.chars().next_back());
        let (token, after) = rest.split_at(length.max(first.len_utf8()));
        match is_code {
            true => code.push_str(token),
            false => code.extend(token.chars().map(|c| if c == '\n' { c } else { ' ' })),
        }
        rest = after;
    }
    code
}

/// Returns the length of what comes next, in bytes, and whether it is code.
fn token(rest: &str, before: Option<char>) -> (usize, bool) {
    let until = |end: &str, from: usize| {
        rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
    };
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (until("*/", 2), false);
    }
    let hashes =
        rest.strip_prefix('r').map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    if !in_name && rest.starts_with('r') && rest[1 + hashes..].starts_with('"') {
        return (until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes), false);
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), false);
    }
    // A character and not a lifetime: it ends with a quote.
    let mut after = rest.chars().skip(1);
    if rest.starts_with('\'') && (after.next() == Some('\\') || after.next() == Some('\'')) {
        return (quoted(rest, '\''), false);
    }
    (1, true)
}

/// Returns the length of a quoted text with its quotes; a backslash hides what follows it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut hidden = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if hidden => hidden = false,
            '\\' => hidden = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn only_code_is_left_of_a_file() {
    let text =
        "a(); // std::fs\nb(\"std::fs \\\" c\", 'x', '\\'', &'a d); /* e\n*/ f(r#\"g \"h\"#);\n";
    let expected = "a();           \nb(              ,    ,     , &'a d);     \n   f(         );\n";
    assert_eq!(code_of(text), expected);
    let source = Source {
        path: String::new(),
        text: String::new(),
        code: "x\nstd::fs\nmy_std::fs\n".to_owned(),
    };
    assert_eq!(source.lines_with(&["std::fs"]), [2]);
}
