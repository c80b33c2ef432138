//! `units`: what the switch started, restarted or reloaded must not fail, nor restart in a loop.
//!
//! Which those are is found out once, right after the switch: every unit whose state changed since
//! the switch began, and that no timer starts. What fails besides is reported as `other-units` and
//! decides nothing: a backup timer that fails in the window is not the commit's fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;

use super::{Sight, Sighting};
use crate::effects::evidence;
use crate::effects::systemd::{SERVICE, Systemd, UNIT, Unit};
use crate::handover::report::Evidence;
use crate::model::text::escaped;

/// From this restart on, a unit counts as looping for the rest of the window, also between two
/// restarts.
const LOOPS: u32 = 3;

/// How many units are described in the evidence; the rest are named.
const DESCRIBED: usize = 8;

/// What is remembered between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Failed, or in a loop, before the switch.
    pub bad_before: BTreeSet<String>,
    /// What the switch touched, with the number of restarts at the last look and how often that
    /// has grown.
    pub touched: BTreeMap<String, (u32, u32)>,
}

/// What one look found wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Of what the switch touched: name and what is wrong.
    pub touched: Vec<(String, &'static str)>,
    /// Of the rest.
    pub others: Vec<String>,
}

impl Memory {
    /// Judges the units of one look; `restarts` has the number of restarts of what was touched.
    pub fn judge(&mut self, units: &[Unit], restarts: &BTreeMap<String, u32>) -> Found {
        let mut found = Found::default();
        for unit in units.iter().filter(|unit| !is_ours(&unit.name)) {
            let grown = self.grown(&unit.name, restarts);
            if self.bad_before.contains(&unit.name) {
                continue;
            }
            let wrong = match (unit.active.as_str(), unit.sub.as_str(), grown) {
                ("failed", _, _) => "is failed",
                (_, "auto-restart" | "auto-restart-queued", _)
                | (_, _, Grown::Now | Grown::Often) => "restarts again and again",
                _ => continue,
            };
            match (self.touched.contains_key(&unit.name), unit.active == "failed") {
                (true, _) => found.touched.push((unit.name.clone(), wrong)),
                (false, true) => found.others.push(unit.name.clone()),
                (false, false) => {}
            }
        }
        found
    }

