//! The loop on a machine in memory, in paused time.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::agent::daemon::Agent;
use crate::agent::history::{History, Row};
use crate::agent::host::fake::{FakeHost, Machine, PowerCut, closure};
use crate::agent::inbox::Asked;
use crate::agent::policy::pace::Start;
use crate::config::settings::Settings;
use crate::control::ask::{Ask, Refusal, Told};
use crate::control::status::Status;

mod ancestry;
mod armed;
mod at_work;
mod bad_input;
mod clock;
mod collisions;
mod drift;
mod journey;
mod keys;
mod looked_at;
mod power_cut;
mod reconfigured;
mod rollback;
mod standstill;

type Shared = Rc<RefCell<Machine>>;

/// The settings of a machine that polls every 10 s.
fn settings() -> Settings {
    let text =
        "host = \"m\"\n[source]\nurl = \"https://forge.test/infra\"\npoll_interval = \"10s\"\n";
    crate::config::strict(text, "config.toml", "m").unwrap()
}

/// A person at the socket.
struct Person {
    asks: mpsc::Sender<Asked>,
    status: tokio::sync::watch::Receiver<Status>,
}

impl Person {
    async fn says(&self, ask: Ask) -> Result<Told, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Asked { uid: 1000, ask, reply }).await.ok().unwrap();
        answer.await.unwrap()
    }

    /// Returns the deployment that an order was about.
    async fn orders(&self, ask: Ask) -> Option<i64> {
        match self.says(ask).await.unwrap() {
            Told::Done { deployment, .. } => deployment,
            other => panic!("{other:?}"),
        }
    }

    fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

/// Waits for a level, in paused time; panics after an hour.
async fn until(machine: &Shared, level: impl Fn(&Machine) -> bool) {
    for _ in 0..36_000 {
        if level(&machine.borrow()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not come to that");
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

/// Runs the agent until `script` has ended.
fn live_with(machine: &Shared, settings: Settings, script: impl AsyncFnOnce(Person, Shared)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let agent = Agent::new(FakeHost::start(machine), settings, Start::Restart);
        let inbox = agent.inbox();
        let person = Person { asks: inbox.asks, status: inbox.status };
        let (stop, stopped) = oneshot::channel::<()>();
        let script = async {
            script(person, machine.clone()).await;
            let _ = stop.send(());
        };
        let end = async {
            let _ = stopped.await;
        };
        tokio::join!(agent.run(end, None), script);
    });
}

fn live(machine: &Shared, script: impl AsyncFnOnce(Person, Shared)) {
    live_with(machine, settings(), script);
}

/// Runs the agent until the machine is as it should be, or the power is cut; true if it got there.
fn live_until(machine: &Shared, level: impl Fn(&Machine) -> bool) -> bool {
    let run = || live(machine, async |_, machine| until(&machine, &level).await);
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => true,
        Err(cause) if cause.is::<PowerCut>() => false,
        Err(cause) => std::panic::resume_unwind(cause),
    }
}

/// A machine on which commits of these names were kept one after the other.
fn kept(letters: &[(char, &str)]) -> Shared {
    let machine = Machine::new();
    for (letter, name) in letters {
        machine.borrow_mut().push(*letter, name);
        live(&machine, async |_, machine| {
            until(&machine, |m| m.profile == Some(closure(name))).await;
            seconds(2).await;
        });
    }
    machine
}

fn history(machine: &Shared) -> History {
    History::open(machine.borrow().directory.path(), 1000).unwrap().history
}

fn rows(machine: &Shared) -> Vec<Row> {
    let mut rows = history(machine).newest(1000).unwrap();
    rows.reverse();
    rows
}

/// One word per deployment: what it was for, and how it ended.
fn outcomes(machine: &Shared) -> Vec<String> {
    let word = |row: Row| {
        let commit = row.commit.map(|commit| commit.as_str()[..1].to_owned());
        let outcome = row.outcome.unwrap_or_else(|| row.phase.clone());
        let reason = row.reason.unwrap_or_default();
        format!("{} {outcome} {reason}", commit.unwrap_or_else(|| "-".into())).trim().to_owned()
    };
    rows(machine).into_iter().map(word).collect()
}
