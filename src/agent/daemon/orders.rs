//! What is asked over the control socket, and the answers.

use crate::agent::daemon::reanchor::Wish;
use crate::agent::daemon::{Agent, RunNowWaits};
use crate::agent::history::{BlockedRow, Entry, Fact, Said};
use crate::agent::host::Host;
use crate::agent::inbox::Asked;
use crate::agent::rollout::collisions::{self, Abort};
use crate::agent::rollout::{Birth, Closure, Deployment, End, Seen, Stage, Under, record};
use crate::control::ask::{Ask, Refusal, RunNow, Told, Word};
use crate::handover;
use crate::handover::answer::Answer;
use crate::model::commit::CommitId;
use crate::model::deployment::{DeploymentId, Kind, Outcome};
use crate::model::event::EventKind;
use crate::model::failure::Reason;
use crate::model::store_path::StorePath;

pub(super) type Reply = Result<Told, Refusal>;

pub(super) fn done(deployment: Option<DeploymentId>, message: impl Into<String>) -> Reply {
    Ok(Told::Done { deployment: deployment.map(|id| id.0 as i64), message: message.into() })
}

pub(super) fn not_found(message: String, hint: &str) -> Refusal {
    Refusal::NotFound { message, hint: hint.to_owned() }
}

pub(super) fn not_possible(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::NotPossible { message: message.into(), hint: hint.to_owned() }
}

impl<H: Host> Agent<H> {
    /// Answers one question; only `run-now` and `reanchor` are answered later.
    pub(super) fn asked(&mut self, asked: Asked) {
        let Asked { uid, ask, reply } = asked;
        self.refresh();
        let seen = self.see();
        let answer = match ask {
            Ask::RunNow(how) => {
                match self.insist_on(how, uid, &seen) {
                    Ok(()) => self.run_now.push(RunNowWaits { reply, polled: None }),
                    Err(refusal) => drop(reply.send(Err(refusal))),
                }
                return;
            }
            Ask::Reanchor { commit, reason } => {
                return self.begin_reanchoring(Wish { commit, reason, uid }, reply);
            }
            Ask::ListDeployments { limit } => self.list(limit),
            Ask::ShowDeployment { id } => self.show_one(id, &seen),
            Ask::Rollback { generation } => self.rollback(generation, uid, &seen),
            Ask::Answer { id, word } => {
                let id = id.map(|id| DeploymentId(u64::try_from(id).unwrap_or_default()));
                match word {
                    Word::Confirm => self.confirm(id, uid, &seen),
                    Word::Abort => {
                        collisions::abort(&seen, id).and_then(|abort| self.abort(abort, uid, &seen))
                    }
                }
            }
            Ask::Block { what } => self.block(&what, uid, &seen),
            Ask::Unblock { what } => self.unblock(&what, uid),
            Ask::Pause { reason } => self.pause(&reason, uid),
            Ask::Resume => self.resume(uid, &seen),
        };
        let _ = reply.send(answer);
    }

    /// An order is an event of its own, whatever comes of it.
    fn ordered(&mut self, uid: u32, what: &str) -> Said {
        let at = self.host.now().text();
        record::said_of_all(EventKind::OperatorAsked, &at, format!("uid {uid} asked for {what}"))
    }

    /// Writes the entries of an order, or says why not.
    pub(super) fn write_order(&mut self, entries: Vec<Entry>) -> Result<(), Refusal> {
        match self.write(entries) {
            true => Ok(()),
            false => Err(Refusal::Failed {
                reason: Reason::NO_SPACE.to_string(),
                message: self.sentences().join("; "),
                hint: "nothing was changed; `df` shows whether the disk is full".to_owned(),
            }),
        }
    }

