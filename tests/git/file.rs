//! `file://` remotes: what is brought, how it hangs together, what is refused.

use std::time::Duration;

use autodeploy::effects::git::{FetchLimits, Want};

use crate::origin::{Both, LIMITS, assert_failure, git};

const POLL: Duration = Duration::from_secs(20);

#[test]
fn the_first_fetch_makes_a_repository_that_nix_can_read() {
    let both = Both::new();
    let fetched = both.fetch(&both.file_remote(), None).unwrap();
    assert_eq!(fetched.tip, both.tip());
    assert_eq!(both.ours(&["rev-parse", "refs/autodeploy/tip"]), both.tip().as_str());
    assert_eq!(both.ours(&["config", "core.bare"]), "false");
    assert_eq!(both.ours(&["rev-parse", "--verify", "HEAD^{tree}"]).len(), 40);
    both.ours(&["fsck", "--full", "--strict"]);
    let entries = std::fs::read_dir(both.git.repository()).unwrap().count();
    assert_eq!(entries, 1, "there is nothing but `.git`");
}

#[test]
fn only_the_branch_is_brought() {
    let both = Both::new();
    git(&both.origin, &["tag", "v1"]);
    git(&both.origin, &["switch", "--quiet", "--create", "other"]);
    let other = both.commit("other", "other");
    git(&both.origin, &["switch", "--quiet", "main"]);
    both.fetch(&both.file_remote(), None).unwrap();
    let refs = both.ours(&["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs, "refs/autodeploy/tip\nrefs/heads/autodeploy");
    let objects = both.ours(&["cat-file", "--batch-all-objects", "--batch-check"]);
    assert!(!objects.contains(other.as_str()), "{objects}");
}

#[test]
fn a_tip_that_is_there_needs_no_remote() {
    let both = Both::new();
    let remote = both.file_remote();
    let first = both.fetch(&remote, None).unwrap();
    let want = Want { tip: both.tip(), mark: None };
    std::fs::remove_dir_all(&both.origin).unwrap();
    assert_eq!(both.git.fetch(&remote, &want, &LIMITS).unwrap(), first);
}

#[test]
fn a_branch_that_moved_on_since_the_poll_brings_the_newer_tip() {
    let both = Both::new();
    let want = Want { tip: "a".repeat(40).parse().unwrap(), mark: None };
    let fetched = both.git.fetch(&both.file_remote(), &want, &LIMITS).unwrap();
    assert_eq!(fetched.tip, both.tip());
}

#[test]
fn the_lineage_lists_the_first_parents_since_the_mark() {
    let both = Both::new();
    let mark = both.tip();
    let one = both.commit("one", "one");
    git(&both.origin, &["switch", "--quiet", "--create", "side"]);
    let side = both.commit("side", "side");
    git(&both.origin, &["switch", "--quiet", "main"]);
    let two = both.commit("two", "two");
    git(&both.origin, &["merge", "--quiet", "--no-ff", "--message", "a\x1b[2J merge", "side"]);
    let merge = both.tip();

    let lineage = both.fetch(&both.file_remote(), Some(&mark)).unwrap().lineage;
    assert!(lineage.descends && lineage.mark_known);
    assert_eq!(lineage.first_parents, [merge.clone(), two, one]);
    assert_eq!(lineage.subject, r"a\u{1b}[2J merge");
    assert_eq!(lineage.author, "An Author <author@example>");
    let at = |commit: &str| git(&both.origin, &["show", "-s", "--format=%ct", commit]);
    assert_eq!(lineage.committed_at.to_string(), at("HEAD"));
    assert_eq!(lineage.mark_committed_at.unwrap().to_string(), at(mark.as_str()));

    assert_eq!(both.git.lineage(Some(&mark), &merge).unwrap(), lineage);
    let same = both.git.lineage(Some(&merge), &merge).unwrap();
    assert_eq!((same.descends, same.first_parents), (true, vec![]));
    let none = both.git.lineage(None, &merge).unwrap();
    assert_eq!((none.descends, none.first_parents), (false, vec![merge.clone()]));
    let unknown = "b".repeat(40).parse().unwrap();
    let contained = both.git.contains(&merge, &[mark.clone(), unknown, side.clone()]).unwrap();
    assert_eq!(contained, [mark, side]);
}

#[test]
fn after_a_force_push_the_mark_is_still_known_and_the_tip_does_not_descend() {
    let both = Both::new();
    let remote = both.file_remote();
    let base = both.tip();
    let mark = both.commit("a", "a");
    both.fetch(&remote, None).unwrap();
    both.git.keep_only(&[mark.clone(), "c".repeat(40).parse().unwrap()]).unwrap();
    git(&both.origin, &["reset", "--quiet", "--hard", base.as_str()]);
    let forced = both.commit("b", "b");

    let lineage = both.fetch(&remote, Some(&mark)).unwrap().lineage;
    assert_eq!((lineage.descends, lineage.mark_known), (false, true));
    assert_eq!(lineage.first_parents, []);
    assert_eq!(both.git.contains(&forced, std::slice::from_ref(&mark)).unwrap(), []);
    assert_eq!(both.ours(&["rev-parse", &format!("refs/autodeploy/kept/{mark}")]), mark.as_str());

    both.git.keep_only(&[]).unwrap();
    assert_eq!(both.ours(&["for-each-ref", "refs/autodeploy/kept"]), "");
}

#[test]
fn after_a_fresh_clone_a_mark_that_was_forced_away_is_unknown() {
    let both = Both::new();
    let mark = "d".repeat(40).parse().unwrap();
    let lineage = both.fetch(&both.file_remote(), Some(&mark)).unwrap().lineage;
    assert_eq!((lineage.descends, lineage.mark_known), (false, false));
    assert_eq!((lineage.first_parents, lineage.mark_committed_at), (vec![], None));
}

#[test]
fn a_poll_says_where_the_branch_is() {
    let both = Both::new();
    assert_eq!(both.git.poll(&both.file_remote(), POLL).unwrap(), both.tip());
}

#[test]
fn a_branch_or_repository_that_is_not_there_is_said() {
    let both = Both::new();
    let here = both.directory.path();
    let mut remote = both.file_remote();
    remote.branch = "none".to_owned();
    let no_branch = ("no-such-branch", "`file://DIR/origin` has no branch `none`");
    assert_failure(both.git.poll(&remote, POLL), here, no_branch);
    assert_failure(both.fetch(&remote, None), here, no_branch);
    let nowhere = both.remote(&format!("file://{}/nowhere", here.display()));
    let failure = both.git.poll(&nowhere, POLL).unwrap_err();
    assert_eq!(failure.reason.as_str(), "unreachable");
    assert_eq!(failure.hint.unwrap(), "does the path exist, and may the agent's user read it?");
}

#[test]
fn a_repository_of_somebody_else_is_read() {
    let both = Both::new();
    let nobody = nix::unistd::Uid::from_raw(65534);
    for place in [&both.origin, &both.origin.join(".git")] {
        nix::unistd::chown(place, Some(nobody), None).expect("this test has to run as root");
    }
    assert_eq!(both.git.poll(&both.file_remote(), POLL).unwrap().as_str().len(), 40);
    let tip = both.git.poll(&both.file_remote(), POLL).unwrap();
    let want = Want { tip, mark: None };
    both.git.fetch(&both.file_remote(), &want, &LIMITS).unwrap();
}

#[test]
fn other_schemes_are_refused() {
    let both = Both::new();
    let proof = both.directory.path().join("ran");
    for url in [&format!("ext::touch {}", proof.display()), "git://127.0.0.1/x", "/srv/x"] {
        let failure = both.git.poll(&both.remote(url), POLL).unwrap_err();
        assert!(failure.message.ends_with("autodeploy does not speak this scheme"), "{failure}");
        let failure = both.fetch(&both.remote(url), None).unwrap_err();
        assert!(failure.message.ends_with("autodeploy does not speak this scheme"), "{failure}");
    }
    assert!(!proof.exists());
}

#[test]
fn what_a_remote_configures_is_never_run() {
    let both = Both::new();
    both.commit(".gitattributes", "* filter=run diff=run merge=run");
    let proof = both.directory.path().join("ran");
    let script = both.directory.path().join("run");
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\n", proof.display())).unwrap();
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let inside = both.origin.join(".git");
    for name in ["post-checkout", "reference-transaction", "post-index-change", "post-update"] {
        std::fs::create_dir_all(inside.join("hooks")).unwrap();
        std::fs::copy(&script, inside.join("hooks").join(name)).unwrap();
    }
    let tip = both.tip();
    let names = [
        "core.fsmonitor",
        "core.sshCommand",
        "core.gitProxy",
        "core.pager",
        "core.askPass",
        "credential.helper",
        "uploadpack.packObjectsHook",
        "filter.run.smudge",
        "filter.run.clean",
        "diff.run.textconv",
    ];
    let run = script.display();
    let lines = names.iter().map(|name| {
        let (section, key) = name.rsplit_once('.').unwrap();
        match section.split_once('.') {
            Some((one, two)) => format!("[{one} \"{two}\"]\n\t{key} = {run}\n"),
            None => format!("[{section}]\n\t{key} = {run}\n"),
        }
    });
    let config = std::fs::read_to_string(inside.join("config")).unwrap();
    std::fs::write(inside.join("config"), config + &lines.collect::<String>()).unwrap();
    let want = Want { tip: tip.clone(), mark: None };
    assert_eq!(both.git.fetch(&both.file_remote(), &want, &LIMITS).unwrap().tip, tip);
    both.git.check(&tip).unwrap();
    assert!(!proof.exists());
    let ours = std::fs::read_to_string(both.git.repository().join(".git/config")).unwrap();
    assert!(!ours.contains("run"), "{ours}");
    let hooks = std::fs::read_dir(both.git.repository().join(".git/hooks")).unwrap().flatten();
    let names: Vec<_> = hooks.map(|hook| hook.file_name()).collect();
    assert_eq!(names, ["README.sample"]);
}

#[test]
fn a_fetch_over_the_limit_changes_nothing() {
    let both = Both::new();
    let remote = both.file_remote();
    let first = both.fetch(&remote, None).unwrap();
    let noise: String =
        (0..40_000u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    both.commit("large", &noise[..100_000]);
    let want = Want { tip: both.tip(), mark: None };
    let limits = FetchLimits { max_bytes: 10_000, ..LIMITS };
    assert_failure(
        both.git.fetch(&remote, &want, &limits),
        both.directory.path(),
        (
            "too-large",
            "could not fetch `main` from `file://DIR/origin`: more than 10000 bytes \
             (`source.max_fetch_bytes`)",
        ),
    );
    assert_eq!(both.ours(&["rev-parse", "refs/autodeploy/tip"]), first.tip.as_str());
    assert_eq!(both.git.fetch(&remote, &want, &LIMITS).unwrap().tip, both.tip());
    let packs = std::fs::read_dir(both.git.repository().join(".git/objects/pack")).unwrap();
    let left =
        packs.flatten().filter(|entry| entry.file_name().to_str().unwrap().contains("_git2_"));
    assert_eq!(left.count(), 0);
}

#[test]
fn what_a_killed_fetch_left_behind_is_swept_away() {
    let both = Both::new();
    let remote = both.file_remote();
    both.fetch(&remote, None).unwrap();
    let inside = both.git.repository().join(".git");
    let left = [
        "refs/autodeploy/tip.lock",
        "HEAD.lock",
        "objects/pack/pack_git2_abcdef",
        "objects/pack/pack-0123456789012345678901234567890123456789.idx",
    ];
    for file in left {
        std::fs::write(inside.join(file), "half").unwrap();
    }
    both.commit("second", "second");
    assert_eq!(both.fetch(&remote, None).unwrap().tip, both.tip());
    for file in left {
        assert!(!inside.join(file).exists(), "{file}");
    }
}

#[test]
fn a_request_that_cannot_be_read_is_answered() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_autodeployd"))
        .args(["git-child", "{\"Fetch\":1}"])
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.starts_with(r#"{"Failed":{"reason":"internal","message":"the request cannot"#));
}

#[test]
fn many_small_packs_become_one_and_nothing_is_lost() {
    let both = Both::new();
    let remote = both.file_remote();
    let packs = || {
        let entries = std::fs::read_dir(both.git.repository().join(".git/objects/pack")).unwrap();
        entries.flatten().filter(|e| e.file_name().to_str().unwrap().ends_with(".pack")).count()
    };
    both.fetch(&remote, None).unwrap();
    for number in 2..=50 {
        both.commit("file", &format!("content {number}"));
        both.fetch(&remote, None).unwrap();
        assert_eq!(packs(), number);
    }
    both.commit("file", "the last");
    both.fetch(&remote, None).unwrap();
    assert_eq!(packs(), 2);
    both.git.check(&both.tip()).unwrap();
    both.ours(&["fsck", "--full", "--strict"]);
    assert_eq!(both.ours(&["rev-list", "--count", "refs/autodeploy/tip"]), "51");
}
