//! A deployment: one closure's way onto one machine, and how it ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a deployment on this machine, counted from 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why there is a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The branch moved.
    Follow,
    /// A person asked to go back.
    Rollback,
}

/// Declares an enum whose variants have fixed names on the wire.
macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every variant, in the order of the design.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// Returns the name used on the wire, in the journal and in the history.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// Returns the variant of that name.
            pub fn from_name(name: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// How a deployment ended. There is none while it is in flight.
    Outcome {
        /// It runs, and it is the default of the next boot.
        Kept = "kept",
        /// It ran on trial, was not healthy, and the system before it runs again.
        Reverted = "reverted",
        /// It was not healthy, and the way back failed as well: a person is needed.
        RevertFailed = "revert-failed",
        /// It never ran: refused, not fetched, not evaluated, not built, or not switchable.
        Failed = "failed",
        /// Its closure was reverted before and nobody unblocked it.
        Blocked = "blocked",
        /// It is armed for the next boot, whoever starts that.
        Staged = "staged",
        /// It proved itself on the testing branch and is not to become the default.
        Tested = "tested",
        /// A newer commit came before it began to realise.
        Superseded = "superseded",
        /// A person ended it.
        Aborted = "aborted",
        /// A reset, a power cut or somebody else's switch ended it; nothing was proved.
        Interrupted = "interrupted",
    }
}

named! {
    /// What the machine is doing now.
    Phase {
        /// Nothing is in flight.
        Idle = "idle",
        /// Objects are on their way.
        Fetching = "fetching",
        /// Ancestry and signatures are looked at.
        Verifying = "verifying",
        /// The store path of the commit is worked out.
        Resolving = "resolving",
        /// The closure is substituted or built.
        Realising = "realising",
        /// Ready for its trial; a gate holds it back.
        Held = "held",
        /// The activator was asked.
        Requested = "requested",
        /// The activator looks at the machine as it is before the switch.
        Baseline = "baseline",
        /// `switch-to-configuration test` runs.
        Switching = "switching",
        /// The window is open.
        Watching = "watching",
        /// Profile and boot default are being set.
        Keeping = "keeping",
        /// The old system is being brought back.
        Reverting = "reverting",
        /// A boot entry for one boot is being made.
        Arming = "arming",
        /// The next boot is the trial.
        Armed = "armed",
        /// The last resort is on its way.
        Rebooting = "rebooting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_are_the_contract() {
        let outcomes: Vec<_> = Outcome::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(
            outcomes.join(" "),
            "kept reverted revert-failed failed blocked staged tested superseded aborted interrupted"
        );
        let phases: Vec<_> = Phase::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(
            phases.join(" "),
            "idle fetching verifying resolving realising held requested baseline switching \
             watching keeping reverting arming armed rebooting"
        );
    }

    #[test]
    fn serde_and_display_agree() {
        for outcome in Outcome::ALL {
            let json = serde_json::to_string(outcome).unwrap();
            assert_eq!(json, format!("\"{outcome}\""));
            assert_eq!(Outcome::from_name(outcome.as_str()), Some(*outcome));
        }
    }
}
