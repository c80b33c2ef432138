//! Interrupts whole deployments on booted machines, and measures reverts:
//! `soak [--interruptions N] [--reverts N] [--seed N] | --machine SEED --interruptions N`.
//!
//! Writes `target/soak/parts/host.json`. `--machine` is what a failure prints: one machine, the same
//! plans again, nothing written. The binaries are those of `AUTODEPLOY_BIN_DIR`, or of this program's
//! own profile.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use autodeploy_testhost::interruptions::{self, Interrupted, Subject};
use autodeploy_testhost::measure;
use autodeploy_testhost::place;

/// How many interruptions one machine goes through before the next takes its turn.
const PER_MACHINE: usize = 25;
/// How many machines run at once.
const AT_ONCE: usize = 2;

struct Wanted {
    interruptions: usize,
    reverts: usize,
    seed: u64,
    machine: Option<u64>,
}

fn main() -> ExitCode {
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak() -> Result<()> {
    let wanted = read_arguments()?;
    if let Some(seed) = wanted.machine {
        let mut subject = Subject::boot(seed, &binaries()?)?;
        return subject.interrupt(wanted.interruptions, &mut |one| say(seed, &one));
    }
    let (all, failures) = interrupt(&wanted)?;
    let mut figures = interruptions::figures(&all, failures.len());
    if wanted.reverts > 0 {
        eprintln!("measuring {} reverts …", wanted.reverts);
        let mut extra = measure::reverts(&binaries()?, wanted.reverts)?;
        extra.sort_by(f64::total_cmp);
        let p99 = interruptions::rounded(interruptions::quantile(&extra, 0.99));
        figures.insert("revert_extra_seconds_p99".to_owned(), p99.into());
    }
    println!("{}", interruptions::table(&all));
    for (name, value) in &figures {
        println!("{name:32} {value:>10}");
    }
    let folder = place::target().join("soak/parts");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("host.json"), format!("{:#}\n", serde_json::Value::Object(figures)))?;
    match failures.is_empty() {
        true => Ok(()),
        false => bail!("{} machines lost a state:\n{}", failures.len(), failures.join("\n\n")),
    }
}

/// Machines side by side, until enough interruptions have hit; a machine that lost a state is
/// told of, and another one takes its place.
fn interrupt(wanted: &Wanted) -> Result<(Vec<Interrupted>, Vec<String>)> {
    let binaries = binaries()?;
    let (all, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let (next, left) = (AtomicU64::new(wanted.seed), AtomicUsize::new(wanted.interruptions));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(wanted.interruptions.div_ceil(PER_MACHINE)) {
            scope.spawn(|| {
                while let Some(share) = take(&left) {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    let mut done = |one: Interrupted| {
                        say(seed, &one);
                        if let Ok(mut all) = all.lock() {
                            all.push(one);
                        }
                    };
                    let ended = Subject::boot(seed, &binaries)
                        .and_then(|mut subject| subject.interrupt(share, &mut done));
                    if let (Err(error), Ok(mut failures)) = (ended, failures.lock()) {
                        eprintln!("{error:#}");
                        failures.push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let (all, failures) = (all.into_inner(), failures.into_inner());
    let poisoned = "a thread of the soak panicked";
    Ok((all.ok().context(poisoned)?, failures.ok().context(poisoned)?))
}

/// Takes a machine's share of what is left.
fn take(left: &AtomicUsize) -> Option<usize> {
    let rest = |left: usize| (left > 0).then(|| left.saturating_sub(PER_MACHINE));
    let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest).ok()?;
    Some(before.min(PER_MACHINE))
}

fn say(seed: u64, one: &Interrupted) {
    eprintln!(
        "{seed}: {:?} {:?} during {:?}: {:.2} s, {:?}",
        one.plan.commit,
        one.hits,
        one.during,
        one.recovered.as_secs_f64(),
        one.ends
    );
}

fn binaries() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("AUTODEPLOY_BIN_DIR") {
        return Ok(folder.into());
    }
    let program = std::env::current_exe()?;
    Ok(program.parent().context("a program without a folder")?.to_owned())
}

fn read_arguments() -> Result<Wanted> {
    let mut wanted = Wanted { interruptions: 300, reverts: 100, seed: 1, machine: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("`{name}` wants a number"))?;
        let number = value.parse::<u64>().with_context(|| format!("`{name} {value}`"))?;
        match name.as_str() {
            "--interruptions" => wanted.interruptions = usize::try_from(number)?,
            "--reverts" => wanted.reverts = usize::try_from(number)?,
            "--seed" => wanted.seed = number,
            "--machine" => wanted.machine = Some(number),
            _ => bail!("unknown argument `{name}`"),
        }
    }
    Ok(wanted)
}
