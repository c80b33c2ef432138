//! Who runs when: systemd, the clock, boots, and everybody else's doings at their time.
//!
//! The activator is the thread of the story: whatever it waits for, and every switch that takes
//! time, lets the rest of the machine live meanwhile. So all of it runs in one thread, and the same
//! seed leads to the same story.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::activator::conduct::conduct;
use crate::agent::daemon::Agent;
use crate::agent::history::History;
use crate::agent::inbox::{Asked, Inbox};
use crate::agent::policy::pace::Start;
use crate::control::ask::Ask;
use crate::control::status::Status;
use crate::model::event::EventKind;
use crate::simulation::agent::Unprivileged;
use crate::simulation::fault::{Hand, Point};
use crate::simulation::laws;
use crate::simulation::machine::{Gone, Happening, Health, Machine, theirs};
use crate::simulation::place::Place;
use crate::simulation::root::Root;

/// The seconds since 1970 at which a story begins.
const BEGINNING: i64 = 1_800_000_000;

/// `RestartSec=` of the agent, and of the trial.
const AGENT_PAUSE: Duration = Duration::from_secs(1);
const TRIAL_PAUSE: Duration = Duration::from_millis(200);

/// How long a machine takes to go down, and an agent that cannot open its history stays.
const GOES_DOWN: Duration = Duration::from_secs(3);
const WITHOUT_HISTORY: Duration = Duration::from_secs(30);

/// One run of the agent, between two looks at it.
struct Running {
    life: Pin<Box<dyn Future<Output = ()>>>,
    stop: Option<oneshot::Sender<()>>,
    inbox: Rc<RefCell<Option<Inbox>>>,
}

/// A machine with everybody on it.
pub struct World {
    pub machine: RefCell<Machine>,
    agent: RefCell<Option<Running>>,
    status: RefCell<Option<watch::Receiver<Status>>>,
    agent_due: Cell<Duration>,
    service_due: Cell<Option<Duration>>,
    trial_due: Cell<Option<Duration>>,
    runtime: Runtime,
    origin: Instant,
    me: Weak<World>,
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

impl World {
    pub fn new(machine: Machine) -> Rc<World> {
        let runtime = runtime();
        let origin = {
            let _within = runtime.enter();
            Instant::now()
        };
        Rc::new_cyclic(|me| World {
            machine: RefCell::new(machine),
            agent: RefCell::new(None),
            status: RefCell::new(None),
            agent_due: Cell::new(Duration::ZERO),
            service_due: Cell::new(Some(Duration::ZERO)),
            trial_due: Cell::new(None),
            runtime,
            origin,
            me: me.clone(),
        })
    }

    /// The time since the beginning of the story.
    pub fn now(&self) -> Duration {
        let _within = self.runtime.enter();
        Instant::now().duration_since(self.origin)
    }

    /// Prints what is told, where one story is replayed.
    #[expect(clippy::print_stdout, reason = "a replay is there to be read")]
    pub fn tells(&self, kind: EventKind, message: &str) {
        if std::env::var_os("SIMULATED_SEED").is_some() {
            println!("{:9.3} {}: {message}", self.now().as_secs_f64(), kind.name());
        }
    }

    /// The monotonic clock of this boot, which has run for a minute when a boot is over.
    pub fn since_boot(&self) -> Duration {
        let booted_at = self.machine.borrow().booted_at;
        Duration::from_secs(60) + self.now().saturating_sub(booted_at)
    }

    pub fn unix_s(&self) -> i64 {
        BEGINNING + self.now().as_secs() as i64 + self.machine.borrow().skew_s
    }

    pub fn wall(&self) -> String {
        crate::agent::rollout::seen::time_text(self.unix_s())
    }

    /// What the agent shows, as last shown.
    pub fn status(&self) -> Option<Status> {
        self.status.borrow().as_ref().map(|status| status.borrow().clone())
    }

    /// Something is about to change, or has: looks after the laws, and perhaps ends the process.
    pub fn strike(&self, place: Place, at: Point) {
        let now = self.now();
        let gone = {
            let mut machine = self.machine.borrow_mut();
            laws::hold(&machine);
            machine.strike(place, at, now)
        };
        if let Some(gone) = gone {
            // Without the panic hook: who is killed says nothing.
            resume_unwind(Box::new(gone));
        }
    }

