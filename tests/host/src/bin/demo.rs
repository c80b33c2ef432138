//! Shows the main job as it happens: `demo [--keep]`.
//!
//! Boots a machine and a forge, and pushes to it. Says before each push what is about to happen,
//! and afterwards what came of it and how long that took; ends with an error when it did not.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use autodeploy_testhost::forge::{Forge, Scheme};
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::package;
use autodeploy_testhost::place;
use autodeploy_testhost::wait::wait_for;
use autodeploy_testhost::world::World;
use serde_json::Value;

/// Longer than the five seconds after which the second push crashes.
const SETTLE: &str = "7s";
const WINDOW: &str = "14s";
const LIMIT: Duration = Duration::from_secs(90);

/// One push, and what has to come of it.
struct Scene {
    title: &'static str,
    about: &'static str,
    ends: &'static str,
    push: fn(&Forge) -> Result<String>,
}

const SCENES: [Scene; 5] = [
    Scene {
        title: "a good push",
        about: "adds a web service that runs",
        ends: "kept/healthy",
        push: |forge| {
            forge.push("web: serve the page", |infra| infra.service("web", "exec sleep infinity"))
        },
    },
    Scene {
        title: "a push whose service crashes five seconds after the switch",
        about: "the switch itself succeeds; only the window can see it",
        ends: "reverted/unhealthy",
        push: |forge| {
            forge.push("web: use the new database", |infra| {
                infra.service("web", "sleep 5; echo could not open the database >&2; exit 1")
            })
        },
    },
    Scene {
        title: "a push that cuts the network",
        about: "every service stays healthy, but the next push could never arrive",
        ends: "reverted/unhealthy",
        push: |forge| {
            forge.push("network: tidy up", |infra| {
                infra.service("web", "exec sleep infinity")?;
                infra.remove_unit("host-network.service")
            })
        },
    },
    Scene {
        title: "a `git revert` of both",
        about: "that is the system which runs already: nothing is switched",
        ends: "kept/already-running",
        push: |forge| {
            forge.infra.git(&["revert", "--no-edit", "HEAD~2..HEAD"])?;
            forge.push_as_it_is(&[])?;
            forge.infra.git(&["rev-parse", "HEAD"])
        },
    },
    Scene {
        title: "another good push",
        about: "the branch is followed as before",
        ends: "kept/healthy",
        push: |forge| forge.push("web: a second page", |infra| infra.etc("motd", "second page\n")),
    },
];

fn main() -> Result<()> {
    let keep = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [word] if word == "--keep" => true,
        _ => bail!("usage: demo [--keep]"),
    };
    println!(
        "Booting a machine (systemd, Nix) and a forge (Git over http), each in its own network."
    );
    println!("The first time this makes a Debian tree below, which takes a minute.\n");
    let began = Instant::now();
    let world = boot()?;
    println!(
        "Booted in {}. It polls every second; window {WINDOW}, settle {SETTLE}.\n",
        took(began)
    );
    for (number, scene) in (1..).zip(&SCENES) {
        play(&world, number, scene)?;
    }
    println!("$ autodeployctl history");
    println!("{}", world.host.ctl("history")?.ok()?);
    println!("\n$ journalctl -t autodeployd -t autodeploy-activate   (the last 30 lines)");
    println!(
        "{}",
        world
            .host
            .sh("journalctl -q --no-pager -n 30 -o short -t autodeployd -t autodeploy-activate")?
    );
    match keep {
        true => leave_running(world),
        false => Ok(()),
    }
}

fn boot() -> Result<World> {
    World::boot_with("demo", HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &place::target().join("release"), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), WINDOW, SETTLE);
        infra.config(&config.replace("poll_interval = \"2s\"", "poll_interval = \"1s\""))
    })
}

fn play(world: &World, number: usize, scene: &Scene) -> Result<()> {
    println!("{number}. {}: {}.", scene.title, scene.about);
    let commit = (scene.push)(&world.forge)?;
    let began = Instant::now();
    println!("   pushed {}", &commit[..8]);
    let ended = follow(world, &commit, began)?;
    let text = |name: &str| ended["summary"][name].as_str().unwrap_or_default().to_owned();
    println!("   {:>6}  {}: {}", took(began), text("outcome"), text("message"));
    show_evidence(&ended);
    println!();
    let end = format!("{}/{}", text("outcome"), text("reason"));
    ensure!(end == scene.ends, "this should have ended as {}, not as {end}", scene.ends);
    Ok(())
}

/// Prints each phase as it is entered, until the commit's deployment has ended.
fn follow(world: &World, commit: &str, began: Instant) -> Result<Value> {
    let mut seen = String::new();
    let id = wait_for("the verdict", LIMIT, || {
        let status = world.host.status()?;
        let phase = status["phase"].as_str().unwrap_or_default();
        let mine = &status["deployment"];
        if mine["commit"] != commit {
            return Ok(None);
        }
        if phase != seen && phase != "idle" {
            println!("   {:>6}  {phase}", took(began));
            phase.clone_into(&mut seen);
        }
        Ok((!mine["outcome"].is_null()).then(|| mine["id"].clone()))
    })?;
    world.host.deployment(&id)
}

fn show_evidence(ended: &Value) {
    for one in ended["evidence"].as_array().into_iter().flatten() {
        println!("           evidence: {}", one["about"].as_str().unwrap_or_default());
        let text = one["text"].as_str().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(4)..] {
            println!("             {line}");
        }
    }
}

fn took(began: Instant) -> String {
    format!("{:.1} s", began.elapsed().as_secs_f64())
}

fn leave_running(world: World) -> Result<()> {
    let leader = world.host.leader()?;
    let (infra, bare) = (world.forge.infra.path.clone(), world.forge.repository());
    let name = world.keep();
    println!("\nThe machine goes on running.");
    println!(
        "look around  nsenter -t {leader} -a -- env -i PATH=/run/current-system/sw/bin:$PATH TERM=$TERM HOME=/root bash -l"
    );
    println!(
        "push         edit {0}, git -C {0} commit -a, git -C {0} push {1} HEAD:main",
        infra.display(),
        bare.display()
    );
    println!("end          cargo run -p autodeploy-testhost --bin host -- --end {name}");
    Ok(())
}
