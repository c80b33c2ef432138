//! The loop: wait for one [`Event`], then pass until there is nothing more to do.
//!
//! A pass is observe → decide → record → act, and cannot fail: what goes wrong becomes a sentence
//! in `status` and is tried again. Everything that takes time is a future that is polled here, so
//! the socket, the watchdog and SIGTERM are served whatever else runs.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::agent::history::{Entry, Fact, Known};
use crate::agent::host::{Configured, Host, Later, NoAnswer, Notice, Probed};
use crate::agent::inbox::{Asked, Inbox};
use crate::agent::policy::Policy;
use crate::agent::policy::pace::{self, Polls, Start};
use crate::agent::rollout::verify::Lineage;
use crate::agent::rollout::{Done, Operation, PollSeen, World, record, seen};
use crate::config::settings::Settings;
use crate::control::ask::{Refusal, Told};
use crate::control::status::Status;
use crate::handover::lifeline::NixReach;
use crate::handover::report::Report;
use crate::model::commit::CommitId;
use crate::model::deployment::DeploymentId;
use crate::model::event::EventKind;
use crate::model::failure::Failure;

mod act;
mod orders;
mod pass;
mod polling;
mod reanchor;
mod reconfigured;
mod show;
mod standstill;
#[cfg(test)]
mod tests;

/// Questions that may wait at once; whoever asks more waits at the socket.
const INBOX: usize = 16;

/// A fault of our own is shown for this long after it last came up.
const TROUBLE_SHOWN_MS: u64 = 60_000;

/// Everything that wakes the loop.
enum Event {
    /// The remote answered, or did not.
    Polled(Result<CommitId, NoAnswer>),
    /// The long operation ended.
    Worked(Result<Done, Failure>),
    /// A probe ended.
    Probed(Probed),
    /// Git has said whether the branch has the commit that a person named.
    Looked(Probed),
    /// Somebody asked over the socket.
    Asked(Box<Asked>),
    /// It is time to look again.
    Due,
    /// The end.
    Stop,
}

/// The long operation that runs.
struct Work {
    id: DeploymentId,
    operation: Operation,
    ended: Later<Result<Done, Failure>>,
}

/// A `run-now` that waits for its poll.
struct RunNowWaits {
    reply: oneshot::Sender<Result<Told, Refusal>>,
    polled: Option<Result<(), Failure>>,
}

/// The agent: what this run of it has seen, and nothing that a restart could not do without.
pub struct Agent<H> {
    host: H,
    settings: Settings,
    policy: Policy,
    start: Start,
    started: seen::Moment,
    world: World,
    known: Known,
    outdated: bool,
    /// When this run of the agent saw the end of the tip's last deployment, and which that is.
    verdict_seen: Option<(u64, seen::Moment)>,
    /// The same of the last restore.
    restored_seen: Option<(u64, seen::Moment)>,
    tip: Option<CommitId>,
    poll: PollSeen,
    polls: Polls,
    last_good_s: Option<i64>,
    polling: Option<Later<Result<CommitId, NoAnswer>>>,
    poll_again: bool,
    work: Option<Work>,
    worked: Option<(DeploymentId, Result<Done, Failure>)>,
    lineage: Option<(DeploymentId, Lineage)>,
    probing: Option<Later<Probed>>,
    probed_at_ms: Option<u64>,
    nix: Option<NixReach>,
    contains: Option<polling::Contained>,
    requested_at_ms: Option<u64>,
    roots_tidied_ms: u64,
    superseding: Option<DeploymentId>,
    profile_since_ms: u64,
    unreachable_told: Option<DeploymentId>,
    /// The report of a trial that is on, and since when it says the same.
    trial_stands: Option<(Rc<Report>, u64)>,
    held_told: Option<(DeploymentId, String)>,
    configured: Configured,
    insist: seen::Insist,
    run_now: Vec<RunNowWaits>,
    reanchoring: Option<reanchor::Reanchoring>,
    mark_told: Option<reanchor::MarkTold>,
    asks: mpsc::Receiver<Asked>,
    inbox: mpsc::Sender<Asked>,
    status: watch::Sender<Status>,
    shown: String,
    troubles: Vec<(String, u64)>,
    hampered: bool,
    without_history: Option<String>,
}

