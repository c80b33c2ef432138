//! The agent's Nix effects against scripted programs: what is run, and what becomes of each way
//! it can end. The scripts print what Nix 2.26 printed; the real one is on the test host.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by them")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use autodeploy::config::settings::{Build, BuildMode, CollectGarbage};
use autodeploy::effects::halt::Halt;
use autodeploy::effects::nix::{Evaluates, Nix, Resolved};
use autodeploy::model::commit::CommitId;
use autodeploy::model::failure::Failure;
use autodeploy::model::store_path::StorePath;
use tempfile::TempDir;

const DRV: &str = "/nix/store/h32gqclm532z3jqgqxkp1z1zdnf62fvp-good.drv";
const OUT: &str = "/nix/store/1hw0jncx9jdaxiggzs4mif6sq75qchzz-good";

/// Answers for the programs of a Nix, as shell; each is run with the arguments of the call.
struct Scripts {
    /// `nix eval … --apply …`
    eval: &'static str,
    /// `nix eval … --expr …`
    look: &'static str,
    /// `nix-store --realise …`
    realise: &'static str,
    /// `nix-store --check-validity …`
    check: &'static str,
    /// `nix-store --add …`
    add: &'static str,
}

const BOTH: &str = r#"echo '{"drv":"/nix/store/h32gqclm532z3jqgqxkp1z1zdnf62fvp-good.drv","out":"/nix/store/1hw0jncx9jdaxiggzs4mif6sq75qchzz-good"}'"#;

/// Links the root, as the real one does: `--realise WHAT --add-root ROOT`.
const LINK: &str = r#"ln -sfn /nix/store/1hw0jncx9jdaxiggzs4mif6sq75qchzz-good "$4"; echo "$4""#;

const FAILS: &str = "echo 'error: it went wrong' >&2; exit 1";

const NO_DAEMON: &str = "echo \"error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused\" >&2; exit 1";

const WORKS: Scripts = Scripts {
    eval: BOTH,
    look: "echo null",
    realise: LINK,
    check: "true",
    add: "echo /nix/store/1hw0jncx9jdaxiggzs4mif6sq75qchzz-good",
};

struct World {
    directory: TempDir,
    nix: Nix,
}

