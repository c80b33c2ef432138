//! Deployments that are interrupted at random moments, a few of each seed; `make soak` does many.
//!
//! After each of them an outside observer finds the old or the new system everywhere, record and
//! status agree with it within one recovery, and the commit ends as it should.

use anyhow::Result;
use autodeploy_testhost::interruptions::{Subject, figures, table};
use autodeploy_testhost::package;

/// How many interruptions each of the seeds gets.
const EACH: usize = 5;

fn nothing_is_lost(seed: u64) -> Result<()> {
    let mut all = Vec::new();
    let mut subject = Subject::boot(seed, &package::binaries())?;
    subject.interrupt(EACH, &mut |one| all.push(one))?;
    println!("{}", table(&all));
    let interruptions = figures(&all, 0)["interruptions"].as_u64();
    assert!(interruptions.is_some_and(|count| count >= EACH as u64), "{all:#?}");
    Ok(())
}

#[test]
fn nothing_is_lost_by_the_interruptions_of_seed_106() -> Result<()> {
    nothing_is_lost(106)
}

#[test]
fn nothing_is_lost_by_the_interruptions_of_seed_114() -> Result<()> {
    nothing_is_lost(114)
}

#[test]
fn nothing_is_lost_by_the_interruptions_of_seed_124() -> Result<()> {
    nothing_is_lost(124)
}

#[test]
fn nothing_is_lost_by_the_interruptions_of_seed_128() -> Result<()> {
    nothing_is_lost(128)
}
