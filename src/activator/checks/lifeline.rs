//! `lifeline`: the next push could still be deployed from this generation.
//!
//! Three things have to be true of a run of the agent that began after the switch: it polled the
//! remote, it reached Nix, and the new generation's own activator would take its next request. Once
//! all were true at the same time, it stays green.

use std::path::PathBuf;
use std::time::Duration;

use super::{Sight, Sighting};
use crate::activator::host::Side;
use crate::activator::judgement::Remote;
use crate::effects::files;
use crate::effects::process::Program;
use crate::effects::systemd::{SERVICE, Systemd, UNIT};
use crate::handover::LARGEST_FILE_BYTES;
use crate::handover::lifeline::{FILE, Lifeline, NixReach, Poll};
use crate::model::commit::CommitId;
use crate::model::text::escaped;

/// The agent's unit.
pub const AGENT: &str = "autodeploy.service";
/// The unit that waits for its requests.
pub const PATH_UNIT: &str = "autodeploy-activate.path";
/// The limit on the self-test of the new generation's activator.
const SELF_TEST: Duration = Duration::from_secs(15);

/// What has to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The remote.
    pub remote: Remote,
    /// The commit on trial.
    pub commit: Option<CommitId>,
    /// This boot.
    pub boot_id: String,
    /// The run of the agent has to have begun after this, on the monotonic clock.
    pub after: Duration,
}

/// How systemd knows the agent's current run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Its name: 32 hexadecimal digits.
    pub invocation_id: String,
    /// When it began, on the monotonic clock.
    pub began: Duration,
}

/// Judges what the agent wrote.
///
/// # Errors
/// The first thing that is missing.
pub fn judge(wanted: &Wanted, run: &Run, lifeline: Option<&Lifeline>) -> Result<(), String> {
    if run.invocation_id.is_empty() || run.began < wanted.after {
        return Err("the agent was not started since the switch".to_owned());
    }
    let lifeline = lifeline
        .filter(|it| it.invocation_id == run.invocation_id && it.boot_id == wanted.boot_id)
        .ok_or("the agent runs, and has not polled yet")?;
    if wanted.remote.asked {
        reached(wanted, lifeline.poll.as_ref())?;
    }
    nix(lifeline.nix.as_ref())
}

/// Whether the lifeline was good before the switch: what has to come back after a revert, or the
/// closure is not to blame.
///
/// The agent asked for this very trial, so its last word counts also where it was ended since, and
/// where it has not tried Nix since it started: it has just made a root of what is on trial.
pub fn was_good(wanted: &Wanted, lifeline: Option<&Lifeline>) -> bool {
    let rooted =
        NixReach { at_boottime_ms: 0, root_made: true, evaluator_started: None, error: None };
    let last_word = lifeline.map(|lifeline| Lifeline {
        nix: Some(lifeline.nix.clone().unwrap_or(rooted)),
        ..lifeline.clone()
    });
    let began = wanted.after.saturating_add(Duration::from_micros(1));
    let invocation_id = lifeline.map(|it| it.invocation_id.clone()).unwrap_or_default();
    judge(wanted, &Run { invocation_id, began }, last_word.as_ref()).is_ok()
}

fn reached(wanted: &Wanted, poll: Option<&Poll>) -> Result<(), String> {
    let poll = poll.ok_or("the agent has not polled yet")?;
    if let Some(error) = &poll.error {
        return Err(format!("the agent could not reach the remote: {}", escaped(error, 300)));
    }
    let remote = &wanted.remote;
    if poll.url != remote.url || poll.branch != remote.branch {
        return Err(format!(
            "the agent asked for `{}` of `{}`, and not for what the new configuration says",
            escaped(&poll.branch, 100),
            escaped(&poll.url, 200)
        ));
    }
    let tip = poll.tip.as_ref().ok_or("the agent saw no tip of the branch")?;
    match &wanted.commit {
        Some(commit) if !remote.unchanged && tip != commit && !poll.contains.contains(commit) => {
            Err(format!(
                "the branch that is followed from now on is at `{}`, which does not contain the \
                 commit on trial",
                tip.short()
            ))
        }
        Some(_) | None => Ok(()),
    }
}

fn nix(nix: Option<&NixReach>) -> Result<(), String> {
    let nix = nix.ok_or("the agent has not tried Nix yet")?;
    let why = nix.error.as_deref().map(|error| format!(": {}", escaped(error, 300)));
    let why = why.unwrap_or_default();
    match (nix.root_made, nix.evaluator_started) {
        (false, _) => Err(format!("the agent could not make a GC root{why}")),
        (true, Some(false)) => Err(format!("the agent could not start the evaluator{why}")),
        // Keys that nobody can use, for example.
        (true, Some(true) | None) if nix.error.is_some() => {
            Err(format!("the agent could not deploy the next push{why}"))
        }
        (true, Some(true) | None) => Ok(()),
    }
}

