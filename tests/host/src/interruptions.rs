//! Whole deployments that are interrupted at random moments.
//!
//! `plan` draws what happens from a seed, `strike` carries it out, `subject` is the machine that it
//! happens to; [`crate::observer`] looks from outside, and `agreement` holds autodeploy's own words
//! against what is seen.

mod agreement;
pub mod plan;
mod strike;
mod subject;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use self::plan::{Interruption, Plan};

pub use subject::Subject;

/// A deployment, what interrupted it, and what came of it.
#[derive(Debug, Clone)]
pub struct Interrupted {
    pub plan: Plan,
    /// What hit, in order; empty when nothing was there to be hit.
    pub hits: Vec<Interruption>,
    /// The phase of the trial at the first hit.
    pub during: String,
    /// From the last hit to record, status and observer saying the same.
    pub recovered: Duration,
    /// The commit's outcomes, oldest first.
    pub ends: Vec<String>,
}

/// The command that draws and does the same again.
pub fn replay(seed: u64, interruptions: usize) -> String {
    format!(
        "cargo run -p autodeploy-testhost --bin soak -- --machine {seed} --interruptions {interruptions}"
    )
}

/// The figures of many deployments, for `target/soak/parts/host.json`.
pub fn figures(all: &[Interrupted], lost_states: usize) -> serde_json::Map<String, Value> {
    let hits: Vec<Interruption> = all.iter().flat_map(|one| one.hits.iter().copied()).collect();
    let forced = hits.iter().filter(|hit| hit.is_forced()).count();
    let mut recoveries: Vec<f64> = all
        .iter()
        .filter(|one| !one.hits.is_empty())
        .map(|one| one.recovered.as_secs_f64())
        .collect();
    recoveries.sort_by(f64::total_cmp);
    let figures = json!({
        "interruptions": hits.len(),
        "forced_share": rounded(forced as f64 / hits.len().max(1) as f64),
        "lost_states": lost_states,
        "recover_seconds_median": rounded(quantile(&recoveries, 0.5)),
        "recover_seconds_p99": rounded(quantile(&recoveries, 0.99)),
        "recover_seconds_worst": rounded(quantile(&recoveries, 1.0)),
    });
    figures.as_object().cloned().unwrap_or_default()
}

/// The smallest value that this share of the sorted values does not exceed.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// To a thousandth.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// What hit in which phase, as a table.
pub fn table(all: &[Interrupted]) -> String {
    let mut counts: BTreeMap<(String, Interruption), (usize, f64)> = BTreeMap::new();
    for one in all {
        if let Some(first) = one.hits.first() {
            let cell = counts.entry((one.during.clone(), *first)).or_default();
            cell.0 += 1;
            cell.1 = cell.1.max(one.recovered.as_secs_f64());
        }
    }
    let mut text = format!("{:18} {:16} {:>5} {:>8}\n", "during", "first hit", "count", "worst s");
    for ((during, hit), (count, worst)) in counts {
        let _ = writeln!(text, "{during:18} {:16} {count:>5} {worst:>8.2}", format!("{hit:?}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5).to_bits(), 50_f64.to_bits());
        assert_eq!(quantile(&values, 0.99).to_bits(), 99_f64.to_bits());
        assert_eq!(quantile(&values, 1.0).to_bits(), 100_f64.to_bits());
        assert!(quantile(&[], 0.5).is_nan());
    }
}
