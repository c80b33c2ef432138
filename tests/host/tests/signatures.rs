//! Who may move the branch: signed pushes are followed, and nobody else's (P19, P21).

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

const ALLOWED: &str = "/etc/autodeploy/allowed_signers";

/// A key outside of the repository's work tree, gone with the machine.
struct Key {
    path: String,
    public: String,
}

impl Key {
    fn make(world: &World, name: &str) -> Result<Key> {
        let path = world.forge.infra.path.join(".git").join(name).display().to_string();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &path])
            .status()
            .context("`ssh-keygen` is missing: see tests/host/install-requirements")?;
        ensure!(made.success(), "ssh-keygen failed");
        let public = std::fs::read_to_string(format!("{path}.pub"))?;
        Ok(Key { path, public })
    }

    /// A line of the file of keys.
    fn line(&self, who: &str) -> String {
        format!("{who} namespaces=\"git\" {}", self.public)
    }
}

fn commit(infra: &Infra, key: &Key, message: &str) -> Result<String> {
    let key = format!("user.signingKey={}", key.path);
    infra.git(&["add", "-A"])?;
    let how = ["-c", "gpg.format=ssh", "-c", &key];
    infra.git(&[&how[..], &["commit", "-S", "-q", "--allow-empty", "-m", message]].concat())?;
    infra.git(&["rev-parse", "HEAD"])
}

/// Changes the repository, and pushes a signed commit.
fn push(world: &World, key: &Key, change: impl FnOnce(&Infra) -> Result<()>) -> Result<String> {
    change(&world.forge.infra)?;
    let commit = commit(&world.forge.infra, key, "signed")?;
    world.forge.push_as_it_is(&[])?;
    Ok(commit)
}

/// A machine that believes in the lines of a file of keys, and in nothing else.
fn believing(label: &str, line: impl FnOnce(&World) -> Result<String>) -> Result<World> {
    let world = World::following(label, Scheme::Http)?;
    world.host.wait_phase("idle")?;
    let line = line(&world)?;
    let base = world.forge.infra.default_config(Scheme::Http.url(), "8s", "2s");
    let commit = world.forge.push("keys", |infra| {
        infra.etc("autodeploy/allowed_signers", &line)?;
        infra.config(&format!("{base}\n[trust]\nallowed_signers_file = \"{ALLOWED}\"\n"))
    })?;
    ensure!(end_of(&world.host.verdict(&commit)?) == "kept/healthy");
    wait_until("the agent with that configuration", SOON, || {
        let warnings = world.host.status()?["warnings"].to_string();
        Ok(!warnings.contains("trust.signatures"))
    })?;
    Ok(world)
}

/// A machine that believes in one key, and that key.
fn believing_a_key(label: &str) -> Result<(World, Key)> {
    let mut key = None;
    let world = believing(label, |world| {
        let made = Key::make(world, "ours")?;
        let line = made.line("ops@example");
        key = Some(made);
        Ok(line)
    })?;
    Ok((world, key.context("no key")?))
}

#[test]
fn p19_a_push_that_is_not_signed_stops_at_the_machine_and_so_does_all_on_top_of_it() -> Result<()> {
    let (world, key) = believing_a_key("signed")?;

    let good = push(&world, &key, |infra| infra.etc("signed", "1"))?;
    let kept = world.host.verdict(&good)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    let running = world.host.running_system()?;
    let shown = world.host.ctl(&format!("show {}", kept["summary"]["id"]))?.ok()?;
    assert!(shown.contains("signed by `ops@example` (key `SHA256:"), "{shown}");

    let unsigned = world.forge.push("by somebody", |infra| infra.etc("signed", "2"))?;
    let refused = world.host.verdict(&unsigned)?;
    assert_eq!(end_of(&refused), "failed/not-signed", "{refused:#}");
    world.assert_settled_on(&running)?;
    let said = world.host.journal("AUTODEPLOY_EVENT=commit-refused")?;
    let names = |entry: &Value| {
        entry["MESSAGE"].to_string().contains(&format!("commit `{unsigned}` may not be deployed"))
    };
    assert!(said.iter().any(names), "{said:#?}");

    // It is in the range for good: neither a revert nor anything else on top mends it.
    let on_top = push(&world, &key, |infra| infra.etc("signed", "3"))?;
    let refused = world.host.verdict(&on_top)?;
    assert_eq!(end_of(&refused), "failed/not-signed", "{refused:#}");
    let message = refused["summary"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&unsigned), "{message}");
    world.assert_settled_on(&running)?;
    assert_eq!(world.host.status()?["blocked"], Value::Array(Vec::new()), "and blocks nothing");

    // What does: the branch without it.
    world.forge.infra.git(&["reset", "-q", "--hard", "HEAD~2"])?;
    world.forge.infra.etc("signed", "4")?;
    let mended = commit(&world.forge.infra, &key, "without it")?;
    world.forge.push_as_it_is(&["--force"])?;
    let kept = world.host.verdict(&mended)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    Ok(())
}

