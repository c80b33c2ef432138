//! What is forgotten when `history.keep` is reached.

use rusqlite::{Connection, params};

/// How many commits are remembered with their closure; more than can matter, and bounded.
const RESOLVED_KEPT: i64 = 200;

/// How many events are remembered that belong to no deployment.
const LOOSE_EVENTS_KEPT: i64 = 2000;

/// Forgets the oldest ended deployments beyond `keep`, with their events.
///
/// What is live, and the newest that was kept, stays whatever its age.
pub(super) fn oldest(db: &Connection, keep: u32) -> rusqlite::Result<()> {
    let before: Option<i64> = db
        .prepare_cached("select id from deployment order by id desc limit 1 offset ?1")?
        .query_row(params![keep.max(1) - 1], |row| row.get(0))
        .map(Some)
        .or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(None),
            other => Err(other),
        })?;
    if let Some(before) = before {
        db.prepare_cached(
            "delete from deployment where id < ?1 and outcome is not null and id is not \
             (select max(id) from deployment where outcome = 'kept')",
        )?
        .execute(params![before])?;
        db.prepare_cached(
            "delete from event where deployment < ?1 and deployment not in \
             (select id from deployment)",
        )?
        .execute(params![before])?;
    }
    db.prepare_cached(
        "delete from event where deployment is null and id <= (select id from event where \
         deployment is null order by id desc limit 1 offset ?1)",
    )?
    .execute(params![LOOSE_EVENTS_KEPT])?;
    db.prepare_cached("delete from resolved where at <= (select max(at) from resolved) - ?1")?
        .execute(params![RESOLVED_KEPT])?;
    Ok(())
}
