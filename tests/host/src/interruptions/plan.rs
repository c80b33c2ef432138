//! PURE: what is pushed, what interrupts it, and when: drawn from a seed, so that it can be repeated.

use std::time::Duration;

/// SplitMix64 of Steele, Lea and Flood: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// One of a table, as often as the number beside it says.
    fn weighted<T: Copy>(&mut self, table: &[(T, u64)]) -> T {
        let mut left = self.below(table.iter().map(|(_, weight)| weight).sum());
        for (one, weight) in table {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *one,
            }
        }
        table[0].0
    }
}

/// What a commit is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commit {
    /// Nothing is wrong with it.
    Good,
    /// A service of it crashes.
    Crashes,
    /// Its activation fails, which ends the switch with 2.
    FailsToActivate,
    /// It cuts the machine off.
    CutsNetwork,
    /// Its boot loader cannot be installed, which shows when it is to be kept.
    CannotBeDefault,
}

/// What happens to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interruption {
    PowerCut,
    KillTrial,
    KillAgent,
    KillActivator,
    KillAll,
    KillSwitch,
    RestartAgent,
    TerminateTrial,
    Reboot,
}

impl Interruption {
    /// Whether nobody inside is asked.
    pub fn is_forced(self) -> bool {
        use Interruption as I;
        match self {
            I::PowerCut | I::KillTrial | I::KillAgent | I::KillActivator => true,
            I::KillAll | I::KillSwitch => true,
            I::RestartAgent | I::TerminateTrial | I::Reboot => false,
        }
    }

    /// Whether the whole machine is gone for a while.
    pub fn takes_the_machine(self) -> bool {
        matches!(self, Interruption::PowerCut | Interruption::Reboot)
    }
}

/// From when on the delay is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The push: the agent fetches, verifies, resolves, realises.
    Push,
    /// The trial has entered a phase of this name.
    Phase(&'static str),
}

/// One deployment and what interrupts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub commit: Commit,
    pub interruption: Interruption,
    pub from: Moment,
    pub delay: Duration,
    /// A second one, into the recovery from the first, so much later.
    pub then: Option<(Interruption, Duration)>,
}

const COMMITS: [(Commit, u64); 5] = [
    (Commit::Good, 50),
    (Commit::Crashes, 20),
    (Commit::FailsToActivate, 12),
    (Commit::CutsNetwork, 8),
    (Commit::CannotBeDefault, 10),
];

const INTERRUPTIONS: [(Interruption, u64); 9] = [
    (Interruption::PowerCut, 27),
    (Interruption::KillTrial, 19),
    (Interruption::KillAgent, 12),
    (Interruption::KillActivator, 8),
    (Interruption::KillAll, 12),
    (Interruption::KillSwitch, 14),
    (Interruption::RestartAgent, 3),
    (Interruption::TerminateTrial, 2),
    (Interruption::Reboot, 3),
];

/// What may come into a recovery: nothing that takes as long as one itself.
const SECONDS: [(Interruption, u64); 4] = [
    (Interruption::PowerCut, 3),
    (Interruption::KillTrial, 3),
    (Interruption::KillAgent, 1),
    (Interruption::KillAll, 2),
];

/// How many in a hundred deployments are interrupted a second time.
const TWICE_PERCENT: u64 = 12;

impl Plan {
    /// Draws the next deployment.
    pub fn draw(random: &mut Random) -> Plan {
        let commit = random.weighted(&COMMITS);
        let interruption = random.weighted(&INTERRUPTIONS);
        let (from, longest_ms) = random.weighted(moments(commit, interruption));
        let delay = Duration::from_millis(random.below(longest_ms));
        let second = (random.weighted(&SECONDS), Duration::from_millis(random.below(900)));
        let twice = random.below(100) < TWICE_PERCENT && !interruption.takes_the_machine();
        Plan { commit, interruption, from, delay, then: twice.then_some(second) }
    }
}

type Moments = [((Moment, u64), u64)];

/// From when, how much later at most (milliseconds, about as long as the phase takes), how often.
fn moments(commit: Commit, interruption: Interruption) -> &'static Moments {
    use Moment::{Phase, Push};
    // This process lives for a few hundredths of a second, and is waited for.
    if interruption == Interruption::KillActivator {
        return &[((Push, 1), 1)];
    }
    let by_switch = interruption == Interruption::KillSwitch;
    match (commit, by_switch) {
        (Commit::Good, true) => &[((Phase("switching"), 900), 3), ((Phase("keeping"), 400), 2)],
        (Commit::Good, false) => &[
            ((Push, 1500), 3),
            ((Phase("requested"), 60), 2),
            ((Phase("baseline"), 60), 2),
            ((Phase("switching"), 1200), 5),
            ((Phase("watching"), 1500), 5),
            ((Phase("keeping"), 400), 6),
        ],
        (Commit::CannotBeDefault, true) => &[
            ((Phase("keeping"), 900), 2),
            ((Phase("unkeeping"), 300), 1),
            ((Phase("reverting"), 900), 1),
        ],
        (Commit::CannotBeDefault, false) => &[
            ((Phase("keeping"), 900), 3),
            ((Phase("unkeeping"), 250), 3),
            ((Phase("reverting"), 800), 2),
        ],
        (_, true) => &[((Phase("switching"), 900), 1), ((Phase("reverting"), 900), 3)],
        (_, false) => &[
            ((Phase("switching"), 1200), 2),
            ((Phase("watching"), 4000), 2),
            ((Phase("reverting"), 800), 4),
            ((Phase("rechecking"), 60), 2),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn many() -> Vec<Plan> {
        let mut random = Random::new(1);
        (0..2000).map(|_| Plan::draw(&mut random)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_plans_again_and_another_seed_gives_others() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| Plan::draw(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn most_interruptions_are_forced() {
        let plans = many();
        let forced = plans.iter().filter(|plan| plan.interruption.is_forced()).count();
        assert!(forced * 100 >= plans.len() * 88, "{forced} of {}", plans.len());
    }

    #[test]
    fn every_commit_is_interrupted_in_every_way_and_every_phase_is_hit() {
        let plans = many();
        let pairs: BTreeSet<_> = plans.iter().map(|one| (one.commit, one.interruption)).collect();
        assert_eq!(pairs.len(), COMMITS.len() * INTERRUPTIONS.len());
        let mut moments: BTreeMap<Moment, u32> = BTreeMap::new();
        for plan in &plans {
            *moments.entry(plan.from).or_default() += 1;
        }
        assert_eq!(moments.len(), 9, "{moments:?}");
        assert!(moments.values().all(|count| *count >= 20), "{moments:?}");
        assert!(plans.iter().any(|plan| plan.then.is_some()));
    }
}
