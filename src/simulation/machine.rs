//! The simulated host: what is on its disk, what is in its memory, and the world around it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::activator::trial::seen::CheckSeen;
use crate::agent::history::{History, Said};
use crate::config::settings::Settings;
use crate::handover::answer::Answer;
use crate::handover::lifeline::Lifeline;
use crate::handover::mark::Mark;
use crate::handover::report::Report;
use crate::handover::request::Request;
use crate::model::commit::CommitId;
use crate::model::deployment::DeploymentId;
use crate::model::event::EventKind;
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;
use crate::simulation::fault::{Fault, Hand, Planned, Point};
use crate::simulation::laws::Laws;
use crate::simulation::place::Place;
use crate::simulation::seed::Seed;

/// How a closure is when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// It takes a third of the window to become healthy.
    Slow,
    /// `web` is red.
    Sick,
    /// `web` is green at first, and red before it has settled.
    SickLater,
    /// There is no remote while it runs.
    CutsNetwork,
    /// The agent does not start while it runs.
    BreaksAgent,
    /// Its activation script fails.
    FailsToSwitch,
    /// Its activation hangs.
    HangsInSwitch,
    /// Its boot loader cannot be written.
    CannotBeBooted,
    /// Only a boot can try it.
    NeedsBoot,
    /// Likewise, and `web` is red.
    NeedsBootAndIsSick,
    /// Likewise, and its kernel panics.
    NeedsBootAndPanics,
}

impl Health {
    pub const ALL: &[Health] = &[
        Health::Good,
        Health::Slow,
        Health::Sick,
        Health::SickLater,
        Health::CutsNetwork,
        Health::BreaksAgent,
        Health::FailsToSwitch,
        Health::HangsInSwitch,
        Health::CannotBeBooted,
        Health::NeedsBoot,
        Health::NeedsBootAndIsSick,
        Health::NeedsBootAndPanics,
    ];

    /// Whether it may ever be kept.
    pub fn is_good(self) -> bool {
        matches!(self, Health::Good | Health::Slow | Health::NeedsBoot)
    }

    /// Whether a switch cannot bring it.
    pub fn needs_boot(self) -> bool {
        use Health::{NeedsBoot, NeedsBootAndIsSick, NeedsBootAndPanics};
        matches!(self, NeedsBoot | NeedsBootAndIsSick | NeedsBootAndPanics)
    }
}

/// A thing on disk: what programs see, and what a power cut is sure to leave.
#[derive(Clone, Debug)]
pub struct OnDisk<T> {
    pub now: T,
    safe: T,
}

impl<T: Clone + PartialEq> OnDisk<T> {
    pub fn new(value: T) -> OnDisk<T> {
        OnDisk { now: value.clone(), safe: value }
    }

    pub fn sync(&mut self) {
        self.safe = self.now.clone();
    }

    /// What was not made durable may be there or not.
    fn cut(&mut self, lost: bool) {
        match lost {
            true => self.now = self.safe.clone(),
            false => self.sync(),
        }
    }
}

/// Something that does not work for a while.
#[derive(Clone, Copy, Debug)]
pub struct Ailing {
    pub place: Place,
    pub fault: Fault,
    pub left: u32,
}

/// What is looked at in a window.
pub struct Window {
    pub after: Duration,
    pub checks: Vec<CheckSeen>,
    pub lifeline_latched: bool,
}

/// What comes by itself at its time.
#[derive(Clone, Debug)]
pub enum Happening {
    Push(Health),
    /// A commit with the closure of the first one.
    GitRevert,
    Hand(Hand),
    Fire(usize),
    Operator,
}

/// What ends a process in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    Killed,
    Powerless,
    /// The machine went down in order, and is up again.
    Rebooted,
}

/// A commit of the remote.
#[derive(Clone, Debug)]
pub struct Commit {
    pub closure: StorePath,
    pub ancestors: BTreeSet<CommitId>,
}