impl<H: Host> Agent<H> {
    /// Looks at what is on disk, and gets ready; nothing is asked of the network.
    pub fn new(mut host: H, settings: Settings, start: Start) -> Agent<H> {
        let (inbox, asks) = mpsc::channel(INBOX);
        let (policy, started) = (Policy::from(&settings), host.now());
        let (world, jitter) = (host.look(None), host.chance());
        let mut agent = Agent {
            host,
            start,
            started,
            world,
            known: Known::default(),
            outdated: true,
            verdict_seen: None,
            restored_seen: None,
            tip: None,
            poll: PollSeen::default(),
            polls: Polls { jitter, ..Polls::default() },
            last_good_s: None,
            polling: None,
            poll_again: false,
            work: None,
            worked: None,
            lineage: None,
            probing: None,
            probed_at_ms: None,
            nix: None,
            contains: None,
            requested_at_ms: Some(started.boottime_ms),
            roots_tidied_ms: 0,
            superseding: None,
            profile_since_ms: started.boottime_ms,
            unreachable_told: None,
            trial_stands: None,
            held_told: None,
            configured: Configured::Same,
            insist: seen::Insist::default(),
            run_now: Vec::new(),
            reanchoring: None,
            mark_told: None,
            asks,
            inbox,
            status: watch::Sender::new(show::nothing_yet(&settings)),
            shown: String::new(),
            troubles: Vec::new(),
            hampered: false,
            without_history: None,
            settings,
            policy,
        };
        agent.retell();
        let began = record::said_of_all(EventKind::AgentStarted, &started.text(), version());
        agent.write(vec![Entry::Event(began)]);
        agent.refresh();
        agent.keep_roots();
        agent.last_good_s = agent.known.last_good_poll.as_deref().map(seen::time_from);
        agent.show();
        agent
    }

    /// The journal comes after the disk, so the last thing that a killed run wrote may be missing
    /// there: it is told again, rather twice than never.
    fn retell(&mut self) {
        match self.host.history().untold() {
            Ok(untold) => untold.iter().for_each(|said| self.host.tell(said)),
            Err(error) => self.trouble(format!("{error:#}")),
        }
    }

    /// Returns what the control server needs.
    pub fn inbox(&self) -> Inbox {
        Inbox { asks: self.inbox.clone(), status: self.status.subscribe() }
    }

    /// Says that the history was damaged and begun anew.
    pub fn mended(&mut self, sentence: String) {
        let at = self.host.now().text();
        let said = record::said_of_all(EventKind::StateMended, &at, &sentence);
        self.write(vec![Entry::Event(said), Entry::Fact(Fact::Mended, Some(sentence))]);
    }

    /// Says that the history cannot be opened: nothing is begun, and questions are answered.
    pub fn without_history(&mut self, sentence: String) {
        self.without_history = Some(sentence);
    }

    /// Tells systemd that configuration, database and socket are open.
    pub fn ready(&mut self) {
        self.host.notify(Notice::Ready);
    }

    /// Goes round until `stop`, or until there is a configuration that only the next run can begin
    /// with; a programmed `watchdog` is fed that often.
    pub async fn run(mut self, stop: impl Future<Output = ()>, watchdog: Option<Duration>) {
        tokio::pin!(stop);
        let mut fed = Instant::now();
        let why = loop {
            self.pass();
            if self.is_outlived() {
                break "the configuration was replaced: the next run begins with it";
            }
            if let Some(pause) = watchdog
                && fed.elapsed() >= pause
            {
                self.host.notify(Notice::Alive);
                fed = Instant::now();
            }
            let due = self.due();
            let due = watchdog.map_or(due, |pause| due.min(pause.saturating_sub(fed.elapsed())));
            match self.next(stop.as_mut(), due).await {
                Event::Stop => break "the agent was asked to stop",
                event => self.take(event),
            }
        };
        self.end(why);
    }

