//! The project's units on a booted machine, with programs that play agent and activator: what the
//! comments in `systemd/` say was tried is tried here.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use autodeploy_testhost::place;
use autodeploy_testhost::wait::wait_until;
use autodeploy_testhost::world::World;

const REQUEST: &str = "/run/autodeploy/request.json";
const LIMIT: Duration = Duration::from_secs(30);

/// Boots a machine with the project's units, whose programs are these shell scripts.
fn boot(label: &str, agent: &str, activator: &str) -> Result<World> {
    let world = World::boot(label)?;
    let programs = [("autodeployd", agent), ("autodeploy-activate", activator)];
    for (name, lines) in programs {
        world.host.write(&format!("/opt/{name}"), &format!("#!/bin/bash\n{lines}\n"))?;
        world.host.sh(&format!("chmod 755 /opt/{name}"))?;
    }
    for entry in fs::read_dir(place::project().join("systemd"))? {
        let path = entry?.path();
        let unit = path.extension().is_some_and(|kind| kind == "service" || kind == "path");
        if let (true, Some(name)) = (unit, path.file_name()) {
            let text =
                fs::read_to_string(&path)?.replace("=/usr/bin/autodeploy", "=/opt/autodeploy");
            world.host.write(&format!("/run/systemd/system/{}", name.display()), &text)?;
        }
    }
    // A script says READY through a child.
    let said_by_a_child = "[Service]\nNotifyAccess=all\n";
    world.host.write("/run/systemd/system/autodeploy.service.d/script.conf", said_by_a_child)?;
    world.host.sh("mkdir -p /run/autodeploy && systemctl daemon-reload")?;
    Ok(world)
}

#[test]
fn sixty_requests_at_once_after_another_do_not_tire_the_path_unit() -> Result<()> {
    let activator = format!("echo >> /run/starts; rm -f {REQUEST}");
    let world = boot("path-tireless", "exec sleep infinity", &activator)?;
    world.host.sh("systemctl start autodeploy-activate.path")?;
    let one = format!("touch {REQUEST}; while [ -e {REQUEST} ]; do :; done");
    world.host.sh(&format!("for i in $(seq 60); do {one}; done"))?;
    assert_eq!(world.host.sh("wc -l < /run/starts")?, "60");
    assert_eq!(world.host.unit_state("autodeploy-activate.path")?, "active");
    Ok(())
}

#[test]
fn an_activator_that_crashes_is_started_by_its_own_unit_until_it_works() -> Result<()> {
    let activator = format!("echo >> /run/starts; [ -e /run/mended ] && rm -f {REQUEST}");
    let world = boot("path-crash", "exec sleep infinity", &activator)?;
    let host = &world.host;
    host.sh(&format!("systemctl start autodeploy-activate.path; touch {REQUEST}"))?;
    // Every start but the first is a restart of the service, with its pause: were the path unit to
    // trigger it as well, there would be many more.
    wait_until("three restarts", LIMIT, || {
        Ok(host.unit_property("autodeploy-activate.service", "NRestarts")?.parse::<u32>()? >= 3)
    })?;
    let seen =
        host.sh("wc -l < /run/starts; systemctl show -P NRestarts autodeploy-activate.service")?;
    let (starts, restarts) = seen.split_once('\n').unwrap_or_default();
    let (starts, restarts) = (starts.parse::<u32>()?, restarts.parse::<u32>()?);
    assert!(
        (starts..=starts + 1).contains(&(restarts + 1)),
        "{starts} starts, {restarts} restarts"
    );
    assert_eq!(host.unit_state("autodeploy-activate.path")?, "active");
    host.sh("touch /run/mended")?;
    wait_until("the request is taken", LIMIT, || Ok(!host.exists(REQUEST)))
}

#[test]
fn a_request_written_while_the_path_unit_was_away_is_taken() -> Result<()> {
    let world = boot("path-away", "exec sleep infinity", &format!("rm -f {REQUEST}"))?;
    world.host.sh(&format!("touch {REQUEST}; systemctl start autodeploy-activate.path"))?;
    wait_until("the request is taken", LIMIT, || Ok(!world.host.exists(REQUEST)))
}

#[test]
fn the_activator_is_in_the_machines_own_namespaces() -> Result<()> {
    let list = "for one in cgroup ipc mnt net pid user uts; do readlink /proc/$WHO/ns/$one; done";
    let activator = format!("WHO=self; ({list}) > /run/seen.new; mv /run/seen.new /run/seen");
    let world = boot("activator-namespaces", "exec sleep infinity", &activator)?;
    world.host.sh("systemctl start autodeploy-activate.service")?;
    wait_until("it ran", LIMIT, || Ok(world.host.exists("/run/seen")))?;
    assert_eq!(world.host.sh("cat /run/seen")?, world.host.sh(&format!("WHO=1; {list}"))?);
    Ok(())
}

