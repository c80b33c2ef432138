//! Repositories that are small on the wire and large, deep or crooked when they are unpacked.

use std::io::Write;
use std::process::{Command, Stdio};

use autodeploy::effects::git::{FetchLimits, Want};
use autodeploy::model::failure::Failure;

use crate::origin::{Both, LIMITS, git};
use crate::server::{Manner, Server};

const MEBIBYTE: u64 = 1 << 20;

/// Writes an object of the origin from bytes, without a look at what they say.
#[track_caller]
fn object(both: &Both, kind: &str, content: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(&both.origin)
        .args(["hash-object", "-w", "--literally", "-t", kind, "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes a tree with these entries: mode, name, object.
#[track_caller]
fn tree(both: &Both, entries: &[(&str, &str, &str)]) -> String {
    let mut content = Vec::new();
    for (mode, name, object) in entries {
        content.extend(format!("{mode} {name}\0").bytes());
        let digits = object.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        content.extend(digits.map(|two| u8::from_str_radix(two, 16).unwrap()));
    }
    object(both, "tree", &content)
}

/// Makes a commit of a tree the origin's tip.
fn commit_tree(both: &Both, tree: &str) {
    let commit = git(&both.origin, &["commit-tree", "-m", "a tree", "-p", "HEAD", tree]);
    git(&both.origin, &["update-ref", "refs/heads/main", &commit]);
}

/// Fetches over http and over files; both have to fail alike, and our repository has to be good
/// for the next commit.
#[track_caller]
fn check(both: &Both, limits: &FetchLimits, (reason, words): (&str, &str)) {
    let server = Server::start(both.directory.path(), Manner::Serve);
    for remote in [both.remote(&server.url()), both.file_remote()] {
        let tip = both.tip();
        let want = Want { tip: tip.clone(), mark: None };
        // Once as it comes, once as it is there already.
        for _ in 0..2 {
            let failure = both.git.fetch(&remote, &want, limits).unwrap_err();
            let words = words.replace("TIP", tip.short());
            let seen = (failure.reason.as_str(), failure.message.as_str());
            assert_eq!(seen, (reason, words.as_str()), "{}", remote.url);
            assert!(failure.hint.is_some());
        }
        git(&both.origin, &["update-ref", "refs/heads/main", &format!("{tip}~")]);
        let good = Want { tip: both.tip(), mark: None };
        assert_eq!(both.git.fetch(&remote, &good, limits).unwrap().tip, both.tip());
        git(&both.origin, &["update-ref", "refs/heads/main", tip.as_str()]);
        both.git.set_aside_and_start_anew().unwrap();
    }
}

#[test]
fn a_file_that_unpacks_to_more_than_may_be_fetched_is_refused() {
    let both = Both::new();
    let zeros = object(&both, "blob", &vec![0; 9 << 20]);
    commit_tree(&both, &tree(&both, &[("100644", "zeros", &zeros)]));
    let limits = FetchLimits { max_bytes: 8 * MEBIBYTE, ..LIMITS };
    check(
        &both,
        &limits,
        (
            "too-large",
            "commit `TIP` cannot be used: unpacked it is larger than 8388608 bytes \
             (`source.max_fetch_bytes`)",
        ),
    );
}

#[test]
fn the_same_file_many_times_over_is_counted_as_often() {
    let both = Both::new();
    let mebibyte = object(&both, "blob", &vec![b'x'; 1 << 20]);
    let mut folder = tree(&both, &[("100644", "f", &mebibyte)]);
    for _ in 0..20 {
        folder = tree(&both, &[("40000", "a", &folder), ("40000", "b", &folder)]);
    }
    commit_tree(&both, &folder);
    check(
        &both,
        &LIMITS,
        (
            "too-large",
            "commit `TIP` cannot be used: unpacked it is larger than 1073741824 bytes \
             (`source.max_fetch_bytes`)",
        ),
    );
}

#[test]
fn a_tree_of_a_billion_empty_files_is_refused() {
    let both = Both::new();
    let nothing = object(&both, "blob", b"");
    let mut folder = tree(&both, &[("100644", "f", &nothing)]);
    for _ in 0..9 {
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let ten = names.iter().map(|name| ("40000", name.as_str(), folder.as_str()));
        folder = tree(&both, &ten.collect::<Vec<_>>());
    }
    commit_tree(&both, &folder);
    let words = "commit `TIP` cannot be used: unpacked it has more than 1048576 files";
    check(&both, &LIMITS, ("too-large", words));
}

#[test]
fn folders_in_each_other_without_end_are_refused() {
    let both = Both::new();
    let file = object(&both, "blob", b"x");
    let entry = format!("100644,{file},{}f", "d/".repeat(1000));
    git(&both.origin, &["update-index", "--add", "--cacheinfo", &entry]);
    commit_tree(&both, &git(&both.origin, &["write-tree"]));
    let words = "commit `TIP` cannot be used: it has more than 1000 folders in each other";
    check(&both, &LIMITS, ("fetch-failed", words));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for (name, shown) in [
        ("..", ".."),
        (".", "."),
        ("../../etc/cron.d/x", "../../etc/cron.d/x"),
        (".git", ".git"),
        (".GIT", ".GIT"),
    ] {
        let both = Both::new();
        let file = object(&both, "blob", b"x");
        commit_tree(&both, &tree(&both, &[("120000", name, &file)]));
        let words = format!("commit `TIP` cannot be used: it has a file of the name `{shown}`");
        check(&both, &LIMITS, ("fetch-failed", &words));
    }
}

#[test]
fn a_folder_that_is_none_is_the_commits_fault_and_not_damage() {
    let both = Both::new();
    let file = object(&both, "blob", b"no tree");
    commit_tree(&both, &tree(&both, &[("40000", "d", &file)]));
    let want = Want { tip: both.tip(), mark: None };
    let failure = both.git.fetch(&both.file_remote(), &want, &LIMITS).unwrap_err();
    assert_eq!(failure.reason.as_str(), "fetch-failed", "{failure}");
    let file = object(&both, "tree", b"no tree");
    commit_tree(&both, &tree(&both, &[("40000", "d", &file)]));
    let want = Want { tip: both.tip(), mark: None };
    let failure = both.git.fetch(&both.file_remote(), &want, &LIMITS).unwrap_err();
    assert_eq!(failure.reason.as_str(), "fetch-failed", "{failure}");
}

#[test]
fn a_commit_with_a_message_of_megabytes_is_refused() {
    let both = Both::new();
    let message = both.directory.path().join("message");
    std::fs::write(&message, "word ".repeat(1 << 18)).unwrap();
    let arguments = ["commit", "--quiet", "--allow-empty", "--file", message.to_str().unwrap()];
    git(&both.origin, &arguments);
    check(&both, &LIMITS, ("too-large", "commit `TIP` is larger than 1048576 bytes"));
}

/// An answer to the question for objects: a pack of these bytes.
fn answer_with(pack: &[u8]) -> Vec<u8> {
    let mut answer = b"0008NAK\n".to_vec();
    for piece in pack.chunks(60_000) {
        answer.extend(format!("{:04x}\x01", piece.len() + 5).bytes());
        answer.extend(piece);
    }
    answer.extend(b"0000");
    answer
}

/// Puts the bytes of an object into a pack: type and size, then zlib without compression.
fn packed(kind: u8, base: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut rest, mut byte) = (content.len() >> 4, kind << 4 | (content.len() & 15) as u8);
    while rest > 0 {
        bytes.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    bytes.push(byte);
    bytes.extend(base);
    bytes.extend([0x78, 0x01]);
    let mut blocks = content.chunks(60_000).peekable();
    while let Some(block) = blocks.next() {
        bytes.push(u8::from(blocks.peek().is_none()));
        bytes.extend((block.len() as u16).to_le_bytes());
        bytes.extend((!(block.len() as u16)).to_le_bytes());
        bytes.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    bytes.extend((b << 16 | a).to_be_bytes());
    bytes
}

fn pack(count: u32, objects: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"PACK\0\0\0\x02".to_vec();
    bytes.extend(count.to_be_bytes());
    bytes.extend(objects.concat());
    let sum = openssl::sha::sha1(&bytes);
    bytes.extend(sum);
    bytes
}

/// Fetches what a server answers with this pack.
fn fetch_pack(both: &Both, pack: &[u8]) -> Failure {
    let server = Server::start(both.directory.path(), Manner::Serve);
    let remote = both.remote(&server.url());
    server.turn(Manner::Packs(answer_with(pack)));
    let want = Want { tip: both.tip(), mark: None };
    let failure = both.git.fetch(&remote, &want, &LIMITS).unwrap_err();
    server.turn(Manner::Serve);
    assert_eq!(both.fetch(&remote, None).unwrap().tip, both.tip());
    failure
}

#[test]
fn a_pack_of_four_billion_objects_is_refused_at_its_head() {
    let both = Both::new();
    let failure = fetch_pack(&both, &pack(u32::MAX, &[packed(3, b"", b"x")]));
    assert_eq!(failure.reason.as_str(), "too-large", "{failure}");
    let both = Both::new();
    let failure = fetch_pack(&both, &pack(17 << 20, &[packed(3, b"", b"x")]));
    assert_eq!(
        (failure.reason.as_str(), failure.message.ends_with(": more than 16777216 objects")),
        ("too-large", true),
        "{failure}"
    );
}

/// A variable-length size as deltas have it.
fn size(mut bytes: u64) -> Vec<u8> {
    let mut written = Vec::new();
    while bytes >= 0x80 {
        written.push(bytes as u8 | 0x80);
        bytes >>= 7;
    }
    written.push(bytes as u8);
    written
}

/// Deltas that each copy all of the one before 255 times: 64 kB, 16 MB, 4 GB, 1 TB.
#[test]
fn deltas_that_unfold_to_a_terabyte_end_at_the_limit_on_memory() {
    let both = Both::new();
    let base = vec![0; 0xffff];
    let mut objects = vec![packed(3, b"", &base)];
    let mut before = base.len() as u64;
    for _ in 0..3 {
        let after = before * 255;
        let mut delta = [size(before), size(after)].concat();
        for _ in 0..255 {
            // Copy from 0; at most 16 MB in one go.
            let mut left = before;
            while left > 0 {
                let piece = left.min(0xff_ffff);
                delta.push(0xf0);
                delta.extend(&piece.to_le_bytes()[..3]);
                left -= piece;
                if delta.len() > 4096 {
                    break;
                }
            }
        }
        // The base is the object just before, so many bytes back.
        let back = objects.last().unwrap().len();
        let mut offset = vec![(back & 0x7f) as u8];
        let mut rest = back >> 7;
        while rest > 0 {
            rest -= 1;
            offset.insert(0, (rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        objects.push(packed(6, &offset, &delta));
        before = after;
    }
    let failure = fetch_pack(&both, &pack(4, &objects));
    assert!(["too-large", "fetch-failed"].contains(&failure.reason.as_str()), "{failure}");
}

#[test]
fn what_force_pushes_left_is_thrown_away_before_it_fills_the_disk() {
    let both = Both::new();
    let remote = both.file_remote();
    let base = both.tip();
    let limits = FetchLimits { max_bytes: MEBIBYTE, ..LIMITS };
    let mut noise = 1u64;
    let mut largest = 0;
    for number in 0..12 {
        let mut bytes = Vec::new();
        while bytes.len() < 400_000 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            bytes.extend(noise.to_le_bytes());
        }
        let blob = object(&both, "blob", &bytes);
        git(&both.origin, &["update-ref", "refs/heads/main", base.as_str()]);
        commit_tree(&both, &tree(&both, &[("100644", "noise", &blob)]));
        let want = Want { tip: both.tip(), mark: None };
        assert_eq!(both.git.fetch(&remote, &want, &limits).unwrap().tip, both.tip(), "{number}");
        let packs = std::fs::read_dir(both.git.repository().join(".git/objects/pack")).unwrap();
        let bytes: u64 = packs.flatten().map(|pack| pack.metadata().unwrap().len()).sum();
        largest = largest.max(bytes);
    }
    assert!(largest > 3 * MEBIBYTE, "the limit was never near: {largest}");
    assert!(largest < 4 * MEBIBYTE + MEBIBYTE / 2, "{largest}");
    both.git.check(&both.tip()).unwrap();
}

#[test]
fn submodules_that_lead_to_this_machine_are_refused() {
    let both = Both::new();
    let submodule = |url: &str| format!("[submodule \"a\"]\n\tpath = a\n\turl = {url}\n");
    let check = |content: &str, expected: Option<&str>| {
        let commit = both.commit(".gitmodules", content);
        both.fetch(&both.file_remote(), None).unwrap();
        let seen = both.git.check_submodules(&commit).map_err(|failure| {
            assert_eq!(failure.reason.as_str(), "submodule-refused");
            let start = format!("commit `{}` cannot be used: ", commit.short());
            failure.message.replace(&start, "")
        });
        assert_eq!(seen, expected.map_or(Ok(()), |words| Err(words.to_owned())), "{content}");
    };
    check(&submodule("https://h.example/x.git"), None);
    let local = "the `url` of submodule `a`, `file:///srv/x`, is a place on this machine";
    check(&submodule("file:///srv/x"), Some(local));
    // Each way to write the same thing that libgit2 reads.
    for section in
        ["[submodule \"a\"]url=file:///srv/x\n", "[SubModule \"a\"] URL = \"file:///srv/x\"\n"]
    {
        check(section, Some(local));
    }
    let twice = submodule("https://h.example/x") + "\turl = file:///srv/x\n";
    check(&twice, Some(local));
    let relative = "the `url` of submodule `a`, `../x`, has no scheme";
    check(&submodule("../x"), Some(relative));
    let include = "`.gitmodules` cannot be read: it includes other files";
    check("[include]\n\tpath = /etc/passwd\n", Some(include));
    check(&(submodule("https://h.example/x") + "[ includeIf \"x\"]\n\tpath = x\n"), Some(include));
    let there = std::fs::read_dir(both.git.repository().join(".git")).unwrap().flatten();
    assert!(there.into_iter().all(|entry| entry.file_name() != "autodeploy-gitmodules"));
}

#[test]
fn a_list_of_submodules_that_is_a_link_is_refused() {
    let both = Both::new();
    // Git itself refuses to add one.
    let target = object(&both, "blob", b"/etc/passwd");
    commit_tree(&both, &tree(&both, &[("120000", ".gitmodules", &target)]));
    let commit = both.tip();
    both.fetch(&both.file_remote(), None).unwrap();
    let failure = both.git.check_submodules(&commit).unwrap_err();
    assert!(failure.message.ends_with("`.gitmodules` is no file"), "{failure}");
}
