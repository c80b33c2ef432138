//! A machine whose deployments are interrupted, one after another.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::agreement::{Recorded, Until, disagreement};
use super::plan::{Commit, Interruption, Moment, Plan, Random};
use super::{Interrupted, replay, strike};
use crate::forge::Scheme;
use crate::host::HostOptions;
use crate::infra::Infra;
use crate::observer::{Sight, verify_store};
use crate::package;
use crate::place;
use crate::world::World;

/// How long one recovery may take before its state counts as lost.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// How long a commit may take to its planned moment, and to its verdict after everything.
const LIMIT: Duration = Duration::from_secs(90);

/// A machine that follows the forge, and what it ran when nothing was going on.
#[derive(Debug)]
pub struct Subject {
    world: World,
    seed: u64,
    random: Random,
    deployments: usize,
    old: String,
}

/// One deployment on its way.
struct Way {
    plan: Plan,
    commit: String,
    new: String,
    /// The phase of the trial when the first one hit.
    during: Option<String>,
    hits: Vec<Interruption>,
    /// When the last one hit, and what the record said then.
    since: Instant,
    then: Option<Recorded>,
}

impl Subject {
    /// Boots a machine with the binaries of a folder.
    ///
    /// # Errors
    /// It does not come up.
    pub fn boot(seed: u64, binaries: &Path) -> Result<Subject> {
        let label = format!("interrupted-{seed}");
        let world = World::boot_with(&label, HostOptions::default(), |infra, host| {
            infra.autodeploy(&package::put(host, binaries, "")?)?;
            let config = infra.default_config(Scheme::Http.url(), "6s", "1s");
            infra.config(&config.replace("poll_interval = \"2s\"", "poll_interval = \"1min\""))
        })?;
        let old = world.first_toplevel.clone();
        world.host.wait_phase("idle")?;
        Ok(Subject { world, seed, random: Random::new(seed), deployments: 0, old })
    }

    /// Deploys commits until so many interruptions have hit; each deployment is given to `done`.
    ///
    /// # Errors
    /// A state was lost, autodeploy says what is not so, or a commit does not end as it should; the
    /// message has the command that does the same again.
    pub fn interrupt(&mut self, wanted: usize, done: &mut dyn FnMut(Interrupted)) -> Result<()> {
        let mut hits = 0;
        while hits < wanted {
            let plan = Plan::draw(&mut self.random);
            self.deployments += 1;
            let deployed = self.deploy(plan).inspect_err(|_| self.world.host.tell_all());
            let deployed = deployed.with_context(|| {
                let again = replay(self.seed, hits + 1);
                format!("deployment {}: {plan:?}\nthe same again: {again}", self.deployments)
            })?;
            hits += deployed.hits.len();
            done(deployed);
        }
        self.world.host.nix_store_verify()
    }

    /// One deployment, interrupted as planned if there is something to be hit.
    fn deploy(&mut self, plan: Plan) -> Result<Interrupted> {
        let mark = format!("{}-{}\n", self.seed, self.deployments);
        let commit = self.world.forge.push("next", |infra| prepare(infra, plan.commit, &mark))?;
        let new = self.toplevel_of(&commit)?;
        let since = Instant::now();
        let hits = Vec::new();
        let mut way = Way { plan, commit, new, during: None, hits, since, then: None };
        self.world.host.sh("autodeployctl run-now --no-wait")?;
        if self.wait_moment(&way)? {
            self.strike_as_planned(&mut way)?;
        }
        let recovered = match way.hits.is_empty() {
            true => Duration::ZERO,
            false => self.agree(&way)?,
        };
        let ends = self.end(&way)?;
        verify_store(&self.world.host)?;
        let Way { hits, during, .. } = way;
        Ok(Interrupted { plan, hits, during: during.unwrap_or_default(), recovered, ends })
    }

    /// The closure of a commit, by an evaluation of our own.
    fn toplevel_of(&self, commit: &str) -> Result<String> {
        let host = &self.world.host;
        host.sh(&format!(
            "nix eval --raw --no-update-lock-file 'git+file:///srv/infra?rev={commit}\
             #nixosConfigurations.\"{}\".config.system.build.toplevel.outPath'",
            host.name
        ))
    }

    /// Waits for the planned moment; `false` when the trial ended without it.
    fn wait_moment(&self, way: &Way) -> Result<bool> {
        if let Moment::Phase(phase) = way.plan.from {
            let reached = wait_closely(LIMIT, || {
                let recorded = Recorded::read(&self.world.host)?;
                let Some(recorded) = recorded.filter(|it| it.commit == way.commit) else {
                    return Ok(None);
                };
                let reached = recorded.phases.iter().any(|one| one == phase);
                Ok((reached || recorded.outcome.is_some()).then_some(reached))
            })?;
            if !reached {
                return Ok(false);
            }
        }
        thread::sleep(way.plan.delay);
        Ok(true)
    }

    fn strike_as_planned(&mut self, way: &mut Way) -> Result<()> {
        let hit = self.strike(way, way.plan.interruption)?;
        if let (true, Some((second, later))) = (hit, way.plan.then) {
            thread::sleep(later);
            self.strike(way, second)?;
        }
        Ok(())
    }

