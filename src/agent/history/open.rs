//! Opening the database, and what happens when it is not one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rusqlite::{Connection, ErrorCode};

use crate::agent::history::{History, schema};
use crate::effects::files;

/// An open database, and whether it had to be begun anew.
pub struct Opened {
    /// The database.
    pub history: History,
    /// One sentence about what was set aside, and why; the new database knows nothing yet.
    pub mended: Option<String>,
    /// There was none before.
    pub fresh: bool,
}

/// Why a file is not used as it is.
enum Unfit {
    /// It is not our database, or not whole, or of another major version.
    SetAside(anyhow::Error),
    /// The disk, not the database: trying again later may help.
    Unavailable(anyhow::Error),
}

/// Opens the database at `path`, or begins one.
///
/// One that is damaged, foreign or of a newer major version is set aside, never deleted, and a new
/// one begun: what matters most is filled in from the activator's report.
///
/// # Errors
/// The file cannot be opened or written for a reason that is not its content; it is as it was.
pub fn open(path: &Path, keep: u32) -> Result<Opened> {
    let fresh = !path.exists();
    let opened = |history, mended, fresh| Ok(Opened { history, mended, fresh });
    let cause = match attempt(path, keep) {
        Ok(history) => return opened(history, None, fresh),
        Err(Unfit::Unavailable(error)) => return Err(error),
        Err(Unfit::SetAside(error)) => error,
    };
    let aside = files::set_aside(path)?;
    for tail in ["-wal", "-shm", "-journal"] {
        let beside = with_tail(path, tail);
        if beside.exists() {
            // Kept under the name that SQLite looks for beside the database that was set aside.
            let to = with_tail(&aside, tail);
            std::fs::rename(&beside, &to)
                .with_context(|| format!("could not set `{}` aside", beside.display()))?;
        }
    }
    let mended = format!(
        "the history could not be used and was set aside as `{}`: {cause:#}",
        aside.display()
    );
    match attempt(path, keep) {
        Ok(history) => opened(history, Some(mended), true),
        Err(Unfit::SetAside(error) | Unfit::Unavailable(error)) => Err(error),
    }
}

fn with_tail(path: &Path, tail: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(tail);
    PathBuf::from(name)
}

fn attempt(path: &Path, keep: u32) -> Result<History, Unfit> {
    let connection = prepared(path).map_err(|error| sorted(error, path))?;
    let number = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(|error| sorted(error, path))
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    let empty = number("schema_version")? == 0;
    if empty {
        schema::create(&connection).map_err(|error| sorted(error, path))?;
    } else if application != schema::APPLICATION_ID {
        return Err(Unfit::SetAside(anyhow!("it is not a history of autodeploy")));
    } else if version / 1000 != schema::MAJOR {
        return Err(Unfit::SetAside(anyhow!("its version is {version}, which is too new")));
    }
    checked(&connection).map_err(|error| sorted(error, path))?.map_err(Unfit::SetAside)?;
    Ok(History { connection, keep })
}

/// Little memory: a cache of 256 KiB, no memory map; the log is cut back when it was long.
fn prepared(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "pragma locking_mode = exclusive;
         pragma journal_mode = wal;
         pragma synchronous = full;
         pragma foreign_keys = off;
         pragma cache_size = -256;
         pragma mmap_size = 0;
         pragma wal_autocheckpoint = 64;
         pragma journal_size_limit = 262144;",
    )?;
    connection.set_prepared_statement_cache_capacity(8);
    Ok(connection)
}

fn checked(connection: &Connection) -> rusqlite::Result<Result<(), anyhow::Error>> {
    let verdict: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    Ok(match verdict.as_str() {
        "ok" => Ok(()),
        other => Err(anyhow!("{}", crate::model::text::escaped(other, 200))),
    })
}

fn sorted(error: rusqlite::Error, path: &Path) -> Unfit {
    let code = error.sqlite_error_code();
    let error = anyhow::Error::new(error).context(format!("could not open `{}`", path.display()));
    match code {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Unfit::SetAside(error),
        // A table that is missing in a database of our own is damage as well.
        Some(ErrorCode::Unknown) => Unfit::SetAside(error),
        _ => Unfit::Unavailable(error),
    }
}
