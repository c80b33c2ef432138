//! How small and how fast: `bench [NAME…]`, a table and `target/bench/results.json`.
//!
//! Everything is measured on a booted machine with the release binaries, against what the same
//! machine takes for the same by hand. Medians; memory and processor time are those of all
//! processes of `autodeploy.service`, children that have ended included.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use autodeploy_testhost::measure;
use autodeploy_testhost::place;
use serde_json::Value;

type Measure = fn(&mut BTreeMap<&'static str, f64>) -> Result<()>;

/// What is measured, in the order of the table; each may give several figures.
const ALL: [(&str, Measure); 5] = [
    ("sizes", measure::sizes),
    ("idle", measure::idle),
    ("small", measure::switch_small),
    ("large", measure::switch_large),
    ("revert", measure::revert),
];

/// What the figures may be at the most.
const BARS: [(&str, f64); 8] = [
    ("agent_binary_mib", 12.0),
    ("activator_binary_mib", 4.0),
    ("idle_pss_mib", 8.0),
    ("poll_cpu_ms", 1.0),
    ("restart_evaluations", 0.0),
    ("switch_extra_ms_small", 80.0),
    ("switch_overhead_ratio_large", 1.15),
    ("revert_extra_seconds", 0.2),
];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut figures = BTreeMap::new();
    for (name, measure) in ALL {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            eprintln!("measuring {name} …");
            measure(&mut figures).with_context(|| format!("measuring `{name}`"))?;
        }
    }
    print_table(&figures);
    write(&figures)
}

fn print_table(figures: &BTreeMap<&'static str, f64>) {
    println!("{:32} {:>10} {:>10}", "figure", "measured", "bar");
    for (name, value) in figures {
        let bar = BARS.iter().find(|(bar, _)| bar == name).map(|(_, bar)| *bar);
        let (bar, verdict) = match bar {
            Some(bar) => (format!("{bar}"), if *value <= bar { "" } else { "  over" }),
            None => (String::new(), ""),
        };
        println!("{name:32} {value:>10.3} {bar:>10}{verdict}");
    }
}

fn write(figures: &BTreeMap<&'static str, f64>) -> Result<()> {
    let folder = place::target().join("bench");
    fs::create_dir_all(&folder)?;
    let object: serde_json::Map<String, Value> =
        figures.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    let path = folder.join("results.json");
    fs::write(&path, format!("{:#}\n", Value::Object(object)))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}
