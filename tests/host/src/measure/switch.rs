//! From `run-now` to the exec of `switch-to-configuration`, against the same by hand.

use std::time::Duration;

use anyhow::Result;

use super::{Figures, STARTED, boot, median};
use crate::wait::wait_until;
use crate::world::World;

/// How many pairs are measured; with seven, one run differed from the next by what is measured.
const ROUNDS: usize = 21;

/// How many pairs come first and do not count: the first ones find nothing in any cache.
const WARM_UP: usize = 4;

const LIMIT: Duration = Duration::from_secs(300);
const URL: &str = "http://forge/git/infra.git";

/// By hand: one `git fetch`, one `nix eval`, one `nix-store --realise`, as the agent's own user.
const BY_HAND: &str = r#"
cd ~/by-hand
begin=$(date +%s%N)
git fetch -q origin main
commit=$(git rev-parse FETCH_HEAD)
drv=$(nix eval --raw --no-update-lock-file "git+file://$HOME/by-hand?rev=$commit#nixosConfigurations.\"box\".config.system.build.toplevel.drvPath")
nix-store --realise "$drv" --add-root ~/by-hand-root >/dev/null
end=$(date +%s%N)
echo $(( (end - begin) / 1000 ))
"#;

/// Measures a repository of a few files.
///
/// # Errors
/// Fails when the machine cannot be booted or a commit is not deployed.
pub fn switch_small(figures: &mut Figures) -> Result<()> {
    let pairs = measure("bench-small", |_| Ok(()))?;
    figures.insert("switch_small_by_hand_ms", over(&pairs, |pair| pair.by_hand));
    figures.insert("switch_extra_ms_small", over(&pairs, |pair| pair.ours - pair.by_hand));
    Ok(())
}

/// Measures a repository of 20,000 commits and 5,000 files.
///
/// # Errors
/// As [`switch_small`].
pub fn switch_large(figures: &mut Figures) -> Result<()> {
    let pairs = measure("bench-large", grow)?;
    figures.insert("switch_large_by_hand_ms", over(&pairs, |pair| pair.by_hand));
    figures.insert("switch_overhead_ratio_large", over(&pairs, |pair| pair.ours / pair.by_hand));
    Ok(())
}

/// Ours and the same by hand, one right after the other: milliseconds.
struct Pair {
    ours: f64,
    by_hand: f64,
}

/// The median over all pairs. What a pair is measured for is taken from it before, because the
/// machine's own speed differs more from one pair to the next than the two within one.
fn over(pairs: &[Pair], figure: fn(&Pair) -> f64) -> f64 {
    median(pairs.iter().map(figure).collect())
}

/// Deploys and builds by hand in turns, and gives the pairs that count.
///
/// Each has a commit of its own of the same shape, so that neither finds in the store what the
/// other brought, and they take turns in going first.
fn measure(label: &str, prepare: fn(&World) -> Result<()>) -> Result<Vec<Pair>> {
    let world = boot(label, |infra| {
        let config = infra.default_config(URL, "20s", "1s");
        config.replace("poll_interval = \"2s\"", "poll_interval = \"10h\"")
    })?;
    prepare(&world)?;
    world.host.run_limited("autodeployctl run-now", LIMIT)?.ok()?;
    let clone = format!("git init -q -b main ~/by-hand; cd ~/by-hand; git remote add origin {URL}");
    as_agent(&world, &format!("{clone}; git fetch -q origin main"))?;
    let mut pairs = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let mut pair = Pair { ours: 0.0, by_hand: 0.0 };
        let ours_first = round % 2 == 0;
        for ours in [ours_first, !ours_first] {
            world.forge.push("round", |infra| infra.etc("round", &format!("{round} {ours}")))?;
            match ours {
                true => pair.ours = run_now(&world)?,
                false => pair.by_hand = as_agent(&world, BY_HAND)?.parse::<f64>()? / 1000.0,
            }
        }
        pairs.push(pair);
    }
    Ok(pairs.split_off(WARM_UP))
}

/// Lets the agent deploy the tip, and gives the milliseconds from the command to the switch.
fn run_now(world: &World) -> Result<f64> {
    let text = world.host.sh(&format!(
        "rm -f {STARTED}; date +%s%N; autodeployctl run-now >/dev/null; head -1 {STARTED}"
    ))?;
    let times: Vec<f64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let [begin, end] = times[..] else { anyhow::bail!("no switch was started: {text}") };
    wait_until("idle", LIMIT, || Ok(world.host.status()?["phase"] == "idle"))?;
    Ok((end - begin) / 1e6)
}

fn as_agent(world: &World, script: &str) -> Result<String> {
    world.host.run_as("autodeploy", script)?.ok()
}

/// Makes 20,000 commits and 5,000 files, quickly.
fn grow(world: &World) -> Result<()> {
    let infra = &world.forge.infra;
    for number in 0..5000 {
        infra.write(&format!("data/{:02}/{number}", number % 100), &format!("{number}\n"))?;
    }
    infra.commit("five thousand files")?;
    // A commit may not be older than the last kept one.
    let (tip, date) =
        (infra.git(&["rev-parse", "HEAD"])?, infra.git(&["log", "-1", "--format=%ct"])?);
    let mut stream = String::new();
    for number in 0..20_000 {
        let from = if number == 0 { format!("from {tip}\n") } else { String::new() };
        stream += &format!(
            "commit refs/heads/main\ncommitter Test <test@forge> {date} +0000\ndata 1\n.\n{from}M 100644 inline counter\ndata {}\n{number}\n",
            number.to_string().len()
        );
    }
    let file = infra.path.with_extension("stream");
    std::fs::write(&file, stream)?;
    crate::run::shell(&format!(
        "cd '{0}'; git -c safe.directory='*' fast-import --quiet --force < '{1}'; git reset -q --hard main",
        infra.path.display(),
        file.display()
    ))?;
    world.forge.push_as_it_is(&["--force"])
}
