//! The forge serves over every scheme, and every way of losing it is a different one.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::forge::{DEPLOY_KEY, Names, Scheme};
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

#[test]
fn the_host_reads_the_repository_over_every_scheme() -> Result<()> {
    let world = World::boot("schemes")?;
    for scheme in [Scheme::Http, Scheme::Https, Scheme::Ssh, Scheme::File] {
        let seen = tip(&world, scheme)?;
        assert_eq!(seen, world.first_commit, "{scheme:?}");
    }
    let commit = world.forge.push("second", |infra| infra.etc("second", ""))?;
    assert_eq!(tip(&world, Scheme::Http)?, commit);
    let amended = world.forge.force_push("second again", |infra| infra.etc("second", "again"))?;
    assert_ne!(amended, commit);
    assert_eq!(tip(&world, Scheme::Http)?, amended);
    let reverted = world.forge.revert(&amended)?;
    assert_eq!(tip(&world, Scheme::Http)?, reverted);
    assert_eq!(world.build(&reverted)?, world.first_toplevel, "a revert gives the old closure");
    Ok(())
}

#[test]
fn a_lost_forge_is_lost_in_its_own_way() -> Result<()> {
    let mut world = World::boot("lost-forge")?;
    let ask = "curl -sS --max-time 2 http://forge/git/infra.git/info/refs?service=git-upload-pack -o /dev/null";
    assert_eq!(world.host.run(ask)?.code(), 0);
    world.forge.stop_servers();
    assert_eq!(world.host.run(ask)?.code(), 7, "refused");
    world.forge.start_servers()?;
    world.forge.cut()?;
    let carrier = || Ok(!world.host.sh("ip link show eth0")?.contains("NO-CARRIER"));
    wait_until("the carrier to go", Duration::from_secs(5), || carrier().map(|there| !there))?;
    assert_ne!(world.host.run(ask)?.code(), 0, "no cable");
    world.forge.restore()?;
    wait_until("the carrier to come back", Duration::from_secs(5), carrier)?;
    assert_eq!(world.host.run(ask)?.code(), 0);
    world.forge.swallow()?;
    assert_eq!(world.host.run(ask)?.code(), 28, "silence");
    world.forge.restore()?;
    world.forge.names(Names::Unknown)?;
    assert_eq!(world.host.run(ask)?.code(), 6, "no such name");
    world.forge.names(Names::Silent)?;
    assert_eq!(world.host.run(ask)?.code(), 28, "no answer");
    world.forge.names(Names::Known)?;
    assert_eq!(world.host.run(ask)?.code(), 0);

    world.forge.drip()?;
    let slow = format!(
        "curl -sS --max-time 2 {} -o /dev/null -w '%{{size_download}}'",
        Scheme::Drip.url()
    );
    let output = world.host.run(&slow)?;
    assert_eq!(output.code(), 28, "still dripping: {}", output.stderr);
    Ok(())
}

fn tip(world: &World, scheme: Scheme) -> Result<String> {
    let ssh = format!("ssh -i {DEPLOY_KEY} -o BatchMode=yes -o StrictHostKeyChecking=yes");
    // Git reads a local repository of another owner for nobody.
    let user = if scheme == Scheme::File { "root" } else { "autodeploy" };
    let line = format!("GIT_SSH_COMMAND='{ssh}' git ls-remote {} refs/heads/main", scheme.url());
    let output = world.host.run_as(user, &line)?;
    Ok(output.ok()?.split_whitespace().next().unwrap_or_default().to_string())
}