    /// Somebody says something over the control socket; nobody waits for the answer.
    pub fn says(&self, uid: u32, ask: Ask) {
        let agent = self.agent.borrow();
        let inbox = agent.as_ref().and_then(|running| running.inbox.borrow().clone());
        if let Some(inbox) = inbox {
            let _ = inbox.asks.try_send(Asked { uid, ask, reply: oneshot::channel().0 });
        }
    }

    /// Lets everything go on until `done`, or for `limit`; true if it was done.
    pub fn live(self: &Rc<World>, limit: Duration, done: impl Fn(&World) -> bool) -> bool {
        let until = self.now() + limit;
        while self.now() < until {
            if done(self) {
                return true;
            }
            match catch_unwind(AssertUnwindSafe(|| self.go_on())) {
                Ok(()) => {}
                Err(cause) => match cause.downcast::<Gone>() {
                    Ok(gone) => self.after(*gone),
                    Err(other) => resume_unwind(other),
                },
            }
        }
        done(self)
    }

    /// Whoever is due runs.
    fn go_on(self: &Rc<World>) {
        let now = self.now();
        let asked = {
            let machine = self.machine.borrow();
            machine.request.is_some() && now >= machine.activator_deaf_until
        };
        let told = self.machine.borrow().mark.is_some() && self.trial_due.get().is_none();
        if told && !asked && (Root { world: self }).note_mark() {
            return;
        }
        if self.trial_due.get().is_some_and(|due| due <= now) {
            self.trial();
        } else if asked && self.trial_due.get().is_none()
            || self.service_due.get().is_some_and(|due| due <= now)
        {
            self.service();
        } else {
            let due = self.trial_due.get().into_iter().chain(self.service_due.get()).min();
            let pause = due.map_or(Duration::from_secs(1), |due| due.saturating_sub(now));
            self.pass_time(pause.clamp(Duration::from_millis(10), Duration::from_secs(1)));
        }
    }

    fn service(self: &Rc<World>) {
        self.service_due.set(None);
        self.pass_time(Duration::from_millis(20));
        let begins = Root { world: self }.serve();
        if begins {
            self.trial_due.set(Some(self.now()));
            Root { world: self }.change();
            let ails = self.machine.borrow_mut().ails(Place::Requested);
            if ails.is_some() {
                // The unit could not be started: the service fails, and is started again.
                self.trial_due.set(None);
                self.service_due.set(Some(self.now() + Duration::from_secs(1)));
            }
        }
    }

    fn trial(self: &Rc<World>) {
        let mut root = Root { world: self };
        self.machine.borrow_mut().switched = self.since_boot();
        let record = root.load();
        conduct(&mut root, record);
        self.trial_due.set(None);
    }

    /// A process is gone, or the power.
    fn after(self: &Rc<World>, gone: Gone) {
        match gone {
            Gone::Killed => {
                self.machine.borrow_mut().window = None;
                self.machine.borrow_mut().chain.push("!".to_owned());
                if self.trial_due.get().is_some() {
                    self.trial_due.set(Some(self.now() + TRIAL_PAUSE));
                } else {
                    self.service_due.set(Some(self.now() + Duration::from_secs(1)));
                }
            }
            Gone::Powerless => self.boot(Machine::lose_power),
            Gone::Rebooted => {}
        }
    }

    fn boot(&self, falls: fn(&mut Machine)) {
        drop(self.agent.borrow_mut().take());
        let now = self.now() + Duration::from_secs(20);
        {
            let mut machine = self.machine.borrow_mut();
            machine.laws.cut();
            falls(&mut machine);
            machine.booted_at = now;
            let (agent, service) = (machine.seed.below(3000), machine.seed.below(3000));
            self.agent_due.set(now + Duration::from_millis(agent));
            self.service_due.set(Some(now + Duration::from_millis(service)));
            self.trial_due.set(None);
        }
        self.idle(Duration::from_secs(20));
        laws::hold(&self.machine.borrow());
    }

    /// Lets the rest of the machine live for a time.
    pub fn pass_time(&self, time: Duration) {
        let until = self.now() + time;
        loop {
            let now = self.now();
            self.happen(now);
            let next = self.machine.borrow().schedule.iter().map(|(due, _)| *due).min();
            let next = next
                .unwrap_or(until)
                .clamp(now + Duration::from_millis(1), until.max(now + Duration::from_millis(1)));
            self.step(next - now);
            if self.now() >= until {
                break;
            }
        }
        let kill = std::mem::take(&mut self.machine.borrow_mut().kill_trial);
        if kill && self.machine.borrow().trial_place.is_some_and(|place| place != Place::Ended) {
            resume_unwind(Box::new(Gone::Killed));
        }
        let down = self.machine.borrow().stopping;
        if down.is_some_and(|since| self.now() >= since + GOES_DOWN) {
            self.boot(Machine::shut_down);
            resume_unwind(Box::new(Gone::Rebooted));
        }
    }

