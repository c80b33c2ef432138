//! A machine boots, keeps what it must over a power cut, and is followed by nothing when it is gone.

use anyhow::Result;
use autodeploy_testhost::world::World;

#[test]
fn a_host_boots_and_comes_back_after_a_power_cut() -> Result<()> {
    let start = std::time::Instant::now();
    let mut world = World::boot("boot")?;
    eprintln!("booted after {:?}", start.elapsed());
    assert_eq!(world.host.sh("systemctl --failed --no-legend")?, "");
    assert_eq!(world.host.running_system()?, world.first_toplevel);
    assert_eq!(world.host.booted_system()?, world.first_toplevel);
    world.host.power_cut()?;
    world.host.boot_again()?;
    assert_eq!(world.host.running_system()?, world.first_toplevel);
    let start = std::time::Instant::now();
    drop(world);
    eprintln!("gone after {:?}", start.elapsed());
    Ok(())
}