    fn insist_on(&mut self, how: RunNow, uid: u32, seen: &Seen) -> Result<(), Refusal> {
        if let Some(sentence) = &self.without_history {
            return Err(Refusal::Failed {
                reason: Reason::DATABASE_DAMAGED.to_string(),
                message: sentence.clone(),
                hint: "nothing is deployed until the history can be opened".to_owned(),
            });
        }
        let what = match how.emergency {
            true => "an emergency run",
            false => "a run",
        };
        let mut entries = vec![Entry::Event(self.ordered(uid, what))];
        if how.emergency {
            let waiting = seen.live.iter().filter(|one| !started(one));
            entries.extend(
                waiting.map(|one| Entry::Came(Deployment { emergency: true, ..one.clone() })),
            );
        }
        self.write_order(entries)?;
        self.insist.now = true;
        self.insist.emergency |= how.emergency;
        self.poll_again = self.polling.is_some();
        Ok(())
    }

    /// Answers those whose poll has ended and whose deployment has begun.
    ///
    /// A new history is filled first: until then nothing is begun, and nothing is known.
    pub(super) fn answer_run_now(&mut self, seen: &Seen) {
        if !self.known.filled && self.without_history.is_none() {
            return;
        }
        let (over, waiting) =
            std::mem::take(&mut self.run_now).into_iter().partition(|one| one.polled.is_some());
        self.run_now = waiting;
        let over: Vec<RunNowWaits> = over;
        for RunNowWaits { reply, polled } in over {
            let answer = match polled {
                Some(Err(failure)) => Err(Refusal::Failed {
                    reason: failure.reason.to_string(),
                    message: failure.message,
                    hint: failure.hint.unwrap_or_default(),
                }),
                Some(Ok(())) | None => outcome_of_run(seen),
            };
            let _ = reply.send(answer);
        }
        if self.run_now.is_empty() {
            self.insist = Default::default();
        }
    }

    fn confirm(&mut self, id: Option<DeploymentId>, uid: u32, seen: &Seen) -> Reply {
        let id = collisions::confirm(seen, id)?;
        self.tell_activator(id, Word::Confirm, uid)?;
        done(Some(id), format!("deployment {id} is confirmed"))
    }

    fn abort(&mut self, abort: Abort, uid: u32, seen: &Seen) -> Reply {
        match abort {
            Abort::Here(id, end) => {
                let asked = Entry::Event(self.ordered(uid, &format!("the end of deployment {id}")));
                self.write_order(vec![asked])?;
                self.refresh();
                match self.finish(id, end, seen) {
                    true => done(Some(id), format!("deployment {id} is aborted")),
                    false => Err(not_possible(
                        format!("deployment {id} has ended meanwhile"),
                        "`autodeployctl history` shows how",
                    )),
                }
            }
            Abort::Tell(id) => {
                self.tell_activator(id, Word::Abort, uid)?;
                done(Some(id), format!("the trial of deployment {id} is being aborted"))
            }
            Abort::Nothing(id) => {
                done(Some(id), format!("deployment {id} is being reverted already"))
            }
        }
    }

    fn tell_activator(&mut self, id: DeploymentId, word: Word, uid: u32) -> Result<(), Refusal> {
        let what = match word {
            Word::Confirm => format!("the confirmation of deployment {id}"),
            Word::Abort => format!("the end of deployment {id}"),
        };
        let asked = Entry::Event(self.ordered(uid, &what));
        self.write_order(vec![asked])?;
        let answer =
            Answer { version: handover::VERSION, deployment: id, answer: word.into(), uid };
        self.host.answer(&answer).map_err(internal)
    }

