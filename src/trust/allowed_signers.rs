//! The file of SSH keys that may sign, as "ALLOWED SIGNERS" of ssh-keygen(1) has it:
//!
//! ```text
//! principal[,principal…] [option[,option…]] keytype base64-key [comment]
//! ```
//!
//! A line that OpenSSH could not read makes the whole file unusable: whoever wrote it meant
//! something by it. Lines with `cert-authority` are read and never match, because a certificate is
//! refused wherever it is met.

use jiff::tz::TimeZone;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

use crate::model::pattern::is_in_list;
use crate::model::text::escaped;
use crate::trust::refusal::Unusable;
use crate::trust::{LONGEST_TEXT, times};

/// No file has more lines.
const MOST_LINES: usize = 10_000;

/// One line.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Who, as it stands there: patterns with commas between them.
    pub principals: String,
    /// The key.
    pub key: KeyData,
    /// What it may be used for: patterns with commas between them.
    pub namespaces: Option<String>,
    /// Seconds since 1970: the first moment at which it counts.
    pub valid_after: Option<i64>,
    /// And the last.
    pub valid_before: Option<i64>,
}

/// Reads the whole file; times without `Z` are those of `zone`.
///
/// # Errors
/// A line cannot be read, or no key is left.
pub fn read(file: &str, zone: &TimeZone) -> Result<Vec<Allowed>, Unusable> {
    let mut allowed = Vec::new();
    for (number, line) in (1..).zip(file.lines()) {
        let at = |what: String| Unusable(format!("line {number}: {what}"));
        if number > MOST_LINES {
            return Err(at(format!("there are more than {MOST_LINES} lines")));
        }
        let line = line.trim_start_matches(is_blank);
        if !line.is_empty() && !line.starts_with('#') {
            allowed.extend(one(line, zone).map_err(at)?);
        }
    }
    match allowed.is_empty() {
        true => Err(Unusable("there is no key in it".to_owned())),
        false => Ok(allowed),
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Reads one line; a certificate authority is nobody.
fn one(line: &str, zone: &TimeZone) -> Result<Option<Allowed>, String> {
    let (principals, rest) = principals(line)?;
    let (options, key) = match public_key(rest) {
        Some(key) => (Options::default(), key),
        None if is_key_type(rest) => return Err(no_key(rest)),
        None => {
            let (options, rest) = Options::read(rest, zone)?;
            let key = public_key(rest).ok_or_else(|| no_key(rest))?;
            (options, key)
        }
    };
    let allowed = Allowed {
        principals,
        key,
        namespaces: options.namespaces,
        valid_after: options.valid_after,
        valid_before: options.valid_before,
    };
    Ok((!options.is_authority).then_some(allowed))
}

/// No option begins like a type of key.
fn is_key_type(rest: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "rsa-"].iter().any(|kind| rest.starts_with(kind))
}

fn no_key(rest: &str) -> String {
    let kind = rest.split(is_blank).next().unwrap_or_default();
    match kind.contains("-cert-v01@openssh.com") {
        true => "certificates are not supported: put the plain key there".to_owned(),
        false => format!("no key can be read at `{}`", escaped(rest, 40)),
    }
}

/// The first word, which may stand in quotes.
fn principals(line: &str) -> Result<(String, &str), String> {
    let split = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"'),
        None => line.split_once(is_blank),
    };
    match split {
        Some((principals, rest)) if !principals.is_empty() => {
            Ok((principals.to_owned(), rest.trim_start_matches(is_blank)))
        }
        Some(_) | None => Err("there is a principal and no key".to_owned()),
    }
}

/// `keytype base64`, and whatever comment.
fn public_key(text: &str) -> Option<KeyData> {
    let mut words = text.split(is_blank).filter(|word| !word.is_empty());
    let (kind, bytes) = (words.next()?, words.next()?);
    let key = PublicKey::from_openssh(&format!("{kind} {bytes}")).ok()?;
    match key.key_data() {
        // Of another kind than this library knows: nothing could ever be verified with it.
        KeyData::Other(_) => None,
        known => Some(known.clone()),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    is_authority: bool,
    namespaces: Option<String>,
    valid_after: Option<i64>,
    valid_before: Option<i64>,
}

impl Options {
    /// Reads options up to the first blank outside quotes; returns what comes after it.
    fn read<'a>(text: &'a str, zone: &TimeZone) -> Result<(Options, &'a str), String> {
        let mut options = Options::default();
        let mut rest = text;
        loop {
            let end = rest.find(|c: char| c == '=' || c == ',' || is_blank(c));
            let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
            let lower = name.to_ascii_lowercase();
            rest = match (lower.as_str(), after.strip_prefix('=')) {
                ("cert-authority", None) => {
                    options.is_authority = true;
                    after
                }
                ("namespaces" | "valid-after" | "valid-before", Some(after)) => {
                    let (value, after) = quoted(after, &lower)?;
                    options.set(&lower, value, zone)?;
                    after
                }
                _ => return Err(format!("unknown option `{}`", escaped(name, 40))),
            };
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None if rest.is_empty() || rest.starts_with(is_blank) => break,
                None => return Err(format!("no comma after the option `{lower}`")),
            }
        }
        if let (Some(after), Some(before)) = (options.valid_after, options.valid_before)
            && before <= after
        {
            return Err("`valid-before` is not after `valid-after`".to_owned());
        }
        Ok((options, rest.trim_start_matches(is_blank)))
    }

    fn set(&mut self, name: &str, value: String, zone: &TimeZone) -> Result<(), String> {
        if name == "namespaces" {
            return once(&mut self.namespaces, value, name);
        }
        // OpenSSH takes the first second of 1970 for no time at all.
        let time = times::absolute(&value, zone).filter(|seconds| *seconds > 0);
        let time = time.ok_or_else(|| {
            format!("`{name}` is `{}`: must be `YYYYMMDD[HHMM[SS]][Z]`", escaped(&value, 40))
        })?;
        match name {
            "valid-after" => once(&mut self.valid_after, time, name),
            _ => once(&mut self.valid_before, time, name),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("`{name}` is there twice")),
    }
}

/// Reads a text in quotes, in which a backslash stands before a quote that is meant.
fn quoted<'a>(text: &'a str, name: &str) -> Result<(String, &'a str), String> {
    let wrong = || format!("the value of `{name}` is not in quotes");
    let inside = text.strip_prefix('"').ok_or_else(wrong)?;
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &inside[at + 1..])),
            '\\' if inside[at + 1..].starts_with('"') => {
                value.push('"');
                characters.next();
            }
            other => value.push(other),
        }
    }
    Err(wrong())
}

impl Allowed {
    /// Tells whether the line is for something that is signed in this namespace.
    pub fn is_for(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|list| is_in_list(list, namespace))
    }

    /// Returns the first principal that the list itself lets through, escaped: that is the one that
    /// Git asks ssh-keygen about.
    pub fn principal(&self) -> Option<String> {
        let good = self.principals.split(',').find(|one| is_in_list(&self.principals, one));
        good.map(|one| escaped(one, LONGEST_TEXT))
    }
}

#[cfg(test)]
mod tests;
