{
  description = "A NixOS machine follows a Git branch by itself: on trial, watched, kept or reverted";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      packageOf = pkgs: self.packages.${pkgs.stdenv.hostPlatform.system}.default;

      # Every file in tests/nixos is a NixOS VM test.
      machineTests = pkgs: lib.mapAttrs'
        (file: _: lib.nameValuePair "nixos-${lib.removeSuffix ".nix" file}"
          (pkgs.testers.runNixOSTest {
            imports = [ (./tests/nixos + "/${file}") ];
            node.specialArgs = { autodeploy = self; };
          }))
        (builtins.readDir ./tests/nixos);
    in
    {
      packages = each (pkgs: {
        default = pkgs.callPackage ./package.nix { };
      });

      nixosModules.default = { pkgs, ... }: {
        imports = [ ./module.nix ];
        services.autodeploy.package = lib.mkDefault (packageOf pkgs);
      };

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ (packageOf pkgs) ];
          packages = with pkgs; [ cargo-deny cargo-nextest clippy git nix openssh rustfmt systemd ];
        };
      });

      checks = each (pkgs: machineTests pkgs // {
        package = packageOf pkgs;
        clippy = (packageOf pkgs).overrideAttrs (package: {
          pname = "${package.pname}-clippy";
          nativeBuildInputs = package.nativeBuildInputs ++ [ pkgs.clippy pkgs.rustfmt ];
          buildPhase = ''
            cargo fmt --all --check
            cargo clippy --package autodeploy --all-targets -- --deny warnings
          '';
          doCheck = false;
          installPhase = "touch $out";
        });
      });
    };
}
