//! The seam: everything that a trial sees of the machine and does to it.
//!
//! [`real`] is the machine. In tests there is one in memory that can do all that the real one can,
//! failing, hanging and being cut off included, and that keeps what is on its disk.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::activator::record::{Baseline, Profile, Proof, Record, Trial};
use crate::activator::trial::boot::Unarmed;
use crate::activator::trial::seen::CheckSeen;
use crate::activator::trial::switched::SwitchEnd;
use crate::effects::journal::About;
use crate::handover::report::{Evidence, Report};
use crate::handover::request::Request;
use crate::model::event::EventKind;
use crate::model::failure::Failure;
use crate::model::generation::Generation;
use crate::model::store_path::StorePath;

#[cfg(test)]
pub mod fake;
pub mod real;

/// What every look asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What `/run/current-system` leads to.
    pub running: Option<StorePath>,
    /// Where the system profile leads.
    pub profile: Option<Generation>,
    /// Who aborted this deployment.
    pub aborted_by: Option<u32>,
    /// A newer commit is ready to take the place of this deployment.
    pub superseded: bool,
    /// We were told to end, and the machine is going down.
    pub stopping: bool,
}

/// What `switch-to-configuration` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Activate, and leave the boot loader alone.
    Test,
    /// Only the boot loader.
    Boot,
}

/// Whether pre-switch checks may refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreSwitchChecks {
    /// They may.
    Run,
    /// Not on a way back, and not for what runs already.
    Skip,
}

/// One run of `switch-to-configuration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Whose.
    pub toplevel: StorePath,
    /// What it does.
    pub action: Action,
    /// Whether it may be refused.
    pub checks: PreSwitchChecks,
    /// The hard limit.
    pub limit: Duration,
}

/// What the baseline came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proving {
    /// There is a way back.
    Proved(Box<Proof>),
    /// Nothing can be tried.
    Refused {
        /// Why.
        failure: Failure,
        /// Whether it may be tried again by itself.
        retry: bool,
    },
}

/// Which system the checks are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one on trial.
    New,
    /// The one that was brought back.
    Old,
}

/// The machine. Methods that change it may be repeated.
pub trait Host {
    /// Reads the monotonic clock.
    fn monotonic(&self) -> Duration;
    /// Reads the wall clock: RFC 3339, UTC.
    fn wall(&self) -> String;
    /// Names this boot.
    fn boot_id(&self) -> String;

    /// Writes the record so that it survives a power cut.
    ///
    /// # Errors
    /// The old record is still there.
    fn save(&mut self, record: &Record) -> Result<()>;
    /// Writes the public report.
    ///
    /// # Errors
    /// The old report is still there.
    fn publish(&mut self, report: &Report) -> Result<()>;
    /// Writes an event to the journal.
    fn tell(&mut self, kind: EventKind, about: About<'_>, message: &str);
    /// Shows one line as the unit's status.
    fn say(&mut self, status: &str);

    /// Looks at what may change under us.
    fn look(&mut self, trial: &Trial) -> Look;
    /// Reads where the system profile leads; `None` if that cannot be told.
    fn generation(&mut self) -> Option<Generation>;
    /// Reads what the boot loader starts; `None` if that cannot be told.
    fn boot_default(&mut self) -> Option<StorePath>;
    /// Says why this machine can arm no single boot; `None` if it can.
    fn why_never_once(&mut self) -> Option<String>;
    /// Proves the way back and takes the baseline.
    fn prove(&mut self, request: &Request) -> Proving;
    /// Names what the baseline had and the machine has not.
    fn lost(&mut self, baseline: &Baseline) -> Vec<String>;

    /// Roots the old system, the new one and our own closure.
    ///
    /// # Errors
    /// Not all of them are rooted.
    fn root(&mut self, trial: &Trial) -> Result<()>;
    /// Removes these roots, and roots what the boot loader alone leads to, if there is such a thing:
    /// its files do not keep it from a garbage collection.
    fn unroot(&mut self, loose: Option<&StorePath>);
    /// Waits until the machine has booted: a switch during boot waits for the boot, which may wait
    /// for us.
    fn await_boot(&mut self);
    /// Runs `switch-to-configuration`.
    fn switch(&mut self, switch: &Switch) -> SwitchEnd;
    /// Makes the boot menu's own entry for the new system: a profile of its own, from which the
    /// next run of a boot loader's installer makes it.
    ///
    /// # Errors
    /// There may be one, or not.
    fn make_entry(&mut self, toplevel: &StorePath) -> Result<()>;
    /// Leaves word for that boot to go on with the trial, whatever units the new system has. What
    /// cannot be left is only told.
    fn leave_word(&mut self, trial: &Trial);
    /// Arms one boot of that entry, and reads back that the default stays `default`.
    ///
    /// # Errors
    /// Nothing is armed; or what is armed could not be read back, and is to be taken back.
    fn arm(&mut self, toplevel: &StorePath, default: &StorePath) -> Result<(), Unarmed>;
    /// Takes back what [`Host::arm`], [`Host::leave_word`] and [`Host::make_entry`] did; what somebody else armed stays,
    /// and the loader's files stay until they are written next.
    ///
    /// # Errors
    /// The next boot may start the new system.
    fn disarm(&mut self, toplevel: &StorePath) -> Result<()>;
    /// Restarts the agent without waiting for it.
    fn restart_agent(&mut self);
    /// Makes the closure the profile's current one, and returns its number.
    ///
    /// # Errors
    /// The profile leads where it did.
    fn set_profile(&mut self, path: &Path, toplevel: &StorePath) -> Result<u64>;
    /// Leads a profile back to where it led before the trial.
    ///
    /// # Errors
    /// The profile leads where it did.
    fn return_profile(&mut self, profile: &Profile) -> Result<()>;
    /// Makes the boot partition and the profile durable.
    ///
    /// # Errors
    /// The disk failed.
    fn sync(&mut self) -> Result<()>;
    /// Asks for a reboot.
    ///
    /// # Errors
    /// Nobody took the wish.
    fn reboot(&mut self) -> Result<()>;

    /// Starts looking at the checks of one side. What was looked at before ends.
    fn watch(&mut self, trial: &Trial, side: Side);
    /// Ends looking at checks.
    fn unwatch(&mut self);
    /// Returns the checks as last seen.
    fn checks(&mut self) -> Vec<CheckSeen>;
    /// Returns what was collected about red checks and failed units; takes a tenth of a second at
    /// most.
    fn evidence(&mut self, trial: &Trial) -> Vec<Evidence>;
    /// Waits until something changes, at most this long. Shows the watchdog that we live.
    fn wait(&mut self, at_most: Duration);
}
