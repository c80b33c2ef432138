//! Disks that are too small: looked at before, full in the middle, and never half a system.

use std::time::Duration;

use anyhow::{Result, ensure};
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::package;
use autodeploy_testhost::world::World;
use serde_json::Value;

/// The disk of the store, and of /boot, in bytes.
const STORE: u64 = 320 << 20;
const BOOT: u64 = 8 << 20;

/// What the store's disk has to have left beside what is fetched, in MiB.
const RESERVE: u64 = 32;

/// What a commit of these tests has to fetch, in MiB.
const LARGE: u64 = 48;

const CONF: &str = "experimental-features = nix-command flakes\nsandbox = false\n\
    build-users-group =\nallowed-users = root autodeploy alice\ntrusted-users = root\n\
    substituters = file:///var/cache/closures\nrequire-sigs = false\nflake-registry =\n";

fn machine(label: &str, options: HostOptions, build: &str) -> Result<World> {
    World::boot_with(label, options, |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), "20s", "6s");
        let more = format!("mode = \"evaluate\"\nreserve = \"{RESERVE}MiB\"\n{build}");
        infra.config(&config.replace("mode = \"evaluate\"", &more))?;
        infra.etc("nix/nix.conf", CONF)
    })
}

fn small_store(label: &str, build: &str) -> Result<World> {
    machine(label, HostOptions { store_bytes: Some(STORE), ..HostOptions::default() }, build)
}

/// The closure of this commit needs something large, which only the cache has.
fn needs_something_large(infra: &Infra) -> Result<()> {
    let flake = std::fs::read_to_string(infra.path.join("flake.nix"))?;
    let large = format!(
        "large = run {{ name = \"large\"; args = [ \"-c\" ''\n\
         test -e /run/may-build && /usr/bin/head -c {LARGE}M /dev/urandom > $out\n'' ]; }};\n\
         in run {{\n          inherit large;\n"
    );
    ensure!(flake.contains("        in run {\n"));
    infra.write("flake.nix", &flake.replacen("in run {\n", &large, 1))
}

/// Makes what [`needs_something_large`] needs, and puts it into the cache and nowhere else.
fn fill_the_cache(world: &World) -> Result<String> {
    let infra = &world.forge.infra;
    infra.git(&["checkout", "-q", "-b", "in-the-cache"])?;
    needs_something_large(infra)?;
    let commit = infra.commit("only built")?;
    world.host.sh("touch /run/may-build")?;
    let toplevel = world.build(&commit)?;
    infra.git(&["checkout", "-q", "main"])?;
    world.host.sh(&format!(
        "large=$(nix-store --query --binding large $(nix-store --query --deriver {toplevel}))
         nix copy --to 'file:///var/cache/closures?compression=none' $large >&2
         chmod -R a+rX /var/cache/closures
         rm /run/may-build
         nix-store --delete {toplevel} >&2; nix-store --delete $large >&2
         echo $large"
    ))
}

