//! The mark, moved by a person and shown to root.
//!
//! An order to move it is looked at with the remote of now: a poll comes first, because who gives
//! it has often pushed a moment ago, and then Git says whether the branch has that commit.

use tokio::sync::oneshot;

use crate::agent::daemon::Agent;
use crate::agent::daemon::orders::{Reply, done, not_found, not_possible};
use crate::agent::history::{Entry, Fact};
use crate::agent::host::{Host, Later, Probe, Probed};
use crate::agent::rollout::{Operation, Seen, Step, decide, record};
use crate::control::ask::{Refusal, Told};
use crate::handover::mark::Mark;
use crate::model::commit::CommitId;
use crate::model::event::EventKind;
use crate::model::failure::Failure;
use crate::model::text::escaped;

/// A longer reason is cut, in characters.
const LONGEST_REASON: usize = 200;

/// A mark that the report does not show is told again after this time.
const TELL_AGAIN_AFTER_MS: u64 = 10 * 60 * 1000;

/// An order to move the mark, on its way.
pub(super) struct Reanchoring {
    commit: CommitId,
    reason: String,
    uid: u32,
    reply: oneshot::Sender<Result<Told, Refusal>>,
    /// The poll that it waited for.
    pub(super) polled: Option<Result<(), Failure>>,
    /// Does the branch have it?
    pub(super) looking: Option<Later<Probed>>,
}

/// What was asked for, as it came over the socket.
pub(super) struct Wish {
    pub(super) commit: String,
    pub(super) reason: String,
    pub(super) uid: u32,
}

/// What the activator was told last.
pub(super) struct MarkTold {
    mark: Mark,
    at_ms: u64,
}

