//! One value at a time: looked up, held against what its key takes, or its default.
//!
//! Reading never stops: what is wrong is noted, and its default goes on in its place. The strict
//! caller refuses the whole for one note; the lenient one lists the notes.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::document::{Document, Raw};
use crate::config::keys::{self, Harmless, KEYS, Key, Standard, Takes};
use crate::config::problem::{Complaint, Problem, near};
use crate::config::rule::Rule;
use crate::config::{size, span};
use crate::model::text::escaped;

/// A document that is being read.
pub struct Reading {
    /// What the file sets.
    pub document: Document,
}

type Told<T> = Result<T, Complaint>;

impl Reading {
    /// Begins, with a look at the keys that only a later release honours.
    pub fn new(document: Document) -> Reading {
        let mut reading = Reading { document };
        for key in KEYS {
            if let Takes::Later(harmless) = key.takes {
                reading.read(key.name, |_, raw| not_yet(harmless, raw));
            }
        }
        reading
    }

    /// Returns the line of a key that is set.
    pub fn line(&self, path: &str) -> Option<usize> {
        self.document.entries.get(path).map(|entry| entry.line)
    }

    /// Notes what is wrong with a key.
    pub fn note(&mut self, path: &str, complaint: Complaint) {
        let line = self.line(path);
        self.document.problems.push(Problem::of(path, line, complaint));
    }

    /// Returns a text; `None` if there is none and none by default.
    pub fn text(&mut self, path: &str) -> Option<String> {
        self.read(path, |takes, raw| match takes {
            Takes::Text(what, rule) => text(raw, what, *rule),
            _ => Err(Complaint::new("takes no text")),
        })
    }

