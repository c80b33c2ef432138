//! Secrets stay where they were put: after deployments, failures and a crash with marked ones they
//! are looked for in every place that somebody else can read.

use std::time::Duration;

use anyhow::{Result, ensure};
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::{DEPLOY_KEY, Scheme};
use autodeploy_testhost::host::Host;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(40);

/// Never part of a line that is run on the machine, or the line itself would be found.
const TOKEN: &str = "marked-token-0f8fad5b";

/// `git:` and the token as a header has them.
const SENT: &str = "Z2l0Om1hcmtlZC10b2tlbi0wZjhmYWQ1Yg";

/// In the address of a flake's input, where autodeploy cannot keep it from the store or from Git,
/// and can keep it from what it shows.
const IN_AN_INPUT: &str = "marked-input-d9428888";

const PLACES: &str = "/var/lib/autodeploy /var/lib/autodeploy-activate /run/autodeploy \
    /run/autodeploy-activate /nix/store /nix/var /var/log /var/tmp /tmp /var/lib/systemd";

/// Writes down whatever argument or environment holds a mark, until the machine goes.
const SAMPLER: &str = "while :; do grep -saF -f /root/marks /proc/[0-9]*/cmdline \
    /proc/[0-9]*/environ >> /root/hits; sleep 0.02; done";

/// What the commands and the journal show that holds one of these texts.
fn shown(host: &Host, texts: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for line in [
        "autodeployctl status",
        "autodeployctl status --json",
        "autodeployctl history --json",
        "for id in 1 2 3 4 5 6 7 8; do autodeployctl show $id --json; autodeployctl log $id; done",
        "journalctl --all --no-pager --output=export",
        "systemctl show autodeploy autodeploy-activate.service autodeploy-trial.service",
        "nix log --help >/dev/null; cat /run/autodeploy/*.json /run/autodeploy-activate/*.json",
    ] {
        let output = host.run(line)?;
        let said = output.stdout + &output.stderr;
        found.extend(
            said.lines()
                .filter(|said| texts.iter().any(|text| said.contains(text)))
                .map(|said| format!("{line}: {said}")),
        );
    }
    Ok(found)
}

fn files(host: &Host) -> Result<String> {
    Ok(host.run(&format!("grep -rlsaF -f /root/marks {PLACES}"))?.text().to_owned())
}

fn use_token(world: &World) -> Result<String> {
    world.forge.push("token", |infra| {
        let config = infra.default_config(Scheme::Https.url(), "8s", "2s");
        let with = "branch = \"main\"\ntoken_file = \"/var/lib/keys/token\"\n";
        infra.config(&config.replace("branch = \"main\"\n", with))
    })
}

#[test]
fn no_secret_is_anywhere_after_deployments_failures_and_a_crash() -> Result<()> {
    let mut world = World::following("secrets", Scheme::Ssh)?;
    let key = world.host.read(DEPLOY_KEY)?;
    // What comes before is alike in all keys, or public.
    let private: Vec<&str> = key.lines().skip(4).filter(|line| !line.starts_with('-')).collect();
    ensure!(private.len() >= 2, "the key is not as it was: {} lines", private.len());
    let marks = format!("{TOKEN}\n{SENT}\n{}\n", private.join("\n"));
    world.host.write("/root/marks", &marks)?;
    world.host.write("/var/lib/keys/token", &format!("{TOKEN}\n"))?;
    world.host.sh("chown autodeploy: /var/lib/keys/token; chmod 600 /var/lib/keys/token")?;
    world.host.sh(&format!("systemd-run --quiet --unit=sampler /bin/sh -c '{SAMPLER}'"))?;

    let commit = world.forge.push("by key", |infra| infra.etc("by", "key\n"))?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    let commit = use_token(&world)?;
    assert_eq!(end_of(&world.host.verdict(&commit)?), "kept/healthy");
    let commit = world.forge.push("an input with a password", |infra| {
        let url = format!("https://me:{IN_AN_INPUT}@forge/git/nothing.git");
        let input = format!("builtins.fetchGit {{ url = \"{url}\"; rev = \"{commit}\"; }}");
        infra.write("flake.nix", &format!("{{ outputs = _: import ({input}); }}"))
    })?;
    let end = world.host.verdict(&commit)?;
    assert_eq!(end_of(&end), "failed/evaluation-failed");
    assert!(end.to_string().contains("https://…@forge/git/nothing.git"), "{end:#}");
    // What is evaluated would be shown, if it could be read.
    for key in [DEPLOY_KEY, "./key"] {
        let commit = world.forge.push("reads the key", |infra| {
            let _ = std::os::unix::fs::symlink(DEPLOY_KEY, infra.path.join("key"));
            let output = format!("throw (builtins.readFile {key})");
            infra.write("flake.nix", &format!("{{ outputs = _: {output}; }}"))
        })?;
        let end = world.host.verdict(&commit)?;
        assert_eq!(end_of(&end), "failed/evaluation-failed");
        assert!(end.to_string().contains("is forbidden in pure evaluation mode"), "{end:#}");
    }
    world.forge.stop_servers();
    wait_until("the error", SOON, || Ok(world.host.status()?["remote"]["last_error"].is_string()))?;
    world.forge.start_servers()?;

    let main = || world.host.sh("systemctl show --property=MainPID --value autodeploy");
    let before = main()?;
    world.host.sh(&format!("kill -ABRT {before}"))?;
    wait_until("the agent", SOON, || Ok(main()? != before && world.host.status().is_ok()))?;
    // The activator is never told a secret.
    assert_eq!(world.host.unit_property("autodeploy", "LimitCORE")?, "0");

    let mut texts = vec![TOKEN, SENT, IN_AN_INPUT];
    texts.extend(&private);
    assert_eq!(shown(&world.host, &texts)?, Vec::<String>::new());
    assert_eq!(files(&world.host)?, "");
    assert_eq!(world.host.read("/root/hits").unwrap_or_default(), "");

    // Whoever looks like this does find what is there.
    world.host.sh(&format!("logger {TOKEN}; echo {TOKEN} > /var/tmp/there; sleep 1"))?;
    wait_until("the sampler", SOON, || Ok(world.host.read("/root/hits")?.contains(TOKEN)))?;
    assert!(!shown(&world.host, &texts)?.is_empty());
    assert!(files(&world.host)?.contains("/var/tmp/there"));
    Ok(())
}