    /// Nobody lives.
    fn idle(&self, time: Duration) {
        self.runtime.block_on(async { sleep(time).await });
    }

    /// Lets the agent live for a time, if there is one.
    fn step(&self, time: Duration) {
        let agent = self.agent.borrow_mut().take();
        let Some(mut agent) = agent.or_else(|| self.begin_agent()) else {
            return self.idle(time);
        };
        let (kill, restart) = {
            let mut machine = self.machine.borrow_mut();
            (std::mem::take(&mut machine.kill_agent), std::mem::take(&mut machine.restart_agent))
        };
        if kill {
            self.agent_is_gone(AGENT_PAUSE);
            drop(agent);
            return self.idle(time);
        }
        if restart && let Some(stop) = agent.stop.take() {
            let _ = stop.send(());
        }
        let live = || {
            self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = &mut agent.life => true,
                    () = sleep(time) => false,
                }
            })
        };
        match catch_unwind(AssertUnwindSafe(live)) {
            Ok(false) => *self.agent.borrow_mut() = Some(agent),
            Ok(true) => {
                drop(agent);
                self.agent_is_gone(Duration::ZERO);
            }
            Err(cause) => {
                drop(agent);
                self.agent_is_gone(AGENT_PAUSE);
                match cause.downcast::<Gone>() {
                    Ok(gone) if *gone == Gone::Killed => {
                        self.machine.borrow_mut().chain.push("!".to_owned());
                    }
                    Ok(gone) => resume_unwind(gone),
                    Err(other) => resume_unwind(other),
                }
            }
        }
    }

    fn agent_is_gone(&self, pause: Duration) {
        let mut machine = self.machine.borrow_mut();
        machine.fetched = false;
        machine.agent_began = Duration::ZERO;
        self.agent_due.set(self.now() + pause);
    }

    fn begin_agent(&self) -> Option<Running> {
        let now = self.now();
        let broken = {
            let machine = self.machine.borrow();
            machine.health(&machine.running) == Health::BreaksAgent || machine.stopping.is_some()
        };
        if now < self.agent_due.get() || broken {
            return None;
        }
        let world = self.me.upgrade()?;
        let (history, mended, lost) = self.open_history(now);
        {
            let mut machine = self.machine.borrow_mut();
            machine.agent_run += 1;
            machine.restart_agent = false;
            machine.agent_began = Duration::from_secs(60) + now.saturating_sub(machine.booted_at);
        }
        let start = match self.machine.borrow().lifeline {
            Some(_) => Start::Restart,
            None => Start::Boot,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let inbox = Rc::new(RefCell::new(None));
        let (shared, lasts) = (inbox.clone(), lost.is_none());
        // Made here: a life that never began gives the history back too.
        let settings = self.machine.borrow().settings.clone();
        let host = Unprivileged::new(world.clone(), history, lasts);
        let life = Box::pin(async move {
            let mut agent = Agent::new(host, settings, start);
            mended.into_iter().for_each(|sentence| agent.mended(sentence));
            let patience = lost.as_ref().map_or(Duration::from_secs(1 << 30), |_| WITHOUT_HISTORY);
            lost.into_iter().for_each(|sentence| agent.without_history(sentence));
            let doors = agent.inbox();
            *world.status.borrow_mut() = Some(doors.status.clone());
            *shared.borrow_mut() = Some(doors);
            agent.ready();
            drop(world);
            let stop = async {
                tokio::select! {
                    _ = stopped => {}
                    () = sleep(patience) => {}
                }
            };
            agent.run(stop, None).await;
        });
        Some(Running { life, stop: Some(stop), inbox })
    }

    /// As `agent::start` does it: what is damaged is begun anew, what cannot be opened is forgotten.
    fn open_history(&self, now: Duration) -> (History, Option<String>, Option<String>) {
        let mut machine = self.machine.borrow_mut();
        let forgotten = || History::forgotten(1000).unwrap();
        if machine.state_is_refused(false, now) && machine.read_only_until[1] > now {
            return (forgotten(), None, Some("could not open the history".to_owned()));
        }
        match (machine.history_spoiled.take(), machine.history.take()) {
            (None, Some(history)) => (history, None, None),
            (Some(why), _) => (forgotten(), Some(format!("the history was {why}")), None),
            (None, None) => panic!("the history is in somebody else's hands"),
        }
    }

    /// What is due happens.
    fn happen(&self, now: Duration) {
        loop {
            let happening = {
                let mut machine = self.machine.borrow_mut();
                let due = machine.schedule.iter().position(|(due, _)| *due <= now);
                due.map(|index| machine.schedule.swap_remove(index).1)
            };
            match happening {
                None => return,
                Some(Happening::Operator) => self.operate(),
                Some(Happening::Hand(hand)) => self.hand(hand),
                Some(Happening::Push(health)) => drop(self.machine.borrow_mut().push(health)),
                Some(Happening::GitRevert) => {
                    let first = crate::simulation::machine::path('a');
                    self.machine.borrow_mut().push_closure(first);
                }
                Some(Happening::Fire(index)) => self.fire(index, now),
            }
        }
    }

    fn fire(&self, index: usize, now: Duration) {
        let (gone, of_trial) = {
            let mut machine = self.machine.borrow_mut();
            let of_trial = machine.planned[index].place.is_of_trial();
            (machine.fire(index, now), of_trial)
        };
        match gone {
            None => {}
            Some(gone @ (Gone::Powerless | Gone::Rebooted)) => resume_unwind(Box::new(gone)),
            Some(Gone::Killed) if of_trial => self.machine.borrow_mut().kill_trial = true,
            Some(Gone::Killed) => {
                self.machine.borrow_mut().chain.push("!".to_owned());
                self.machine.borrow_mut().kill_agent = true;
            }
        }
    }

    fn operate(&self) {
        let (what, path, tip) = {
            let mut machine = self.machine.borrow_mut();
            machine.laws.meddled = true;
            let path = machine.branch.last().map(|tip| machine.remote[tip].closure.clone());
            (machine.seed.below(6), path, machine.branch.last().cloned())
        };
        let what = match (what, path) {
            (5, _) => Ask::Reanchor {
                commit: tip.map(String::from).unwrap_or_default(),
                reason: "a visit".to_owned(),
            },
            (0, _) => Ask::Answer { id: None, word: crate::control::ask::Word::Abort },
            (1, _) => Ask::Pause { reason: "a visit".to_owned() },
            (2, _) => Ask::Rollback { generation: None },
            (3, Some(path)) => Ask::Block { what: path.to_string() },
            _ => Ask::RunNow(Default::default()),
        };
        self.says(1000, what);
    }

    fn hand(&self, hand: Hand) {
        let now = self.since_boot();
        let mut machine = self.machine.borrow_mut();
        let theirs = theirs();
        if hand != Hand::CollectGarbage {
            machine.laws.meddled |= hand != Hand::Reboot;
            machine.laws.wanted(&theirs);
        }
        match hand {
            Hand::Test => machine.activate(theirs, now),
            Hand::Switch => {
                machine.set_profile(&theirs);
                machine.loader.now = theirs.clone();
                machine.activate(theirs, now);
                machine.profile.sync();
                machine.loader.sync();
            }
            Hand::Stage => {
                machine.set_profile(&theirs);
                machine.loader.now = theirs;
                machine.profile.sync();
                machine.loader.sync();
            }
            Hand::Rollback => {
                let current = machine.profile.now;
                let below = machine.generations.range(..current).next_back();
                if let Some((number, path)) = below.map(|(n, p)| (*n, p.clone())) {
                    machine.laws.wanted(&path);
                    machine.laws.excuses(&path);
                    machine.profile.now = number;
                    machine.loader.now = path.clone();
                    machine.activate(path, now);
                    machine.profile.sync();
                    machine.loader.sync();
                }
            }
            Hand::Reboot => {
                drop(machine);
                let now = self.now();
                self.machine.borrow_mut().stopping = Some(now);
                return;
            }
            Hand::CollectGarbage => {
                drop(machine);
                laws::is_held(&self.machine.borrow());
                return self.collect_garbage();
            }
        }
        machine.chain.push(format!("{hand:?}").to_lowercase());
    }

    fn collect_garbage(&self) {
        let mut machine = self.machine.borrow_mut();
        machine.chain.push("gc".to_owned());
        machine.collect_garbage();
    }

    /// Ends the agent, so that its history can be read and nothing holds itself.
    pub fn end(&self) {
        drop(self.agent.borrow_mut().take());
        *self.status.borrow_mut() = None;
    }
}
