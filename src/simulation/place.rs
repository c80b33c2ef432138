//! Where something can go wrong: every phase of a trial and every stage of the agent.

use crate::activator::trial::phase::Phase;
use crate::agent::rollout::Stage;

/// Declares the places with their names.
macro_rules! places {
    ($($place:ident = $name:literal,)*) => {
        /// A phase of a trial (they come first), or a stage of the agent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Place { $($place,)* }

        impl Place {
            pub const ALL: &[Place] = &[$(Place::$place,)*];

            pub fn name(self) -> &'static str {
                match self { $(Place::$place => $name,)* }
            }
        }
    };
}

places! {
    Requested = "trial.requested",
    Baseline = "trial.baseline",
    Switching = "trial.switching",
    Arming = "trial.arming",
    Armed = "trial.armed",
    Disarming = "trial.disarming",
    Staging = "trial.staging",
    Watching = "trial.watching",
    Keeping = "trial.keeping",
    Unkeeping = "trial.unkeeping",
    Reverting = "trial.reverting",
    Rechecking = "trial.rechecking",
    Rebooting = "trial.rebooting",
    Ended = "trial.ended",
    Fetching = "agent.fetching",
    Verifying = "agent.verifying",
    Resolving = "agent.resolving",
    Realising = "agent.realising",
    Held = "agent.held",
    Asking = "agent.requested",
    OnTrial = "agent.on-trial",
    Idle = "agent.ended",
}

impl Place {
    /// A new phase has to get a place here, and with it its rows in the matrix.
    pub fn of_phase(phase: &Phase) -> Place {
        match phase {
            Phase::Requested => Place::Requested,
            Phase::Baseline => Place::Baseline,
            Phase::Switching => Place::Switching,
            Phase::Arming { .. } => Place::Arming,
            Phase::Armed { .. } => Place::Armed,
            Phase::Disarming { .. } => Place::Disarming,
            Phase::Staging { .. } => Place::Staging,
            Phase::Watching { .. } => Place::Watching,
            Phase::Keeping { .. } => Place::Keeping,
            Phase::Unkeeping { .. } => Place::Unkeeping,
            Phase::Reverting { .. } => Place::Reverting,
            Phase::Rechecking { .. } => Place::Rechecking,
            Phase::Rebooting { .. } => Place::Rebooting,
            Phase::Ended(_) => Place::Ended,
        }
    }

    /// A new stage likewise.
    pub fn of_stage(stage: &Stage) -> Place {
        match stage {
            Stage::Fetching => Place::Fetching,
            Stage::Verifying { .. } => Place::Verifying,
            Stage::Resolving { .. } => Place::Resolving,
            Stage::Realising { .. } => Place::Realising,
            Stage::Held { .. } => Place::Held,
            Stage::Requested { .. } => Place::Asking,
            Stage::OnTrial { .. } => Place::OnTrial,
            Stage::Ended { .. } => Place::Idle,
        }
    }

    /// Whether the activator is at it.
    pub fn is_of_trial(self) -> bool {
        self <= Place::Ended
    }

    /// The new system may run, and nothing has been decided: what happens here to the process or
    /// the machine is counted against the closure.
    pub fn is_undecided(self) -> bool {
        self >= Place::Switching && self < Place::Ended
    }
}
