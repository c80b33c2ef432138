//! A branch that was rewritten: refused, until a person says otherwise, once.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::run;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOON: Duration = Duration::from_secs(30);

/// Replaces the branch by another history, and makes the server forget the one before.
fn rewrite(world: &World, message: &str) -> Result<String> {
    world.forge.infra.git(&["checkout", "-q", "--orphan", message])?;
    world.forge.infra.etc("motd", &format!("{message}\n"))?;
    let commit = world.forge.infra.commit(message)?;
    world.forge.push_as_it_is(&["--force"])?;
    run::shell(&format!(
        "cd '{}' && git reflog expire --expire=now --all && git gc -q --prune=now",
        world.forge.repository().display()
    ))?;
    Ok(commit)
}

fn server_has(world: &World, commit: &str) -> bool {
    let repository = world.forge.repository().display().to_string();
    run::shell(&format!("git -C '{repository}' cat-file -e {commit}")).is_ok()
}

fn record(world: &World) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(&world.host.read("/var/lib/autodeploy-activate/trial.json")?)?)
}

#[test]
fn a_rewritten_branch_is_refused_until_a_person_believes_it_once() -> Result<()> {
    let world = World::following("rewritten", Scheme::Http)?;
    let kept = world.forge.push("kept", |infra| infra.etc("motd", "kept\n"))?;
    assert_eq!(end_of(&world.host.verdict(&kept)?), "kept/healthy");

    let moved = rewrite(&world, "moved")?;
    assert!(!server_has(&world, &kept));
    let refused = world.host.verdict(&moved)?;
    assert_eq!(end_of(&refused), "failed/not-a-descendant", "{refused:#}");
    let page = world.host.ctl("status")?.stdout;
    assert!(page.contains(&kept) && page.contains(&moved), "{page}");
    assert!(page.contains(&format!("`autodeployctl reanchor {moved} --reason …`")), "{page}");
    assert_eq!(world.host.ctl("status --check")?.code(), 4);

    // The clone goes too: nobody has the old commit any more.
    world.host.sh("systemctl stop autodeploy.service
         rm -rf /var/lib/autodeploy/repository
         systemctl start autodeploy.service")?;
    world.host.wait_phase("idle")?;

    let by_bob = format!("autodeployctl reanchor {moved} --reason moved");
    assert_eq!(world.host.run_as("bob", &by_bob)?.code(), 1);
    for (wrong, says) in [(&moved[..8], "full commit name"), (kept.as_str(), "is not on `main`")] {
        let output = world.host.ctl(&format!("reanchor {wrong} --reason moved"))?;
        assert_eq!(output.code(), 1, "{}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(says) && output.stderr.contains(&moved), "{output:?}");
    }
    assert_eq!(world.host.outcomes(&moved)?.len(), 1);

    let output = world.host.ctl(&format!("reanchor {moved} --reason 'we moved the forge'"))?;
    assert_eq!(output.code(), 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(
        world.host.outcomes(&moved)?,
        ["failed/not-a-descendant", "kept/healthy"],
        "{}",
        output.stdout
    );
    assert_eq!(world.host.read("/etc/motd")?, "moved");
    let said = world.host.journal("-t autodeployd AUTODEPLOY_EVENT=reanchored")?;
    assert_eq!(said.len(), 1, "{said:#?}");
    let told = said[0]["MESSAGE"].as_str().unwrap_or_default();
    let expected =
        format!("uid 0 moved the mark by hand from `{kept}` to `{moved}`: we moved the forge");
    assert_eq!(told, expected);
    assert_eq!(said[0]["MESSAGE_ID"].as_str().map(str::len), Some(32));

    // Once.
    let again = rewrite(&world, "again")?;
    assert_eq!(end_of(&world.host.verdict(&again)?), "failed/not-a-descendant");
    assert_eq!(world.host.read("/etc/motd")?, "moved");
    Ok(())
}

#[test]
fn root_keeps_the_mark_and_the_order_of_a_person_when_the_database_is_lost() -> Result<()> {
    let world = World::following("mark-kept", Scheme::Http)?;
    let kept = world.forge.push("kept", |infra| infra.etc("motd", "kept\n"))?;
    assert_eq!(end_of(&world.host.verdict(&kept)?), "kept/healthy");
    // What runs already is kept without a trial.
    world.forge.infra.git(&["commit", "-q", "--allow-empty", "-m", "nothing"])?;
    world.forge.push_as_it_is(&[])?;
    let nothing = world.forge.infra.git(&["rev-parse", "HEAD"])?;
    assert_eq!(end_of(&world.host.verdict(&nothing)?), "kept/already-running");
    wait_until("root to know", SOON, || Ok(record(&world)?["mark"]["commit"] == nothing.as_str()))?;

    // A person's order, whose commit does not come to be kept.
    world.forge.infra.git(&["checkout", "-q", "--orphan", "moved"])?;
    world.forge.infra.service("web", "exit 3")?;
    let moved = world.forge.infra.commit("moved")?;
    world.forge.push_as_it_is(&["--force"])?;
    assert_eq!(end_of(&world.host.verdict(&moved)?), "failed/not-a-descendant");
    let output = world.host.ctl(&format!("reanchor {moved} --reason moved --json"))?;
    assert_eq!(output.code(), 4, "{}{}", output.stdout, output.stderr);
    let became: serde_json::Value = serde_json::from_str(&output.stdout)?;
    assert_eq!(became["deployment"]["summary"]["outcome"], "reverted", "{became:#}");
    wait_until("root to know", SOON, || {
        Ok(record(&world)?["mark"]["reanchored"] == moved.as_str())
    })?;
    assert_eq!(record(&world)?["mark"]["commit"], nothing.as_str());

    world.host.sh("systemctl stop autodeploy.service
         rm -f /var/lib/autodeploy/history.sqlite*
         systemctl start autodeploy.service")?;
    wait_until("the order to be known", SOON, || {
        Ok(world.host.status()?["remote"]["mark"] == moved.as_str())
    })?;
    let mended = world.forge.push("mended", |infra| infra.service("web", "exec sleep infinity"))?;
    assert_eq!(end_of(&world.host.verdict(&mended)?), "kept/healthy");
    assert_eq!(world.host.status()?["remote"]["mark"], mended.as_str());
    Ok(())
}