    /// Interrupts; tells whether there was something to interrupt.
    fn strike(&mut self, way: &mut Way, interruption: Interruption) -> Result<bool> {
        let since = Instant::now();
        let hit = match interruption {
            Interruption::PowerCut => {
                self.world.host.power_cut()?;
                self.note_record(way)?;
                self.look(way)?;
                self.world.host.boot_again()?;
                Some(since)
            }
            Interruption::Reboot => {
                self.note_record(way)?;
                self.world.host.reboot()?;
                Some(since)
            }
            _ => {
                let hit = match interruption.is_forced() {
                    true => strike::kill_processes(&self.world.host, interruption)?,
                    false => strike::ask(&self.world.host, interruption)?.then_some(since),
                };
                self.note_record(way)?;
                hit
            }
        };
        self.look(way)?;
        if let Some(since) = hit {
            way.since = since;
            way.hits.push(interruption);
        }
        Ok(hit.is_some())
    }

    /// Notes what the record says when one hits, before it can go on.
    fn note_record(&self, way: &mut Way) -> Result<()> {
        way.then = Recorded::read(&self.world.host)?;
        if way.during.is_none() {
            let this = way.then.as_ref().filter(|it| it.commit == way.commit);
            way.during = Some(this.map_or("before", |it| it.phase()).to_owned());
        }
        Ok(())
    }

    /// The observer's look at any moment: old or new, and what is bad never the default.
    fn look(&self, way: &Way) -> Result<()> {
        let sight = Sight::of(&self.world.host)?;
        sight.is_one_of(&[&self.old, &way.new])?;
        let bad = !matches!(way.plan.commit, Commit::Good | Commit::CannotBeDefault);
        let proved = sight.profile != way.new && sight.default != way.new;
        ensure!(proved || !bad, "lost: what never proved itself is the default: {sight:#?}");
        Ok(())
    }

    /// Waits until record and observer say the same, and gives the time since the last hit.
    fn agree(&self, way: &Way) -> Result<Duration> {
        let of_the_agent = [Interruption::KillAgent, Interruption::RestartAgent];
        let until = match way.hits.as_slice() {
            [Interruption::KillActivator] => Until::TrialOf(&way.commit),
            hits if hits.iter().all(|hit| of_the_agent.contains(hit)) => Until::Now,
            _ => Until::Past(way.then.as_ref()),
        };
        loop {
            self.look(way)?;
            let left = match disagreement(&self.world.host, &self.old, &until) {
                Ok(None) => return Ok(way.since.elapsed()),
                Ok(Some(left)) => left,
                Err(error) => format!("{error:#}"),
            };
            ensure!(
                way.since.elapsed() < RECOVERY_LIMIT,
                "lost: {RECOVERY_LIMIT:?} after {:?} {left}",
                way.hits
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the commit's verdict, and holds the machine against it.
    fn end(&mut self, way: &Way) -> Result<Vec<String>> {
        let host = &self.world.host;
        let mut asked = false;
        let ends = wait_closely(LIMIT, || {
            self.look(way)?;
            // The agent may be restarting.
            let ends = host.outcomes(&way.commit).unwrap_or_default();
            let over = ends.last().is_some_and(|last| !last.starts_with("interrupted/"));
            if !over && !asked {
                // A boot lets the first poll wait for up to ten seconds.
                asked = host.run("autodeployctl run-now --no-wait")?.status.success();
            }
            Ok((over && host.status().is_ok_and(|status| status["phase"] == "idle"))
                .then_some(ends))
        })?;
        let last = ends.last().map_or("", String::as_str);
        let as_it_should = match way.plan.commit {
            // Nobody knows who killed the switch: a switch that a signal ended is the commit's.
            Commit::Good if way.hits.contains(&Interruption::KillSwitch) => {
                ["kept/healthy", "reverted/switch-failed"].contains(&last)
            }
            Commit::Good => last == "kept/healthy",
            _ => last.starts_with("reverted/"),
        };
        ensure!(as_it_should, "a commit that is {:?} ended as {ends:?}", way.plan.commit);
        if !last.starts_with("kept/") {
            // What may be tried again is, as soon as the next one is asked for.
            host.run(&format!("autodeployctl block {}", way.commit))?;
        }
        let after = if last.starts_with("kept/") { &way.new } else { &self.old }.clone();
        let sight = Sight::of(host)?;
        ensure!(sight.is_all(&after), "lost: it ended as {last}, and the machine is {sight:#?}");
        self.old = after;
        Ok(ends)
    }
}

/// Makes the repository what the plan wants, from whatever was there before.
fn prepare(infra: &Infra, commit: Commit, mark: &str) -> Result<()> {
    for left in ["units", "wants", "units-removed", "activate-hook", "stand-in"] {
        infra.unset(left);
    }
    infra.etc("mark", mark)?;
    match commit {
        Commit::Good => infra.service("web", "exec sleep infinity"),
        Commit::Crashes => infra.service("web", "sleep 0.3; exit 3"),
        Commit::FailsToActivate => infra.set("activate-hook", "exit 1\n"),
        Commit::CutsNetwork => infra.remove_unit("host-network.service"),
        Commit::CannotBeDefault => {
            // The worst of its kind: it writes the default, and fails then.
            let text = fs::read_to_string(place::resource("stand-in/install-bootloader"))?;
            infra.set("stand-in/install-bootloader", &format!("{text}\nsys.exit('no room')\n"))
        }
    }
}

/// As [`crate::wait::wait_for`], but looks every two milliseconds, and an error ends it.
fn wait_closely<T>(limit: Duration, mut question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let until = Instant::now() + limit;
    loop {
        if let Some(answer) = question()? {
            return Ok(answer);
        }
        if Instant::now() >= until {
            bail!("waited {limit:?}, and it did not come");
        }
        thread::sleep(Duration::from_millis(2));
    }
}
