//! What is refused, and in which words.

use super::*;

/// Holds `strict` of the least configuration with `more` after it against `line: message`, hint.
#[track_caller]
fn refused(more: &str, message: &str, hint: &str) {
    refused_whole(&format!("{LEAST}{more}"), message, hint);
}

#[track_caller]
fn refused_whole(text: &str, message: &str, hint: &str) {
    let failure = strict(text, "c", "box").expect_err(text);
    assert_eq!(failure.message, message, "{text}");
    assert_eq!(failure.hint.unwrap_or_default(), hint, "{text}");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
    refused(
        "pol_interval = \"1min\"",
        "`c` line 3: unknown key `pol_interval`",
        "did you mean `poll_interval`?",
    );
    refused(
        "[helth]\nwindow = \"1min\"",
        "`c` line 3: unknown key `helth`",
        "did you mean `health`?",
    );
    refused(
        "window = \"1min\"",
        "`c` line 3: unknown key `window`",
        "did you mean `health.window`?",
    );
    refused(
        "[control]\npol_interval = 1",
        "`c` line 4: unknown key `pol_interval`",
        "did you mean `source.poll_interval`?",
    );
    refused("[control]\nwebhook = 1", "`c` line 4: unknown key `webhook`", "known here: group");
    refused(
        "\"\\u001b[2J\" = 1\n[control]",
        r"`c` line 3: unknown key `\u{1b}[2J`",
        &format!("known here: {}", keys::inside("source").join(", ")),
    );
    refused(
        "[health.checks.w]\nkind = \"tcp\"\nadress = \"h:1\"\naddress = \"h:1\"",
        "`c` line 5: unknown key `adress`",
        "did you mean `address`?",
    );
}

#[test]
fn a_wrong_span_or_size_says_what_it_has_to_be() {
    refused(
        "poll_interval = 60",
        "`c` line 3: `source.poll_interval` must be a time span, in quotes, and is a number",
        "write `poll_interval = \"60s\"` for seconds",
    );
    refused(
        "poll_interval = \"60\"",
        "`c` line 3: `source.poll_interval` is `60`: a number without a unit",
        "write `poll_interval = \"60s\"` for seconds",
    );
    refused(
        "poll_interval = \"5 minutos\"",
        "`c` line 3: `source.poll_interval` is `5 minutos`: there is no unit `minutos`",
        "for example `90s`, `5min`, `1h 30min`",
    );
    refused(
        "poll_interval = \"soon\"",
        "`c` line 3: `source.poll_interval` is `soon`: not a time span",
        "for example `90s`, `5min`, `1h 30min`",
    );
    refused(
        "poll_interval = \"10ms\"",
        "`c` line 3: `source.poll_interval` is `10ms`: must be between `1s` and `1d`",
        "",
    );
    refused(
        "poll_interval = \"999y\"",
        "`c` line 3: `source.poll_interval` is `999y`: too long",
        "",
    );
    refused(
        "poll_interval = 1.5",
        "`c` line 3: `source.poll_interval` must be a time span, in quotes, and is a fraction",
        "",
    );
    refused(
        "max_fetch_bytes = \"2\"",
        "`c` line 3: `source.max_fetch_bytes` is `2`: not a size",
        "for example `2GiB`",
    );
    refused(
        "max_fetch_bytes = 1",
        "`c` line 3: `source.max_fetch_bytes` is `1`: must be between `1MiB` and `1TiB`",
        "",
    );
}

#[test]
fn a_wrong_text_word_or_number_says_what_it_has_to_be() {
    refused(
        "branch = 1",
        "`c` line 3: `source.branch` must be a branch name, in quotes, and is a number",
        "",
    );
    refused("branch = \"\"", "`c` line 3: `source.branch` is empty", "");
    refused(
        "[build]\nsubmodules = \"yes\"",
        "`c` line 4: `build.submodules` must be `true` or `false`, and is a text in quotes",
        "",
    );
    refused(
        "[build]\nmode = \"evalute\"",
        "`c` line 4: `build.mode` is `evalute`: must be `auto`, `evaluate` (not yet: `manifest`)",
        "did you mean `evaluate`?",
    );
    refused("[history]\nkeep = 0", "`c` line 4: `history.keep` must be between 1 and 1000000", "");
    refused(
        "[history]\nkeep = 99999999999999999999",
        "`c` line 4: `history.keep` must be between 1 and 1000000",
        "",
    );
    refused(
        "[history]\nkeep = true",
        "`c` line 4: `history.keep` must be a whole number, and is `true` or `false`",
        "",
    );
    refused(
        "[trust]\nintroduction = \"main\"",
        "`c` line 4: `trust.introduction` is wrong: `main` is not a full commit name (40 or 64 hexadecimal digits)",
        "",
    );
    for word in ["tip", "every-commit"] {
        refused(
            &format!("[trust]\nsignatures = \"{word}\""),
            &format!("`c` line 4: `trust.signatures` is `{word}`, and no file of keys is named"),
            "set `trust.allowed_signers_file` or `trust.openpgp_keyring_file`",
        );
    }
    refused_whole(
        "source = 5",
        "`c`: `source.url` is missing (and 1 more)",
        "add `url = \"…\"` under `[source]`: an address with `https://`, `ssh://`, `http://` or `file://`, without a password",
    );
}

