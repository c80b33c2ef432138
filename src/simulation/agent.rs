//! What the agent sees and does on the simulated host.

use std::collections::BTreeSet;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{sleep, timeout};

use crate::agent::history::{History, Said};
use crate::agent::host::{Configured, Host, Later, NoAnswer, Notice, Probe, Probed};
use crate::agent::rollout::verify::Lineage;
use crate::agent::rollout::{Closure, Done, Moment, Operation, World as Seen};
use crate::handover::answer::Answer;
use crate::handover::lifeline::{Lifeline, NixReach};
use crate::handover::mark::Mark;
use crate::handover::request::Request;
use crate::model::commit::CommitId;
use crate::model::deployment::DeploymentId;
use crate::model::failure::{Failure, Reason};
use crate::model::store_path::StorePath;
use crate::simulation::fault::{Fault, Point};
use crate::simulation::machine::Machine;
use crate::simulation::place::Place;
use crate::simulation::world::World;

/// How long the long operations may take; on a real machine it is longer.
const OPERATION_LIMIT: Duration = Duration::from_secs(60);

/// One run of the agent.
pub struct Unprivileged {
    world: Rc<World>,
    history: Option<History>,
    /// What this run writes outlives it.
    lasts: bool,
    run: u32,
    outdated: bool,
}

impl Unprivileged {
    pub fn new(world: Rc<World>, history: History, lasts: bool) -> Unprivileged {
        let run = world.machine.borrow().agent_run;
        Unprivileged { world, history: Some(history), lasts, run, outdated: true }
    }

    fn machine(&self) -> std::cell::RefMut<'_, Machine> {
        self.world.machine.borrow_mut()
    }

    /// Finds out where the agent is, by what is on disk.
    fn find_place(&mut self) {
        let came = {
            let machine = self.machine();
            machine.fetched && machine.agent_place == Place::Fetching
        };
        if !std::mem::take(&mut self.outdated) && !came {
            return;
        }
        let front = self.history.as_ref().and_then(|history| history.front().ok().flatten());
        let stage = front.and_then(|row| row.live()).map(|live| live.stage);
        let mut machine = self.world.machine.borrow_mut();
        let place = match stage.as_ref().map(Place::of_stage) {
            // What Git said is in memory only.
            Some(Place::Fetching) if machine.fetched => Place::Verifying,
            Some(place) => place,
            None => Place::Idle,
        };
        if place != machine.agent_place {
            machine.enter(place);
        }
    }

    fn change(&mut self) {
        self.find_place();
        let (place, at, all) = {
            let mut machine = self.machine();
            let (place, at) = (machine.agent_place, machine.changes_in_place[1]);
            machine.changes_in_place[1] += 1;
            machine.changes_of_agent += 1;
            machine.places_of_agent.push(place);
            (place, at, machine.changes_of_agent)
        };
        self.world.strike(place, Point::ChangeOfAgent(all));
        self.world.strike(place, Point::Change(at));
    }
}

impl Drop for Unprivileged {
    fn drop(&mut self) {
        if self.lasts {
            self.machine().history = self.history.take();
        }
    }
}

fn failed(place: Place) -> Failure {
    let reason = match place {
        Place::Resolving => Reason::EVALUATION_FAILED,
        Place::Realising => Reason::BUILD_FAILED,
        _ => Reason::FETCH_FAILED,
    };
    Failure::new(reason, "it did not work")
}

/// Takes its time, and goes wrong if the place ails.
async fn behave(world: &World, place: Place, time: Duration) -> Result<(), Failure> {
    sleep(time).await;
    let ails = world.machine.borrow_mut().ails(place);
    match ails {
        None => Ok(()),
        Some(Fault::Hangs) => {
            let hangs = timeout(OPERATION_LIMIT, pending::<()>()).await;
            hangs.map_err(|_| failed(place))
        }
        Some(_) => Err(failed(place)),
    }
}

