//! Secrets that only root can read: the agent has them as credentials of systemd, and gets new ones.

use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::{DEPLOY_KEY, Scheme};
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;
use autodeploy_testhost::{package, run};

const SOON: Duration = Duration::from_secs(60);
const CREDENTIAL: &str = "/run/credentials/autodeploy.service/deploy";

/// What the module makes of `services.autodeploy.credentials.deploy`; a test of it says so.
const UNITS: [(&str, &str); 3] = [
    (
        "autodeploy.service.d/overrides.conf",
        "[Service]\nLoadCredential=deploy:/var/lib/keys/deploy\n",
    ),
    (
        "autodeploy-credentials.service",
        "[Unit]\nDescription=restarts the agent\nStartLimitIntervalSec=0\n[Service]\nType=exec\n\
         X-RestartIfChanged=false\n\
         ExecStart=/usr/bin/systemctl --no-block try-restart autodeploy.service\n",
    ),
    (
        "autodeploy-credentials.path",
        "[Unit]\nDescription=waits for another secret\nStartLimitIntervalSec=0\n[Path]\n\
         PathChanged=/var/lib/keys/deploy\n",
    ),
];

#[test]
fn a_key_that_only_root_can_read_is_used_and_a_new_one_restarts_the_agent() -> Result<()> {
    let world = World::boot_with("credentials", HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        run::shell(&format!(
            "chown 0:0 '{0}{DEPLOY_KEY}'; chmod 600 '{0}{DEPLOY_KEY}'",
            host.root.display()
        ))?;
        for (name, text) in UNITS {
            infra.set(&format!("units/{name}"), text)?;
        }
        infra.set("wants", "autodeploy-credentials.path\n")?;
        let config = infra.default_config(Scheme::Ssh.url(), "8s", "2s");
        infra.config(&config.replace(DEPLOY_KEY, CREDENTIAL))
    })?;
    let host = &world.host;
    let first = world.forge.push("one", |infra| infra.etc("one", "yes\n"))?;
    let kept = host.verdict(&first)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    for user in ["bob", "alice", "autodeploy"] {
        assert_ne!(host.run_as(user, &format!("cat {DEPLOY_KEY}"))?.code(), 0, "{user}");
    }
    assert_ne!(host.run_as("bob", &format!("cat {CREDENTIAL}"))?.code(), 0);

    let ssh = world.forge.root.join("etc/ssh");
    run::shell(&format!(
        "cd '{}'; ssh-keygen -q -t ed25519 -N '' -C next -f next_key; cp next_key.pub accepted_keys",
        ssh.display()
    ))?;
    wait_until("the refusal of the old key", SOON, || {
        Ok(!host.status()?["remote"]["last_error"].is_null())
    })?;
    let run_before = host.unit_property("autodeploy.service", "InvocationID")?;
    host.write("/var/lib/keys/next", &std::fs::read_to_string(ssh.join("next_key"))?)?;
    host.sh(&format!("chmod 600 /var/lib/keys/next; mv /var/lib/keys/next {DEPLOY_KEY}"))?;
    wait_until("another run of the agent", SOON, || {
        Ok(host.unit_property("autodeploy.service", "InvocationID")? != run_before)
    })?;
    let second = world.forge.push("two", |infra| infra.etc("two", "yes\n"))?;
    let kept = host.verdict(&second)?;
    assert_eq!(end_of(&kept), "kept/healthy", "{kept:#}");
    Ok(())
}
