//! From TOML to a flat list of known keys, each with its line.
//!
//! The only file that names the `toml` crate. What is not in the table of keys ends here.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::keys::{self, KEYS};
use crate::config::problem::{Complaint, Problem, near};
use crate::config::rule;
use crate::model::text::escaped;

/// A value as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// In quotes.
    Text(String),
    /// A whole number; `None` is one that no 64 bits hold.
    Whole(Option<i64>),
    /// `true` or `false`.
    Flag(bool),
    /// In square brackets.
    List(Vec<Raw>),
    /// With keys of its own.
    Table {
        /// Whether there is none.
        empty: bool,
    },
    /// Something that no key takes: a fraction or a date.
    Other(&'static str),
}

/// A known key that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is set to.
    pub raw: Raw,
    /// Counted from 1.
    pub line: usize,
}

/// What a file sets.
#[derive(Debug, Default)]
pub struct Document {
    /// The known keys by their full path.
    pub entries: BTreeMap<String, Entry>,
    /// The checks by name, with the line where each first appears.
    pub checks: BTreeMap<String, usize>,
    /// Everything else.
    pub problems: Vec<Problem>,
}

/// Takes a file apart.
///
/// # Errors
/// It is not TOML.
pub fn parse(text: &str) -> Result<Document, Problem> {
    let table = DeTable::parse(text).map_err(|error| not_toml(text, &error))?;
    let mut document = Document::default();
    Walk { text, document: &mut document }.table("", table.get_ref());
    Ok(document)
}

fn not_toml(text: &str, error: &toml::de::Error) -> Problem {
    let cause = error.message().trim().replace('\n', ", ");
    let message = format!("could not read it as TOML: {}", escaped(&cause, 300));
    Problem { line: error.span().map(|span| line_of(text, span.start)), message, hint: None }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

struct Walk<'a> {
    text: &'a str,
    document: &'a mut Document,
}

impl Walk<'_> {
    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = line_of(self.text, name.span().start);
            let name = name.get_ref().as_ref();
            match path == keys::CHECKS || keys::inside(path).contains(&name) {
                true => self.known(path, (name, line), value),
                false => self.unknown(path, name, line),
            }
        }
    }

    fn known(&mut self, path: &str, (name, line): (&str, usize), value: &Spanned<DeValue<'_>>) {
        // First of all: a name with a dot in it would look like two parts of a path.
        if path == keys::CHECKS
            && let Err(complaint) = rule::check_name(name)
        {
            let problem = Problem::of("health.checks.NAME", Some(line), complaint);
            self.document.problems.push(problem);
            return;
        }
        let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if keys::find(&full).is_some() {
            self.document.entries.insert(full, Entry { raw: raw(value.get_ref()), line });
            return;
        }
        let DeValue::Table(table) = value.get_ref() else {
            let complaint = Complaint::new("must be a table").hint(format!("write `[{full}]`"));
            self.document.problems.push(Problem::of(&full, Some(line), complaint));
            return;
        };
        if path == keys::CHECKS {
            self.document.checks.insert(name.to_owned(), line);
        }
        self.table(&full, table);
    }

    fn unknown(&mut self, path: &str, name: &str, line: usize) {
        let beside = keys::inside(path);
        let meant = near(name, beside.iter().copied());
        let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
        let named = near(name, KEYS.iter().map(|key| last(key.name)));
        let elsewhere = KEYS.iter().find(|key| named == Some(last(key.name)));
        let hint = match (meant, elsewhere) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some(key)) => format!("did you mean `{}`?", key.name),
            (None, None) => format!("known here: {}", beside.join(", ")),
        };
        let message = format!("unknown key `{}`", escaped(name, 80));
        self.document.problems.push(Problem { line: Some(line), message, hint: Some(hint) });
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            Raw::Whole(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(values) => Raw::List(values.iter().map(|one| raw(one.get_ref())).collect()),
        DeValue::Table(table) => Raw::Table { empty: table.is_empty() },
    }
}
