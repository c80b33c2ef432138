//! `autodeployctl` as it is typed: the real binary against the real server before a fake loop.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/fake_agent.rs"]
#[allow(dead_code)]
mod fake_agent;
#[path = "support/typed.rs"]
#[allow(dead_code)]
mod typed;

use autodeploy::control::ask::{Ask, Refusal, Told};
use autodeploy::control::status::{Stale, Status};
use fake_agent::{
    Answer, COMMIT, FakeAgent, details, done, idle, in_phase, open_directory, summary,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use std::os::fd::AsRawFd;
use typed::{Ended, ctl};

/// Everything that changes something.
const ORDERS: [&str; 8] = [
    "run-now",
    "rollback",
    "abort",
    "block 7",
    "unblock 7",
    "pause",
    "resume",
    "reanchor c0ffee12 --reason moved",
];

fn agent(directory: &std::path::Path, status: Status, answer: Answer) -> FakeAgent {
    FakeAgent::start(directory, status, answer)
}

fn nothing() -> Answer {
    Box::new(|_| done(None, "nothing to do"))
}

#[tokio::test]
async fn without_an_agent_every_command_says_so_and_exits_with_3() {
    let directory = open_directory();
    let socket = directory.path().join("control");
    let others = ["status", "status --check", "history", "show", "log", "run-now --wait", "watch"];
    for command in others.into_iter().chain(ORDERS) {
        let ended = ctl(&socket, command).ended().await;
        let expected = format!(
            "could not reach autodeployd at `{}`: no such file\n\n\
             hint: systemctl status autodeploy\n",
            socket.display()
        );
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{command}");
        let progress = ended.stderr.strip_suffix(&expected);
        assert!(progress.is_some_and(str::is_empty), "{command}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_socket_that_nobody_serves_is_an_absent_agent() {
    let directory = open_directory();
    let path = directory.path().join("control");
    // Bound and not listened on, which is what a program that is gone leaves behind.
    let left = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(left.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    let ended = ctl(&path, "status").ended().await;
    let expected = format!(
        "could not reach autodeployd at `{}`: connection refused\n\n\
         hint: systemctl status autodeploy\n",
        path.display()
    );
    assert_eq!((ended.code, ended.stderr), (3, expected));
}

#[tokio::test]
async fn what_is_not_understood_exits_with_2() {
    let directory = open_directory();
    let socket = directory.path().join("control");
    let misunderstood =
        ["stauts", "run-now --wait --no-wait", "show seven", "block", "reanchor c0ffee12"];
    for command in misunderstood {
        assert_eq!(ctl(&socket, command).ended().await.code, 2, "{command}");
    }
}

#[tokio::test]
async fn status_is_shown_to_people_and_programs() {
    let directory = open_directory();
    let agent = agent(directory.path(), idle(), nothing());
    let shown = ctl(&agent.socket, "status").ended().await;
    assert_eq!(
        shown,
        Ended::good(
            "\
web1 runs generation 42 (commit c0ffee12); nothing was deployed yet

running       generation 42, commit c0ffee12, nixos-system-web1
boot default  unknown
remote        main of file:///srv/infra at c0ffee12, never reached
"
        )
    );
    let json = ctl(&agent.socket, "status --json").ended().await;
    assert_eq!(serde_json::from_str::<Status>(&json.stdout).unwrap(), idle());
    assert_eq!((json.code, json.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn status_check_exits_by_what_is_wrong() {
    let directory = open_directory();
    let agent = agent(directory.path(), idle(), nothing());
    let good = ctl(&agent.socket, "status --check").ended().await;
    assert_eq!(
        good,
        Ended::good("web1 runs generation 42 (commit c0ffee12); nothing was deployed yet\n")
    );
    agent.status.send_modify(|status| status.remote.stale = true);
    let stale = ctl(&agent.socket, "status --check").ended().await;
    assert_eq!((stale.code, stale.stdout.as_str()), (1, "the remote is stale\n"));
    agent.status.send_modify(|status| {
        status.remote.stale_reasons = vec![Stale {
            kind: "clock-behind".into(),
            message: "the clock is behind".into(),
            hint: "timedatectl".into(),
        }];
    });
    let stale = ctl(&agent.socket, "status --check").ended().await;
    assert_eq!((stale.code, stale.stdout.as_str()), (1, "stale: the clock is behind\n"));
    agent.status.send_modify(|status| status.deployment = Some(summary(8, Some("reverted"))));
    let bad = ctl(&agent.socket, "status --check --json").ended().await;
    assert_eq!(bad.code, 4);
    assert!(serde_json::from_str::<Status>(&bad.stdout).unwrap().remote.stale);
}

#[tokio::test]
async fn history_and_show_print_what_the_agent_knows() {
    let directory = open_directory();
    let answer: Answer = Box::new(|ask| match ask {
        Ask::ListDeployments { limit: 3 } => {
            Some(Ok(Told::Deployments(vec![summary(7, Some("kept"))])))
        }
        Ask::ShowDeployment { id: None } => {
            Some(Ok(Told::Deployment(Box::new(details(7, "idle", Some("kept"))))))
        }
        Ask::ShowDeployment { id: Some(_) } => Some(Err(Refusal::NotFound {
            message: "there is no deployment 9".into(),
            hint: "autodeployctl history".into(),
        })),
        other => panic!("{other:?}"),
    });
    let agent = agent(directory.path(), idle(), answer);
    let history = ctl(&agent.socket, "history --limit 3").ended().await;
    assert_eq!(
        history,
        Ended::good(
            "\
ID  WHEN              COMMIT    OUTCOME  REASON   TOOK
7   2025-11-21 11:00  c0ffee12  kept     by-test  1 min
"
        )
    );
    let json = ctl(&agent.socket, "history --limit 3 --json").ended().await;
    let listed: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(listed, serde_json::to_value([summary(7, Some("kept"))]).unwrap());
    let shown = ctl(&agent.socket, "show").ended().await;
    assert!(shown.stdout.starts_with("deployment 7 (commit c0ffee12) kept: so it ended\n"));
    let missing = ctl(&agent.socket, "show 9").ended().await;
    assert_eq!(missing, Ended::bad(1, "there is no deployment 9\n\nhint: autodeployctl history\n"));
}

#[tokio::test]
async fn orders_are_passed_on_and_the_answer_is_printed() {
    let directory = open_directory();
    let agent = agent(directory.path(), idle(), Box::new(|_| done(None, "so be it")));
    let orders = [
        ("block 7", Ask::Block { what: "7".into() }),
        ("unblock 7", Ask::Unblock { what: "7".into() }),
        ("pause --reason racks", Ask::Pause { reason: "racks".into() }),
        ("resume", Ask::Resume),
        ("rollback 41", Ask::Rollback { generation: Some(41) }),
        (
            "reanchor c0ffee12 --reason moved",
            Ask::Reanchor { commit: "c0ffee12".into(), reason: "moved".into() },
        ),
    ];
    for (command, expected) in orders {
        let ended = ctl(&agent.socket, command).ended().await;
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "so be it\n"), "{command}");
        assert_eq!(agent.asked.lock().unwrap().pop().unwrap().1, expected);
    }
}

#[tokio::test]
async fn a_stranger_may_look_and_is_refused_by_name_of_the_group() {
    assert!(nix::unistd::getuid().is_root(), "to be run as root: it changes the user");
    let directory = open_directory();
    let agent = agent(directory.path(), idle(), Box::new(|_| done(None, "so be it")));
    let looked = ctl(&agent.socket, "status").by_user(4711, directory.path()).ended().await;
    assert_eq!(looked.code, 0, "{}", looked.stderr);
    for command in ORDERS {
        let refused = ctl(&agent.socket, command).by_user(4711, directory.path()).ended().await;
        let expected = "user 4711 may look but not act: that takes root or the group \
                        `no-such-group`\n\nhint: use `sudo`, or join the group `no-such-group` \
                        (`control.group`) and log in again\n";
        assert_eq!(refused.code, 1, "{command}");
        assert!(refused.stderr.ends_with(expected), "{command}: {}", refused.stderr);
    }
    assert!(agent.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn watch_says_what_changes_and_goes_quietly_with_its_reader() {
    let directory = open_directory();
    let agent = agent(directory.path(), idle(), nothing());
    let mut watching = ctl(&agent.socket, "watch").start();
    let first = watching.line().await;
    assert_eq!(first[10..], *"web1 runs generation 42 (commit c0ffee12); nothing was deployed yet");
    agent.status.send_replace(in_phase(8, "switching"));
    let next = watching.line().await;
    assert_eq!(next[10..], *"deployment 8 (commit c0ffee12) is on trial: switching");
    watching.stop_reading();
    agent.status.send_replace(in_phase(8, "watching"));
    let ended = watching.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn generations_are_listed_without_an_agent_too() {
    use std::os::unix::fs::symlink;
    let directory = open_directory();
    let toplevel = idle().running.toplevel;
    symlink(&toplevel, directory.path().join("system-42-link")).unwrap();
    symlink("system-42-link", directory.path().join("system")).unwrap();
    let command = format!("generations --json --profile {}/system", directory.path().display());

    let socket = directory.path().join("control");
    let alone = ctl(&socket, &command).ended().await;
    assert_eq!(alone.code, 3);
    assert!(alone.stderr.starts_with("could not reach autodeployd"));
    let listed: serde_json::Value = serde_json::from_str(&alone.stdout).unwrap();
    assert_eq!((&listed[0]["generation"], &listed[0]["commit"]), (&42.into(), &().into()));

    let mut kept = summary(7, Some("kept"));
    kept.toplevel = Some(toplevel);
    let agent = agent(
        directory.path(),
        idle(),
        Box::new(move |_| Some(Ok(Told::Deployments(vec![kept.clone()])))),
    );
    let known = ctl(&agent.socket, &command).ended().await;
    let listed: serde_json::Value = serde_json::from_str(&known.stdout).unwrap();
    assert_eq!((&listed[0]["outcome"], &listed[0]["commit"]), (&"kept".into(), &COMMIT.into()));
    assert_eq!((known.code, &listed[0]["current"]), (0, &true.into()));
}

#[tokio::test]
async fn log_asks_the_journal_for_one_deployment() {
    let directory = open_directory();
    let answer: Answer =
        Box::new(|_| Some(Ok(Told::Deployment(Box::new(details(7, "idle", Some("kept")))))));
    let agent = agent(directory.path(), idle(), answer);
    let program = directory.path().join("journalctl");
    let write = |script: &str| typed::write_script(&program, script);

    write("#!/bin/sh\necho \"$@\"\nprintf 'a\\033[2Jb\\n'\n");
    let read = ctl(&agent.socket, "log 7").path_variable(directory.path()).ended().await;
    assert_eq!(
        read,
        Ended::good(
            "--no-pager --quiet --no-hostname --output=short-iso --since=@1763722800 \
             --until=@1763722865 SYSLOG_IDENTIFIER=autodeployd AUTODEPLOY_DEPLOYMENT=7 + \
             SYSLOG_IDENTIFIER=autodeploy-activate AUTODEPLOY_DEPLOYMENT=7 + \
             _SYSTEMD_UNIT=autodeploy-trial.service\na\\u{1b}[2Jb\n"
        )
    );

    let hint = "hint: read it as root, or join the group `systemd-journal` and log in again\n";
    write("#!/bin/sh\necho 'No journal files were opened.' >&2\nexit 1\n");
    let refused = ctl(&agent.socket, "log").path_variable(directory.path()).ended().await;
    let expected = format!("could not read the journal: No journal files were opened.\n\n{hint}");
    assert_eq!(refused, Ended::bad(1, &expected));

    write("#!/bin/sh\n");
    let empty = ctl(&agent.socket, "log").path_variable(directory.path()).ended().await;
    let expected = format!("the journal shows nothing of deployment 7\n\n{hint}");
    assert_eq!(empty, Ended::bad(1, &expected));
}

#[tokio::test]
async fn a_configuration_is_checked_without_an_agent() {
    let directory = open_directory();
    let socket = directory.path().join("control");
    let file = directory.path().join("config.toml");
    let command = format!("check-config {}", file.display());
    let shown = file.display();

    let missing = ctl(&socket, &command).ended().await;
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.starts_with(&format!("could not read `{shown}`: ")));

    std::fs::write(&file, "[source]\nurl = \"file:///srv/infra\"\n").unwrap();
    let good = ctl(&socket, &command).ended().await;
    assert_eq!((good.code, good.stderr.as_str()), (0, ""));
    assert!(good.stdout.ends_with(&format!("`{shown}` is in order\n")), "{}", good.stdout);

    let text = "[source]\nurl = \"file:///srv/infra\"\npol_interval = \"1min\"\nbranch = 1\n";
    std::fs::write(&file, text).unwrap();
    let bad = ctl(&socket, &command).ended().await;
    assert_eq!((bad.code, bad.stdout.as_str()), (1, ""));
    let first = format!(
        "`{shown}` line 3: unknown key `pol_interval`\n\nhint: did you mean `poll_interval`?\n"
    );
    assert!(bad.stderr.starts_with(&first), "{}", bad.stderr);
    assert!(bad.stderr.contains("line 4"), "{}", bad.stderr);
}

#[tokio::test]
async fn packages_get_completions_and_pages() {
    let directory = open_directory();
    let socket = directory.path().join("control");
    for shell in ["bash", "zsh", "fish"] {
        let script = ctl(&socket, &format!("completions {shell}")).ended().await;
        assert!(script.code == 0 && script.stdout.contains("run-now"), "{shell}");
    }
    let ended = ctl(&socket, &format!("man {}", directory.path().display())).ended().await;
    assert_eq!(ended, Ended::good(""));
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("autodeployctl.1").contains("Exit codes"));
    assert!(page("autodeployctl-run-now.1").contains("emergency"));
    assert!(page("autodeployctl-reanchor.1").contains("reason"));
    assert!(!directory.path().join("autodeployctl-man.1").exists());
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    let directory = open_directory();
    let agent = agent(directory.path(), idle(), nothing());
    let ended = ctl(&agent.socket, "status").into_full_disk().ended().await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("could not write the output: "), "{}", ended.stderr);
}