    /// Returns a path; `None` if there is none and none by default.
    pub fn path(&mut self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    /// Returns a list of texts; `None` if there is none.
    pub fn texts(&mut self, path: &str) -> Option<Vec<String>> {
        self.read(path, |takes, raw| match takes {
            Takes::Texts(what, rule) => texts(raw, what, *rule),
            _ => Err(Complaint::new("takes no list")),
        })
    }

    /// Returns a time span.
    pub fn span(&mut self, path: &str) -> Duration {
        self.span_if_set(path).unwrap_or_default()
    }

    /// Returns a time span that has no default; `None` if it is not set.
    pub fn span_if_set(&mut self, path: &str) -> Option<Duration> {
        let name = path.rsplit('.').next().unwrap_or(path);
        self.read(path, |takes, raw| match takes {
            Takes::Span(least, most) => time_span(raw, (least, most), name),
            _ => Err(Complaint::new("takes no time span")),
        })
    }

    /// Returns a number of bytes, or a plain number.
    pub fn number(&mut self, path: &str) -> u64 {
        let told = self.read(path, |takes, raw| match takes {
            Takes::Size(least, most) => bytes(raw, (least, most)),
            Takes::Count(least, most) => count(raw, (*least, *most)),
            _ => Err(Complaint::new("takes no number")),
        });
        told.unwrap_or_default()
    }

    /// Returns a switch.
    pub fn flag(&mut self, path: &str) -> bool {
        let told = self.read(path, |_, raw| match raw {
            Raw::Flag(flag) => Ok(*flag),
            other => Err(wrong("`true` or `false`", other)),
        });
        told.unwrap_or_default()
    }

    /// Returns what the chosen word stands for; `None` if there is neither one nor a default.
    pub fn choice<T: Copy>(&mut self, path: &str, meanings: &[(&str, T)]) -> Option<T> {
        self.read(path, |takes, raw| {
            let word = word(takes, raw)?;
            let meant = meanings.iter().find(|(name, _)| *name == word);
            meant.map(|(_, value)| *value).ok_or_else(|| unsupported(&format!("= `{word}` ")))
        })
    }

    /// Returns ranges of HTTP answers; `None` if there are none.
    pub fn statuses(&mut self, path: &str) -> Option<Vec<(u16, u16)>> {
        self.read(path, |_, raw| match raw {
            Raw::List(items) if items.is_empty() => Err(Complaint::new("is an empty list")),
            Raw::List(items) => items.iter().map(status).collect(),
            one => Ok(vec![status(one)?]),
        })
    }

    /// Interprets what is set; where that is wrong, or nothing is set, what is there by default.
    fn read<T>(&mut self, path: &str, meant: impl Fn(&Takes, &Raw) -> Told<T>) -> Option<T> {
        let key = keys::find(path)?;
        match self.document.entries.get(path) {
            Some(entry) => match meant(&key.takes, &entry.raw) {
                Ok(value) => return Some(value),
                Err(complaint) => self.note(path, complaint),
            },
            None => self.missing(path, key),
        }
        meant(&key.takes, &default(key)?).ok()
    }

    fn missing(&mut self, path: &str, key: &Key) {
        if let (Standard::Required, Some((table, name))) = (key.standard, path.rsplit_once('.')) {
            let hint = format!("add `{name} = \"…\"` under `[{table}]`: {}", key.takes.said());
            self.note(path, Complaint::new("is missing").hint(hint));
        }
    }
}

fn default(key: &Key) -> Option<Raw> {
    match key.standard {
        Standard::Required | Standard::Nothing | Standard::Said(_) => None,
        Standard::Text(text) => Some(Raw::Text(text.to_owned())),
        Standard::Whole(number) => Some(Raw::Whole(i64::try_from(number).ok())),
        Standard::Flag(flag) => Some(Raw::Flag(flag)),
    }
}

fn unsupported(key_or_word: &str) -> Complaint {
    Complaint::new(format!("{key_or_word}is not supported by this release yet"))
        .hint("take it out: nothing would do what it promises")
}

fn not_yet(harmless: Harmless, raw: &Raw) -> Told<()> {
    match (harmless, raw) {
        (Harmless::Text(default), Raw::Text(text)) if text == default => Ok(()),
        (Harmless::EmptyList, Raw::List(items)) if items.is_empty() => Ok(()),
        (Harmless::EmptyTable, Raw::Table { empty: true }) => Ok(()),
        _ => Err(unsupported("")),
    }
}

/// Says that a value has the wrong type.
fn wrong(wanted: &str, raw: &Raw) -> Complaint {
    let given = match raw {
        Raw::Text(_) => "a text in quotes",
        Raw::Whole(_) => "a number",
        Raw::Flag(_) => "`true` or `false`",
        Raw::List(_) => "a list",
        Raw::Table { .. } => "a table",
        Raw::Other(what) => what,
    };
    Complaint::new(format!("must be {wanted}, and is {given}"))
}

fn text(raw: &Raw, what: &str, rule: Rule) -> Told<String> {
    match raw {
        Raw::Text(text) => rule(text).map(|()| text.clone()),
        other => Err(wrong(&format!("{what}, in quotes"), other)),
    }
}

fn texts(raw: &Raw, what: &str, rule: Rule) -> Told<Vec<String>> {
    match raw {
        Raw::List(items) if items.is_empty() => Err(Complaint::new("is an empty list")),
        Raw::List(items) => items.iter().map(|item| text(item, what, rule)).collect(),
        other => {
            let hint = "write `[\"…\", \"…\"]`";
            Err(wrong(&format!("a list ({what})"), other).hint(hint))
        }
    }
}

fn word(takes: &Takes, raw: &Raw) -> Told<String> {
    let Takes::Choice { now, later } = takes else {
        return Err(Complaint::new("takes no word"));
    };
    let Raw::Text(word) = raw else {
        return Err(wrong(&takes.said(), raw));
    };
    if later.contains(&word.as_str()) {
        return Err(unsupported(&format!("= `{word}` ")));
    }
    if now.contains(&word.as_str()) {
        return Ok(word.clone());
    }
    let complaint = Complaint::new(format!("is `{}`: must be {}", escaped(word, 80), takes.said()));
    Err(match near(word, now.iter().copied()) {
        Some(meant) => complaint.hint(format!("did you mean `{meant}`?")),
        None => complaint,
    })
}

fn time_span(raw: &Raw, (least, most): (&str, &str), name: &str) -> Told<Duration> {
    let text = match raw {
        Raw::Text(text) => text,
        Raw::Whole(Some(number)) => {
            let hint = format!("write `{name} = \"{number}s\"` for seconds");
            return Err(wrong("a time span, in quotes", raw).hint(hint));
        }
        other => return Err(wrong("a time span, in quotes", other)),
    };
    let shown = escaped(text, 80);
    let example = "for example `90s`, `5min`, `1h 30min`";
    let given = span::parse(text).map_err(|why| match why {
        span::NotASpan::NoUnit => Complaint::new(format!("is `{shown}`: a number without a unit"))
            .hint(format!("write `{name} = \"{shown}s\"` for seconds")),
        span::NotASpan::UnknownUnit(unit) => {
            let unit = escaped(&unit, 40);
            Complaint::new(format!("is `{shown}`: there is no unit `{unit}`")).hint(example)
        }
        span::NotASpan::Empty | span::NotASpan::NotANumber => {
            Complaint::new(format!("is `{shown}`: not a time span")).hint(example)
        }
        span::NotASpan::TooLong => Complaint::new(format!("is `{shown}`: too long")),
    })?;
    let within = |end: &str| span::parse(end).unwrap_or_default();
    match (within(least)..=within(most)).contains(&given) {
        true => Ok(given),
        false => {
            Err(Complaint::new(format!("is `{shown}`: must be between `{least}` and `{most}`")))
        }
    }
}

fn bytes(raw: &Raw, (least, most): (&str, &str)) -> Told<u64> {
    let (given, shown) = match raw {
        Raw::Text(text) => (size::parse(text), escaped(text, 80)),
        Raw::Whole(Some(number)) => (u64::try_from(*number).ok(), number.to_string()),
        other => return Err(wrong("a number of bytes, or a size in quotes", other)),
    };
    let not = || Complaint::new(format!("is `{shown}`: not a size")).hint("for example `2GiB`");
    let given = given.ok_or_else(not)?;
    let within = |end: &str| size::parse(end).unwrap_or_default();
    match (within(least)..=within(most)).contains(&given) {
        true => Ok(given),
        false => {
            Err(Complaint::new(format!("is `{shown}`: must be between `{least}` and `{most}`")))
        }
    }
}

fn count(raw: &Raw, (least, most): (u64, u64)) -> Told<u64> {
    let Raw::Whole(number) = raw else {
        return Err(wrong("a whole number", raw));
    };
    let given = number.and_then(|number| u64::try_from(number).ok());
    given
        .filter(|given| (least..=most).contains(given))
        .ok_or_else(|| Complaint::new(format!("must be between {least} and {most}")))
}

fn status(raw: &Raw) -> Told<(u16, u16)> {
    let number = |text: &str| {
        let number = text.trim().parse::<u16>().ok();
        number.filter(|number| (100..=599).contains(number) && text.trim().len() == 3)
    };
    let range = match raw {
        Raw::Whole(Some(given)) => number(&given.to_string()).map(|one| (one, one)),
        Raw::Text(text) => {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            number(from).zip(number(to)).filter(|(from, to)| from <= to)
        }
        other => return Err(wrong("a number, a range in quotes, or a list of them", other)),
    };
    let hint = "for example `200`, `\"200-299\"`, `[200, 204]`";
    range.ok_or_else(|| Complaint::new("has no valid HTTP status (100 to 599)").hint(hint))
}
