//! A machine in memory: remote, Git, Nix, activator, files, clock. It can fail, hang, and lose its
//! power after any effect; what a real machine would have on disk survives that.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use crate::agent::history::{History, Said};
use crate::agent::host::{Configured, Host, Later, NoAnswer, Notice, Probe, Probed};
use crate::agent::rollout::verify::Lineage;
use crate::agent::rollout::{Closure, Done, Moment, Operation, World};
use crate::handover::answer::Answer;
use crate::handover::lifeline::{Lifeline, NixReach};
use crate::handover::mark::Mark;
use crate::handover::report::Report;
use crate::handover::request::Request;
use crate::model::commit::CommitId;
use crate::model::deployment::DeploymentId;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::trust::{Examined, Found, KeysId, Refusal, Signer};

mod activator;

/// What is thrown when the power is cut.
pub struct PowerCut;

/// How something behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaves {
    Well,
    Fails(Failure),
    Hangs,
}

/// A commit of the remote.
#[derive(Clone, Debug)]
pub struct Commit {
    pub closure: StorePath,
    pub ancestors: BTreeSet<CommitId>,
    pub evaluation: Behaves,
    pub build: Behaves,
    /// It becomes healthy on trial.
    pub healthy: bool,
    pub seconds: u64,
    /// The key that it is signed by.
    pub signed_by: Option<&'static str>,
    /// The keys that may sign where its closure runs; none where nothing has to be signed.
    pub brings_keys: Option<Vec<&'static str>>,
    /// The committer date, in seconds since 1970.
    pub dated: i64,
}

/// Everything that outlives a run of the agent.
pub struct Machine {
    pub directory: tempfile::TempDir,
    pub clock_ms: u64,
    /// How far somebody has set the wall clock, in seconds.
    pub wall_set_s: i64,
    pub boot: u32,
    pub running: StorePath,
    pub profile: Option<StorePath>,
    pub generations: BTreeMap<u64, StorePath>,
    pub remote: BTreeMap<CommitId, Commit>,
    pub tip: Option<CommitId>,
    pub polls: Behaves,
    pub fetches: Behaves,
    pub poll_count: u32,
    /// What was fetched, in order.
    pub fetched: Vec<CommitId>,
    pub store: BTreeSet<StorePath>,
    pub roots: BTreeSet<DeploymentId>,
    pub reboot_reasons: Vec<String>,
    pub request: Option<Request>,
    pub requests: Vec<Request>,
    pub announced: usize,
    pub answer: Option<Answer>,
    /// What lies there of the mark, and all that ever did.
    pub mark: Option<Mark>,
    pub marks: Vec<Mark>,
    pub lifeline: Option<Lifeline>,
    pub activator: activator::Activator,
    pub report: Option<Rc<Report>>,
    pub full_disk: bool,
    pub configured: Configured,
    /// The keys of the system that ran first.
    pub first_keys: Option<Vec<&'static str>>,
    pub journal: Vec<Said>,
    pub notices: Vec<Notice>,
    pub evaluated: Vec<CommitId>,
    pub realised: Vec<StorePath>,
    pub halts: u32,
    pub effects: usize,
    pub fuse: Option<usize>,
}

/// Returns a commit whose name is this letter, over and over.
pub fn commit(letter: char) -> CommitId {
    letter.to_string().repeat(40).parse().unwrap()
}

/// Returns a closure of this name.
pub fn closure(name: &str) -> StorePath {
    format!("/nix/store/{}-{name}", "0".repeat(32)).parse().unwrap()
}

