# The NixOS module `services.autodeploy`.
#
# The units themselves are the files of `systemd/`, which the package brings along: they stand in
# one place only. What is here is what belongs to the machine: its configuration, its user, what Nix
# must allow that user, and what must not be beside autodeploy.
{ config, lib, pkgs, ... }:

let
  cfg = config.services.autodeploy;
  toml = pkgs.formats.toml { };
  # An option that is null is not set.
  written = toml.generate "autodeploy.toml" (lib.filterAttrsRecursive (_: value: value != null) cfg.settings);

  # A configuration that autodeployd would refuse is refused when the system is built. Whether the
  # files that it names exist is not looked at: they are on the machine, and this is another one.
  checked = pkgs.runCommand "autodeploy-config.toml" { } ''
    ${cfg.package}/bin/autodeployd --check-config ${written}
    cp ${written} $out
  '';
  # Where the program of the target cannot run, the check is left to the machine.
  runsHere = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;

  hasCredentials = cfg.credentials != { };

  sshd = config.services.openssh;
  sshPort =
    let listening = builtins.filter (address: address.port != null) sshd.listenAddresses;
    in if listening != [ ] then (builtins.head listening).port else builtins.head sshd.ports;
  sshAddress =
    let
      address = if sshd.listenAddresses == [ ] then "0.0.0.0" else (builtins.head sshd.listenAddresses).addr;
      reached = { "0.0.0.0" = "127.0.0.1"; "::" = "::1"; "[::]" = "::1"; }.${address} or address;
    in if lib.hasInfix ":" reached && !lib.hasPrefix "[" reached then "[${reached}]" else reached;

  # journalctl reads one compiled catalog. Its sources are looked for below /usr, which NixOS does
  # not have; so it is compiled here, from systemd's own and ours, and linked to where it is read.
  catalog = pkgs.runCommand "journal-catalog" { } ''
    for directory in usr/lib/systemd/catalog usr/local/lib/systemd/catalog .${config.systemd.package}/lib/systemd/catalog; do
      mkdir -p "root/$directory"
      cp ${config.systemd.package}/lib/systemd/catalog/*.catalog ${cfg.package}/lib/systemd/catalog/*.catalog "root/$directory"
    done
    mkdir -p root/var/lib/systemd/catalog
    ${config.systemd.package}/bin/journalctl --root=root --update-catalog
    cp root/var/lib/systemd/catalog/database $out
  '';

  text = description: default: lib.mkOption {
    type = lib.types.str;
    inherit default description;
  };
  file = description: lib.mkOption {
    # A text and not a path: Nix copies a path into its store, where everybody can read it.
    type = lib.types.nullOr lib.types.str;
    default = null;
    inherit description;
  };
  keys = description: lib.mkOption {
    # Public keys may lie in the store: they come with the generation that lets them sign.
    type = lib.types.nullOr (lib.types.either lib.types.path lib.types.str);
    default = null;
    inherit description;
  };
in
{
  options.services.autodeploy = {
    enable = lib.mkEnableOption "autodeploy, which follows a Git branch with this machine, on trial";

    package = lib.mkOption {
      type = lib.types.package;
      description = "The package with autodeployd, autodeploy-activate and autodeployctl.";
    };

    credentials = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = lib.literalExpression ''{ deploy-key = "/var/lib/secrets/deploy-key"; }'';
      description = ''
        Files that only root can read and that the agent needs, by the name that they get: the agent
        reads them as `/run/credentials/autodeploy.service/NAME`, as they were when it started. It is
        restarted when one of them changes.
      '';
    };

    settings = lib.mkOption {
      description = ''
        The contents of `/etc/autodeploy/config.toml`; `docs/configuration.md` has every key.
        It is checked when the system is built.
      '';
      default = { };
      type = lib.types.submodule {
        freeformType = toml.type;
        options = {
          host = lib.mkOption {
            type = lib.types.str;
            default = config.networking.hostName;
            defaultText = lib.literalExpression "config.networking.hostName";
            description = "The name of this machine in the flake.";
          };
          source = {
            url = lib.mkOption {
              type = lib.types.str;
              example = "https://git.example.org/infra.git";
              description = "The repository that is followed: `https://`, `ssh://` or `file://`.";
            };
            branch = text "The branch that is followed." "main";
            poll_interval = text "The pause between two polls." "1min";
            ssh_key_file = file "The private key for `ssh://`, as a text.";
            token_file = file "The file with the password or token for `https://`, as a text.";
          };
          trust = {
            signatures = lib.mkOption {
              type = lib.types.nullOr (lib.types.enum [ "off" "tip" "every-commit" ]);
              default = null;
              description = ''
                Which commits have to be signed: `every-commit` where a file of keys is named,
                otherwise `off`.
              '';
            };
            allowed_signers_file = keys ''
              The SSH keys that may sign commits, as in "ALLOWED SIGNERS" of ssh-keygen(1). A path
              of the repository is right: the keys then arrive with a generation, and go with it.
            '';
            openpgp_keyring_file = keys ''
              The OpenPGP keys that may sign commits, as `gpg --export` writes them.
            '';
          };
          health = {
            window = text "The time within which every required check has to become green and stay so." "5min";
            settle = text "How long all required checks have to be green without a break." "60s";
            checks = lib.mkOption {
              type = lib.types.attrsOf toml.type;
              default = { };
              example = lib.literalExpression ''
                { web = { kind = "http"; url = "http://[::1]/health"; }; }
              '';
              description = "The checks that decide about a new system, by name.";
            };
          };
          control.group = text "The group whose members may act with autodeployctl, besides root." "wheel";
        };
      };
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = !(config.system.autoUpgrade.enable or false);
        message = "services.autodeploy and system.autoUpgrade both switch this machine: disable one of them";
      }
      {
        assertion = !(config.services.comin.enable or false);
        message = "services.autodeploy and services.comin both switch this machine: disable one of them";
      }
      {
        assertion = !(builtins.elem "autodeploy" (config.nix.settings.trusted-users or [ ]));
        message = "autodeploy must not be in nix.settings.trusted-users: a trusted user is as good as root";
      }
      {
        assertion = !(builtins.any (lib.hasPrefix builtins.storeDir) (builtins.attrValues cfg.credentials));
        message = "services.autodeploy.credentials: what lies in the Nix store can be read by everybody";
      }
      {
        assertion = config.nix.enable;
        message = "services.autodeploy needs nix.enable: it evaluates and builds through the Nix daemon";
      }
    ];

    # A machine with sshd is one that somebody wants to reach: a system that sshd does not survive is
    # reverted. `services.autodeploy.settings.health.checks.sshd.enable = false` takes it out.
    services.autodeploy.settings.health.checks = lib.mkIf sshd.enable {
      sshd = {
        kind = lib.mkDefault "tcp";
        address = lib.mkDefault "${sshAddress}:${toString sshPort}";
      };
    };

    environment.etc."autodeploy/config.toml".source = if runsHere then checked else written;
    # The activator that runs asks the one of the generation on trial whether it could take over.
    environment.etc."autodeploy/autodeploy-activate".source = "${cfg.package}/bin/autodeploy-activate";
    environment.systemPackages = [ cfg.package ];

    systemd.packages = [ cfg.package ];
    systemd.services = {
      autodeploy = {
        # NixOS passes over [Install].
        wantedBy = [ "multi-user.target" ];
        # For the evaluator: a flake's inputs are fetched by these.
        path = [ config.nix.package pkgs.gitMinimal pkgs.openssh ];
      } // lib.optionalAttrs hasCredentials {
        serviceConfig.LoadCredential = map (name: "${name}:${cfg.credentials.${name}}") (builtins.attrNames cfg.credentials);
      };
      autodeploy-activate.wantedBy = [ "multi-user.target" ];
    } // lib.optionalAttrs hasCredentials {
      # A credential is what the file was when the agent started. Its restart harms no trial: the
      # same deployment goes on, and the lifeline asks for a run that began after the switch.
      autodeploy-credentials = {
        description = "Restart the agent of autodeploy: one of its secrets changed";
        restartIfChanged = false;
        unitConfig.StartLimitIntervalSec = 0;
        # No oneshot, and no waiting: a switch that waited for this would wait for the agent.
        serviceConfig = {
          Type = "exec";
          ExecStart = "${config.systemd.package}/bin/systemctl --no-block try-restart autodeploy.service";
        };
      };
    };
    systemd.paths = {
      autodeploy-activate.wantedBy = [ "multi-user.target" ];
    } // lib.optionalAttrs hasCredentials {
      autodeploy-credentials = {
        wantedBy = [ "multi-user.target" ];
        unitConfig.StartLimitIntervalSec = 0;
        pathConfig.PathChanged = builtins.attrValues cfg.credentials;
      };
    };
    systemd.tmpfiles.rules = [ "L+ /var/lib/systemd/catalog/database - - - - ${catalog}" ];

    users.users.autodeploy = {
      isSystemUser = true;
      group = "autodeploy";
      home = "/var/lib/autodeploy";
      description = "autodeploy agent";
    };
    users.groups.autodeploy = { };

    nix.settings = {
      # `extra-`: what the machine allows others stays as it is. A plain `allowed-users` would take the
      # place of NixOS's default, and lock everybody else out of Nix.
      extra-allowed-users = [ "autodeploy" ];
      # "The cache does not have it" is not to be remembered: CI may be pushing it at that moment.
      # The agent cannot ask for this itself, because it is no trusted user.
      narinfo-cache-negative-ttl = lib.mkDefault 0;
    };

    # A kernel that panics while a system is on trial must not stand still: the default of the next
    # boot is the system that was kept. The last `panic=` counts, so a machine's own one wins.
    boot.kernelParams = lib.mkBefore [ "panic=30" ];
  };
}