#[test]
fn the_host_is_never_empty() {
    assert_eq!(accepted(&format!("host = \"named\"\n{LEAST}")).host, "named");
    refused_whole(&format!("host = \"\"\n{LEAST}"), "`c` line 1: `host` is empty", "");
    let failure = strict(LEAST, "c", "").unwrap_err();
    assert_eq!(failure.message, "`c`: `host` is not set, and the machine's host name is empty");
    assert_eq!(failure.hint.unwrap(), "set `host` to the name in the flake");
}

#[test]
fn what_is_not_toml_is_said_with_its_line() {
    let failure = strict("[source\nurl", "c", "box").unwrap_err();
    assert_eq!(
        failure.message,
        "`c` line 1: could not read it as TOML: unclosed table, expected `]`"
    );
    let twice = strict(&format!("{LEAST}url = \"x\""), "c", "box").unwrap_err();
    assert_eq!(twice.message, "`c` line 3: could not read it as TOML: duplicate key");
    assert_eq!(lenient("[source", "box").unwrap_err().reason, Reason::NO_CONFIGURATION);
}

#[test]
fn a_remote_brings_what_it_needs_and_no_secret() {
    let with = |url: &str, more: &str| format!("[source]\nurl = \"{url}\"\n{more}");
    refused_whole(
        &with("https://me:s3cr3t@h/x", ""),
        "`c` line 2: `source.url` has a user name or a password in it",
        "the user name goes into `source.username`, the password or token into a file, named by `source.token_file`",
    );
    refused_whole(
        &with("git@h:x", ""),
        "`c` line 2: `source.url` has no scheme",
        "`git@host:path` is written `ssh://git@host/path`",
    );
    refused_whole(
        &with("ssh://git@h/x", ""),
        "`c`: `source.ssh_key_file` is missing, and `source.url` is `ssh://`",
        "an SSH agent is not asked: name the file of a private key without passphrase",
    );
    refused_whole(
        &with("file:///x", "token_file = \"/run/token\""),
        "`c` line 3: `source.token_file` is only used with `https://`",
        "",
    );
    refused(
        "ssh_key_file = \"/nix/store/x-key\"",
        "`c` line 3: `source.ssh_key_file` lies in the Nix store, which everybody can read",
        "write the path as a text in quotes, or Nix copies the file into its store",
    );
}

#[test]
fn keys_that_belong_together_agree() {
    refused(
        "[health]\nsettle = \"5min\"",
        "`c` line 4: `health.settle` is `5min`: must be below `health.window`, which is `5min`",
        "",
    );
    refused(
        "[health]\nwindow = \"30s\"",
        "`c` line 4: `health.settle` is `1min`: must be below `health.window`, which is `30s`",
        "",
    );
    refused(
        "[health]\nwindow = \"9s\"\nsettle = \"1s\"\n[health.checks.a]\nkind = \"tcp\"\naddress = \"h:1\"",
        "`c` line 4: `health.checks.a.timeout` is `10s`: must be below `health.window`, which is `9s`",
        "",
    );
    refused(
        "stale_after = \"1h\"\npoll_interval = \"2h\"",
        "`c` line 3: `source.stale_after` is `1h`: must not be below `source.poll_interval`, which is `2h`",
        "",
    );
    refused(
        "[paths]\nreport_dir = \"/run/autodeploy/report\"",
        "`c` line 4: `paths.report_dir` and `paths.runtime_dir` must not lie in each other",
        "only root may write to the first",
    );
    refused(
        "[paths]\nactivator_state_dir = \"/var\"",
        "`c` line 4: `paths.activator_state_dir` and `paths.state_dir` must not lie in each other",
        "only root may write to the first",
    );
    refused(
        &format!("[paths]\nruntime_dir = \"/{}\"", "r".repeat(99)),
        "`c` line 4: `paths.runtime_dir` must be at most 99 bytes long",
        "",
    );
}

#[test]
fn a_check_has_to_say_what_its_kind_needs() {
    let check = |fields: &str| format!("[health.checks.a]\n{fields}");
    refused(
        &check(""),
        "`c`: `health.checks.a.kind` is missing",
        "add `kind = \"…\"` under `[health.checks.a]`: `http`, `tcp`, `command`, `units` (not yet: `resources`, `journal`, `confirm`)",
    );
    refused(&check("kind = \"http\""), "`c` line 3: `health.checks.a.url` is missing", "");
    refused(
        &check("kind = \"tcp\"\naddress = \"h\""),
        "`c` line 5: `health.checks.a.address` has no port",
        "for example `127.0.0.1:22` or `[::1]:22`",
    );
    refused(
        &check("kind = \"command\"\ncommand = [\"true\"]"),
        "`c` line 5: `health.checks.a.command` must begin with the absolute path of a program",
        "on NixOS: `\"${pkgs.curl}/bin/curl\"`, elsewhere `\"/usr/bin/curl\"`",
    );
    refused(
        &check("kind = \"command\"\ncommand = \"/bin/true\""),
        "`c` line 5: `health.checks.a.command` must be a list (a program by its absolute path, and its arguments), and is a text in quotes",
        "write `[\"…\", \"…\"]`",
    );
    refused(
        &check("kind = \"command\"\ncommand = []"),
        "`c` line 5: `health.checks.a.command` is an empty list",
        "",
    );
    refused(
        &check("kind = \"units\"\nunits = [\"web\"]"),
        "`c` line 5: `health.checks.a.units` is `web`: must be a full unit name, for example `web.service`",
        "",
    );
}

