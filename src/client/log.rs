//! `autodeployctl log`: the journal of one deployment, from both programs and the trial's output.

use std::path::Path;
use std::time::Duration;

use crate::client::args;
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::link::Link;
use crate::client::output;
use crate::control::status::Summary;
use crate::effects::process::Program;
use crate::effects::programs;
use crate::model::text::escaped_lines;

/// A journal that takes longer to read is broken.
const READ_LIMIT: Duration = Duration::from_secs(120);

/// More than this is cut, in bytes.
const LARGEST_BYTES: usize = 16 << 20;

/// What is written shortly after a deployment ended belongs to it, in seconds.
const AFTERMATH_SECONDS: i64 = 5;

/// Prints the journal of a deployment, of the newest unless said otherwise.
///
/// # Errors
/// There is no such deployment, or the journal cannot be read.
pub async fn run(socket: &Path, arguments: &args::Log) -> Result<Exit, Failed> {
    let summary = Link::open(socket).await?.deployment(arguments.id).await?.summary;
    let journalctl = programs::find("journalctl")
        .ok_or_else(|| Failed::new("there is no `journalctl` in `PATH`", ""))?;
    let program = Program::new(journalctl, READ_LIMIT).args(matches(&summary));
    let ended = programs::with_own_zone(program).keep_stdout(LARGEST_BYTES).run()?;
    let stderr = escaped_lines(String::from_utf8_lossy(&ended.stderr).trim(), 2000);
    if !ended.succeeded() && !stderr.is_empty() {
        return Err(unreadable(&format!("could not read the journal: {stderr}")));
    }
    if ended.stdout.is_empty() {
        return Err(unreadable(&format!("the journal shows nothing of deployment {}", summary.id)));
    }
    output::print(&escaped_lines(&String::from_utf8_lossy(&ended.stdout), LARGEST_BYTES))?;
    Ok(Exit::Done)
}

fn unreadable(message: &str) -> Failed {
    Failed::new(message, "read it as root, or join the group `systemd-journal` and log in again")
}

/// Returns the arguments of `journalctl`: what both programs say of this deployment, and all that
/// the trial's own unit printed in that time (the output of the switch carries no number).
fn matches(summary: &Summary) -> Vec<String> {
    let of = |program: &str| {
        [format!("SYSLOG_IDENTIFIER={program}"), format!("AUTODEPLOY_DEPLOYMENT={}", summary.id)]
    };
    let seconds = |time: &str| time.parse::<jiff::Timestamp>().ok().map(|time| time.as_second());
    let since = seconds(&summary.started_at).map(|time| format!("--since=@{time}"));
    let until = summary.finished_at.as_deref().and_then(seconds);
    let until = until.map(|time| format!("--until=@{}", time + AFTERMATH_SECONDS));
    let plain = ["--no-pager", "--quiet", "--no-hostname", "--output=short-iso"];
    let mut arguments: Vec<_> = plain.map(str::to_owned).into();
    arguments.extend(since.into_iter().chain(until));
    arguments.extend(of("autodeployd"));
    arguments.push("+".to_owned());
    arguments.extend(of("autodeploy-activate"));
    arguments.push("+".to_owned());
    arguments.push("_SYSTEMD_UNIT=autodeploy-trial.service".to_owned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::render::fixtures;

    #[track_caller]
    fn check(summary: &Summary, expected: &str) {
        assert_eq!(matches(summary).join(" "), expected);
    }

    #[test]
    fn both_programs_and_the_trial_are_asked_for() {
        check(
            &fixtures::summary(),
            "--no-pager --quiet --no-hostname --output=short-iso --since=@1763715520 \
             --until=@1763715605 SYSLOG_IDENTIFIER=autodeployd AUTODEPLOY_DEPLOYMENT=7 + \
             SYSLOG_IDENTIFIER=autodeploy-activate AUTODEPLOY_DEPLOYMENT=7 + \
             _SYSTEMD_UNIT=autodeploy-trial.service",
        );
    }

    #[test]
    fn one_in_flight_is_read_to_the_end() {
        let summary = Summary { finished_at: None, ..fixtures::summary() };
        assert!(!matches(&summary).join(" ").contains("--until"));
    }
}