impl Machine {
    /// Makes a machine that runs the closure `base` and follows nothing yet.
    pub fn new() -> Rc<RefCell<Machine>> {
        let base = closure("base");
        Rc::new(RefCell::new(Machine {
            directory: tempfile::tempdir().unwrap(),
            clock_ms: 600_000,
            wall_set_s: 0,
            boot: 1,
            running: base.clone(),
            profile: Some(base.clone()),
            generations: BTreeMap::from([(1, base.clone())]),
            remote: BTreeMap::new(),
            tip: None,
            polls: Behaves::Well,
            fetches: Behaves::Well,
            poll_count: 0,
            fetched: Vec::new(),
            store: BTreeSet::from([base]),
            roots: BTreeSet::new(),
            reboot_reasons: Vec::new(),
            request: None,
            requests: Vec::new(),
            announced: 0,
            answer: None,
            mark: None,
            marks: Vec::new(),
            lifeline: None,
            activator: activator::Activator::default(),
            report: Some(Rc::new(Report { version: 1, ..Report::default() })),
            full_disk: false,
            configured: Configured::Same,
            first_keys: None,
            journal: Vec::new(),
            notices: Vec::new(),
            evaluated: Vec::new(),
            realised: Vec::new(),
            halts: 0,
            effects: 0,
            fuse: None,
        }))
    }

    /// Adds a commit on top of the tip, and moves the branch to it.
    pub fn push(&mut self, letter: char, name: &str) -> &mut Commit {
        let mut ancestors = BTreeSet::new();
        if let Some(tip) = self.tip.clone() {
            ancestors.extend(self.remote[&tip].ancestors.clone());
            ancestors.insert(tip);
        }
        let (evaluation, build) = (Behaves::Well, Behaves::Well);
        let dated = ancestors.len() as i64;
        let new = Commit {
            closure: closure(name),
            ancestors,
            evaluation,
            build,
            healthy: true,
            seconds: 1,
            signed_by: None,
            brings_keys: None,
            dated,
        };
        self.tip = Some(commit(letter));
        self.remote.insert(commit(letter), new);
        self.remote.get_mut(&commit(letter)).unwrap()
    }

    /// Loses the power and boots: what is not on disk is gone, and the default runs.
    pub fn reboot(&mut self) {
        self.boot += 1;
        self.clock_ms += 30_000;
        (self.request, self.answer, self.lifeline, self.report) = (None, None, None, None);
        self.mark = None;
        self.running = self.profile.clone().unwrap();
        activator::after_boot(self);
    }

    /// Returns the keys that may sign, as the system that runs brings them.
    pub fn keys(&self) -> Option<Vec<&'static str>> {
        let runs = self.remote.values().find(|one| one.closure == self.running);
        runs.map_or_else(|| self.first_keys.clone(), |one| one.brings_keys.clone())
    }

    fn effect(&mut self) {
        self.effects += 1;
        if let Some(fuse) = &mut self.fuse {
            match fuse.checked_sub(1) {
                Some(left) => *fuse = left,
                None => {
                    self.fuse = None;
                    resume_unwind(Box::new(PowerCut));
                }
            }
        }
    }
}

/// One run of the agent on a machine.
pub struct FakeHost {
    pub machine: Rc<RefCell<Machine>>,
    history: History,
    origin: Instant,
    base_ms: u64,
    run: usize,
}

impl FakeHost {
    pub fn start(machine: &Rc<RefCell<Machine>>) -> FakeHost {
        let directory = machine.borrow().directory.path().to_owned();
        let history = History::open(&directory, 1000).unwrap().history;
        let (base_ms, run) = (machine.borrow().clock_ms, machine.borrow().effects);
        FakeHost { machine: machine.clone(), history, origin: Instant::now(), base_ms, run }
    }
}

/// Names the keys; nothing has to be signed where there are none.
fn keys_id(keys: &Option<Vec<&'static str>>) -> KeysId {
    keys.as_ref().map_or_else(KeysId::default, |keys| KeysId::stored(&keys.join(" ")))
}