/// Everything.
pub struct Machine {
    pub seed: Seed,
    pub settings: Settings,
    // The disk.
    pub record: Option<Vec<u8>>,
    pub generations: BTreeMap<u64, StorePath>,
    pub profile: OnDisk<u64>,
    pub loader: OnDisk<StorePath>,
    /// The profile of the entry on trial, and whether the loader's menu has it.
    pub entry: Option<StorePath>,
    pub menu: Option<StorePath>,
    pub armed: Option<StorePath>,
    pub no_boot_once: bool,
    pub store: BTreeSet<StorePath>,
    pub roots: BTreeSet<StorePath>,
    pub agent_roots: BTreeMap<DeploymentId, StorePath>,
    pub history: Option<History>,
    pub history_spoiled: Option<&'static str>,
    pub aside: u32,
    /// One of them without a report that knows better.
    pub aside_blindly: bool,
    // The memory: gone with the power.
    pub running: StorePath,
    pub booted: StorePath,
    pub boots: u32,
    pub booted_at: Duration,
    pub request: Option<Request>,
    pub answer: Option<Answer>,
    pub mark: Option<Mark>,
    pub lifeline: Option<Lifeline>,
    pub report: Option<Rc<Report>>,
    pub stopping: Option<Duration>,
    pub window: Option<Window>,
    /// For how long all that decides was green when the window was closed.
    pub green_for: Option<Duration>,
    pub switched: Duration,
    pub activated: Duration,
    pub trial_place: Option<Place>,
    pub agent_place: Place,
    pub agent_run: u32,
    pub agent_began: Duration,
    pub fetched: bool,
    pub activator_deaf_until: Duration,
    pub kill_trial: bool,
    pub kill_agent: bool,
    pub restart_agent: bool,
    // The world.
    pub closures: BTreeMap<StorePath, Health>,
    pub remote: BTreeMap<CommitId, Commit>,
    pub branch: Vec<CommitId>,
    pub outage_until: Duration,
    pub outage_hangs: bool,
    pub disk_full_until: Duration,
    pub read_only_until: [Duration; 2],
    pub lock_held_until: Duration,
    pub old_broken: bool,
    pub skew_s: i64,
    pub ailing: Option<Ailing>,
    pub schedule: Vec<(Duration, Happening)>,
    // What is watched.
    pub planned: Vec<Planned>,
    pub changes_in_place: [u32; 2],
    pub changes_of_agent: usize,
    pub places_of_agent: Vec<Place>,
    pub cut_in: Option<u32>,
    pub journal: Vec<Said>,
    pub told: Vec<(EventKind, String)>,
    pub chain: Vec<String>,
    pub laws: Laws,
}

/// Returns a store path by its letter.
pub fn path(letter: char) -> StorePath {
    format!("/nix/store/{}-nixos-system-box", letter.to_string().repeat(32)).parse().unwrap()
}

/// Returns the letter of a store path.
pub fn letter(path: &StorePath) -> char {
    path.as_str().chars().nth(11).unwrap()
}

/// Letters that a Nix hash has, in the order of pushes; `a` is what ran in the beginning, and `z`
/// what somebody else's hands bring.
const LETTERS: &[u8] = b"bcdfghijklmnpqrsvwx";

/// What somebody else's hands bring.
pub fn theirs() -> StorePath {
    path('z')
}

/// The configuration of every closure.
fn settings(window: u64) -> Settings {
    let text = format!(
        "host = \"box\"\nsource.url = \"https://forge.test/infra\"\n\
         source.poll_interval = \"10s\"\nactivation.switch_timeout = \"60s\"\n\
         activation.reboot = \"when-needed\"\n\
         health.window = \"{window}s\"\nhealth.settle = \"{}s\"\n\
         health.checks.web = {{ kind = \"http\", url = \"http://[::1]/\", timeout = \"2s\" }}\n",
        window / 6
    );
    crate::config::strict(&text, "config.toml", "box").unwrap()
}