/// Leaves so much room in the store, in MiB; with files that are no garbage.
fn leave(world: &World, mib: u64) -> Result<()> {
    world.host.sh(&format!(
        "left=$(($(df -B1M --output=avail /nix/store | tail -1) - {mib}))
         head -c ${{left}}M /dev/zero > /nix/store/filler
         df -h /nix/store >&2"
    ))?;
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_valid(world: &World, path: &str) -> Result<bool> {
    Ok(world.host.run(&format!("nix-store --check-validity {path}"))?.code() == 0)
}

#[test]
fn a_closure_that_does_not_fit_is_refused_before_anything_is_fetched() -> Result<()> {
    let world = small_store("disk-refused", "")?;
    let large = fill_the_cache(&world)?;
    leave(&world, RESERVE + LARGE / 2)?;
    let commit = world.forge.push("does not fit", needs_something_large)?;
    let refused = world.host.verdict(&commit)?;
    assert_eq!(end_of(&refused), "failed/no-space", "{refused:#}");
    let message = text(&refused["summary"]["message"]);
    assert!(message.contains("no room for `nixos-system-box` in `/nix/store`"), "{message}");
    assert!(message.contains("48.0 MiB (48.0 MiB to download)"), "{message}");
    assert!(text(&refused["hint"]).contains("nix-collect-garbage -d"), "{refused:#}");
    assert!(!is_valid(&world, &large)?);
    world.assert_settled_on(&world.first_toplevel)?;
    let status = world.host.status()?;
    assert_eq!(status["gates"][0]["kind"], "retry", "{status:#}");
    assert_eq!(status["blocked"].as_array().map(Vec::len), Some(0));

    world.host.sh("rm /nix/store/filler")?;
    let kept = world.host.verdict_number(&commit, 2)?;
    assert_eq!(end_of(&kept), "kept/healthy", "it is tried again by itself: {kept:#}");
    assert!(is_valid(&world, &large)?);
    world.host.nix_store_verify()
}

#[test]
fn garbage_is_collected_where_that_is_allowed_and_generations_stay() -> Result<()> {
    let world = small_store("disk-collect", "collect_garbage = \"when-full\"\n")?;
    let kept = world.forge.push("another generation", |infra| infra.etc("motd", "two\n"))?;
    assert_eq!(end_of(&world.host.verdict(&kept)?), "kept/healthy");
    fill_the_cache(&world)?;
    let garbage = world.host.sh(&format!(
        "left=$(($(df -B1M --output=avail /nix/store | tail -1) - {}))
         head -c ${{left}}M /dev/zero > /var/cache/garbage
         nix-store --add /var/cache/garbage",
        RESERVE + LARGE / 2
    ))?;
    let generations = world.host.generations()?;
    let commit = world.forge.push("fits after that", needs_something_large)?;
    let kept = world.host.verdict(&commit)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    assert!(!is_valid(&world, &garbage)?);
    for (number, toplevel) in generations {
        assert_eq!(world.host.generations()?.get(&number), Some(&toplevel));
        assert!(is_valid(&world, &toplevel)?);
    }
    let told = world.host.journal("-t autodeployd")?;
    assert!(told.iter().any(|line| text(&line["MESSAGE"]).contains("collecting garbage")));
    Ok(())
}

#[test]
fn a_store_that_gets_full_in_the_middle_ends_the_build_and_nothing_else() -> Result<()> {
    let world = small_store("disk-middle", "")?;
    let bad = world.forge.push("builds too much", |infra| {
        let flake = std::fs::read_to_string(infra.path.join("flake.nix"))?;
        let large = "large = run { name = \"large\"; args = [ \"-c\" \
                     \"/usr/bin/head -c 1G /dev/zero > $out\" ]; };\n\
                     in run {\n          inherit large;\n";
        infra.write("flake.nix", &flake.replacen("in run {\n", large, 1))
    })?;
    let failed = world.host.verdict(&bad)?;
    assert_eq!(end_of(&failed), "failed/no-space", "{failed:#}");
    assert!(failed["hint"].is_string(), "{failed:#}");
    world.assert_settled_on(&world.first_toplevel)?;
    assert_eq!(world.host.status()?["blocked"].as_array().map(Vec::len), Some(0));
    world.host.nix_store_verify()?;
    let good = world.forge.push("builds little", |infra| {
        infra.git(&["checkout", "-q", "HEAD^", "--", "flake.nix"])?;
        infra.etc("motd", "fits\n")
    })?;
    // Without a sandbox Nix leaves what the builder wrote until garbage is collected.
    assert_eq!(end_of(&world.host.verdict(&good)?), "failed/no-space");
    world.host.sh("nix-collect-garbage")?;
    assert_eq!(end_of(&world.host.verdict_number(&good, 2)?), "kept/healthy");
    Ok(())
}

#[test]
fn boot_that_gets_full_before_keeping_leaves_the_old_default_and_is_then_seen_before() -> Result<()>
{
    let options = HostOptions { boot_bytes: Some(BOOT), ..HostOptions::default() };
    let mut world = machine("disk-boot", options, "")?;
    let first = world.first_toplevel.clone();
    let before = (world.host.profile()?, world.host.boot_default()?);
    let commit = world.forge.push("good", |infra| infra.etc("motd", "good\n"))?;
    world.host.wait_phase("watching")?;
    world.host.fill_disk("/boot")?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/bootloader", "{reverted:#}");
    assert!(text(&reverted["hint"]).contains("/boot"), "{reverted:#}");
    world.assert_settled_on(&first)?;
    assert_eq!((world.host.profile()?, world.host.boot_default()?), before);

    // It is no fault of the commit's: what is tried again is refused before anything is switched.
    let refused = world.host.verdict_number(&commit, 2)?;
    assert_eq!(end_of(&refused), "failed/no-space", "{refused:#}");
    let message = text(&refused["summary"]["message"]);
    assert!(message.contains("no room for `nixos-system-box` in `/boot`"), "{message}");
    assert!(refused["hint"].is_string(), "{refused:#}");
    assert_eq!(world.host.status()?["blocked"].as_array().map(Vec::len), Some(0));
    world.host.power_cut()?;
    world.host.boot_again()?;
    world.assert_settled_on(&first)?;

    world.host.free_disk("/boot")?;
    let output = world.host.run_limited("autodeployctl run-now", Duration::from_secs(120))?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(world.host.read("/etc/motd")?, "good");
    world.assert_settled_on(&world.host.running_system()?)
}
