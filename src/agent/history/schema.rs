//! The tables, and how they may change.
//!
//! `application_id` tells that a database is ours, `user_version` is `major * 1000 + minor`.
//! Within a major version columns and tables are only ever added, and every reader and writer
//! names its columns: so an older release works with what a newer one made, and keeps what it does
//! not know. That matters because a revert brings the previous release back.

use rusqlite::Connection;

/// "adpl"
pub const APPLICATION_ID: i64 = 0x6164_706c;

/// The major part of `user_version`.
pub const MAJOR: i64 = 1;

/// What this release makes.
const VERSION: i64 = MAJOR * 1000;

const TABLES: &str = "
create table deployment (
    id integer primary key,
    kind text not null,
    commit_id text,
    target_generation integer,
    attempts integer not null,
    emergency integer not null default 0,
    subject text,
    started_at text not null,
    phase text not null,
    toplevel text,
    drv text,
    base text,
    boot_id text,
    outcome text,
    reason text,
    message text not null default '',
    hint text,
    retry integer not null default 0,
    finished_at text,
    old_toplevel text,
    generation integer,
    steps_seen integer not null default 0,
    checks text,
    evidence text
);
create index deployment_by_commit on deployment (commit_id);
create index deployment_live on deployment (id) where outcome is null;
create table event (
    id integer primary key,
    deployment integer,
    at text not null,
    kind text not null,
    message text not null
);
create index event_by_deployment on event (deployment);
create table blocked (
    toplevel text primary key,
    commit_id text,
    reason text not null,
    since text not null,
    deployment integer,
    unblocked_by integer
) without rowid;
create table resolved (
    commit_id text primary key,
    toplevel text not null,
    drv text,
    at integer not null
) without rowid;
create table fact (key text primary key, value text not null) without rowid;
";

/// Makes the tables in an empty database, in one transaction.
pub fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "begin immediate; {TABLES}
         pragma application_id = {APPLICATION_ID}; pragma user_version = {VERSION}; commit;"
    ))
}
