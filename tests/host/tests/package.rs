//! The package on a machine: binaries become a store path, units name it, a label makes an upgrade.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use autodeploy_testhost::package;
use autodeploy_testhost::world::World;

#[test]
fn a_label_makes_a_package_and_another_label_an_upgrade() -> Result<()> {
    let world = World::boot("package")?;
    let folder = world.forge.infra.path.parent().expect("a folder").join("binaries");
    fs::create_dir(&folder)?;
    for name in package::BINARIES {
        fs::copy("/bin/true", folder.join(name))?;
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?;
    }
    let label = package::put(&world.host, &folder, "")?;
    let unit = "[Service]\nType=exec\nExecStart=@package@/bin/autodeploy-activate --trial\n\n\
                [Install]\nWantedBy=multi-user.target\n";
    let commit = world.forge.push("autodeploy", |infra| {
        infra.autodeploy(&label)?;
        infra.write("autodeploy/units/autodeploy-probe.service", unit)
    })?;
    let first = world.build(&commit)?;
    let path = world.host.sh(&format!("readlink -f {first}/etc/autodeploy/autodeploy-activate"))?;
    assert!(
        path.starts_with("/nix/store/") && path.ends_with("/bin/autodeploy-activate"),
        "{path}"
    );
    let text = world.host.read(&format!("{first}/etc/systemd/system/autodeploy-probe.service"))?;
    assert!(text.contains(&format!("ExecStart={path} --trial")), "{text}");
    assert!(world.host.exists(&format!(
        "{first}/etc/systemd/system/multi-user.target.wants/autodeploy-probe.service"
    )));

    let label = package::put(&world.host, &folder, "-next")?;
    let commit = world.forge.push("upgrade", |infra| infra.set("autodeploy-label", &label))?;
    let second = world.build(&commit)?;
    assert_ne!(
        path,
        world.host.sh(&format!("readlink -f {second}/etc/autodeploy/autodeploy-activate"))?
    );
    Ok(())
}