    /// Waits for what comes first. The end comes before anything else, people before machines.
    async fn next(&mut self, stop: impl Future<Output = ()>, due: Duration) -> Event {
        let work = self.work.as_mut().map(|work| &mut work.ended);
        let looking = self.reanchoring.as_mut().and_then(|waits| waits.looking.as_mut());
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            Some(asked) = self.asks.recv() => Event::Asked(Box::new(asked)),
            ended = whenever(work) => Event::Worked(ended),
            polled = whenever(self.polling.as_mut()) => Event::Polled(polled),
            probed = whenever(self.probing.as_mut()) => Event::Probed(probed),
            looked = whenever(looking) => Event::Looked(looked),
            () = tokio::time::sleep(due) => Event::Due,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Polled(answer) => self.polled(answer),
            Event::Worked(result) => {
                self.worked = self.work.take().map(|work| (work.id, result));
            }
            Event::Probed(answer) => self.probed(answer),
            Event::Looked(answer) => self.looked(answer),
            Event::Asked(asked) => self.asked(*asked),
            Event::Due | Event::Stop => {}
        }
    }

    /// Says goodbye; whatever runs is left to end by itself or by systemd.
    fn end(&mut self, why: &str) {
        self.host.notify(Notice::Stopping);
        self.host.halt_work();
        let at = self.host.now().text();
        let mut entries =
            vec![Entry::Event(record::said_of_all(EventKind::AgentStopped, &at, why))];
        entries.extend(self.last_good_entry());
        self.write(entries);
    }

    /// How long nothing has to be looked at, if nothing happens by itself.
    fn due(&mut self) -> Duration {
        let now = self.host.now().boottime_ms;
        let seen = self.see();
        let look = match seen.being_tried() {
            true => pace::REPORT_LOOK,
            false => pace::IDLE_LOOK,
        };
        let poll = match self.polling {
            Some(_) => look,
            None => Duration::from_millis(self.next_poll(&seen).saturating_sub(now)),
        };
        look.min(poll)
    }

    /// Writes entries, tells the journal, and marks what was read as outdated.
    ///
    /// The journal comes after the disk: it never speaks of what a power cut undid.
    fn write(&mut self, entries: Vec<Entry>) -> bool {
        let written = self.host.history().record(&entries);
        self.outdated = true;
        match written {
            Ok(()) => {
                for entry in &entries {
                    if let Entry::Event(said) = entry {
                        self.host.tell(said);
                    }
                }
                true
            }
            Err(error) => {
                self.trouble(format!("{error:#}"));
                false
            }
        }
    }

    /// Remembers a fault of our own for `status`, and ends the pass that it came up in.
    fn trouble(&mut self, sentence: String) {
        self.hampered = true;
        let now = self.host.now().boottime_ms;
        match self.troubles.iter_mut().find(|(known, _)| *known == sentence) {
            Some((_, since)) => *since = now,
            None => {
                tracing::error!("{sentence}");
                self.troubles.push((sentence, now));
            }
        }
    }

    /// Forgets the faults that did not come up again for a while.
    fn forget_troubles(&mut self) {
        let now = self.host.now().boottime_ms;
        self.troubles.retain(|(_, since)| now.saturating_sub(*since) < TROUBLE_SHOWN_MS);
        self.hampered = self.without_history.is_some();
    }

    fn last_good_entry(&self) -> Option<Entry> {
        let text = seen::time_text(self.last_good_s?);
        Some(Entry::Fact(Fact::LastGoodPoll, Some(text)))
    }
}

fn version() -> String {
    format!("autodeployd {} is ready", env!("CARGO_PKG_VERSION"))
}

/// Waits for a future that may not be there.
async fn whenever<T>(future: Option<&mut Later<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