#[test]
fn p21_the_keys_of_a_generation_that_was_reverted_sign_nothing() -> Result<()> {
    let mut keys = None;
    let world = believing("rotation", |world| {
        let made = (Key::make(world, "old")?, Key::make(world, "new")?);
        let line = made.0.line("ops@example");
        keys = Some(made);
        Ok(line)
    })?;
    let (old, new) = keys.context("no keys")?;
    let running = world.host.running_system()?;

    // Signed with the old key, it brings the new one beside it, and never becomes healthy.
    let base = world.forge.infra.default_config(Scheme::Http.url(), "40s", "2s");
    let trust = format!("{base}\n[trust]\nallowed_signers_file = \"{ALLOWED}\"\n");
    let never = "\n[health.checks.never]\nkind = \"command\"\ncommand = [\"/bin/false\"]\n";
    let bad = push(&world, &old, |infra| {
        let both = old.line("ops@example") + &new.line("thief@example");
        infra.etc("autodeploy/allowed_signers", &both)?;
        infra.config(&format!("{trust}{never}"))
    })?;
    world.host.wait_phase("watching")?;
    // What the new key has signed is verified with it as long as that generation runs.
    let stolen = push(&world, &new, |infra| {
        infra.config(&trust)?;
        infra.etc("stolen", "1")
    })?;
    wait_until("the commit to be verified with the key on trial", SOON * 2, || {
        let all = world.host.deployments()?;
        let Some(one) = all.iter().find(|one| one["commit"] == stolen.as_str()) else {
            return Ok(false);
        };
        let shown = world.host.deployment(&one["id"])?;
        Ok(shown["events"].to_string().contains("signed by `thief@example`"))
    })?;
    assert_eq!(end_of(&world.host.verdict(&bad)?), "reverted/unhealthy");
    let refused = world.host.verdict(&stolen)?;
    assert_eq!(end_of(&refused), "failed/untrusted-key", "{refused:#}");
    world.assert_settled_on(&running)?;
    assert!(!world.host.exists("/etc/stolen"), "it never ran");
    Ok(())
}

#[test]
fn a_generation_with_keys_that_nobody_can_use_would_be_the_last_and_is_reverted() -> Result<()> {
    let (world, key) = believing_a_key("no-keys")?;
    let running = world.host.running_system()?;
    let broken =
        push(&world, &key, |infra| infra.etc("autodeploy/allowed_signers", "ops@example"))?;
    let reverted = world.host.verdict(&broken)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy", "{reverted:#}");
    let evidence = reverted["evidence"].to_string();
    assert!(evidence.contains("there is a principal and no key"), "{evidence}");
    world.assert_settled_on(&running)
}

#[test]
fn a_file_of_keys_that_goes_missing_stops_deployments_and_nothing_else() -> Result<()> {
    let (world, key) = believing_a_key("lost-keys")?;
    world.host.write("/srv/allowed", &key.line("ops@example"))?;
    let base = world.forge.infra.default_config(Scheme::Http.url(), "8s", "2s");
    let by_hand = "\n[trust]\nallowed_signers_file = \"/srv/allowed\"\n";
    let moved = push(&world, &key, |infra| infra.config(&format!("{base}{by_hand}")))?;
    assert_eq!(end_of(&world.host.verdict(&moved)?), "kept/healthy");
    let running = world.host.running_system()?;
    world.host.sh("rm /srv/allowed")?;
    let next = push(&world, &key, |infra| infra.etc("next", "1"))?;
    let failed = world.host.verdict(&next)?;
    assert_eq!(end_of(&failed), "failed/keys-unusable", "{failed:#}");
    world.assert_settled_on(&running)?;
    world.host.write("/srv/allowed", &key.line("ops@example"))?;
    wait_until("the next try", SOON * 3, || {
        Ok(world.host.outcomes(&next)?.last().is_some_and(|end| end == "kept/healthy"))
    })
}
