//! Standard output and standard error, and nothing else writes to them.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::client::failed::Failed;
use crate::model::text::escaped_json;

/// Writes text to standard output.
///
/// # Errors
/// Nobody reads it any more ([`Failed::unread`]), or it could not be written.
pub fn print(text: &str) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failed::unread(),
        _ => Failed::new(format!("could not write the output: {error}"), ""),
    })
}

/// Writes a value as indented JSON, which no text in it can turn into anything else on a terminal.
///
/// # Errors
/// Those of [`print`].
pub fn print_json(value: &impl Serialize) -> Result<(), Failed> {
    let json = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    print(&(escaped_json(&json) + "\n"))
}

/// Writes a value as one line of JSON.
///
/// # Errors
/// Those of [`print`].
pub fn print_json_line(value: &impl Serialize) -> Result<(), Failed> {
    let json = serde_json::to_string(value).map_err(anyhow::Error::from)?;
    print(&(escaped_json(&json) + "\n"))
}

/// Writes a line to standard error; if nobody reads that, nobody has to know.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Tells whether a person watches standard error.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}