/// Reads what the agent wrote; what cannot be read is as good as not written.
pub fn read(runtime_dir: &std::path::Path) -> Option<Lifeline> {
    let bytes = files::read_limited(&runtime_dir.join(FILE), LARGEST_FILE_BYTES).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Asks systemd for the agent's current run; none, where another began while it was asked.
pub fn run_of_the_agent(systemd: &mut Systemd) -> Run {
    let before = invocation(systemd);
    // Not when the unit left "inactive": it does so before a restart too, under the old name.
    let began: u64 =
        systemd.property(AGENT, SERVICE, "ExecMainStartTimestampMonotonic").unwrap_or_default();
    one_run(before, Duration::from_micros(began), &invocation(systemd))
}

fn invocation(systemd: &mut Systemd) -> String {
    let id: Vec<u8> = systemd.property(AGENT, UNIT, "InvocationID").unwrap_or_default();
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning belongs to the run only if its name is the same before and after: the name of the
/// run before the switch with a beginning after it would make an old lifeline green.
fn one_run(before: String, began: Duration, after: &str) -> Run {
    match before == after {
        true => Run { invocation_id: before, began },
        false => Run::default(),
    }
}

/// The built-in check.
pub struct LifelineSight {
    systemd: Systemd,
    wanted: Wanted,
    runtime_dir: PathBuf,
    side: Side,
    /// The new toplevel, whose activator is asked.
    toplevel: PathBuf,
    tested: bool,
    settled: bool,
}

impl LifelineSight {
    /// Prepares for a switch to `toplevel`, or back from it.
    pub fn new(
        wanted: Wanted,
        runtime_dir: PathBuf,
        toplevel: PathBuf,
        side: Side,
    ) -> LifelineSight {
        let systemd = Systemd::new();
        LifelineSight {
            systemd,
            wanted,
            runtime_dir,
            side,
            toplevel,
            tested: false,
            settled: false,
        }
    }

    fn try_look(&mut self) -> Result<(), String> {
        let run = run_of_the_agent(&mut self.systemd);
        judge(&self.wanted, &run, read(&self.runtime_dir).as_ref())?;
        match self.side {
            Side::New => self.next_activator(),
            // Whether an older release tests itself says nothing about the commit.
            Side::Old => Ok(()),
        }
    }

    fn next_activator(&mut self) -> Result<(), String> {
        let state: String = self
            .systemd
            .property(PATH_UNIT, UNIT, "ActiveState")
            .map_err(|error| format!("{error:#}"))?;
        if state != "active" {
            return Err(format!("`{PATH_UNIT}` is {}", escaped(&state, 40)));
        }
        if !self.tested {
            self.self_test()?;
            self.tested = true;
        }
        Ok(())
    }

    fn self_test(&self) -> Result<(), String> {
        let folder = self.toplevel.join("etc/autodeploy");
        let ended = Program::new(folder.join("autodeploy-activate"), SELF_TEST)
            .arg("--self-test")
            .arg("--config")
            .arg(folder.join("config.toml"))
            .run()
            .map_err(|error| format!("{error:#}"))?;
        match ended.succeeded() {
            true => Ok(()),
            false => Err(format!(
                "the new activator's self-test failed ({:?}): {}",
                ended.status,
                escaped(String::from_utf8_lossy(&ended.stderr).trim(), 500)
            )),
        }
    }
}

impl Sight for LifelineSight {
    fn look(&mut self) -> Vec<Sighting> {
        vec![match self.try_look() {
            Ok(()) => {
                self.settled = true;
                Sighting::green("the next push could be deployed")
            }
            Err(missing) => Sighting::red(missing),
        }]
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(letter: &str) -> CommitId {
        letter.repeat(40).parse().unwrap()
    }

    fn wanted() -> Wanted {
        Wanted {
            remote: Remote {
                url: "https://h/infra".to_owned(),
                branch: "main".to_owned(),
                unchanged: true,
                asked: true,
            },
            commit: Some(commit("c")),
            boot_id: "boot-1".to_owned(),
            after: Duration::from_secs(100),
        }
    }

    fn run() -> Run {
        Run { invocation_id: "ab".repeat(16), began: Duration::from_secs(101) }
    }

    fn lifeline() -> Lifeline {
        Lifeline {
            version: 1,
            invocation_id: "ab".repeat(16),
            boot_id: "boot-1".to_owned(),
            poll: Some(Poll {
                at_boottime_ms: 102_000,
                url: "https://h/infra".to_owned(),
                branch: "main".to_owned(),
                tip: Some(commit("d")),
                contains: Vec::new(),
                error: None,
            }),
            nix: Some(NixReach {
                at_boottime_ms: 102_000,
                root_made: true,
                evaluator_started: Some(true),
                error: None,
            }),
        }
    }

    #[track_caller]
    fn check(wanted: &Wanted, run: &Run, lifeline: &Lifeline, expected: Result<(), &str>) {
        let judged = judge(wanted, run, Some(lifeline));
        assert_eq!(judged.as_ref().map_err(String::as_str).copied(), expected);
    }

    #[test]
    fn only_a_run_from_after_the_switch_is_believed() {
        check(&wanted(), &run(), &lifeline(), Ok(()));
        let early = Run { began: Duration::from_secs(99), ..run() };
        check(&wanted(), &early, &lifeline(), Err("the agent was not started since the switch"));
        let silent = Err("the agent runs, and has not polled yet");
        let other = Run { invocation_id: "cd".repeat(16), ..run() };
        check(&wanted(), &other, &lifeline(), silent);
        let last_boot = Lifeline { boot_id: "boot-0".to_owned(), ..lifeline() };
        check(&wanted(), &run(), &last_boot, silent);
        assert!(judge(&wanted(), &run(), None).is_err());
    }

    #[test]
    fn a_run_that_began_while_systemd_was_asked_is_not_taken_for_the_one_before() {
        let (old, new, began) = ("ab".repeat(16), "cd".repeat(16), Duration::from_secs(101));
        assert_eq!(one_run(old.clone(), began, &new), Run::default());
        assert_eq!(one_run(old.clone(), began, &old), Run { invocation_id: old, began });
    }

    fn polled(change: impl FnOnce(&mut Poll)) -> Lifeline {
        let mut lifeline = lifeline();
        change(lifeline.poll.as_mut().unwrap());
        lifeline
    }

    #[test]
    fn the_remote_has_to_be_the_new_one_and_to_answer() {
        let down = polled(|poll| poll.error = Some("timed out".to_owned()));
        let unreachable = Err("the agent could not reach the remote: timed out");
        check(&wanted(), &run(), &down, unreachable);
        let elsewhere = polled(|poll| poll.branch = "old".to_owned());
        assert!(judge(&wanted(), &run(), Some(&elsewhere)).is_err());
        let empty = polled(|poll| poll.tip = None);
        check(&wanted(), &run(), &empty, Err("the agent saw no tip of the branch"));
        let mut rollback = wanted();
        rollback.remote.asked = false;
        check(&rollback, &run(), &down, Ok(()));
    }

    #[test]
    fn another_branch_has_to_contain_the_commit() {
        let mut moved = wanted();
        moved.remote.unchanged = false;
        assert!(judge(&moved, &run(), Some(&lifeline())).is_err());
        check(&moved, &run(), &polled(|poll| poll.tip = Some(commit("c"))), Ok(()));
        check(&moved, &run(), &polled(|poll| poll.contains = vec![commit("c")]), Ok(()));
        moved.commit = None;
        check(&moved, &run(), &lifeline(), Ok(()));
    }

    #[test]
    fn before_a_switch_only_what_was_tried_and_failed_is_bad() {
        let untried = Lifeline { nix: None, ..lifeline() };
        assert!(judge(&wanted(), &run(), Some(&untried)).is_err());
        let good = |lifeline: &Lifeline| was_good(&wanted(), Some(lifeline));
        assert!(good(&untried) && good(&lifeline()));
        let failed = NixReach { root_made: false, ..lifeline().nix.unwrap() };
        assert!(!good(&Lifeline { nix: Some(failed), ..lifeline() }));
        assert!(!good(&Lifeline { poll: None, ..lifeline() }));
        assert!(!was_good(&wanted(), None));
    }

    #[test]
    fn nix_has_to_be_in_reach() {
        let with = |root_made, evaluator_started| {
            let mut lifeline = lifeline();
            let nix = lifeline.nix.as_mut().unwrap();
            (nix.root_made, nix.evaluator_started) = (root_made, evaluator_started);
            lifeline
        };
        check(&wanted(), &run(), &with(false, None), Err("the agent could not make a GC root"));
        let dead = Err("the agent could not start the evaluator");
        check(&wanted(), &run(), &with(true, Some(false)), dead);
        check(&wanted(), &run(), &with(true, None), Ok(()));
        let mut no_keys = with(true, Some(true));
        no_keys.nix.as_mut().unwrap().error = Some("`keys` is not there".to_owned());
        let expected = Err("the agent could not deploy the next push: `keys` is not there");
        check(&wanted(), &run(), &no_keys, expected);
        let untried = Lifeline { nix: None, ..lifeline() };
        check(&wanted(), &run(), &untried, Err("the agent has not tried Nix yet"));
    }
}