impl<H: Host> Agent<H> {
    /// Takes an order to move the mark; it is answered later, or refused at once.
    pub(super) fn begin_reanchoring(
        &mut self,
        wish: Wish,
        reply: oneshot::Sender<Result<Told, Refusal>>,
    ) {
        let understood = match self.reanchoring {
            Some(_) => {
                let hint = "ask again in a moment";
                Err(not_possible("another commit is being looked at for the same", hint))
            }
            None => self.understand(&wish),
        };
        match understood {
            Ok((commit, reason)) => {
                let (polled, looking) = (None, None);
                let uid = wish.uid;
                self.reanchoring =
                    Some(Reanchoring { commit, reason, uid, reply, polled, looking });
                self.poll_again |= self.polling.is_some();
            }
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// An abbreviation is not enough: others with the same beginning can be made on purpose.
    fn understand(&self, wish: &Wish) -> Result<(CommitId, String), Refusal> {
        let commit = wish.commit.trim().to_ascii_lowercase().parse::<CommitId>();
        let commit = commit.map_err(|error| not_found(error.to_string(), &self.tip_hint()))?;
        let reason = escaped(wish.reason.trim(), LONGEST_REASON);
        if reason.is_empty() {
            let hint = "`--reason` says why, to whoever reads the journal later";
            return Err(not_possible("no reason was given", hint));
        }
        Ok((commit, reason))
    }

    fn tip_hint(&self) -> String {
        let branch = &self.settings.source.branch;
        match &self.tip {
            Some(tip) => format!(
                "the tip of `{branch}` is `{tip}`: `autodeployctl reanchor {tip} --reason …`"
            ),
            None => format!("the tip of `{branch}` is not known: `autodeployctl status`"),
        }
    }

    /// Tells whether an order to move the mark waits for its poll.
    pub(super) fn reanchoring_waits_for_poll(&self) -> bool {
        self.reanchoring.as_ref().is_some_and(|waits| waits.polled.is_none())
    }

    /// Asks Git when the poll is over, and nothing fetches: two at once would be in each other's
    /// way.
    pub(super) fn go_on_reanchoring(&mut self, seen: &Seen) {
        let fetching =
            self.work.as_ref().is_some_and(|w| matches!(w.operation, Operation::Fetch { .. }));
        let Some(waits) = &mut self.reanchoring else { return };
        match (&waits.polled, &seen.tip) {
            (None, _) => {}
            (Some(Err(failure)), _) => {
                let failure = failure.clone();
                self.answer_reanchoring(|_, _| Err(of_failure(failure)));
            }
            (Some(Ok(())), Some(tip)) if *tip == waits.commit => {
                self.answer_reanchoring(|agent, waits| agent.reanchor(waits));
            }
            (Some(Ok(())), Some(tip)) if waits.looking.is_none() && !fetching => {
                let (tip, of) = (tip.clone(), vec![waits.commit.clone()]);
                waits.looking = Some(self.host.probe(&Probe::Contains { tip, of }));
            }
            // A new history is filled first: until then nothing is known.
            (Some(Ok(())), _) => {}
        }
    }

    /// Takes in what Git said of the commit.
    pub(super) fn looked(&mut self, answer: Probed) {
        let contains = match answer {
            Probed::Contains { contains, .. } => contains,
            Probed::Nix(_) => return,
        };
        self.answer_reanchoring(|agent, waits| match contains {
            Err(failure) => Err(of_failure(failure)),
            Ok(found) if found.contains(&waits.commit) => agent.reanchor(waits),
            Ok(_) => {
                let branch = &agent.settings.source.branch;
                let message = format!("commit `{}` is not on `{branch}`", waits.commit);
                Err(not_found(message, &agent.tip_hint()))
            }
        });
    }

    fn answer_reanchoring(&mut self, answer: impl FnOnce(&mut Self, &Reanchoring) -> Reply) {
        let Some(waits) = self.reanchoring.take() else { return };
        let answer = answer(self, &waits);
        let _ = waits.reply.send(answer);
    }

    /// Moves the mark, and begins with the tip again if it was refused because of the old one.
    fn reanchor(&mut self, to: &Reanchoring) -> Reply {
        self.refresh();
        let seen = self.see();
        let old = seen.base(&self.policy);
        let (commit, uid, reason) = (&to.commit, to.uid, &to.reason);
        if old.as_ref() == Some(commit) {
            return done(None, format!("the next tip has to descend from `{commit}` already"));
        }
        let from = old.map(|old| format!(" from `{old}`")).unwrap_or_default();
        let message = format!("uid {uid} moved the mark by hand{from} to `{commit}`: {reason}");
        let mut said = record::said_of_all(EventKind::Reanchored, &seen.now.text(), &message);
        said.commit = Some(commit.clone());
        let fact = Entry::Fact(Fact::Reanchored, Some(commit.to_string()));
        self.write_order(vec![fact, Entry::Event(said)])?;
        self.refresh();
        let seen = self.see();
        match decide(&seen, &self.policy) {
            Step::Begin(birth) => done(self.begin(birth, &seen), message),
            _ => done(None, message),
        }
    }

    /// Shows root the mark, if root's copy is another one: what was kept without a trial, and what
    /// a person said. A trial that is on has the record for itself, and tells at its end.
    pub(super) fn hand_over_mark(&mut self, seen: &Seen) {
        let Some(report) = seen.world.report.as_ref().filter(|_| self.known.filled) else { return };
        let mark = Mark { commit: seen.mark.clone(), reanchored: seen.reanchored.clone() };
        let known = report.mark.clone().unwrap_or_default();
        let now = seen.now.boottime_ms;
        let told = self.mark_told.as_ref().is_some_and(|told| {
            told.mark == mark && now.saturating_sub(told.at_ms) < TELL_AGAIN_AFTER_MS
        });
        if mark == known || told || seen.on_trial() {
            return;
        }
        self.mark_told = Some(MarkTold { mark: mark.clone(), at_ms: now });
        match self.host.mark(&mark) {
            Ok(()) => self.host.announce(),
            Err(error) => self.trouble(format!("{error:#}")),
        }
    }
}

fn of_failure(failure: Failure) -> Refusal {
    Refusal::Failed {
        reason: failure.reason.to_string(),
        message: failure.message,
        hint: failure.hint.unwrap_or_default(),
    }
}
