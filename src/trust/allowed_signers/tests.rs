//! Lines as operators and other programs write them.

use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

fn file(text: &str) -> Result<Vec<Allowed>, String> {
    read(text, &TimeZone::UTC).map_err(|unusable| unusable.0)
}

/// Reads one line before the key, and shows what came of it.
#[track_caller]
fn check(before: &str, expected: &str) {
    let shown = match file(&format!("{before} {KEY} a comment\n")) {
        Ok(lines) => {
            let one = &lines[0];
            let (after, until) = (one.valid_after, one.valid_before);
            format!("{} {:?} {after:?} {until:?}", one.principals, one.namespaces)
        }
        Err(why) => why,
    };
    assert_eq!(shown, expected, "{before}");
}

#[test]
fn options_are_read_as_openssh_does() {
    check("a@b", "a@b None None None");
    check("  a@b,*@c\t", "a@b,*@c None None None");
    check("\"a b\"", "a b None None None");
    check("a@b namespaces=\"git\"", "a@b Some(\"git\") None None");
    check(
        "a@b NameSpaces=\"git,file\",valid-after=\"19700102Z\"",
        "a@b Some(\"git,file\") Some(86400) None",
    );
    check(
        "a@b valid-after=\"19700102\",valid-before=\"197001030001\"",
        "a@b None Some(86400) Some(172860)",
    );
    check("a@b namespaces=\"x\\\"y z\"", "a@b Some(\"x\\\"y z\") None None");
}

#[test]
fn a_line_that_cannot_be_read_makes_the_file_unusable() {
    check("a@b nonsense", "line 1: unknown option `nonsense`");
    check("a@b namespaces=git", "line 1: the value of `namespaces` is not in quotes");
    check("a@b namespaces=\"git", "line 1: the value of `namespaces` is not in quotes");
    check("a@b namespaces=\"git\",namespaces=\"x\"", "line 1: `namespaces` is there twice");
    check("a@b namespaces=\"git\"x", "line 1: no comma after the option `namespaces`");
    check("a@b namespaces=\"git\",", "line 1: unknown option ``");
    check(
        "a@b valid-after=\"yesterday\"",
        "line 1: `valid-after` is `yesterday`: must be `YYYYMMDD[HHMM[SS]][Z]`",
    );
    check(
        "a@b valid-after=\"20240102\",valid-before=\"20240101\"",
        "line 1: `valid-before` is not after `valid-after`",
    );
    let wrong = |text: &str| file(text).unwrap_err();
    assert_eq!(wrong(""), "there is no key in it");
    assert_eq!(wrong("# nobody\n\n"), "there is no key in it");
    assert_eq!(wrong("a@b\n"), "line 1: there is a principal and no key");
    assert_eq!(
        wrong(&format!("a@b {KEY}\nc@d ssh-ed25519 AAAA\n")),
        "line 2: no key can be read at `ssh-ed25519 AAAA`"
    );
    let certificate = "a@b ssh-ed25519-cert-v01@openssh.com AAAA\n";
    assert_eq!(
        wrong(certificate),
        "line 1: certificates are not supported: put the plain key there"
    );
}

#[test]
fn a_certificate_authority_is_read_and_is_nobody() {
    let both = format!("# both\n*@b cert-authority {KEY}\n\n  a@b {KEY}\n");
    let lines = file(&both).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].principals, "a@b");
    let alone = format!("*@b cert-authority,namespaces=\"git\" {KEY}\n");
    assert_eq!(file(&alone).unwrap_err(), "there is no key in it");
}

#[test]
fn the_principal_that_is_shown_is_one_that_counts() {
    let principal = |list: &str| {
        let lines = file(&format!("{list} {KEY}")).unwrap();
        lines[0].principal()
    };
    assert_eq!(principal("a@b,c@d").as_deref(), Some("a@b"));
    assert_eq!(principal("!x@y,*@b").as_deref(), Some("*@b"));
    assert_eq!(principal("!a@b"), None);
    assert_eq!(principal("\u{1b}[31m").as_deref(), Some("\\u{1b}[31m"));
}

proptest::proptest! {
    #[test]
    fn no_file_panics(text: String, options in "[a-z=\",\\\\ ]{0,40}") {
        let _ = file(&text);
        let _ = file(&format!("a@b {options} {KEY}"));
    }
}
