# The repository that test hosts follow: no inputs, plain derivations, NixOS's shape.
{
  outputs = { self }:
    let
      # Each file or folder is its own store path, so that a commit that changes nothing of a host
      # gives that host the same closure.
      stored = name: path: builtins.path { inherit name path; };
      optional = path: if builtins.pathExists path then path else null;
      line = file: default:
        if builtins.pathExists file
        then builtins.head (builtins.split "\n" (builtins.readFile file))
        else default;
      system = line ./system "x86_64-linux";

      run = attributes: derivation ({ inherit system; builder = "/bin/sh"; } // attributes);

      systemd = version: run {
        name = "systemd-${version}";
        args = [ "-c" ''
          export PATH=/usr/bin:/bin
          mkdir -p $out/bin $out/lib/systemd
          ln -s -t $out/bin /usr/bin/systemctl /usr/bin/systemd-run /usr/bin/journalctl /usr/bin/systemd-inhibit /usr/bin/busctl
          ln -s /usr/lib/systemd/systemd $out/lib/systemd/systemd
        '' ];
      };

      # The binaries lie on the host, under a label that changes with their contents.
      package = label: run {
        name = "autodeploy-${label}";
        args = [ "-c" ''
          export PATH=/usr/bin:/bin
          mkdir -p $out/bin
          cp /opt/autodeploy/${label}/bin/* $out/bin/
        '' ];
      };

      toplevel = host:
        let
          folder = ./hosts + "/${host}";
          label = line (folder + "/autodeploy-label") "";
          kernel = name: stored name (if builtins.pathExists (folder + "/${name}") then folder + "/${name}" else ./common + "/${name}");
        in run {
          name = "nixos-system-${host}";
          args = [ (stored "build-toplevel" ./stand-in/build-toplevel) ];
          inherit host;
          version = line (folder + "/nixos-version") "25.11.test";
          systemd = systemd (line (folder + "/systemd-version") "257.8");
          kernel = kernel "kernel";
          initrd = kernel "initrd";
          modules = kernel "kernel-modules";
          standIn = stored "stand-in" ./stand-in;
          common = stored "common" ./common;
          settings = stored "host-${host}" folder;
          autodeploy = if label == "" then "" else package label;
          units = if label == "" then "" else stored "autodeploy-units" ./autodeploy/units;
        };

      names = builtins.attrNames (builtins.readDir ./hosts);
    in {
      nixosConfigurations = builtins.listToAttrs (map
        (name: { inherit name; value.config.system.build.toplevel = toplevel name; })
        names);
    };
}