impl Machine {
    /// Makes a machine that runs `a`, with a window of so many seconds.
    #[expect(clippy::too_many_lines, reason = "a line for each field")]
    pub fn new(seed: u64, window: u64) -> Machine {
        let old = path('a');
        let history = History::forgotten(1000).unwrap();
        Machine {
            seed: Seed::new(seed),
            settings: settings(window),
            record: None,
            generations: BTreeMap::from([(41, old.clone())]),
            profile: OnDisk::new(41),
            loader: OnDisk::new(old.clone()),
            entry: None,
            menu: None,
            armed: None,
            no_boot_once: false,
            store: BTreeSet::from([old.clone(), theirs()]),
            roots: BTreeSet::new(),
            agent_roots: BTreeMap::new(),
            history: Some(history),
            history_spoiled: None,
            aside: 0,
            aside_blindly: false,
            running: old.clone(),
            booted: old.clone(),
            boots: 1,
            booted_at: Duration::ZERO,
            request: None,
            answer: None,
            mark: None,
            lifeline: None,
            report: None,
            stopping: None,
            window: None,
            green_for: None,
            switched: Duration::ZERO,
            activated: Duration::ZERO,
            trial_place: None,
            agent_place: Place::Idle,
            agent_run: 0,
            agent_began: Duration::ZERO,
            fetched: false,
            activator_deaf_until: Duration::ZERO,
            kill_trial: false,
            kill_agent: false,
            restart_agent: false,
            closures: BTreeMap::from([(old.clone(), Health::Good), (theirs(), Health::Good)]),
            remote: BTreeMap::new(),
            branch: Vec::new(),
            outage_until: Duration::ZERO,
            outage_hangs: false,
            disk_full_until: Duration::ZERO,
            read_only_until: [Duration::ZERO; 2],
            lock_held_until: Duration::ZERO,
            old_broken: false,
            skew_s: 0,
            ailing: None,
            schedule: Vec::new(),
            planned: Vec::new(),
            changes_in_place: [0; 2],
            changes_of_agent: 0,
            places_of_agent: Vec::new(),
            cut_in: None,
            journal: Vec::new(),
            told: Vec::new(),
            chain: Vec::new(),
            laws: Laws::new(old),
        }
    }

    /// Adds a commit with a new closure on top of the branch.
    pub fn push(&mut self, health: Health) -> StorePath {
        let closure = path(char::from(LETTERS[self.branch.len() % LETTERS.len()]));
        self.closures.insert(closure.clone(), health);
        self.push_closure(closure.clone());
        closure
    }

    /// Adds a commit with a known closure on top of the branch.
    pub fn push_closure(&mut self, closure: StorePath) {
        let id: CommitId = format!("{:040x}", self.branch.len() + 1).parse().unwrap();
        let ancestors = self.branch.iter().cloned().collect();
        self.branch.push(id.clone());
        self.remote.insert(id, Commit { closure, ancestors });
    }

    pub fn health(&self, closure: &StorePath) -> Health {
        self.closures.get(closure).copied().unwrap_or(Health::Good)
    }

    /// Where the profile leads, and its number.
    pub fn generation(&self) -> Generation {
        Generation { number: self.profile.now, toplevel: self.default_of_profile() }
    }

    pub fn default_of_profile(&self) -> StorePath {
        self.generations[&self.profile.now].clone()
    }

    /// Sets the profile as `nix-env --set` does.
    pub fn set_profile(&mut self, toplevel: &StorePath) -> u64 {
        let (highest, newest) = self.generations.last_key_value().unwrap();
        let number = if newest == toplevel { *highest } else { highest + 1 };
        self.generations.insert(number, toplevel.clone());
        self.profile.now = number;
        number
    }

    /// Another system is activated.
    pub fn activate(&mut self, toplevel: StorePath, since_boot: Duration) {
        (self.running, self.activated) = (toplevel, since_boot);
    }

