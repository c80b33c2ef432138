//! The last step of `make soak`: merges what the parts measured, prints it as one table, and writes
//! `target/soak/results.json`. It fails if a law was broken or a state lost, and says what is
//! missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

/// Every figure, with what it is.
const FIGURES: [(&str, &str); 12] = [
    ("matrix_cases", "places, faults and reboots whose exact story is written down"),
    ("simulated_runs", "stories of both machines on one simulated host"),
    ("simulated_violations", "stories in which a law was broken"),
    ("pairs_reached_min", "how often the rarest pair of place and fault happened"),
    ("mutants_caught_share", "of the viable mutants of the files that decide"),
    ("interruptions", "interruptions of a booted host"),
    ("forced_share", "of these, kills and power cuts"),
    ("lost_states", "after which the host was neither old nor new, or not as recorded"),
    ("recover_seconds_median", "from an interruption to a settled host"),
    ("recover_seconds_p99", ""),
    ("recover_seconds_worst", ""),
    ("revert_extra_seconds_p99", "from the verdict to the exec of the old system's switch"),
];

/// Figures that have to be nothing.
const NOTHING: [&str; 2] = ["simulated_violations", "lost_states"];

fn main() -> Result<ExitCode> {
    let folder = Path::new("target/soak");
    let mut found = parts(&folder.join("parts"))?;
    if let Some(share) = caught(Path::new("target/mutants"))? {
        found.insert("mutants_caught_share".to_owned(), share);
    }
    let mut good = true;
    for (name, what) in FIGURES {
        let value = found.get(name);
        let shown = value.map_or_else(|| "not measured".to_owned(), Value::to_string);
        println!("{name:28} {shown:>14}  {what}");
        good &= !NOTHING.contains(&name) || value.is_none_or(|value| value.as_f64() == Some(0.0));
    }
    let missing = FIGURES.iter().filter(|(name, _)| !found.contains_key(*name)).count();
    fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(&found)?;
    fs::write(folder.join("results.json"), text).context("could not write the results")?;
    match (good, missing) {
        (true, 0) => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// Reads every part: a flat object of names and numbers.
fn parts(folder: &Path) -> Result<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let part: BTreeMap<String, Value> = serde_json::from_str(&text)
            .with_context(|| format!("could not read `{}`", path.display()))?;
        found.extend(part);
    }
    Ok(found)
}

/// What `make mutants` left, a folder for each shard: the share of the viable mutants that a test
/// or a time limit noticed.
fn caught(folder: &Path) -> Result<Option<Value>> {
    let (mut noticed, mut missed) = (0, 0);
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    for entry in entries {
        let path = entry?.path().join("mutants.out/outcomes.json");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let outcomes: Value = serde_json::from_str(&text)?;
        let count = |name: &str| outcomes[name].as_u64().unwrap_or_default();
        noticed += count("caught") + count("timeout");
        missed += count("missed");
    }
    let share = noticed as f64 / (noticed + missed) as f64;
    Ok((noticed + missed > 0).then(|| Value::from((share * 1000.0).round() / 1000.0)))
}