    fn rollback(&mut self, generation: Option<i64>, uid: u32, seen: &Seen) -> Reply {
        if generation.is_none() && seen.on_trial() {
            return self.abort(collisions::abort(seen, None)?, uid, seen);
        }
        let (number, toplevel, commit) = self.way_back(generation, seen)?;
        if seen.blocked.contains(&toplevel) {
            let hint = format!("`autodeployctl unblock {toplevel}` allows it again");
            let message = format!("closure `{}` is blocked", toplevel.name());
            return Err(not_possible(message, &hint));
        }
        if seen.world.running.as_ref() == Some(&toplevel) && !seen.on_trial() {
            return Err(not_possible(
                format!("closure `{}` runs already", toplevel.name()),
                "`autodeployctl generations` lists the others",
            ));
        }
        let room = collisions::make_room(seen)?;
        if let Some(id) = room.abort {
            self.tell_activator(id, Word::Abort, uid)?;
        }
        for id in room.superseded {
            let message = "a person asked for a rollback";
            self.refresh();
            self.finish(id, End::new(Outcome::Superseded, Reason::BY_OPERATOR, message), seen);
        }
        let asked = Entry::Event(self.ordered(uid, &format!("a rollback to `{toplevel}`")));
        self.write_order(vec![asked])?;
        self.refresh();
        let stage = Stage::Realising {
            closure: Closure { toplevel: toplevel.clone(), drv: None },
            under: Under::default(),
        };
        let birth = Birth {
            kind: Kind::Rollback,
            commit,
            generation: number,
            attempts: 1,
            emergency: false,
            stage,
        };
        match self.begin(birth, seen) {
            Some(id) => done(Some(id), format!("going back to `{}`", toplevel.name())),
            None => Err(not_possible(self.sentences().join("; "), "`autodeployctl status`")),
        }
    }

    /// Where a rollback goes: to that generation, or to what the record says ran before.
    fn way_back(
        &mut self,
        generation: Option<i64>,
        seen: &Seen,
    ) -> Result<(Option<u64>, StorePath, Option<CommitId>), Refusal> {
        if let Some(number) = generation {
            let number = u64::try_from(number).unwrap_or_default();
            let toplevel = self.host.generation(number).ok_or_else(|| {
                let message = format!("the system profile has no generation {number}");
                not_found(message, "`autodeployctl generations` lists them")
            })?;
            let commit = self.commit_of(&toplevel)?;
            return Ok((Some(number), toplevel, commit));
        }
        let nothing = || {
            let message = "it is not recorded what ran before".to_owned();
            not_found(message, "`autodeployctl rollback GENERATION` names one")
        };
        let running = seen.world.running.as_ref().ok_or_else(nothing)?;
        let row = self.host.history().kept_as(running).map_err(internal)?.ok_or_else(nothing)?;
        let toplevel = row.old_toplevel.ok_or_else(nothing)?;
        let commit = self.commit_of(&toplevel)?;
        Ok((None, toplevel, commit))
    }

    fn commit_of(&mut self, toplevel: &StorePath) -> Result<Option<CommitId>, Refusal> {
        let row = self.host.history().kept_as(toplevel).map_err(internal)?;
        Ok(row.and_then(|row| row.commit))
    }

    /// A store path, a commit whose closure is known, or the number of a deployment.
    fn closure(&mut self, what: &str) -> Result<(StorePath, Option<CommitId>), Refusal> {
        if let Ok(path) = what.parse::<StorePath>() {
            return Ok((path, None));
        }
        let shown = crate::model::text::escaped(what, 100);
        let found = match (what.parse::<CommitId>(), what.parse::<u64>()) {
            (Ok(commit), _) => {
                let closure = self.host.history().closure_of(&commit).map_err(internal)?;
                closure.map(|toplevel| (toplevel, Some(commit)))
            }
            (Err(_), Ok(number)) => {
                let row = self.host.history().deployment(Some(number)).map_err(internal)?;
                row.and_then(|row| Some((row.toplevel?, row.commit)))
            }
            (Err(_), Err(_)) => {
                return Err(not_found(
                    format!("`{shown}` is no store path, no full commit name and no number"),
                    "`autodeployctl history --json` has all three",
                ));
            }
        };
        found.ok_or_else(|| {
            let message = format!("the closure of `{shown}` is not known");
            not_found(message, "name it by its store path")
        })
    }

