//! A damaged repository is noticed, set aside and fetched anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::origin::{Both, git};

/// A repository of ours with two packs, the second of which brought a folder.
fn fetched() -> Both {
    let both = Both::new();
    both.fetch(&both.file_remote(), None).unwrap();
    both.commit("deep/er/file", "content that is deep inside");
    both.fetch(&both.file_remote(), None).unwrap();
    both
}

fn files(inside: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(inside.join("objects/pack")).unwrap().flatten();
    let found = entries.map(|entry| entry.path());
    let found: Vec<_> =
        found.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    assert_eq!(found.len(), 2);
    found
}

/// Damages the repository, and expects that the next fetch says so and that a new one heals it.
#[track_caller]
fn check(damage: impl FnOnce(&Path)) -> String {
    let both = fetched();
    let remote = both.file_remote();
    damage(&both.git.repository().join(".git"));
    // Also when the tip is there already, which is the case after the agent's restart.
    let failure = both.fetch(&remote, None).unwrap_err();
    assert_eq!(failure.reason.as_str(), "clone-damaged", "{failure}");
    both.commit("third", "third");
    let failure = both.fetch(&remote, None).unwrap_err();
    assert_eq!(failure.reason.as_str(), "clone-damaged", "{failure}");
    let aside = both.git.set_aside_and_start_anew().unwrap().unwrap();
    assert!(aside.exists() && !both.git.repository().exists());
    assert_eq!(both.fetch(&remote, None).unwrap().tip, both.tip());
    both.git.check(&both.tip()).unwrap();
    failure.message
}

#[test]
fn packs_that_are_gone() {
    check(|inside| files(inside, "pack").iter().for_each(|pack| fs::remove_file(pack).unwrap()));
}

#[test]
fn one_pack_that_is_gone() {
    for number in [0, 1] {
        check(|inside| fs::remove_file(&files(inside, "pack")[number]).unwrap());
    }
}

#[test]
fn an_index_that_is_gone() {
    for number in [0, 1] {
        check(|inside| fs::remove_file(&files(inside, "idx")[number]).unwrap());
    }
}

#[test]
fn packs_that_were_cut_short() {
    for kept in [0, 11, 100] {
        check(|inside| {
            for pack in files(inside, "pack") {
                fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                    .unwrap();
                fs::File::options().write(true).open(pack).unwrap().set_len(kept).unwrap();
            }
        });
    }
}

#[test]
fn all_objects_that_are_gone() {
    check(|inside| fs::remove_dir_all(inside.join("objects")).unwrap());
}

#[test]
fn configuration_that_is_garbage() {
    check(|inside| fs::write(inside.join("config"), "[core\n\0\x01garbage").unwrap());
    check(|inside| fs::write(inside.join("config"), "[core]\n\tbare = true\n").unwrap());
    check(|inside| {
        fs::write(inside.join("config"), "[core]\n\trepositoryformatversion = 9\n").unwrap()
    });
}

#[test]
fn a_head_that_is_garbage() {
    check(|inside| fs::write(inside.join("HEAD"), "garbage").unwrap());
    check(|inside| fs::write(inside.join("HEAD"), "ref: refs/heads/nowhere\n").unwrap());
    check(|inside| fs::write(inside.join("HEAD"), "").unwrap());
    check(|inside| fs::remove_file(inside.join("HEAD")).unwrap());
}

#[test]
fn a_branch_of_head_that_is_garbage() {
    check(|inside| fs::write(inside.join("refs/heads/autodeploy"), "garbage").unwrap());
    check(|inside| fs::remove_file(inside.join("refs/heads/autodeploy")).unwrap());
}

#[test]
fn a_git_directory_that_is_a_file() {
    check(|inside| {
        fs::remove_dir_all(inside).unwrap();
        fs::write(inside, "gitdir: /nowhere").unwrap();
    });
}

#[test]
fn a_git_directory_that_is_a_link() {
    check(|inside| {
        let elsewhere = inside.with_file_name("elsewhere");
        fs::rename(inside, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, inside).unwrap();
    });
}

#[test]
fn a_tip_that_is_garbage() {
    check(|inside| fs::write(inside.join("refs/autodeploy/tip"), "garbage").unwrap());
}

#[test]
fn contents_that_were_changed_on_disk_are_found_by_a_check() {
    let both = fetched();
    let inside = both.git.repository().join(".git");
    both.git.check(&both.tip()).unwrap();
    for pack in files(&inside, "pack") {
        fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut bytes = fs::read(&pack).unwrap();
        let end = bytes.len() - 20;
        bytes[12..end].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&pack, bytes).unwrap();
    }
    let failure = both.git.check(&both.tip()).unwrap_err();
    assert_eq!(failure.reason.as_str(), "clone-damaged", "{failure}");
}

#[test]
fn a_file_that_is_missing_deep_inside_is_named() {
    let both = fetched();
    let blob = git(&both.origin, &["rev-parse", "HEAD:deep/er/file"]);
    // Git can leave one object out of a pack; ours becomes loose objects without that one.
    let inside = both.git.repository().join(".git");
    let packs = files(&inside, "pack");
    let elsewhere = both.directory.path().join("packs");
    fs::create_dir(&elsewhere).unwrap();
    for pack in packs {
        let moved = elsewhere.join(pack.file_name().unwrap());
        fs::rename(&pack, &moved).unwrap();
        fs::remove_file(pack.with_extension("idx")).unwrap();
        let unpacked = std::process::Command::new("git")
            .args(["unpack-objects", "-q"])
            .current_dir(both.git.repository())
            .stdin(fs::File::open(moved).unwrap())
            .status();
        assert!(unpacked.unwrap().success());
    }
    assert_eq!(both.fetch(&both.file_remote(), None).unwrap().tip, both.tip());
    fs::remove_file(inside.join("objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    let failure = both.fetch(&both.file_remote(), None).unwrap_err();
    assert_eq!(failure.reason.as_str(), "clone-damaged");
    assert!(failure.message.contains(&format!("object `{blob}` of commit")), "{failure}");
}

#[test]
fn only_the_last_damaged_repository_is_kept() {
    let both = fetched();
    assert!(both.git.set_aside_and_start_anew().unwrap().is_some());
    assert_eq!(both.git.set_aside_and_start_anew().unwrap(), None);
    both.fetch(&both.file_remote(), None).unwrap();
    assert!(both.git.set_aside_and_start_anew().unwrap().is_some());
    let left = fs::read_dir(both.git.repository().parent().unwrap()).unwrap().flatten();
    let names: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["repository.damaged"]);
}