fn signed(keys: &Option<Vec<&'static str>>, commit: &CommitId, of: &Commit) -> Examined {
    let found = match (keys, of.signed_by) {
        (None, _) => Found::NotAsked,
        (Some(keys), Some(key)) if keys.contains(&key) => {
            let by = Signer { name: "somebody".to_owned(), key: key.to_owned() };
            Found::Good { by: vec![by], oldest: None }
        }
        (Some(_), Some(key)) => {
            let refusal = Refusal::UnknownKey { key: key.to_owned() };
            Found::Refused { commit: commit.clone(), refusal }
        }
        (Some(_), None) => Found::Refused { commit: commit.clone(), refusal: Refusal::Unsigned },
    };
    Examined { under: keys_id(keys), found }
}

async fn behave(behaves: Behaves) -> Result<(), Failure> {
    match behaves {
        Behaves::Well => Ok(()),
        Behaves::Fails(failure) => Err(failure),
        Behaves::Hangs => std::future::pending().await,
    }
}

fn work(machine: Rc<RefCell<Machine>>, operation: Operation) -> Later<Result<Done, Failure>> {
    Box::pin(async move {
        let (fetches, remote) = {
            let machine = machine.borrow();
            (machine.fetches.clone(), machine.remote.clone())
        };
        match operation {
            Operation::Fetch { commit, base } => {
                machine.borrow_mut().fetched.push(commit.clone());
                behave(fetches).await?;
                let of = &remote[&commit];
                sleep(Duration::from_millis(100)).await;
                let descends =
                    base.as_ref().is_some_and(|b| *b == commit || of.ancestors.contains(b));
                let known = base.as_ref().and_then(|base| remote.get(base));
                let lineage = Lineage {
                    base_known: descends || known.is_some(),
                    descends,
                    base,
                    subject: format!("commit {}", commit.short()),
                    committed_at: of.dated,
                    base_committed_at: known.map(|base| base.dated),
                    signed: signed(&machine.borrow().keys(), &commit, of),
                };
                Ok(Done::Fetched { lineage, mended: None })
            }
            Operation::Resolve { commit } => {
                let of = &remote[&commit];
                machine.borrow_mut().evaluated.push(commit);
                sleep(Duration::from_secs(of.seconds)).await;
                behave(of.evaluation.clone()).await?;
                Ok(Done::Resolved(Closure { toplevel: of.closure.clone(), drv: None }))
            }
            Operation::Realise { deployment, closure, .. } => {
                let of = remote.values().find(|one| one.closure == closure.toplevel);
                if let Some(of) = of {
                    sleep(Duration::from_secs(of.seconds)).await;
                    behave(of.build.clone()).await?;
                }
                let mut machine = machine.borrow_mut();
                if machine.store.insert(closure.toplevel.clone()) {
                    machine.realised.push(closure.toplevel);
                }
                machine.roots.insert(deployment);
                Ok(Done::Realised)
            }
        }
    })
}

impl Host for FakeHost {
    fn now(&self) -> Moment {
        let boottime_ms = self.base_ms + self.origin.elapsed().as_millis() as u64;
        let mut machine = self.machine.borrow_mut();
        machine.clock_ms = boottime_ms;
        let unix_s = 1_800_000_000 + (boottime_ms / 1000) as i64 + machine.wall_set_s;
        Moment { boottime_ms, unix_s }
    }

    fn chance(&mut self) -> f64 {
        0.5
    }

    fn look(&mut self, _: Option<&StorePath>) -> World {
        let now = self.now();
        let machine = &mut *self.machine.borrow_mut();
        activator::goes_on(machine, &now.text());
        World {
            running: Some(machine.running.clone()),
            profile: machine.profile.clone(),
            profile_generation: machine.generations.keys().last().copied(),
            boot_id: format!("boot-{}", machine.boot),
            report: machine.report.clone(),
            report_error: None,
            reboot_reasons: machine.reboot_reasons.clone(),
            keys: keys_id(&machine.keys()),
        }
    }

    fn generation(&mut self, number: u64) -> Option<StorePath> {
        self.machine.borrow().generations.get(&number).cloned()
    }

