//! Which closures may be tried: those of this host, and, where that is asked for, those that are
//! signed. The activator is asked by hand, as a compromised agent could.

use anyhow::{Context, Result};
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::requests::{
    URL, ask, ask_with, assert_end, assert_settled_on, built, end, machine, trial,
};
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use serde_json::{Value, json};

const UNSIGNED: &str = "failed/closure-not-signed retry=false";
const SIGN: &str = "nix store sign --key-file";

/// Makes a key of Nix in the file `/root/NAME`, and gives its public part.
fn key(world: &World, name: &str) -> Result<String> {
    world.host.sh(&format!(
        "cd /root; nix key generate-secret --key-name {name}-1 > {name}; nix key convert-secret-to-public < {name}"
    ))
}

/// The configuration that lets only signed closures in.
fn signed(infra: &Infra, key: &str) -> String {
    format!(
        "{}\n[trust]\nclosures = \"signed\"\nclosure_keys = [\"{key}\"]\n",
        infra.default_config(URL, "8s", "2s").replace("[build]", "[build]\nsubstitute_only = true")
    )
}

/// Asks for a trial, asserts how it ends and that it changed nothing, and gives what was said.
fn refused(
    world: &World,
    number: u64,
    (toplevel, more): (&str, Value),
    expected: &str,
) -> Result<String> {
    let before = world.host.profile()?.generation;
    let running = world.host.running_system()?;
    ask_with(world, number, toplevel, more)?;
    let ended = end(world, number)?;
    assert_end(&ended, expected);
    assert_eq!(world.host.profile()?.generation, before);
    assert_settled_on(world, &running)?;
    let phases: Vec<_> = ended["steps"].as_array().into_iter().flatten().collect();
    let switched = phases.iter().any(|step| step["phase"] == "switching");
    assert!(!switched, "{ended:#}");
    Ok(ended["message"].as_str().unwrap_or_default().to_owned())
}

/// A machine that demands signatures of `ours`, trusts `cache` for what a system needs, and signs
/// what it builds with `own`; and the closure that made it so.
fn demanding(label: &str) -> Result<(World, String)> {
    let world = machine(label)?;
    let (ours, cache) = (key(&world, "ours")?, key(&world, "cache")?);
    key(&world, "own")?;
    key(&world, "strange")?;
    let turned_on = built(&world, "only what is signed", |infra| {
        let nix = std::fs::read_to_string(infra.path.join("common/etc/nix/nix.conf"))?;
        let more = format!("secret-key-files = /root/own\ntrusted-public-keys = {cache}\n");
        infra.write("common/etc/nix/nix.conf", &(nix + &more))?;
        infra.config(&signed(infra, &ours))
    })?;
    // What permits is the running configuration, and that one asks for nothing yet.
    ask(&world, 1, &turned_on)?;
    assert_end(&end(&world, 1)?, "kept/healthy retry=false");
    assert_settled_on(&world, &turned_on)?;
    Ok((world, turned_on))
}

/// What a system needs that is not named by its contents.
fn built_parts(world: &World, toplevel: &str) -> Result<String> {
    world.host.sh(&format!(
        "for path in $(nix-store -qR {toplevel}); do \
         [ $path = {toplevel} ] || nix path-info --json $path | grep -q '\"ca\":\"' || echo $path; done"
    ))
}

