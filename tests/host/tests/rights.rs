//! Who may do what over the control socket, method by method, as the interface itself lists them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::Host;
use autodeploy_testhost::run::Output;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const SOCKET: &str = "/run/autodeploy/control";
const INTERFACE: &str = "org.autodeploy.Control";

/// What everybody may ask.
const LOOKS: [&str; 4] = ["GetStatus", "ListDeployments", "ShowDeployment", "Watch"];

/// What a method that acts is asked with; one that is missing here needs nothing.
fn parameters(method: &str) -> &'static str {
    match method {
        "Block" | "Unblock" => r#"{"what": "999"}"#,
        "Answer" => r#"{"answer": "abort"}"#,
        "Rollback" => r#"{"generation": 999}"#,
        "Reanchor" => {
            r#"{"commit": "0000000000000000000000000000000000000000", "reason": "a test"}"#
        }
        "Approve" => r#"{"what": "999"}"#,
        _ => "{}",
    }
}

fn call(host: &Host, user: &str, method: &str) -> Result<Output> {
    let parameters = parameters(method);
    let line = format!("varlinkctl call {SOCKET} {INTERFACE}.{method} '{parameters}'");
    let ended = host.run_as(user, &line)?;
    ensure!(
        !ended.stderr.contains("InvalidParameter"),
        "`{method}` is new: say in this file what it is asked with: {}",
        ended.stderr
    );
    Ok(ended)
}

#[test]
fn every_method_that_acts_is_for_root_and_the_group_and_every_other_for_all() -> Result<()> {
    let world = World::following("all-rights", Scheme::Http)?;
    let host = &world.host;
    wait_until("the first deployment's end", Duration::from_secs(60), || {
        Ok(!host.status()?["deployment"]["outcome"].is_null())
    })?;
    let text = host.sh(&format!("varlinkctl introspect {SOCKET} {INTERFACE}"))?;
    let methods: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("method ")?.split('(').next())
        .map(str::trim)
        .collect();
    ensure!(methods.len() >= 11 && LOOKS.iter().all(|one| methods.contains(one)), "{text}");
    let before = host.status()?;
    for method in &methods {
        let looks = LOOKS.contains(method);
        let bobs = call(host, "bob", method)?;
        if looks {
            // `ShowDeployment` may find none; nobody is turned away.
            ensure!(!bobs.stderr.contains("NotAllowed"), "bob, {method}: {}", bobs.stderr);
            continue;
        }
        ensure!(
            bobs.code() != 0 && bobs.stderr.contains("NotAllowed"),
            "bob, {method}: {}{}",
            bobs.stdout,
            bobs.stderr
        );
        // The agent's own user is nobody in particular.
        let agents = call(host, "autodeploy", method)?;
        ensure!(agents.stderr.contains("NotAllowed"), "autodeploy, {method}: {}", agents.stderr);
    }
    let after = host.status()?;
    for unchanged in ["gates", "blocked", "deployment", "phase"] {
        assert_eq!(before[unchanged], after[unchanged], "{unchanged}");
    }
    for user in ["alice", "root"] {
        for method in methods.iter().filter(|method| !LOOKS.contains(method)) {
            let said = call(host, user, method).context(user)?;
            ensure!(!said.stderr.contains("NotAllowed"), "{user}, {method}: {}", said.stderr);
        }
    }
    // A person reads which group it takes, and root is never locked out.
    let refused = host.run_as("bob", "autodeployctl pause")?;
    assert_eq!(refused.code(), 1);
    ensure!(refused.stderr.contains("`wheel`"), "{}", refused.stderr);
    Ok(())
}
