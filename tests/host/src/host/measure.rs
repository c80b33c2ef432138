//! What a unit costs, all of its processes counted.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Host;
use crate::cgroup;

impl Host {
    /// The control group of a unit, as seen from outside.
    ///
    /// # Errors
    /// Fails when the unit has none, because it does not run.
    pub fn unit_cgroup(&self, unit: &str) -> Result<PathBuf> {
        let inner = self.unit_property(unit, "ControlGroup")?;
        let path = self.control_groups()?.join(inner.trim_start_matches('/'));
        anyhow::ensure!(!inner.is_empty() && path.exists(), "`{unit}` has no control group");
        Ok(path)
    }

    /// The folder of all control groups of the machine, as seen from outside.
    ///
    /// # Errors
    /// Fails when the machine has no power.
    pub fn control_groups(&self) -> Result<PathBuf> {
        let leader = fs::read_to_string(format!("/proc/{}/cgroup", self.leader()?))?;
        let init = leader
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .context("no unified hierarchy")?;
        let root = init.strip_suffix("/init.scope").unwrap_or(init);
        Ok(cgroup::unified().join(root.trim_start_matches('/')))
    }

    /// The proportional set size of all processes of a unit, in KiB.
    ///
    /// # Errors
    /// Fails when the unit does not run.
    pub fn unit_pss_kib(&self, unit: &str) -> Result<u64> {
        let mut sum = 0;
        for pid in cgroup::processes(&self.unit_cgroup(unit)?) {
            // A child may be gone by now.
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
            sum += line.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0);
        }
        Ok(sum)
    }

    /// The processor time of a unit since it was started, children that ended counted.
    ///
    /// # Errors
    /// Fails when the unit does not run.
    pub fn unit_cpu(&self, unit: &str) -> Result<Duration> {
        let text = fs::read_to_string(self.unit_cgroup(unit)?.join("cpu.stat"))?;
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(usage.context("no usage in cpu.stat")?.parse()?))
    }
}
