//! What a commit may cost and where it may lead, with the real Nix: refused with a reason each, and
//! the next good commit is deployed.

use std::fs;

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::HostOptions;
use autodeploy_testhost::infra::Infra;
use autodeploy_testhost::package;
use autodeploy_testhost::world::World;

/// Names the first commit as a submodule, to be found at an address.
fn submodule(infra: &Infra, first: &str, url: &str) -> Result<()> {
    // Git takes a submodule whose folder is not there for a removed one.
    fs::create_dir_all(infra.path.join("sub"))?;
    infra.write(".gitmodules", &format!("[submodule \"a\"]\n\tpath = sub\n\turl = {url}\n"))?;
    infra.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},sub")])?;
    Ok(())
}

#[test]
fn what_costs_too_much_or_leads_elsewhere_is_refused_and_the_next_commit_deployed() -> Result<()> {
    let world = World::boot_with("bounds", HostOptions::default(), |infra, host| {
        infra.autodeploy(&package::put(host, &package::binaries(), "")?)?;
        let config = infra.default_config(Scheme::Http.url(), "5s", "1s");
        let bounds = "mode = \"evaluate\"\nsubmodules = true\nevaluation_memory = \"512MiB\"\n";
        infra.config(&config.replace("mode = \"evaluate\"\n", bounds))
    })?;
    let flake = fs::read_to_string(world.forge.infra.path.join("flake.nix"))?;
    let eats = world.forge.push("eats memory", |infra| {
        let list = "builtins.genList (x: [ x ]) 100000000";
        infra.write("flake.nix", &format!("{{ outputs = _: builtins.deepSeq ({list}) {{ }}; }}"))
    })?;
    let end = world.host.verdict(&eats)?;
    assert_eq!(end_of(&end), "failed/evaluation-failed", "{end:#}");
    assert_eq!(end["hint"], "the evaluator may take `512MiB` (`build.evaluation_memory`)");

    // Nix itself reads this one in place, whatever Git is told.
    let local = world.forge.push("a submodule on this machine", |infra| {
        infra.write("flake.nix", &flake)?;
        submodule(infra, &world.first_commit, "file:///srv/infra")
    })?;
    let end = world.host.verdict(&local)?;
    assert_eq!(end_of(&end), "failed/submodule-refused", "{end:#}");

    let remote = world.forge.push("a submodule of the forge", |infra| {
        infra.etc("new", "yes\n")?;
        submodule(infra, &world.first_commit, Scheme::Http.url())
    })?;
    let end = world.host.verdict(&remote)?;
    assert_eq!(end_of(&end), "kept/healthy", "{end:#}");
    assert_eq!(
        world.host.running_system()?,
        end["summary"]["toplevel"].as_str().unwrap_or_default()
    );
    Ok(())
}