async fn fetch(
    world: Rc<World>,
    commit: CommitId,
    base: Option<CommitId>,
) -> Result<Done, Failure> {
    behave(&world, Place::Fetching, Duration::from_millis(800)).await?;
    let now = world.now();
    if world.machine.borrow().remote_is_away(now) {
        return Err(failed(Place::Fetching));
    }
    let verifying = world.machine.borrow_mut().ails(Place::Verifying);
    let mut machine = world.machine.borrow_mut();
    machine.fetched = true;
    if verifying.is_some() {
        machine.laws.rewritten.insert(commit.clone());
    }
    let of = &machine.remote[&commit];
    let known = base.as_ref().is_some_and(|b| *b == commit || of.ancestors.contains(b));
    let lineage = Lineage {
        base_known: known,
        // Somebody rewrote the branch, and put it back later.
        descends: known && verifying.is_none(),
        base,
        subject: format!("commit {}", commit.short()),
        committed_at: of.ancestors.len() as i64,
        base_committed_at: Some(0),
        signed: Default::default(),
    };
    Ok(Done::Fetched { lineage, mended: None })
}

async fn work(world: Rc<World>, operation: Operation) -> Result<Done, Failure> {
    match operation {
        Operation::Fetch { commit, base } => fetch(world, commit, base).await,
        Operation::Resolve { commit } => {
            behave(&world, Place::Resolving, Duration::from_secs(1)).await?;
            let toplevel = world.machine.borrow().remote[&commit].closure.clone();
            Ok(Done::Resolved(Closure { toplevel, drv: None }))
        }
        Operation::Realise { deployment, closure, .. } => {
            behave(&world, Place::Realising, Duration::from_secs(1)).await?;
            let now = world.now();
            let mut machine = world.machine.borrow_mut();
            if now < machine.disk_full_until {
                return Err(Failure::new(Reason::NO_SPACE, "no space left on device"));
            }
            machine.store.insert(closure.toplevel.clone());
            machine.agent_roots.insert(deployment, closure.toplevel);
            Ok(Done::Realised)
        }
    }
}

impl Host for Unprivileged {
    fn now(&self) -> Moment {
        let boottime_ms = self.world.since_boot().as_millis() as u64;
        Moment { boottime_ms, unix_s: self.world.unix_s() }
    }

    fn chance(&mut self) -> f64 {
        0.5
    }

    fn look(&mut self, _: Option<&StorePath>) -> Seen {
        let machine = self.machine();
        Seen {
            running: Some(machine.running.clone()),
            profile: Some(machine.default_of_profile()),
            profile_generation: Some(machine.profile.now),
            boot_id: format!("boot-{}", machine.boots),
            report: machine.report.clone(),
            report_error: None,
            reboot_reasons: Vec::new(),
            keys: Default::default(),
        }
    }

    fn generation(&mut self, number: u64) -> Option<StorePath> {
        self.machine().generations.get(&number).cloned()
    }

    fn poll(&mut self, limit: Duration) -> Later<Result<CommitId, NoAnswer>> {
        self.change();
        let world = self.world.clone();
        Box::pin(async move {
            sleep(Duration::from_millis(20)).await;
            let none = |reason| {
                let failure = Failure::new(reason, "the remote did not answer");
                Err(NoAnswer { failure, retry_after: None })
            };
            let (away, ails, tip) = {
                let now = world.now();
                let mut machine = world.machine.borrow_mut();
                let place = machine.agent_place;
                let waits = matches!(place, Place::Idle | Place::Held);
                let ails = if waits { machine.ails(place) } else { None };
                let hangs = machine.outage_hangs || ails == Some(Fault::Hangs);
                let away = machine.remote_is_away(now).then_some(hangs);
                (away.or(ails.map(|_| hangs)), ails, machine.branch.last().cloned())
            };
            match (away, tip) {
                (Some(true), _) => {
                    let _ = timeout(limit, pending::<()>()).await;
                    none(Reason::UNREACHABLE)
                }
                (Some(false), _) => none(Reason::UNREACHABLE),
                (None, None) => none(Reason::NO_SUCH_BRANCH),
                (None, Some(tip)) => {
                    debug_assert!(ails.is_none());
                    Ok(tip)
                }
            }
        })
    }