/// Does what the agent does with Nix and with files, and writes down how each went.
const AGENT: &str = r#"
exec > "$HOME/seen" 2>&1
tell() { if "${@:2}" > /dev/null 2>&1; then echo "$1 yes"; else echo "$1 no"; fi; }
cd "$HOME"
git config --global safe.directory '*'
tell clone git clone -q --no-checkout file:///srv/git/infra.git clone
rev=$(git -C clone rev-parse HEAD)
flake="git+file://$HOME/clone?rev=$rev#nixosConfigurations.$HOST_NAME.config.system.build.toplevel"
tell evaluate nix eval --no-update-lock-file --raw "$flake.outPath"
drv=$(nix eval --no-update-lock-file --raw "$flake.drvPath" 2> /dev/null)
tell realise nix-store --realise "$drv" --add-root "$HOME/root"
tell resolve-names getent hosts forge
tell boot-id cat /proc/sys/kernel/random/boot_id
tell write-runtime touch /run/autodeploy/x
tell write-etc touch /etc/x
tell write-var touch /var/lib/x
tell write-root touch /root/x
tell read-root ls /root
tell read-activator ls /var/lib/autodeploy-activate
tell start-units systemctl start multi-user.target
tell become-root su -c true
tell new-namespace unshare --user true
tell write-profile ln -sfn /tmp /nix/var/nix/profiles/system
tell set-profile nix-env -p /nix/var/nix/profiles/system --set "$HOME/root"
tell write-roots touch /nix/var/nix/gcroots/x
tell write-store touch /nix/store/x
tell write-report touch /run/autodeploy-activate/report.json
tell write-units touch /run/systemd/system/x.service
tell read-shadow cat /etc/shadow
tell start-units-by-bus busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss multi-user.target replace
tell transient-unit systemd-run --wait true
tell stop-activator systemctl stop autodeploy-activate.path
tell reboot systemctl reboot
tell kill-others kill -0 1
cp /bin/sh "$HOME/sh"; tell make-setuid chmod u+s "$HOME/sh"
tell use-setuid test "$(/opt/setuid-id -u)" = 0
tell make-device mknod "$HOME/device" c 1 3
tell mount mount -t tmpfs none "$HOME"
tell set-clock date -s 2000-01-01
tell set-name hostname other
tell python python3 -c 'import mmap, socket'
tell raw-socket python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
tell write-and-execute python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)'
tell trusted-by-nix sh -c 'nix store info --store daemon --json | grep -qE "\"trusted\":(true|1)"'
echo "uid $(id -u autodeploy) sees $(stat -c %u /run/alices)"
systemd-notify --ready
exec sleep infinity
"#;

#[test]
fn in_its_sandbox_the_agent_can_do_its_work_and_nothing_else() -> Result<()> {
    let world = boot("agent-sandbox", "", "true")?;
    let host = &world.host;
    let name = host.sh("hostname")?;
    host.write("/opt/autodeployd", &format!("#!/bin/bash\nHOST_NAME={name}\n{AGENT}"))?;
    host.sh(
        "mkdir -p -m 700 /var/lib/autodeploy-activate; touch /run/alices; chown alice /run/alices",
    )?;
    // Outside of the sandbox it does what it says.
    host.sh("cp /usr/bin/id /opt/setuid-id; chmod 4755 /opt/setuid-id")?;
    assert_eq!(host.run_as("alice", "/opt/setuid-id -u")?.ok()?, "0");
    host.sh("mkdir -p /run/autodeploy-activate; echo '{}' > /run/autodeploy-activate/report.json")?;
    let (profile, report) = (host.profile()?, host.read("/run/autodeploy-activate/report.json")?);
    host.sh("systemctl start autodeploy.service")?;
    host.sh("systemd-analyze security --no-pager --threshold=15 autodeploy.service")?;
    let seen = host.sh("cat /var/lib/autodeploy/seen")?;
    let users = host.sh("echo uid $(id -u autodeploy) sees $(id -u alice)")?;
    let expected = [
        "clone yes",
        "evaluate yes",
        "realise yes",
        "resolve-names yes",
        "boot-id yes",
        "write-runtime yes",
        "write-etc no",
        "write-var no",
        "write-root no",
        "read-root no",
        "read-activator no",
        "start-units no",
        "become-root no",
        "new-namespace no",
        "write-profile no",
        "set-profile no",
        "write-roots no",
        "write-store no",
        "write-report no",
        "write-units no",
        "read-shadow no",
        "start-units-by-bus no",
        "transient-unit no",
        "stop-activator no",
        "reboot no",
        "kill-others no",
        "make-setuid no",
        "use-setuid no",
        "make-device no",
        "mount no",
        "set-clock no",
        "set-name no",
        "python yes",
        "raw-socket no",
        "write-and-execute no",
        "trusted-by-nix no",
        &users,
    ];
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
    let root = host.sh("readlink /var/lib/autodeploy/root")?;
    assert_eq!(root, host.running_system()?);
    assert_eq!(host.profile()?, profile);
    assert_eq!(host.read("/run/autodeploy-activate/report.json")?, report);
    Ok(())
}

#[test]
fn what_the_agent_wrote_for_the_activator_outlives_its_restart() -> Result<()> {
    let agent = "touch /run/autodeploy/x; systemd-notify --ready; exec sleep infinity";
    let world = boot("agent-runtime", agent, "true")?;
    world.host.sh("systemctl start autodeploy.service; touch /run/autodeploy/kept")?;
    world.host.sh("systemctl restart autodeploy.service; systemctl stop autodeploy.service")?;
    assert!(world.host.exists("/run/autodeploy/kept"));
    Ok(())
}

#[test]
fn a_refused_configuration_is_not_tried_again_until_somebody_asks() -> Result<()> {
    let world = boot("agent-78", "exit 78", "true")?;
    let host = &world.host;
    host.run("systemctl start autodeploy.service")?;
    wait_until("it failed", LIMIT, || Ok(host.unit_state("autodeploy.service")? == "failed"))?;
    assert_eq!(host.unit_property("autodeploy.service", "NRestarts")?, "0");
    host.write("/opt/autodeployd", "#!/bin/bash\nsystemd-notify --ready; exec sleep infinity\n")?;
    // A switch resets what failed, and starts what its targets want.
    host.sh("systemctl reset-failed; systemctl start autodeploy.service")?;
    assert_eq!(host.unit_state("autodeploy.service")?, "active");
    Ok(())
}
