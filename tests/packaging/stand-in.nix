# A stand-in for the few functions of nixpkgs that module.nix, package.nix and flake.nix use, so that
# they evaluate where there is no nixpkgs. Options are not checked and definitions are not merged:
# what is tried is what the files themselves say.
let
  lib = rec {
    mkOption = declaration: declaration // { isOption = true; };
    mkEnableOption = description: mkOption { inherit description; default = false; };
    mkIf = condition: definition: if condition then definition else { };
    mkDefault = definition: definition;
    optionalAttrs = condition: set: if condition then set else { };
    mkBefore = definition: definition;
    mkForce = definition: definition;
    literalExpression = text: text;
    types = {
      str = "str";
      package = "package";
      nullOr = type: type;
      attrsOf = type: type;
      either = one: other: one;
      enum = words: "enum";
      path = "path";
      submodule = declaration: declaration;
    };

    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    hasInfix = infix: text: builtins.replaceStrings [ infix ] [ "" ] text != text;
    removeSuffix = suffix: text: builtins.substring 0 (builtins.stringLength text - builtins.stringLength suffix) text;
    concatMap = builtins.concatMap;
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = change: set: builtins.listToAttrs (map (name: change name set.${name}) (builtins.attrNames set));
    genAttrs = names: make: builtins.listToAttrs (map (name: nameValuePair name (make name)) names);
    filterAttrsRecursive = keep: set: builtins.listToAttrs (builtins.concatMap
      (name:
        let value = set.${name};
        in if !keep name value then [ ] else [
          (nameValuePair name (if builtins.isAttrs value then filterAttrsRecursive keep value else value))
        ])
      (builtins.attrNames set));

    licenses.mit = "MIT";
    platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
    fileset = {
      unions = paths: paths;
      toSource = { root, fileset }: fileset;
    };
  };

  pkgs = {
    formats.toml = { }: {
      type = "toml";
      generate = name: value: { outPath = "/made/${name}"; inherit value; };
    };
    runCommand = name: environment: script: { outPath = "/made/${name}"; inherit script; };
    stdenv = {
      buildPlatform.canExecute = platform: true;
      hostPlatform.system = "x86_64-linux";
    };
    gitMinimal = "/made/git";
    openssh = "/made/openssh";
    testers.runNixOSTest = test: test;
    mkShell = shell: shell;
    callPackage = path: arguments: import path { inherit lib; inherit (packages) rustPlatform installShellFiles pkg-config openssl zlib; };
    cargo-deny = "cargo-deny";
    cargo-nextest = "cargo-nextest";
    clippy = "clippy";
    git = "git";
    nix = "nix";
    rustfmt = "rustfmt";
    systemd = "systemd";
  };

  packages = {
    rustPlatform.buildRustPackage = package: package // {
      overrideAttrs = change: package // change package;
    };
    installShellFiles = "installShellFiles";
    pkg-config = "pkg-config";
    openssl = "openssl";
    zlib = "zlib";
  };

  # Sets of two levels of sets, the right one wins.
  merge = left: right:
    left // builtins.mapAttrs
      (name: value:
        if builtins.isAttrs value && builtins.isAttrs (left.${name} or null) then merge left.${name} value else value)
      right;

  # The machine as other modules leave it, with autodeploy enabled.
  machine = {
    networking.hostName = "box";
    nix = { enable = true; package = "/made/nix"; settings.trusted-users = [ "root" ]; };
    services.autodeploy = {
      enable = true;
      package = "/made/autodeploy";
      credentials = { };
      settings = {
        host = "box";
        source = { url = "https://git.example.org/infra.git"; branch = "main"; poll_interval = "1min"; ssh_key_file = null; token_file = null; };
        health = { window = "5min"; settle = "60s"; checks = { }; };
        control.group = "wheel";
      };
    };
    services.openssh = { enable = false; ports = [ 22 ]; listenAddresses = [ ]; };
    system.autoUpgrade.enable = false;
    systemd.package = "/made/systemd";
  };

  moduleWith = changes: import ../../module.nix { inherit lib pkgs; config = merge machine changes; };
  flake = (import ../../flake.nix).outputs {
    self = flake;
    nixpkgs = { inherit lib; legacyPackages = { x86_64-linux = pkgs; aarch64-linux = pkgs; }; };
  };
in
{
  # What the module makes of a machine that differs from the plain one in `changes`.
  config = changes: (moduleWith changes).config;

  # The file that it writes, before it is checked.
  settings = changes:
    let autodeploy = (merge machine changes).services.autodeploy;
    in lib.filterAttrsRecursive (_: value: value != null) autodeploy.settings;

  # Names, defaults and descriptions of the options.
  options = (moduleWith { }).options.services.autodeploy;

  # What a package build runs after the binaries are in place.
  inherit (flake.packages.x86_64-linux.default) postInstall pname version;

  # What the flake offers.
  flake = {
    systems = builtins.attrNames flake.packages;
    checks = builtins.attrNames flake.checks.x86_64-linux;
    shell = flake.devShells.x86_64-linux.default.packages;
    module = builtins.isFunction flake.nixosModules.default;
  };

  # The VM tests, as far as they go without a machine: every name that they use is there.
  tests = builtins.attrNames (builtins.readDir ../nixos);
}