    /// `nix-collect-garbage -d`: deletes what nothing holds.
    pub fn collect_garbage(&mut self) {
        let current = self.profile.now;
        // The deleted links and the profile's own lie in one directory: the file system writes what
        // was done to it in that order.
        self.profile.sync();
        self.generations.retain(|number, _| *number == current);
        let mut held: BTreeSet<_> = self.agent_roots.values().cloned().collect();
        held.extend(self.roots.iter().cloned());
        held.extend(self.entry.clone());
        held.extend(self.generations.values().cloned());
        held.extend([self.running.clone(), self.booted.clone(), theirs()]);
        self.store.retain(|path| held.contains(path));
    }

    pub fn web_is_away(&self, now: Duration) -> bool {
        now < self.outage_until
    }

    pub fn remote_is_away(&self, now: Duration) -> bool {
        now < self.outage_until || self.health(&self.running) == Health::CutsNetwork
    }

    pub fn state_is_refused(&self, of_trial: bool, now: Duration) -> bool {
        let read_only = self.read_only_until[usize::from(!of_trial)];
        now < self.disk_full_until.max(read_only)
    }

    /// Whether the step of a place goes wrong this time, and how.
    pub fn ails(&mut self, place: Place) -> Option<Fault> {
        let ailing = self.ailing.as_mut().filter(|it| it.place == place && it.left > 0)?;
        ailing.left -= 1;
        Some(ailing.fault)
    }

    /// Whether what goes wrong now cannot be told from a closure that does not work.
    pub fn looks_like_a_bad_closure(&self) -> bool {
        let places = [Place::Switching, Place::Watching, Place::OnTrial];
        self.ailing.as_ref().is_some_and(|it| it.left > 0 && places.contains(&it.place))
    }

    /// Takes the power away: what lies in memory is gone, what was not made durable perhaps.
    pub fn lose_power(&mut self) {
        let (profile, loader) = (self.seed.percent(50), self.seed.percent(50));
        self.profile.cut(profile);
        self.loader.cut(loader);
        self.forget();
    }

    /// Goes down in order: everything is written.
    pub fn shut_down(&mut self) {
        self.profile.sync();
        self.loader.sync();
        self.forget();
    }

    fn forget(&mut self) {
        (self.request, self.answer, self.lifeline, self.report) = (None, None, None, None);
        self.mark = None;
        (self.stopping, self.window, self.trial_place) = (None, None, None);
        (self.kill_trial, self.kill_agent, self.restart_agent) = (false, false, false);
        (self.lock_held_until, self.activator_deaf_until) = (Duration::ZERO, Duration::ZERO);
        self.cut_in = None;
        self.old_broken = false;
        self.boots += 1;
        // The loader forgets what it was armed for before it starts it.
        let armed = self.armed.take().filter(|armed| self.menu.as_ref() == Some(armed));
        let starts = armed.filter(|armed| self.health(armed) != Health::NeedsBootAndPanics);
        self.activate(starts.unwrap_or(self.loader.now.clone()), Duration::ZERO);
        self.booted = self.running.clone();
        self.fetched = false;
        self.chain.push("#".to_owned());
    }

    /// A place was entered.
    pub fn enter(&mut self, place: Place) {
        let of_trial = usize::from(!place.is_of_trial());
        self.changes_in_place[of_trial] = 0;
        let known = match place.is_of_trial() {
            true => self.trial_place.replace(place),
            false => Some(std::mem::replace(&mut self.agent_place, place)),
        };
        if place.is_of_trial() || known != Some(place) {
            self.chain.push(place.name().split('.').nth(1).unwrap_or_default().to_owned());
        }
    }

