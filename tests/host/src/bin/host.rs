//! Boots a machine by hand and leaves it running: `host [--plain]`, `host --end NAME`, `host --list`.

use std::path::Path;

use anyhow::{Result, bail};
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::place;
use autodeploy_testhost::world::World;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => boot(World::following("by-hand", Scheme::Http)?),
        ["--plain"] => boot(World::boot("by-hand")?),
        ["--list"] => list(),
        ["--end", name] => end(name),
        _ => bail!("usage: host [--plain | --list | --end NAME]"),
    }
}

fn boot(world: World) -> Result<()> {
    let (leader, root) = (world.host.leader()?, world.host.root.clone());
    let (infra, bare) = (world.forge.infra.path.clone(), world.forge.repository());
    let name = world.keep();
    println!("name        {name}");
    println!(
        "look around nsenter -t {leader} -a -- env -i PATH=/run/current-system/sw/bin:$PATH TERM=$TERM HOME=/root bash -l"
    );
    println!("disk        {}", root.display());
    println!("repository  {}", infra.display());
    println!("push        git -C {} push {} HEAD:main", infra.display(), bare.display());
    println!("end         cargo run -p autodeploy-testhost --bin host -- --end {name}");
    Ok(())
}

fn list() -> Result<()> {
    for entry in std::fs::read_dir(place::folder().join("run"))?.flatten() {
        if entry.path().is_dir() {
            println!("{}", entry.file_name().to_string_lossy());
        }
    }
    Ok(())
}

fn end(name: &str) -> Result<()> {
    let path = place::folder().join("run").join(Path::new(name).file_name().unwrap_or_default());
    if !path.is_dir() {
        bail!("no machine `{name}`; hint: host --list");
    }
    place::clear(&path);
    Ok(())
}
