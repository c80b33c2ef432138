//! `[health.checks.NAME]`: each kind with the fields that it needs, and no others.

use std::collections::BTreeMap;

use crate::config::document::Raw;
use crate::config::problem::{Complaint, Problem};
use crate::config::reading::Reading;
use crate::config::settings::{Check, Probe, Severity};
use crate::model::text::escaped;

/// Checks that are always there and that no configuration can change.
const BUILT_IN: &[&str] = &["units", "other-units", "lifeline"];

/// The good answers of a page where nothing is said about them.
const GOOD_STATUSES: (u16, u16) = (200, 299);

/// The kinds of checks that this release can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Tcp,
    Command,
    Units,
}

const KINDS: &[(&str, Kind)] =
    &[("http", Kind::Http), ("tcp", Kind::Tcp), ("command", Kind::Command), ("units", Kind::Units)];

/// The fields that not every kind has.
const OWN_FIELDS: &[&str] =
    &["user", "url", "expected_status", "body_contains", "address", "command", "units"];

impl Kind {
    fn fields(self) -> &'static [&'static str] {
        match self {
            Kind::Http => &["user", "url", "expected_status", "body_contains"],
            Kind::Tcp => &["user", "address"],
            Kind::Command => &["user", "command"],
            Kind::Units => &["units"],
        }
    }
}

/// Reads every check that is not disabled.
///
/// One that cannot be made sense of is noted, and becomes [`Probe::Unknown`] and wanted: the
/// strict caller refuses the file, the lenient one must not let it decide.
pub fn read(reading: &mut Reading) -> BTreeMap<String, Check> {
    let names: Vec<_> = reading.document.checks.clone().into_iter().collect();
    let mut checks = BTreeMap::new();
    for (name, line) in names {
        if BUILT_IN.contains(&name.as_str()) {
            built_in(reading, &name, line);
            continue;
        }
        let check = one(reading, &name);
        if reading.flag(&field(&name, "enable")) {
            checks.insert(name, check);
        }
    }
    checks
}

fn field(name: &str, field: &str) -> String {
    format!("health.checks.{name}.{field}")
}

fn built_in(reading: &mut Reading, name: &str, line: usize) {
    let complaint = Complaint::new("is built in and cannot be changed")
        .hint("give your own check another name: `kind = \"units\"` takes named units");
    let problem = Problem::of(&format!("health.checks.{name}"), Some(line), complaint);
    reading.document.problems.push(problem);
}

fn one(reading: &mut Reading, name: &str) -> Check {
    let severities = [("required", Severity::Required), ("wanted", Severity::Wanted)];
    let severity = reading.choice(&field(name, "severity"), &severities);
    let kind = reading.choice(&field(name, "kind"), KINDS);
    let probe = kind.and_then(|kind| {
        foreign_fields(reading, name, kind);
        probe(reading, name, kind)
    });
    let severity = match probe {
        Some(_) => severity.unwrap_or(Severity::Required),
        None => Severity::Wanted,
    };
    Check {
        probe: probe.unwrap_or_else(|| Probe::Unknown { name: kind_as_written(reading, name) }),
        severity,
        timeout: reading.span(&field(name, "timeout")),
        interval: reading.span(&field(name, "interval")),
        user: reading.text(&field(name, "user")),
    }
}

fn kind_as_written(reading: &Reading, name: &str) -> String {
    match reading.document.entries.get(&field(name, "kind")).map(|entry| &entry.raw) {
        Some(Raw::Text(kind)) => escaped(kind, 80),
        _ => String::new(),
    }
}

/// Notes the fields of other kinds, which would have no effect.
fn foreign_fields(reading: &mut Reading, name: &str, kind: Kind) {
    let word = KINDS.iter().find(|(_, one)| *one == kind).map_or("", |(word, _)| word);
    for own in OWN_FIELDS.iter().filter(|own| !kind.fields().contains(own)) {
        if reading.line(&field(name, own)).is_some() {
            let complaint = Complaint::new(format!("means nothing for a check of kind `{word}`"));
            reading.note(&field(name, own), complaint);
        }
    }
}

/// Returns what a check looks at; `None`, and a note, if something that it needs is missing.
fn probe(reading: &mut Reading, name: &str, kind: Kind) -> Option<Probe> {
    match kind {
        Kind::Http => {
            let expected = reading.statuses(&field(name, "expected_status"));
            let body_contains = reading.text(&field(name, "body_contains"));
            let url = needed(reading, name, "url", Reading::text)?;
            let expected_status = expected.unwrap_or_else(|| vec![GOOD_STATUSES]);
            Some(Probe::Http { url, expected_status, body_contains })
        }
        Kind::Tcp => {
            let address = needed(reading, name, "address", Reading::text)?;
            Some(Probe::Tcp { address })
        }
        Kind::Command => {
            let command = needed(reading, name, "command", Reading::texts)?;
            if command.first().is_some_and(|program| program.starts_with('/')) {
                return Some(Probe::Command { command });
            }
            let complaint = Complaint::new("must begin with the absolute path of a program")
                .hint("on NixOS: `\"${pkgs.curl}/bin/curl\"`, elsewhere `\"/usr/bin/curl\"`");
            reading.note(&field(name, "command"), complaint);
            None
        }
        Kind::Units => {
            let units = needed(reading, name, "units", Reading::texts)?;
            Some(Probe::Units { units })
        }
    }
}

fn needed<T>(
    reading: &mut Reading,
    name: &str,
    own: &str,
    read: impl Fn(&mut Reading, &str) -> Option<T>,
) -> Option<T> {
    let path = field(name, own);
    let value = read(reading, &path);
    if value.is_none() && reading.line(&path).is_none() {
        let line = reading.document.checks.get(name).copied();
        let missing = Complaint::new("is missing");
        let problem = Problem::of(&path, line, missing);
        reading.document.problems.push(problem);
    }
    value
}