    /// Something changes, or is about to: perhaps it is the last thing that happens.
    pub fn strike(&mut self, place: Place, at: Point, now: Duration) -> Option<Gone> {
        if let Some(left) = self.cut_in {
            self.cut_in = left.checked_sub(1);
            if left == 0 {
                return Some(Gone::Powerless);
            }
        }
        for index in 0..self.planned.len() {
            let planned = &mut self.planned[index];
            // A number of all changes says where it is by itself.
            let here = planned.place == place || matches!(planned.point, Point::ChangeOfAgent(_));
            if planned.fired || !here {
                continue;
            }
            if let (Point::Later(pause), Point::Change(0)) = (planned.point, at) {
                planned.fired = true;
                let due = now + Duration::from_millis(pause);
                self.schedule.push((due, Happening::Fire(index)));
            } else if planned.point == at {
                planned.fired = true;
                if let Some(gone) = self.fire(index, now) {
                    return Some(gone);
                }
            }
        }
        None
    }

    /// Lets a planned fault happen.
    pub fn fire(&mut self, index: usize, now: Duration) -> Option<Gone> {
        let Planned { place, fault, cut_after, .. } = self.planned[index].clone();
        *self.laws.reached.entry((place, fault)).or_default() += 1;
        let of_trial = place.is_of_trial();
        self.laws.struck(place, fault);
        let a_while = Duration::from_secs(2 + self.seed.below(20));
        match fault {
            Fault::Kill => {}
            Fault::PowerCut => return Some(Gone::Powerless),
            Fault::Fails | Fault::Hangs => {
                // A trial ends in spite of it; the agent, or the last write, would try for ever.
                let left = match (fault, of_trial) {
                    // After three tries it waits for somebody to reboot.
                    (Fault::Fails, true) if place == Place::Armed => 2,
                    (Fault::Fails, true) if ![Place::Requested, Place::Ended].contains(&place) => {
                        u32::MAX
                    }
                    (Fault::Fails, _) => 3,
                    _ => 1,
                };
                self.ailing = Some(Ailing { place, fault, left });
            }
            Fault::DiskFull => self.disk_full_until = now + a_while,
            Fault::ReadOnly => self.read_only_until[usize::from(!of_trial)] = now + a_while,
            Fault::ClockForward => self.skew_s += 86_400,
            Fault::ClockBack => self.skew_s -= 86_400,
            Fault::Truncated | Fault::Garbage | Fault::Newer => self.spoil(of_trial, fault),
            Fault::Hands => {
                let hand = self.seed.of(Hand::ALL);
                self.schedule.push((now, Happening::Hand(hand)));
            }
            Fault::Outage => {
                self.outage_hangs = self.seed.percent(50);
                // One that ends just after a revert would convict: no evidence is against it.
                let time = match self.seed.percent(50) {
                    true => 1 + self.seed.below(3),
                    false => 120 + self.seed.below(80),
                };
                self.outage_until = now + Duration::from_secs(time);
            }
            Fault::LockHeld => {
                self.lock_held_until = now + Duration::from_secs(1 + self.seed.below(90));
            }
            Fault::Operator => self.schedule.push((now, Happening::Operator)),
        }
        let kills = matches!(fault, Fault::Kill | Fault::Truncated | Fault::Garbage | Fault::Newer);
        match (cut_after, kills) {
            (Some(0), _) | (Some(_), true) => Some(Gone::Powerless),
            (None, true) => Some(Gone::Killed),
            (cut_after, false) => {
                self.cut_in = cut_after.map(|after| after - 1);
                None
            }
        }
    }

    fn spoil(&mut self, of_trial: bool, fault: Fault) {
        let newer = fault == Fault::Newer;
        self.laws.state_was_lost(of_trial);
        if !of_trial {
            self.history_spoiled = Some(fault.name());
            return;
        }
        if let Some(bytes) = &mut self.record {
            match fault {
                Fault::Truncated => bytes.truncate(bytes.len() / 2),
                _ if newer => *bytes = br#"{"version": 99, "trial": null}"#.to_vec(),
                _ => *bytes = vec![0; 512],
            }
        }
    }
}
