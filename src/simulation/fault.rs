//! What can go wrong, and when.

use crate::simulation::place::Place;

/// Declares the faults with their names.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $fault,)* }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$fault,)*];

            pub fn name(self) -> &'static str {
                match self { $(Fault::$fault => $name,)* }
            }
        }
    };
}

faults! {
    /// `kill -9` of the process whose place it is.
    Kill = "kill",
    /// The machine loses its power, and boots.
    PowerCut = "power-cut",
    /// What the place is for does not work.
    Fails = "fails",
    /// It gives no answer within its limit.
    Hangs = "hangs",
    /// No room for anything: state, roots, generations, closures.
    DiskFull = "disk-full",
    /// The state directory of the process alone cannot be written.
    ReadOnly = "read-only",
    /// The wall clock jumps a day on.
    ClockForward = "clock-forward",
    /// And a day back.
    ClockBack = "clock-back",
    /// The state of the process is cut off, and the process killed.
    Truncated = "truncated",
    /// The state of the process is no state at all, and the process killed.
    Garbage = "garbage",
    /// The state of the process is of a newer major version, and the process killed.
    Newer = "newer-version",
    /// Somebody else switches, or sets the profile.
    Hands = "hands",
    /// The remote is away for a while, and `web` with it.
    Outage = "outage",
    /// Somebody holds the lock of `switch-to-configuration`.
    LockHeld = "lock-held",
    /// An operator says something over the control socket.
    Operator = "operator",
}

/// At which point of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Its phase is about to be written. Of a trial only.
    Before,
    /// At the n-th change of the world in it; none has happened at 0.
    Change(u32),
    /// At this change of the agent's, counted from the beginning of the run.
    ChangeOfAgent(usize),
    /// This long after its first change, in milliseconds.
    Later(u64),
}

/// One fault, planned.
#[derive(Clone, Debug)]
pub struct Planned {
    pub place: Place,
    pub fault: Fault,
    pub point: Point,
    /// The power is cut this many changes after it.
    pub cut_after: Option<u32>,
    pub fired: bool,
}

impl Planned {
    pub fn new(place: Place, fault: Fault, point: Point) -> Planned {
        Planned { place, fault, point, cut_after: None, fired: false }
    }
}

/// Somebody else's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// `switch-to-configuration test` of something of their own.
    Test,
    /// `nixos-rebuild switch` to something of their own.
    Switch,
    /// `nixos-rebuild boot` of something of their own.
    Stage,
    /// `nixos-rebuild switch --rollback`.
    Rollback,
    /// `systemctl reboot`.
    Reboot,
    /// `nix-collect-garbage -d`.
    CollectGarbage,
}

impl Hand {
    pub const ALL: &[Hand] = &[
        Hand::Test,
        Hand::Switch,
        Hand::Stage,
        Hand::Rollback,
        Hand::Reboot,
        Hand::CollectGarbage,
    ];
}