    fn work(&mut self, operation: &Operation) -> Later<Result<Done, Failure>> {
        self.machine().fetched = false;
        self.change();
        Box::pin(work(self.world.clone(), operation.clone()))
    }

    fn halt_work(&mut self) {}

    fn probe(&mut self, probe: &Probe) -> Later<Probed> {
        self.change();
        let (world, probe, at) = (self.world.clone(), probe.clone(), self.now().boottime_ms);
        Box::pin(async move {
            sleep(Duration::from_millis(50)).await;
            let ails = {
                let mut machine = world.machine.borrow_mut();
                let ailing = machine.ailing.filter(|it| it.fault == Fault::Hangs);
                ailing.and_then(|_| machine.ails(Place::OnTrial))
            };
            if ails.is_some() {
                sleep(Duration::from_secs(3)).await;
            }
            match probe {
                Probe::Nix => Probed::Nix(NixReach {
                    at_boottime_ms: at,
                    root_made: true,
                    evaluator_started: Some(true),
                    error: None,
                }),
                Probe::Contains { tip, of } => {
                    let ancestors = world.machine.borrow().remote[&tip].ancestors.clone();
                    let contains = of.iter().filter(|one| ancestors.contains(*one)).cloned();
                    let contains = Ok(contains.collect());
                    Probed::Contains { tip, of, contains }
                }
            }
        })
    }

    /// Only spares time.
    fn announce(&mut self) {}

    fn request(&mut self, request: &Request) -> Result<()> {
        self.change();
        let ails = self.machine().ails(Place::Asking);
        match ails {
            Some(Fault::Fails) => bail!("could not write the request"),
            // The path unit is dead for a while.
            Some(_) => {
                let now = self.world.now();
                self.machine().activator_deaf_until = now + Duration::from_secs(15);
            }
            None => {}
        }
        self.machine().request = Some(request.clone());
        self.change();
        Ok(())
    }

    fn answer(&mut self, answer: &Answer) -> Result<()> {
        self.change();
        self.machine().answer = Some(answer.clone());
        Ok(())
    }

    fn mark(&mut self, mark: &Mark) -> Result<()> {
        self.change();
        self.machine().mark = Some(mark.clone());
        Ok(())
    }

    fn lifeline(&mut self, lifeline: &Lifeline) -> Result<()> {
        self.change();
        let fails = self.machine().ailing.is_some_and(|it| it.fault == Fault::Fails);
        if fails && self.machine().ails(Place::OnTrial).is_some() {
            bail!("could not write the lifeline");
        }
        self.machine().lifeline = Some(lifeline.clone());
        Ok(())
    }

    fn configuration(&mut self) -> Configured {
        Configured::Same
    }

    fn keep_roots(&mut self, keep: &BTreeSet<DeploymentId>) {
        self.change();
        self.machine().agent_roots.retain(|id, _| keep.contains(id));
    }

    fn tell(&mut self, said: &Said) {
        self.change();
        self.machine().journal.push(said.clone());
        self.world.tells(said.kind, &said.message);
    }

    fn notify(&mut self, _: Notice) {
        self.change();
    }

    fn history(&mut self) -> &mut History {
        self.change();
        self.outdated = true;
        let refused = self.lasts && self.machine().state_is_refused(false, self.world.now());
        let history = self.history.as_mut().unwrap();
        match refused {
            true => history.refuse_writes(),
            false => history.accept_writes(),
        }
        history
    }

    fn invocation_id(&self) -> String {
        format!("run-{}", self.run)
    }
}