    fn block(&mut self, what: &str, uid: u32, seen: &Seen) -> Reply {
        let (toplevel, commit) = self.closure(what)?;
        let at = seen.now.text();
        let message = format!("uid {uid} blocked `{toplevel}`");
        let mut said = record::said_of_all(EventKind::ClosureBlocked, &at, &message);
        (said.closure, said.commit) = (Some(toplevel.clone()), commit.clone());
        let row = BlockedRow {
            toplevel: toplevel.clone(),
            commit,
            reason: Reason::BY_OPERATOR,
            since: at,
            deployment: None,
            unblocked_by: None,
        };
        self.write_order(vec![Entry::Blocked(row), Entry::Event(said)])?;
        let front = seen.live.first().filter(|front| front.stage.toplevel() == Some(&toplevel));
        if let Some(front) = front.filter(|front| started(front))
            && let Ok(Abort::Tell(id)) = collisions::abort(seen, Some(front.id))
        {
            self.tell_activator(id, Word::Abort, uid)?;
        }
        done(front.map(|front| front.id), message)
    }

    fn unblock(&mut self, what: &str, uid: u32) -> Reply {
        let (toplevel, commit) = self.closure(what)?;
        let row = self.known.blocked.iter().find(|row| row.toplevel == toplevel);
        if row.is_none_or(|row| row.unblocked_by.is_some()) {
            let message = format!("closure `{}` is not blocked", toplevel.name());
            return Err(not_found(message, "`autodeployctl status` lists what is"));
        }
        let message = format!("uid {uid} allowed `{toplevel}` again");
        let at = self.host.now().text();
        let mut said = record::said_of_all(EventKind::ClosureUnblocked, &at, &message);
        (said.closure, said.commit) = (Some(toplevel.clone()), commit);
        self.write_order(vec![Entry::Unblocked(toplevel, uid), Entry::Event(said)])?;
        done(None, message)
    }

    fn pause(&mut self, reason: &str, uid: u32) -> Reply {
        let reason = match crate::model::text::escaped(reason.trim(), 200) {
            empty if empty.is_empty() => format!("by uid {uid}"),
            reason => reason,
        };
        let message = format!("uid {uid} paused deployments: {reason}");
        let said = record::said_of_all(EventKind::Paused, &self.host.now().text(), &message);
        self.write_order(vec![Entry::Fact(Fact::Paused, Some(reason)), Entry::Event(said)])?;
        done(None, "the next trial is held back until `autodeployctl resume`")
    }

    /// Also answers a switch by hand: from here on it is as if that had been reported only.
    fn resume(&mut self, uid: u32, seen: &Seen) -> Reply {
        let message = format!("uid {uid} resumed deployments");
        let said = record::said_of_all(EventKind::Resumed, &seen.now.text(), &message);
        let mut entries = vec![Entry::Fact(Fact::Paused, None), Entry::Event(said)];
        if let Some(running) = seen.unanswered_drift() {
            entries.push(Entry::Fact(Fact::DriftAnswered, Some(running.to_string())));
        }
        self.write_order(entries)?;
        done(None, "deployments go on")
    }
}

fn started(deployment: &Deployment) -> bool {
    match &deployment.stage {
        Stage::Requested { .. } | Stage::OnTrial { .. } | Stage::Ended { .. } => true,
        Stage::Fetching
        | Stage::Verifying { .. }
        | Stage::Resolving { .. }
        | Stage::Realising { .. }
        | Stage::Held { .. } => false,
    }
}

/// What `run-now` led to: the deployment of the tip, else what is in flight, else its verdict.
fn outcome_of_run(seen: &Seen) -> Reply {
    let of_tip = seen.live.iter().find(|one| one.commit.is_some() && one.commit == seen.tip);
    if let Some(live) = of_tip.or(seen.live.last()) {
        return done(Some(live.id), format!("deployment {} is in flight", live.id));
    }
    match &seen.verdict {
        Some(verdict) if verdict.outcome != Outcome::Kept => {
            done(Some(verdict.deployment), verdict.message.clone())
        }
        Some(_) | None => done(None, "nothing to do: the tip of the branch was deployed already"),
    }
}

pub(super) fn internal(error: anyhow::Error) -> Refusal {
    Refusal::Failed {
        reason: Reason::INTERNAL.to_string(),
        message: format!("{error:#}"),
        hint: "`journalctl -u autodeploy` may say more".to_owned(),
    }
}