#[test]
fn only_a_closure_whose_every_path_is_signed_is_tried() -> Result<()> {
    let (world, turned_on) = demanding("signed")?;
    let host = &world.host;
    let first = world.first_toplevel.clone();
    let new = built(&world, "web", |infra| infra.service("web", "exec sleep infinity"))?;
    let parts = built_parts(&world, &new)?.replace('\n', " ");
    assert!(parts.contains("-autodeploy-") && parts.contains("-systemd-"), "{parts}");
    let ask = |number, toplevel: &str| refused(&world, number, (toplevel, json!({})), UNSIGNED);

    // Nix holds what was built here for trusted, and its own key has signed it.
    assert!(host.sh(&format!("nix path-info --sigs {new}"))?.contains("ultimate own-1:"));
    let said = ask(2, &new)?;
    assert!(said.contains("is not signed by a key in `trust.closure_keys`"), "{said}");
    host.sh(&format!(
        "{SIGN} /root/strange --recursive {new}; {SIGN} /root/cache --recursive {new}"
    ))?;
    let said = ask(3, &new)?;
    assert!(said.contains("is not signed by a key in `trust.closure_keys`"), "{said}");

    // The same system named by its contents: Nix itself asks for no signature of it.
    let rewritten = host.sh(&format!(
        "nix store make-content-addressed --json {new} | grep -o '/nix/store/[^\"]*-nixos-system-box' | grep -v {new}"
    ))?;
    host.sh(&format!(
        "nix store verify --no-contents --sigs-needed 1 --option trusted-public-keys '' {rewritten}"
    ))?;
    let said = ask(4, &rewritten)?;
    assert!(said.contains("without any key"), "{said}");

    // Each part by the cache and the system by us: every path has a signature that counts.
    host.sh(&format!("{SIGN} /root/ours {new}"))?;
    ask_and_keep(&world, 5, &new)?;

    // A part that only this machine's own key has signed.
    let next = built(&world, "an upgrade", |infra| infra.set("systemd-version", "257.9\n"))?;
    host.sh(&format!("{SIGN} /root/ours {next}"))?;
    let part = host.sh(&format!("readlink {next}/systemd"))?;
    assert!(host.sh(&format!("nix path-info --sigs {part}"))?.contains("own-1:"));
    let said = ask(6, &next)?;
    assert!(said.contains("a part of what") && said.ends_with(&format!("`{part}`")), "{said}");
    // As the hint has it: the cache that signs all that it serves has the signatures.
    host.sh(&format!(
        "nix copy --to 'file:///var/cache/ours?compression=none&secret-key=/root/ours' {next}; \
         nix store copy-sigs --recursive --substituter file:///var/cache/ours {next}"
    ))?;
    ask_and_keep(&world, 7, &next)?;

    // Calling it a rollback, or an emergency, or unblocked, makes no difference.
    for (number, more) in [
        (8, json!({"kind": "rollback", "generation": 1})),
        (9, json!({"emergency": true, "unblocked_by": 0})),
    ] {
        refused(&world, number, (&first, more), UNSIGNED)?;
    }
    refused(&world, 10, (&turned_on, json!({})), UNSIGNED)?;
    // A signature does not say when: what was signed once stays so.
    ask_and_keep(&world, 11, &new)
}

fn ask_and_keep(world: &World, number: u64, toplevel: &str) -> Result<()> {
    ask(world, number, toplevel)?;
    assert_end(&end(world, number)?, "kept/healthy retry=false");
    assert_settled_on(world, toplevel)
}

#[test]
fn the_way_back_needs_no_signature() -> Result<()> {
    let (world, turned_on) = demanding("signed-back")?;
    let bad = built(&world, "bad", |infra| infra.service("web", "sleep 1; exit 7"))?;
    world.host.sh(&format!("{SIGN} /root/ours --recursive {bad}"))?;
    ask(&world, 2, &bad)?;
    assert_end(&end(&world, 2)?, "reverted/unhealthy retry=false");
    assert_settled_on(&world, &turned_on)?;
    // It runs, and is the default: that it is asked for again moves nothing.
    ask(&world, 3, &turned_on)?;
    assert_end(&end(&world, 3)?, "kept/already-running retry=false");
    Ok(())
}