#[test]
fn a_check_says_nothing_that_its_kind_does_not_need() {
    let check = |fields: &str| format!("[health.checks.a]\n{fields}");
    refused(
        &check("kind = \"units\"\nunits = [\"w.service\"]\nuser = \"u\""),
        "`c` line 6: `health.checks.a.user` means nothing for a check of kind `units`",
        "",
    );
    refused(
        &check("kind = \"tcp\"\naddress = \"h:1\"\nurl = \"http://h/\""),
        "`c` line 6: `health.checks.a.url` means nothing for a check of kind `tcp`",
        "",
    );
    refused(
        &check("kind = \"http\"\nurl = \"http://h/\"\nexpected_status = \"99\""),
        "`c` line 6: `health.checks.a.expected_status` has no valid HTTP status (100 to 599)",
        "for example `200`, `\"200-299\"`, `[200, 204]`",
    );
    refused(
        &check("kind = \"journal\""),
        "`c` line 4: `health.checks.a.kind` = `journal` is not supported by this release yet",
        "take it out: nothing would do what it promises",
    );
    refused(
        "[health.checks.\"a.b\"]\nkind = \"tcp\"",
        "`c` line 3: `health.checks.NAME` is `a.b`: must be of letters, digits, `-` and `_`, and at most 64 long",
        "",
    );
    refused(
        "[health.checks]\n\"a.kind\" = \"tcp\"",
        "`c` line 4: `health.checks.NAME` is `a.kind`: must be of letters, digits, `-` and `_`, and at most 64 long",
        "",
    );
    refused(
        "[health.checks.lifeline]\nenable = false",
        "`c` line 3: `health.checks.lifeline` is built in and cannot be changed",
        "give your own check another name: `kind = \"units\"` takes named units",
    );
    refused(
        "[health.checks.other-units]\nkind = \"tcp\"\naddress = \"h:1\"",
        "`c` line 3: `health.checks.other-units` is built in and cannot be changed",
        "give your own check another name: `kind = \"units\"` takes named units",
    );
    refused(
        "[health]\nchecks = 5",
        "`c` line 4: `health.checks` must be a table",
        "write `[health.checks]`",
    );
}

#[test]
fn everything_that_is_wrong_is_listed_in_the_order_of_the_lines() {
    let text = format!("{LEAST}branch = 1\nx = 1\n[history]\nkeep = -1\n");
    let failures = check(&text, "c", "box").unwrap_err();
    let shown: Vec<_> = failures.iter().map(|one| &one.message[..11]).collect();
    assert_eq!(shown, ["`c` line 3:", "`c` line 4:", "`c` line 6:"]);
    let first = strict(&text, "c", "box").unwrap_err();
    assert!(first.message.ends_with("and is a number (and 2 more)"), "{first}");
    assert_eq!(first.reason, Reason::BAD_CONFIGURATION);
}

#[test]
fn a_section_of_a_later_release_is_refused_as_a_whole() {
    refused(
        "[hooks.tell]\ncommand = [\"/bin/x\"]",
        "`c` line 3: `hooks` is not supported by this release yet",
        "take it out: nothing would do what it promises",
    );
}

#[test]
fn a_closure_key_is_a_public_key_and_is_not_repeated() {
    let no_key = "`c` line 5: `trust.closure_keys` is no public key of Nix";
    let how = "`nix key convert-secret-to-public` prints one: `NAME:BASE64`, 44 characters of it \
               after the colon";
    let digits = "pCKqu0PXXl721uOEbrg+BpsZB6HokY9PMrgbgGw5Zrc=";
    for key in [
        digits.to_owned(),
        format!(":{digits}"),
        format!("ci 1:{digits}"),
        format!("ci-1:{}", &digits[1..]),
        format!("ci-1:{digits}{digits}"),
        format!("ci-1:{}x", &digits[..43]),
        format!("ci-1:{}", digits.replace('+', "!")),
    ] {
        refused(
            &format!("[trust]\nclosures = \"signed\"\nclosure_keys = [\"{key}\"]"),
            no_key,
            how,
        );
    }
    refused(
        "[trust]\nclosures = \"signed\"",
        "`c`: `trust.closure_keys` is missing, and `trust.closures` is `signed`",
        "`nix key convert-secret-to-public` prints the key that CI signs with",
    );
    refused(
        &format!("[trust]\nclosure_keys = [\"ci-1:{digits}\"]"),
        "`c` line 4: `trust.closure_keys` is only used with `trust.closures = \"signed\"`",
        "",
    );
}
