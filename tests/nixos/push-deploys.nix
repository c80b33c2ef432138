# A good push is kept, and a push whose service dies is reverted: on a real NixOS, with its own
# switch-to-configuration, units, profile and boot loader.
#
# A VM test has no network, and so nothing to evaluate NixOS with. The flake that the machine follows
# therefore names systems that were built beforehand; `autodeploy` sees derivations as ever.
{ autodeploy, lib, ... }:

let
  # What the machine and the systems that are pushed to it have in common.
  common = { pkgs, ... }: {
    imports = [ autodeploy.nixosModules.default ];

    networking.hostName = lib.mkForce "machine";
    virtualisation = {
      vlans = [ ];
      useBootLoader = true;
      useEFIBoot = true;
    };
    boot.loader.systemd-boot.enable = true;
    boot.loader.timeout = 0;
    # VM tests leave it out by default.
    system.switch.enable = true;
    nix.settings.substituters = lib.mkForce [ ];
    environment.systemPackages = [ pkgs.gitMinimal ];

    services.autodeploy = {
      enable = true;
      settings = {
        source.url = "file:///srv/infra";
        source.poll_interval = "1h";
        health.window = "60s";
        health.settle = "5s";
      };
    };
  };

  service = line: { pkgs, ... }: {
    imports = [ common ];
    systemd.services.web = {
      wantedBy = [ "multi-user.target" ];
      script = line;
    };
  };
in
{
  name = "autodeploy-push-deploys";

  nodes = {
    machine = { nodes, ... }: {
      imports = [ common ];
      # What the flake names has to be there: the systems, and the derivations that lead to them.
      system.extraDependencies = lib.concatMap
        (system: [ system (builtins.unsafeDiscardOutputDependency system.drvPath) ])
        [ nodes.good.system.build.toplevel nodes.bad.system.build.toplevel ];
    };
    # Never started: only what they are made of is used.
    good = service "exec sleep infinity";
    bad = service "sleep 2; exit 1";
  };

  testScript = { nodes, ... }:
    let
      flake = system: builtins.toFile "flake.nix" ''
        {
          outputs = { self }: {
            nixosConfigurations.machine.config.system.build.toplevel = {
              type = "derivation";
              drvPath = "${builtins.unsafeDiscardStringContext system.drvPath}";
              outPath = "${builtins.unsafeDiscardStringContext system.outPath}";
            };
          };
        }
      '';
      good = nodes.good.system.build.toplevel;
      bad = nodes.bad.system.build.toplevel;
    in
    ''
      import json

      GIT = "git -C /srv/infra -c user.name=test -c user.email=test@example.org"

      def push(flake):
          machine.copy_from_host(flake, "/srv/infra/flake.nix")
          machine.succeed(f"{GIT} add flake.nix && {GIT} commit -qm push")

      def running():
          return machine.succeed("readlink -f /run/current-system").strip()

      def profile():
          return machine.succeed("readlink -f /nix/var/nix/profiles/system").strip()

      machine.start()
      machine.wait_for_unit("multi-user.target")
      machine.wait_for_unit("autodeploy.service")
      machine.succeed("git init -q -b main /srv/infra")
      machine.succeed("nix-env -p /nix/var/nix/profiles/system --set /run/current-system")

      with subtest("a good push is kept"):
          push("${flake good}")
          machine.succeed("autodeployctl run-now")
          assert running() == "${good}", running()
          assert profile() == "${good}", profile()
          machine.succeed("systemctl is-active web.service")
          machine.succeed("bootctl list | grep -q ${good}")

      with subtest("a push whose service dies is reverted"):
          push("${flake bad}")
          code, _ = machine.execute("autodeployctl run-now")
          assert code == 4, code
          assert running() == "${good}", running()
          assert profile() == "${good}", profile()
          status = json.loads(machine.succeed("autodeployctl status --json"))
          assert status["deployment"]["outcome"] == "reverted", status
          assert status["blocked"][0]["toplevel"] == "${bad}", status
          machine.succeed("autodeployctl show | grep -q web.service")

      with subtest("the journal explains it"):
          machine.succeed("journalctl -x AUTODEPLOY_EVENT=trial-reverted | grep -q autodeployctl")
    '';
}
