//! `autodeployctl history`.

use crate::client::render::time::{Moment, took};
use crate::client::render::{table, words};
use crate::control::status::Summary;

/// Returns a table, newest first as it came.
pub fn of(deployments: &[Summary], moment: &Moment) -> String {
    if deployments.is_empty() {
        return "nothing was deployed yet\n".to_owned();
    }
    let headings = ["ID", "WHEN", "COMMIT", "OUTCOME", "REASON", "TOOK", "SUBJECT"];
    table::headed(headings, deployments.iter().map(|one| row(one, moment)).collect())
}

fn row(deployment: &Summary, moment: &Moment) -> [String; 7] {
    let or_none = |text: &Option<String>| text.as_deref().map(words::line).unwrap_or_default();
    [
        deployment.id.to_string(),
        moment.minute(&deployment.started_at),
        deployment.commit.as_deref().map(words::commit).unwrap_or_default(),
        deployment.outcome.as_deref().map_or_else(|| "in flight".to_owned(), words::line),
        or_none(&deployment.reason),
        took(&deployment.started_at, deployment.finished_at.as_deref(), moment.now),
        or_none(&deployment.subject),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;

    #[test]
    fn deployments_line_up() {
        let in_flight = Summary {
            id: 10,
            commit: None,
            outcome: None,
            reason: None,
            started_at: "2025-11-21T11:59:00Z".into(),
            finished_at: None,
            subject: None,
            ..fixtures::summary()
        };
        let table = of(
            &[in_flight, fixtures::reverted().summary, fixtures::summary()],
            &fixtures::moment(),
        );
        assert_eq!(
            table,
            "\
ID  WHEN              COMMIT    OUTCOME    REASON     TOOK        SUBJECT
10  2025-11-21 12:59            in flight             1 min
8   2025-11-21 09:58  c0ffee12  reverted   unhealthy  1 min 20 s  web: answer faster
7   2025-11-21 09:58  c0ffee12  kept       healthy    1 min 20 s  web: answer faster
"
        );
    }

    #[test]
    fn a_commit_cannot_draw_on_the_table() {
        let subject = Some("\x1b[1Afixed\u{202e}".to_owned());
        let table = of(&[Summary { subject, ..fixtures::summary() }], &fixtures::moment());
        assert!(table.ends_with("\\u{1b}[1Afixed\\u{202e}\n"), "{table}");
    }

    #[test]
    fn an_empty_history_says_so() {
        assert_eq!(of(&[], &fixtures::moment()), "nothing was deployed yet\n");
    }
}