#[test]
fn a_closure_of_another_host_is_refused_however_it_is_asked_for() -> Result<()> {
    const WRONG: &str = "failed/wrong-host retry=false";
    let world = machine("other-host")?;
    let here = world.forge.infra.clone();
    let other = Infra { host: "other".to_owned(), ..here.clone() };
    let config = |infra: &Infra| infra.default_config(URL, "8s", "2s");
    let commit = world.forge.push("another host", |infra| {
        other.add_host("other")?;
        other.config(&config(&other))?;
        // The same package, so that only the names tell the two apart.
        let label = std::fs::read_to_string(here.path.join("hosts/box/autodeploy-label"))?;
        other.set("autodeploy-label", &label)?;
        infra.etc("seen", "yes\n")
    })?;
    let of = |host: &str, commit: &str| {
        world.host.sh(&format!(
            "nix build --no-link --print-out-paths --no-update-lock-file \
             'git+file:///srv/infra?rev={commit}#nixosConfigurations.\"{host}\".config.system.build.toplevel'"
        ))
    };
    let theirs = of("other", &commit)?;
    let said = refused(&world, 1, (&theirs, json!({})), WRONG)?;
    assert_eq!(said, "the closure belongs to host `other`, and this one is `box`");
    let rollback =
        json!({"kind": "rollback", "generation": 1, "emergency": true, "unblocked_by": 0});
    refused(&world, 2, (&theirs, rollback), WRONG)?;
    // Also where it is one of the machine's own generations: somebody set it by hand.
    world.host.set_profile(&theirs)?;
    world.host.set_profile(&world.first_toplevel)?;
    refused(&world, 3, (&theirs, json!({"kind": "rollback", "generation": 2})), WRONG)?;

    type Change<'a> = &'a dyn Fn() -> Result<()>;
    let cases: [(&str, Change, &str); 5] = [
        ("ours by name, theirs by configuration", &|| here.config(&config(&other)), WRONG),
        (
            "theirs by name, ours by configuration",
            &|| {
                here.config(&config(&here))?;
                other.config(&config(&here))
            },
            WRONG,
        ),
        (
            "no name of a host",
            &|| other.config(&config(&here).replace("host = \"box\"", "host = 5")),
            WRONG,
        ),
        (
            "no configuration",
            &|| {
                other.unset("etc/autodeploy/config.toml");
                Ok(())
            },
            "failed/no-configuration retry=false",
        ),
        ("no TOML", &|| other.config("host = \"box"), "failed/no-configuration retry=false"),
    ];
    for (number, (what, change, expected)) in cases.into_iter().enumerate() {
        let commit = world.forge.push(what, |_| change())?;
        let host = if number == 0 { "box" } else { "other" };
        let toplevel = of(host, &commit)?;
        refused(&world, 10 + number as u64, (&toplevel, json!({})), expected).context(what)?;
    }
    Ok(())
}

#[test]
fn a_configuration_that_names_another_hosts_system_ends_before_the_activator_is_asked() -> Result<()>
{
    use autodeploy_testhost::follow::end_of;
    use autodeploy_testhost::forge::Scheme;
    use autodeploy_testhost::host::HostOptions;
    use autodeploy_testhost::package;

    let world = World::boot_with("other-attribute", HostOptions::default(), |infra, host| {
        let label = package::put(host, &package::binaries(), "")?;
        infra.autodeploy(&label)?;
        let other = Infra { host: "other".to_owned(), ..infra.clone() };
        other.add_host("other")?;
        other.config(&other.default_config(Scheme::Http.url(), "8s", "2s"))?;
        other.set("autodeploy-label", &format!("{label}\n"))?;
        let wrong = "[build]\nattribute = 'nixosConfigurations.other.config.system.build.toplevel'";
        let config = infra.default_config(Scheme::Http.url(), "8s", "2s");
        infra.config(&config.replace("[build]", wrong))
    })?;
    let refused = world.host.verdict(&world.first_commit)?;
    assert_eq!(end_of(&refused), "failed/wrong-host", "{refused:#}");
    wait_until("the activator's report", autodeploy_testhost::requests::SOON, || {
        Ok(world.host.exists(autodeploy_testhost::requests::REPORT))
    })?;
    assert_eq!(trial(&world, 1)?, None, "the activator was asked");
    world.assert_settled_on(&world.first_toplevel)
}