    fn grown(&mut self, name: &str, restarts: &BTreeMap<String, u32>) -> Grown {
        let (Some((last, times)), Some(now)) = (self.touched.get_mut(name), restarts.get(name))
        else {
            return Grown::No;
        };
        let grew = *now > *last;
        *times += u32::from(grew);
        *last = *now;
        match (*times >= LOOPS, grew) {
            (true, _) => Grown::Often,
            (false, true) => Grown::Now,
            (false, false) => Grown::No,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grown {
    No,
    Now,
    Often,
}

/// The trial's own units come and go.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("autodeploy-check-") || name.starts_with("autodeploy-trial.")
}

/// Lists what is failed or in a loop.
pub fn bad(units: &[Unit]) -> Vec<String> {
    let is_bad = |unit: &&Unit| unit.active == "failed" || unit.sub.starts_with("auto-restart");
    units.iter().filter(is_bad).map(|unit| unit.name.clone()).collect()
}

/// Units whose failure means something: the kernel's devices and the groupings of others do not
/// fail by themselves.
fn can_fail(name: &str) -> bool {
    ![".device", ".slice", ".scope", ".target"].iter().any(|kind| name.ends_with(kind))
}

/// The built-in check.
pub struct Units {
    systemd: Systemd,
    switched_at: Duration,
    memory: Memory,
    knows_touched: bool,
    described: BTreeMap<String, Evidence>,
}

impl Units {
    /// Prepares for a switch that began at `switched_at` of the monotonic clock.
    pub fn new(switched_at: Duration, bad_before: &[String]) -> Units {
        let bad_before = bad_before.iter().cloned().collect();
        Units {
            systemd: Systemd::new(),
            switched_at,
            memory: Memory { bad_before, touched: BTreeMap::new() },
            knows_touched: false,
            described: BTreeMap::new(),
        }
    }

    fn try_look(&mut self) -> Result<Found> {
        let units = self.systemd.units()?;
        if !self.knows_touched {
            self.memory.touched = self.touched(&units)?;
            self.knows_touched = true;
        }
        let mut restarts = BTreeMap::new();
        for name in self.memory.touched.keys().filter(|name| name.ends_with(".service")) {
            restarts.insert(name.clone(), self.systemd.property(name, SERVICE, "NRestarts")?);
        }
        Ok(self.memory.judge(&units, &restarts))
    }

    fn touched(&mut self, units: &[Unit]) -> Result<BTreeMap<String, (u32, u32)>> {
        let since = u64::try_from(self.switched_at.as_micros())?;
        let mut touched = BTreeMap::new();
        let present = units.iter().filter(|unit| unit.active != "inactive" && can_fail(&unit.name));
        for unit in present.filter(|unit| !is_ours(&unit.name)) {
            let changed: u64 =
                self.systemd.property(&unit.name, UNIT, "StateChangeTimestampMonotonic")?;
            if changed < since {
                continue;
            }
            let by: Vec<String> = self.systemd.property(&unit.name, UNIT, "TriggeredBy")?;
            if !by.iter().any(|name| name.ends_with(".timer")) {
                // Restarts from before the first look count: there was no unit of this run before.
                touched.insert(unit.name.clone(), (0, 0));
            }
        }
        Ok(touched)
    }

    fn describe(&mut self, names: &[&String]) -> Vec<Evidence> {
        for name in names.iter().take(DESCRIBED) {
            if !self.described.contains_key(*name) {
                let evidence = evidence::of_unit(&mut self.systemd, name);
                self.described.insert((*name).clone(), evidence);
            }
        }
        names.iter().filter_map(|name| self.described.get(*name).cloned()).collect()
    }
}

impl Sight for Units {
    fn look(&mut self) -> Vec<Sighting> {
        let found = match self.try_look() {
            Ok(found) => found,
            Err(error) => {
                let message = escaped(&format!("{error:#}"), 300);
                return vec![Sighting::red(message), Sighting::green("could not be looked at")];
            }
        };
        let touched: Vec<_> = found.touched.iter().map(|(name, _)| name).collect();
        let mine = Sighting {
            good: found.touched.is_empty(),
            message: words(&found.touched),
            evidence: self.describe(&touched),
        };
        let others: Vec<_> = found.others.iter().map(|name| (name.clone(), "is failed")).collect();
        let other =
            Sighting { good: others.is_empty(), message: words(&others), evidence: Vec::new() };
        vec![mine, other]
    }
}

fn words(found: &[(String, &str)]) -> String {
    let each = found.iter().map(|(name, wrong)| format!("`{}` {wrong}", escaped(name, 100)));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, active: &str, sub: &str) -> Unit {
        Unit { name: name.to_owned(), active: active.to_owned(), sub: sub.to_owned() }
    }

    fn memory() -> Memory {
        Memory {
            bad_before: ["old.service".to_owned()].into(),
            touched: [("web.service".to_owned(), (0, 0)), ("old.service".to_owned(), (0, 0))]
                .into(),
        }
    }

    fn restarts(count: u32) -> BTreeMap<String, u32> {
        [("web.service".to_owned(), count)].into()
    }

    #[track_caller]
    fn check(unit: Unit, touched: &[(&str, &'static str)], others: &[&str]) {
        let found = memory().judge(&[unit], &restarts(0));
        let touched: Vec<_> =
            touched.iter().map(|(name, what)| ((*name).to_owned(), *what)).collect();
        assert_eq!(
            (found.touched, found.others),
            (touched, others.iter().map(|s| (*s).to_owned()).collect())
        );
    }

    #[test]
    fn only_what_the_switch_touched_decides() {
        check(unit("web.service", "active", "running"), &[], &[]);
        check(unit("web.service", "failed", "failed"), &[("web.service", "is failed")], &[]);
        check(
            unit("web.service", "activating", "auto-restart"),
            &[("web.service", "restarts again and again")],
            &[],
        );
        check(unit("backup.service", "failed", "failed"), &[], &["backup.service"]);
        check(unit("backup.service", "activating", "auto-restart"), &[], &[]);
        check(unit("old.service", "failed", "failed"), &[], &[]);
        check(unit("autodeploy-check-web-1.service", "failed", "failed"), &[], &[]);
    }

    #[test]
    fn a_loop_is_red_at_each_restart_and_for_good_after_the_third() {
        let mut memory = memory();
        let running = [unit("web.service", "active", "running")];
        let mut is_red = |count| !memory.judge(&running, &restarts(count)).touched.is_empty();
        let seen: Vec<_> = [0, 1, 1, 2, 2, 3, 3].into_iter().map(&mut is_red).collect();
        assert_eq!(seen, [false, true, false, true, false, true, true]);
    }

    #[test]
    fn a_baseline_names_what_is_bad_already() {
        let units = [
            unit("a.service", "failed", "failed"),
            unit("b.service", "activating", "auto-restart"),
            unit("c.service", "active", "running"),
        ];
        assert_eq!(bad(&units), ["a.service", "b.service"]);
    }
}
