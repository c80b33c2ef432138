# The package: three binaries, the units of `systemd/`, completions, manual pages, journal catalog.
{ lib, rustPlatform, installShellFiles, pkg-config, openssl, zlib }:

rustPlatform.buildRustPackage {
  pname = "autodeploy";
  inherit ((builtins.fromTOML (builtins.readFile ./Cargo.toml)).package) version;

  src = lib.fileset.toSource {
    root = ./.;
    # What the build and its tests read, and nothing else: a change of the README builds nothing.
    fileset = lib.fileset.unions [
      ./Cargo.toml
      ./Cargo.lock
      ./clippy.toml
      ./rustfmt.toml
      ./docs
      # The library's tests hold it against the laws; the fuzzer itself is not built here.
      ./fuzz/corpus
      ./src
      ./systemd
      ./tests
    ];
  };
  cargoLock.lockFile = ./Cargo.lock;

  nativeBuildInputs = [ installShellFiles pkg-config ];
  buildInputs = [ openssl zlib ];

  # The rest needs a machine: booted hosts, a Git server, a systemd to ask.
  cargoTestFlags = [ "--package" "autodeploy" "--lib" ];

  postInstall = ''
    mkdir -p $out/lib/systemd/system
    for unit in systemd/*.service systemd/*.path; do
      sed "s|/usr/bin/autodeploy|$out/bin/autodeploy|" "$unit" > "$out/lib/systemd/system/''${unit##*/}"
    done
    install -Dm444 -t $out/lib/systemd/catalog systemd/autodeploy.catalog

    mkdir pages
    $out/bin/autodeployctl man pages
    installManPage pages/*
    for shell in bash fish zsh; do
      $out/bin/autodeployctl completions $shell > autodeployctl.$shell
      installShellCompletion --$shell --name autodeployctl autodeployctl.$shell
    done
  '';

  meta = {
    description = "A NixOS machine follows a Git branch by itself: on trial, watched, kept or reverted";
    license = lib.licenses.mit;
    mainProgram = "autodeployctl";
    platforms = lib.platforms.linux;
  };
}
