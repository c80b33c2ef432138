//! Which closures that were not kept stay in the store, and until when: PURE.
//!
//! They are for a person to look at, and nothing else depends on them: a closure that is tried
//! again is got again. So the wall clock will do, whatever it was set to meanwhile.

use std::time::Duration;

use crate::agent::history::Row;
use crate::agent::rollout::seen::{time_from, time_text};
use crate::model::deployment::DeploymentId;

/// Returns those of `newest` whose closures still stay at `now_s`, in seconds since 1970.
pub fn staying(newest: &[Row], keep_for: Duration, now_s: i64) -> Vec<DeploymentId> {
    let stays = |row: &&Row| ends_at(row, keep_for).is_some_and(|end| now_s < end);
    newest.iter().filter(stays).map(|row| DeploymentId(row.id)).collect()
}

/// Returns until when the closure of `row` stays, in RFC 3339, if it still does.
pub fn until(row: &Row, staying: &[DeploymentId], keep_for: Duration) -> Option<String> {
    let stays = staying.contains(&DeploymentId(row.id));
    ends_at(row, keep_for).filter(|_| stays).map(time_text)
}

fn ends_at(row: &Row, keep_for: Duration) -> Option<i64> {
    let ended = time_from(row.finished_at.as_deref()?);
    Some(ended.saturating_add(keep_for.as_secs().try_into().unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn ended(id: u64, day: i64) -> Row {
        Row { id, finished_at: Some(time_text(day * DAY)), ..Row::default() }
    }

    #[test]
    fn a_closure_stays_until_its_time_is_over() {
        let rows = [ended(9, 20), ended(8, 14), ended(7, 13), Row::default()];
        let at = |now_s| staying(&rows, WEEK, now_s).iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(at(20 * DAY), [9, 8]);
        assert_eq!(at(21 * DAY - 1), [9, 8]);
        assert_eq!(at(21 * DAY), [9]);
        assert_eq!(at(0), [9, 8, 7], "a clock that went back takes nothing away");
        assert_eq!(staying(&rows, Duration::ZERO, 20 * DAY), []);
    }

    #[test]
    fn until_when_is_told_of_those_that_stay() {
        let (row, ids) = (ended(9, 20), [DeploymentId(9)]);
        assert_eq!(until(&row, &ids, WEEK), Some(time_text(27 * DAY)));
        assert_eq!(until(&row, &[], WEEK), None);
    }
}
