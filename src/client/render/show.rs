//! `autodeployctl show`.

use crate::client::render::time::{Moment, took};
use crate::client::render::{status, table, words};
use crate::control::deployment::Details;

/// Returns all that is known of a deployment.
pub fn of(details: &Details, moment: &Moment) -> String {
    let mut page = format!("{}\n\n{}", headline(details), facts(details, moment));
    let events = events(details, moment);
    let checks = indented(&status::checks(&details.checks));
    let evidence: String = details
        .evidence
        .iter()
        .map(|one| format!("  {}\n{}", words::line(&one.about), words::block(&one.text, 4)))
        .collect();
    for (title, section) in [("events", events), ("checks", checks), ("evidence", evidence)] {
        if !section.is_empty() {
            page.push_str(&format!("\n{title}\n{section}"));
        }
    }
    page
}

/// Returns how it stands in one sentence, without a line end.
pub fn headline(details: &Details) -> String {
    let summary = &details.summary;
    let commit = words::of_commit(summary.commit.as_deref());
    let message = match summary.message.as_str() {
        "" => String::new(),
        message => format!(": {}", words::line(message)),
    };
    let stands = match &summary.outcome {
        Some(outcome) => words::line(outcome),
        None => format!("is {}", words::phase(&details.phase)),
    };
    format!("deployment {}{commit} {stands}{message}", summary.id)
}

fn facts(details: &Details, moment: &Moment) -> String {
    let summary = &details.summary;
    let safe = |text: &Option<String>| text.as_deref().map(words::line);
    let finished = summary.finished_at.as_deref().map(|time| {
        let took = took(&summary.started_at, Some(time), moment.now);
        format!("{} (after {took})", moment.at(time))
    });
    let started =
        format!("{} ({})", moment.at(&summary.started_at), moment.ago(&summary.started_at));
    let facts = [
        ("hint", safe(&details.hint)),
        ("kind", Some(words::line(&details.kind))),
        ("commit", safe(&summary.commit)),
        ("subject", safe(&summary.subject)),
        ("closure", safe(&summary.toplevel)),
        (
            "in store",
            details.stays_until.as_deref().map(|time| format!("until {}", moment.at(time))),
        ),
        ("before", safe(&details.old_toplevel)),
        ("generation", details.generation.map(|number| number.to_string())),
        ("reason", safe(&summary.reason)),
        ("attempts", Some(details.attempts.to_string())),
        ("started", Some(started)),
        ("finished", finished),
    ];
    let rows = facts.into_iter().filter_map(|(name, fact)| Some([name.to_owned(), fact?]));
    table::aligned(&rows.collect::<Vec<_>>(), 0)
}

fn events(details: &Details, moment: &Moment) -> String {
    let rows = details.events.iter().map(|event| {
        [moment.at(&event.at), words::line(&event.event), words::line(&event.message)]
    });
    table::aligned(&rows.collect::<Vec<_>>(), 2)
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;

    #[test]
    fn a_revert_is_shown_with_its_evidence() {
        assert_eq!(
            of(&fixtures::reverted(), &fixtures::moment()),
            "\
deployment 8 (commit c0ffee12) reverted: generation 43 was not healthy within 2 min

hint      autodeployctl log 8
kind      follow
commit    c0ffee12c0ffee12c0ffee12c0ffee12c0ffee12
subject   web: answer faster
closure   /nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web1-25.11
in store  until 2025-11-28 10:00:00
before    /nix/store/zyxwvsrqpnmlkjihgfdcba9876543210-nixos-system-web1-25.05
reason    unhealthy
attempts  1
started   2025-11-21 09:58:40 (3 h ago)
finished  2025-11-21 10:00:00 (after 1 min 20 s)

events
  2025-11-21 09:58:40  new-tip          `main` moved to c0ffee12
  2025-11-21 09:59:00  trial-requested  asked the activator for a trial

checks
  units  units  required  green
  web    http   required  red    answered 503

evidence
  check `web`
    HTTP/1.1 503
    no backend
"
        );
    }

    #[test]
    fn one_that_has_only_begun_is_short() {
        let mut details = fixtures::reverted();
        details.summary.outcome = None;
        details.summary.reason = None;
        details.summary.message = String::new();
        details.summary.finished_at = None;
        details.summary.toplevel = None;
        details.hint = None;
        details.old_toplevel = None;
        details.stays_until = None;
        details.phase = "fetching".into();
        details.events.clear();
        details.checks.clear();
        details.evidence.clear();
        assert_eq!(
            of(&details, &fixtures::moment()),
            "\
deployment 8 (commit c0ffee12) is being fetched

kind      follow
commit    c0ffee12c0ffee12c0ffee12c0ffee12c0ffee12
subject   web: answer faster
attempts  1
started   2025-11-21 09:58:40 (3 h ago)
"
        );
    }
}
