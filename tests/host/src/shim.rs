//! Releases of autodeploy that differ from the one that was built: the same binaries, each behind a
//! script of its name. What a script proves is what it does; nothing of it is in the product.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::host::Host;
use crate::package;

/// What the state of a newer release has that this one does not know.
pub const FROM_THE_FUTURE: &str = "from_the_future";

/// What a release does in front of the binary that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shim {
    /// Adds fields to the record, and a column, a table and a fact to the database, before it
    /// starts: the state of a newer release of the same major version.
    AddsState,
    /// Its activator crashes however it is started.
    ActivatorCrashes,
    /// Its activator passes the self-test, and crashes as a service.
    ActivatorCrashesWhenServing,
    /// Its agent never says READY.
    AgentHangs,
}

/// A newer database: more columns, a table, a minor version. Within a transaction, as a release
/// would do it; again, it does nothing.
const ADD_TO_THE_DATABASE: &str = r#"
import os, sqlite3
path = "/var/lib/autodeploy/history.sqlite"
if os.path.exists(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("begin immediate")
    if db.execute("pragma user_version").fetchone()[0] == 1000:
        db.execute("alter table deployment add column from_the_future text default 'kept'")
        db.execute("create table from_the_future (id integer primary key, word text)")
        db.execute("insert into from_the_future values (1, 'kept')")
        db.execute("insert into fact values ('from-the-future', 'kept')")
        db.execute("pragma user_version = 1001")
    db.execute("commit")
    db.close()
"#;

/// A newer record: a field beside the others, and one in the trial. Under the record's lock and
/// never while somebody holds it, as a release would do it.
const ADD_TO_THE_RECORD: &str = r#"
import fcntl, json, os
folder = "/var/lib/autodeploy-activate"
path = folder + "/trial.json"
if os.path.exists(path):
    lock = open(folder + "/lock", "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit
    record = json.load(open(path))
    record["from_the_future"] = {"word": "kept"}
    if record.get("trial"):
        record["trial"]["from_the_future"] = "kept"
    with open(path + ".new", "w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)
"#;

/// Puts a release on a machine's disk, and gives its label.
///
/// # Errors
/// The binaries are not built, or the scripts cannot be written.
pub fn put(host: &Host, shim: Shim) -> Result<String> {
    let label = package::put(host, &package::binaries(), &format!("-{shim:?}").to_lowercase())?;
    let folder = host.root.join(format!("opt/autodeploy/{label}/bin"));
    let (name, script) = match shim {
        Shim::AddsState => {
            script_in_front(&folder, "autodeploy-activate", &python(ADD_TO_THE_RECORD))?;
            ("autodeployd", python(ADD_TO_THE_DATABASE))
        }
        Shim::ActivatorCrashes => ("autodeploy-activate", "kill -SEGV $$".to_owned()),
        Shim::ActivatorCrashesWhenServing => {
            let line = "case \" $* \" in *' --self-test '*) ;; *) kill -SEGV $$ ;; esac";
            ("autodeploy-activate", line.to_owned())
        }
        Shim::AgentHangs => ("autodeployd", "sleep infinity".to_owned()),
    };
    script_in_front(&folder, name, &script)?;
    Ok(label)
}

fn python(text: &str) -> String {
    format!("/usr/bin/python3 - <<'END'\n{text}END")
}

/// Puts a script in the place of a binary, which it becomes when it is through. A repeated call does
/// nothing.
fn script_in_front(folder: &Path, name: &str, script: &str) -> Result<()> {
    let (path, real) = (folder.join(name), folder.join(format!("{name}.real")));
    if real.exists() {
        return Ok(());
    }
    fs::rename(&path, &real).with_context(|| format!("no `{}`", path.display()))?;
    fs::write(&path, format!("#!/bin/sh\n{script}\nexec \"$(readlink -f \"$0\").real\" \"$@\"\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