    fn poll(&mut self, limit: Duration) -> Later<Result<CommitId, NoAnswer>> {
        self.machine.borrow_mut().effect();
        let machine = self.machine.clone();
        Box::pin(async move {
            sleep(Duration::from_millis(20)).await;
            let (polls, tip) = {
                let mut machine = machine.borrow_mut();
                machine.poll_count += 1;
                (machine.polls.clone(), machine.tip.clone())
            };
            let answer = tokio::time::timeout(limit, behave(polls)).await;
            let late = || Failure::new(Reason::UNREACHABLE, "the remote did not answer in time");
            let none = |failure| NoAnswer { failure, retry_after: None };
            answer.unwrap_or_else(|_| Err(late())).map_err(none)?;
            tip.ok_or_else(|| none(Failure::new(Reason::NO_SUCH_BRANCH, "there is no such branch")))
        })
    }

    fn work(&mut self, operation: &Operation) -> Later<Result<Done, Failure>> {
        self.machine.borrow_mut().effect();
        work(self.machine.clone(), operation.clone())
    }

    fn halt_work(&mut self) {
        self.machine.borrow_mut().halts += 1;
    }

    fn probe(&mut self, probe: &Probe) -> Later<Probed> {
        self.machine.borrow_mut().effect();
        let (machine, probe, now) = (self.machine.clone(), probe.clone(), self.now());
        Box::pin(async move {
            sleep(Duration::from_millis(50)).await;
            match probe {
                Probe::Nix => Probed::Nix(NixReach {
                    at_boottime_ms: now.boottime_ms,
                    root_made: true,
                    evaluator_started: Some(true),
                    error: None,
                }),
                Probe::Contains { tip, of } => {
                    let ancestors = machine.borrow().remote[&tip].ancestors.clone();
                    let contains = of.iter().filter(|one| ancestors.contains(*one)).cloned();
                    let contains = Ok(contains.collect());
                    Probed::Contains { tip, of, contains }
                }
            }
        })
    }

    fn announce(&mut self) {
        let mut machine = self.machine.borrow_mut();
        machine.announced += 1;
    }

    fn request(&mut self, request: &Request) -> Result<()> {
        let mut machine = self.machine.borrow_mut();
        machine.effect();
        machine.requests.push(request.clone());
        machine.request = Some(request.clone());
        Ok(())
    }

    fn answer(&mut self, answer: &Answer) -> Result<()> {
        let mut machine = self.machine.borrow_mut();
        machine.effect();
        machine.answer = Some(answer.clone());
        Ok(())
    }

    fn mark(&mut self, mark: &Mark) -> Result<()> {
        let mut machine = self.machine.borrow_mut();
        machine.effect();
        machine.marks.push(mark.clone());
        machine.mark = Some(mark.clone());
        Ok(())
    }

    fn lifeline(&mut self, lifeline: &Lifeline) -> Result<()> {
        let mut machine = self.machine.borrow_mut();
        machine.effect();
        if machine.full_disk {
            bail!("could not write the lifeline: no space left");
        }
        machine.lifeline = Some(lifeline.clone());
        Ok(())
    }

    fn configuration(&mut self) -> Configured {
        self.machine.borrow().configured.clone()
    }

    fn keep_roots(&mut self, keep: &BTreeSet<DeploymentId>) {
        let mut machine = self.machine.borrow_mut();
        machine.effect();
        machine.roots.retain(|id| keep.contains(id));
    }

    fn tell(&mut self, said: &Said) {
        let mut machine = self.machine.borrow_mut();
        machine.effect();
        machine.journal.push(said.clone());
    }

    fn notify(&mut self, notice: Notice) {
        let mut machine = self.machine.borrow_mut();
        machine.effect();
        machine.notices.push(notice);
    }

    fn history(&mut self) -> &mut History {
        self.machine.borrow_mut().effect();
        match self.machine.borrow().full_disk {
            true => self.history.refuse_writes(),
            false => self.history.accept_writes(),
        }
        &mut self.history
    }

    fn invocation_id(&self) -> String {
        format!("run-{}", self.run)
    }
}