impl World {
    fn new(scripts: &Scripts) -> World {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let log = directory.path().join("log");
        let head = format!(
            "#!/bin/sh\necho \"${{0##*/}}\" \"$@\" >> {0}\necho \"$HOME $NIX_REMOTE\" >> {0}.env\n",
            log.display()
        );
        let nix = format!(
            "{head}case \"$*\" in *--apply*) {};; *) {};; esac\n",
            scripts.eval, scripts.look
        );
        let store = format!(
            "{head}case \"$1\" in --realise) {};; --check-validity) {};; --add) {};; esac\n",
            scripts.realise, scripts.check, scripts.add
        );
        for (name, script) in [("nix", nix), ("nix-store", store)] {
            let path = bin.join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let nix = Nix::new(bin, directory.path().join("home"));
        World { nix, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the calls so far, a line each; `DIR` is the directory.
    fn calls(&self) -> String {
        let calls = fs::read_to_string(self.path("log")).unwrap();
        calls.replace(&self.directory.path().display().to_string(), "DIR")
    }

    fn resolve(&self) -> Result<Resolved, Failure> {
        self.nix.resolve(Path::new("/repo"), &commit(), &build())
    }

    fn realise(&self, build: &Build) -> Result<(), Failure> {
        self.nix.realise(&resolved(), &self.path("roots/one"), build)
    }
}

fn commit() -> CommitId {
    "a".repeat(40).parse().unwrap()
}

fn resolved() -> Resolved {
    Resolved { drv: DRV.parse().unwrap(), toplevel: OUT.parse().unwrap() }
}

fn build() -> Build {
    Build {
        mode: BuildMode::Evaluate,
        attribute: "nixosConfigurations.\"box\".config.system.build.toplevel".to_owned(),
        subdirectory: String::new(),
        submodules: false,
        substitute_only: false,
        evaluation_timeout: Duration::from_secs(20),
        evaluation_memory: 256 << 20,
        build_timeout: Duration::from_secs(20),
        reserve: 0,
        collect_garbage: CollectGarbage::Never,
    }
}

const AT: &str =
    "could not evaluate `nixosConfigurations.\"box\".config.system.build.toplevel` at `aaaaaaaa`";

#[track_caller]
fn check<T: std::fmt::Debug>(result: Result<T, Failure>, reason: &str, message: &str) {
    let failure = result.unwrap_err();
    assert_eq!((failure.reason.as_str(), failure.message.as_str()), (reason, message));
}

#[test]
fn a_system_is_resolved_with_one_evaluation() {
    let world = World::new(&WORKS);
    assert_eq!(world.resolve().unwrap(), resolved());
    let calls = world.calls();
    let expected = "nix --extra-experimental-features nix-command flakes eval --json --option \
                    flake-registry  --no-update-lock-file git+file:///repo?rev=COMMIT\
                    #nixosConfigurations.\"box\".config.system.build.toplevel --apply system: ";
    assert!(calls.starts_with(&expected.replace("COMMIT", commit().as_str())), "{calls}");
    assert_eq!(calls.lines().count(), 1);
    let environment = fs::read_to_string(world.path("log.env")).unwrap();
    assert_eq!(environment, format!("{} daemon\n", world.path("home").display()));
}

#[test]
fn a_closure_is_realised_with_one_call_that_makes_its_root() {
    let world = World::new(&WORKS);
    world.realise(&build()).unwrap();
    assert_eq!(world.calls(), format!("nix-store --realise {DRV} --add-root DIR/roots/one\n"));
    assert_eq!(fs::read_link(world.path("roots/one")).unwrap(), Path::new(OUT));
}

#[test]
fn only_substituting_asks_for_the_closure_itself() {
    let world = World::new(&WORKS);
    world.realise(&Build { substitute_only: true, ..build() }).unwrap();
    assert_eq!(world.calls(), format!("nix-store --realise {OUT} --add-root DIR/roots/one\n"));
}

#[test]
fn a_root_that_leads_elsewhere_is_noticed() {
    let world = World::new(&Scripts { realise: "ln -sfn /nix/store/else \"$4\"", ..WORKS });
    let failure = world.realise(&build()).unwrap_err();
    assert_eq!(failure.reason.as_str(), "internal");
    let world = World::new(&Scripts { realise: "true", ..WORKS });
    assert_eq!(world.realise(&build()).unwrap_err().reason.as_str(), "internal");
}

#[test]
fn a_host_that_is_not_there_is_found_by_a_second_question() {
    let look = r#"echo '{"missing":"box","there":["one","two"]}'"#;
    let world = World::new(&Scripts { eval: FAILS, look, ..WORKS });
    let failure = world.resolve().unwrap_err();
    assert_eq!(failure.reason.as_str(), "no-such-host");
    assert_eq!(failure.message, format!("{AT}: the flake has no `box`"));
    assert_eq!(failure.hint.unwrap(), "there is `one`, `two`");
}

#[test]
fn a_mistake_in_the_flake_is_a_failed_evaluation() {
    for look in ["echo null", "exit 1", "echo what"] {
        let world = World::new(&Scripts { eval: FAILS, look, ..WORKS });
        check(world.resolve(), "evaluation-failed", &format!("{AT}: it went wrong"));
    }
    let world = World::new(&Scripts { eval: "kill -9 $$", ..WORKS });
    let how = format!("{AT}: `nix` was ended by signal 9");
    check(world.resolve(), "evaluation-failed", &how);
}

#[test]
fn what_is_no_derivation_is_no_system() {
    let world = World::new(&Scripts { eval: r#"echo '{"instead":"string"}'"#, ..WORKS });
    let message = format!("{AT}: it is a string and not a derivation");
    check(world.resolve(), "not-a-system", &message);
}

#[test]
fn an_answer_that_cannot_be_read_is_said() {
    for eval in ["echo hello", r#"echo '{"drv":"/etc","out":"/etc"}'"#, "true"] {
        let world = World::new(&Scripts { eval, ..WORKS });
        assert_eq!(world.resolve().unwrap_err().reason.as_str(), "evaluation-failed", "{eval}");
    }
}

#[test]
fn a_daemon_that_does_not_answer_is_found_by_a_second_question() {
    let world = World::new(&Scripts { eval: FAILS, realise: FAILS, check: NO_DAEMON, ..WORKS });
    assert_eq!(world.resolve().unwrap_err().reason.as_str(), "nix-unreachable");
    let failure = world.realise(&build()).unwrap_err();
    assert_eq!(failure.reason.as_str(), "nix-unreachable");
    let asked = "could not ask the Nix daemon about \
                 `/nix/store/00000000000000000000000000000000-autodeploy-asks`";
    let said =
        "cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused";
    assert_eq!(failure.message, format!("could not build `good`: {asked}: {said}"));
}

#[test]
fn a_nix_that_is_not_there_is_said() {
    let world = World::new(&WORKS);
    fs::remove_dir_all(world.path("bin")).unwrap();
    let failure = world.resolve().unwrap_err();
    assert_eq!(failure.reason.as_str(), "nix-unreachable");
    assert_eq!(
        failure.hint.unwrap(),
        "`paths.nix_bin` is the directory with `nix` and `nix-store`"
    );
}

#[test]
fn hangs_end_at_their_limits() {
    let hang = "sleep 600 & sleep 600";
    let world = World::new(&Scripts { eval: hang, realise: hang, ..WORKS });
    let short = Build {
        evaluation_timeout: Duration::from_millis(200),
        build_timeout: Duration::from_millis(200),
        ..build()
    };
    let resolved = world.nix.resolve(Path::new("/repo"), &commit(), &short);
    check(resolved, "evaluation-timeout", &format!("{AT}: not finished within 200 ms"));
    let message = "could not build `good`: not finished within 200 ms";
    check(world.realise(&short), "build-timeout", message);
}

#[test]
fn the_git_of_an_evaluator_speaks_to_remotes_alone_where_submodules_are_followed() {
    let eval = r#"echo "$GIT_ALLOW_PROTOCOL $GIT_TERMINAL_PROMPT" > "$HOME/git"; echo null"#;
    for (submodules, expected) in
        [(true, "git:http:https:ssh 0\n"), (false, "file:git:http:https:ssh 0\n")]
    {
        let world = World::new(&Scripts { eval, ..WORKS });
        let build = Build { submodules, ..build() };
        let _ = world.nix.resolve(Path::new("/repo"), &commit(), &build);
        assert_eq!(fs::read_to_string(world.path("home/git")).unwrap(), expected);
    }
}

#[test]
fn an_evaluator_that_takes_all_memory_ends_at_its_limit() {
    let eats = "dd if=/dev/zero of=/dev/null bs=600M count=1 2>/dev/null || { echo 'error: out of memory' >&2; exit 1; }; echo null";
    let world = World::new(&Scripts { eval: eats, look: "echo null", ..WORKS });
    let failure = world.resolve().unwrap_err();
    assert_eq!(failure.reason.as_str(), "evaluation-failed", "{failure}");
    assert_eq!(
        failure.hint.unwrap(),
        "the evaluator may take `256MiB` (`build.evaluation_memory`)"
    );
}

#[test]
fn ways_to_fail_a_build_are_told_apart() {
    for (realise, reason) in [
        (FAILS, "build-failed"),
        ("echo 'error: it went wrong' >&2; exit 100", "build-failed"),
        ("echo 'error: it went wrong' >&2; exit 101", "build-timeout"),
        ("echo 'error: it went wrong' >&2; exit 102", "build-failed"),
    ] {
        let world = World::new(&Scripts { realise, ..WORKS });
        check(world.realise(&build()), reason, "could not build `good`: it went wrong");
    }
    let full = "echo 'error: writing to file: No space left on device' >&2; exit 1";
    let world = World::new(&Scripts { realise: full, ..WORKS });
    let message = "could not build `good`: no space left on device";
    check(world.realise(&build()), "no-space", message);
    let world = World::new(&Scripts { realise: FAILS, ..WORKS });
    let only = Build { substitute_only: true, ..build() };
    let message = "could not substitute `good`: no cache that can be reached has it";
    check(world.realise(&only), "not-substitutable", message);
}

#[test]
fn validity_is_what_the_daemon_says() {
    let path: StorePath = OUT.parse().unwrap();
    assert!(World::new(&WORKS).nix.is_valid(&path).unwrap());
    let invalid = Scripts { check: "echo \"$3\"", ..WORKS };
    let world = World::new(&invalid);
    assert!(!world.nix.is_valid(&path).unwrap());
    let refused = world.nix.add_root(&path, &world.path("root"));
    assert_eq!(refused.unwrap_err().reason.as_str(), "invalid-path");
    assert!(!world.calls().contains("--realise"), "nothing is substituted for a root");
    let world = World::new(&Scripts { check: NO_DAEMON, ..WORKS });
    assert_eq!(world.nix.is_valid(&path).unwrap_err().reason.as_str(), "nix-unreachable");
}

#[test]
fn a_root_is_made_for_what_is_valid() {
    let world = World::new(&WORKS);
    world.nix.add_root(&OUT.parse().unwrap(), &world.path("roots/a")).unwrap();
    assert_eq!(fs::read_link(world.path("roots/a")).unwrap(), Path::new(OUT));
}

#[test]
fn reach_tries_what_the_next_deployment_needs() {
    let reach = |scripts: &Scripts, evaluates| {
        let world = World::new(scripts);
        let reach = world.nix.reach(&world.path("roots/reach"), evaluates);
        (reach.root_made, reach.evaluator_started, reach.error)
    };
    let works = Scripts { look: "echo true", ..WORKS };
    assert_eq!(reach(&works, Evaluates::Always), (true, Some(true), None));
    assert_eq!(reach(&works, Evaluates::Never), (true, None, None));
    let no_daemon = Scripts { add: NO_DAEMON, check: NO_DAEMON, ..works };
    let (made, started, error) = reach(&no_daemon, Evaluates::Always);
    assert_eq!((made, started), (false, Some(true)));
    assert!(error.unwrap().contains("Connection refused"));
    let no_evaluator = Scripts { look: FAILS, ..WORKS };
    let (made, started, error) = reach(&no_evaluator, Evaluates::Always);
    assert_eq!((made, started), (true, Some(false)));
    assert_eq!(error.unwrap(), "could not start the evaluator: it went wrong");
}

#[test]
fn a_halt_ends_what_runs() {
    let world = World::new(&Scripts { eval: "echo > \"$HOME/runs\"; sleep 600", ..WORKS });
    let halt = Halt::default();
    let nix = world.nix.clone().under(halt.clone());
    let running = std::thread::spawn(move || nix.resolve(Path::new("/repo"), &commit(), &build()));
    while !world.path("home/runs").exists() {
        std::thread::yield_now();
    }
    halt.halt();
    check(running.join().unwrap(), "internal", &format!("{AT}: it was ended early"));
}
