//! Every key of `config.toml` with what it takes, its default and its meaning.
//!
//! One table drives the reading, the words of an error and `docs/configuration.md`, so that the
//! three cannot disagree. A key that the contract names and a later release will honour is in the
//! table as well: setting it is an error, because nobody may believe in a protection that is not
//! there.

use crate::config::rule::{self, Rule};

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A text that a rule accepts; the words say which.
    Text(&'static str, Rule),
    /// A list of such texts, not empty.
    Texts(&'static str, Rule),
    /// One of `now`; `later` are known, and an error until they work.
    Choice {
        /// What works.
        now: &'static [&'static str],
        /// What does not work yet.
        later: &'static [&'static str],
    },
    /// A time span within both ends.
    Span(&'static str, &'static str),
    /// A size within both ends.
    Size(&'static str, &'static str),
    /// A whole number within both ends.
    Count(u64, u64),
    /// `true` or `false`.
    Flag,
    /// Numbers of HTTP answers and ranges of them.
    Statuses,
    /// Nothing yet, apart from the value that changes nothing.
    Later(Harmless),
}

/// What a key of a later release may be set to today.
#[derive(Clone, Copy, Debug)]
pub enum Harmless {
    /// Nothing.
    Nothing,
    /// Its default.
    Text(&'static str),
    /// An empty list.
    EmptyList,
    /// An empty table.
    EmptyTable,
}

/// What a key is worth when it is not set.
#[derive(Clone, Copy, Debug)]
pub enum Standard {
    /// It has to be set.
    Required,
    /// Nothing.
    Nothing,
    /// Worked out from something else, in these words.
    Said(&'static str),
    /// A text.
    Text(&'static str),
    /// A whole number.
    Whole(u64),
    /// A switch.
    Flag(bool),
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The full name; `NAME` stands for a name that the operator chooses.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What it is worth when it is not set.
    pub standard: Standard,
    /// What it means, as a sentence without its full stop.
    pub meaning: &'static str,
}

/// Declares the table.
macro_rules! keys {
    ($($name:literal = $takes:expr, $standard:expr, $meaning:literal;)*) => {
        /// Every key, in the order of the documentation.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name, takes: $takes, standard: $standard, meaning: $meaning,
        }),*];
    };
}

use Standard::{Flag as Is, Nothing, Required, Said, Text as Value, Whole};
use Takes::{Choice, Count, Flag, Later, Size, Span, Statuses, Text, Texts};

const SECRET: Takes = Text("an absolute path, not in the Nix store", rule::secret_file);
const PATH: Takes = Text("an absolute path", rule::path);

keys! {
    "host" = Text("a host name", rule::host), Said("the machine's host name"),
        "the name of this machine in the flake";

    "source.url" = Text("an address with `https://`, `ssh://`, `http://` or `file://`, without a password", rule::remote), Required,
        "the repository that is followed";
    "source.branch" = Text("a branch name", rule::branch), Value("main"),
        "the branch that is followed";
    "source.poll_interval" = Span("1s", "1d"), Value("1min"),
        "the pause between two polls, ± 20 %";
    "source.ssh_key_file" = SECRET, Nothing,
        "the private key for `ssh://`, where it is required; read afresh for each fetch";
    "source.token_file" = SECRET, Nothing,
        "the password or token for `https://`; read afresh for each fetch";
    "source.username" = Text("a text", rule::line), Value("git"),
        "the user name that goes with either, unless the address has one";
    "source.known_hosts_file" = PATH, Value("/etc/ssh/ssh_known_hosts"),
        "the host keys that are believed for `ssh://`; an unknown host is refused";
    "source.stale_after" = Span("1min", "365d"), Value("24h"),
        "after this long without a good poll the remote is called stale; not below `poll_interval`";
    "source.fetch_timeout" = Span("1s", "1d"), Value("10min"),
        "the limit on one fetch; one that brings less than 1 kB/s for 60 s ends earlier";
    "source.max_fetch_bytes" = Size("1MiB", "1TiB"), Value("2GiB"),
        "the limit on what one fetch may bring, and on what the files of the commit take unpacked";
    "source.mirrors" = Later(Harmless::EmptyList), Nothing,
        "other addresses of the same repository";
    "source.testing_branch" = Later(Harmless::Nothing), Nothing,
        "a branch whose commits are tried and not kept";
    "source.tag_pattern" = Later(Harmless::Nothing), Nothing,
        "follow the newest tag of this shape instead of the branch";

    "trust.signatures" = Choice { now: &["off", "tip", "every-commit"], later: &[] }, Said("`every-commit` with a file of keys, otherwise `off`"),
        "which commits have to be signed, of those since the last kept one; `off` is a warning in `status`";
    "trust.introduction" = Text("a full commit name", rule::commit), Nothing,
        "the commit that has to be an ancestor of the first tip, when nothing was kept yet";
    "trust.allowed_signers_file" = PATH, Nothing,
        "the SSH keys that may sign, as `ALLOWED SIGNERS` in ssh-keygen(1); read afresh for each commit";
    "trust.openpgp_keyring_file" = PATH, Nothing,
        "the OpenPGP keys that may sign, as `gpg --export` writes them; read afresh for each commit";
    "trust.max_tip_age" = Span("1h", "3650d"), Nothing,
        "after this long without a new commit, by the date of the tip, the branch is called stale";
    "trust.closures" = Choice { now: &["any", "signed"], later: &[] }, Value("any"),
        "`signed`: the activator refuses a closure that is not signed by one of `closure_keys`, with all that it needs";
    "trust.closure_keys" = Texts("public keys of Nix, `NAME:BASE64`", rule::closure_key), Said("required for `signed`"),
        "the keys that may sign a system; what it needs may also be signed by the `trusted-public-keys` of `nix.conf`";

    "build.mode" = Choice { now: &["auto", "evaluate"], later: &["manifest"] }, Value("auto"),
        "how the closure of a commit is found; in this release `auto` evaluates";
    "build.attribute" = Text("an attribute path", rule::line), Said("`nixosConfigurations.\"<host>\".config.system.build.toplevel`"),
        "the full path of the system in the flake";
    "build.subdirectory" = Text("a relative path", rule::subdirectory), Value(""),
        "the folder of the flake in the repository; empty for its root";
    "build.submodules" = Flag, Is(false),
        "fetch Git submodules, and let the flake see them";
    "build.substitute_only" = Flag, Is(false),
        "never build on this machine";
    "build.evaluation_timeout" = Span("1s", "1d"), Value("15min"),
        "the limit on one evaluation";
    "build.evaluation_memory" = Size("256MiB", "1TiB"), Value("8GiB"),
        "the limit on the memory of the evaluator, for each of its processes; builds are the Nix daemon's";
    "build.build_timeout" = Span("1s", "30d"), Value("6h"),
        "the limit on one build or download";
    "build.reserve" = Size("0B", "1TiB"), Value("256MiB"),
        "the room that has to be left on the disk of the store beside what is downloaded; what a build takes is not known before";
    "build.collect_garbage" = Choice { now: &["never", "when-full"], later: &[] }, Value("never"),
        "whether garbage is collected, as much as is needed, when there is no room for a closure; generations are not deleted";
    "build.manifest_wait" = Later(Harmless::Nothing), Nothing,
        "how long to wait for a manifest before evaluating";
    "build.file" = Later(Harmless::Nothing), Nothing,
        "a Nix file instead of a flake";

    "activation.switch_timeout" = Span("1s", "1d"), Value("10min"),
        "the hard limit on one `switch-to-configuration`";
    "activation.reboot" = Choice { now: &["never", "when-needed"], later: &[] }, Value("never"),
        "whether autodeploy reboots for a closure that has to be booted";
    "activation.last_resort" = Choice { now: &["reboot", "alarm"], later: &[] }, Value("reboot"),
        "what to do when the old system cannot be brought back";
    "activation.unproved_boot" = Choice { now: &["refuse", "allow"], later: &[] }, Value("refuse"),
        "whether to stage a closure where one boot cannot be armed";
    "activation.drift" = Choice { now: &["report", "hold", "restore"], later: &[] }, Value("report"),
        "what to do when somebody replaced the kept system by hand";
    "activation.approval" = Later(Harmless::Text("none")), Value("none"),
        "whose approval a trial needs";
    "activation.specialisation" = Later(Harmless::Nothing), Nothing,
        "the specialisation to run; today the active one";

    "health.window" = Span("1s", "1d"), Value("5min"),
        "the time within which every required check has to become green and stay so";
    "health.settle" = Span("0s", "1d"), Value("60s"),
        "how long all required checks have to be green without a break; below `window`";
    "health.checks.NAME.kind" = Choice { now: &["http", "tcp", "command", "units"], later: &["resources", "journal", "confirm"] }, Required,
        "what is looked at";
    "health.checks.NAME.severity" = Choice { now: &["required", "wanted"], later: &[] }, Value("required"),
        "whether it decides or is only reported";
    "health.checks.NAME.enable" = Flag, Is(true),
        "`false` takes out a check that another module put in";
    "health.checks.NAME.timeout" = Span("1ms", "1d"), Value("10s"),
        "the limit on one try, a hang is a failure; below `health.window`";
    "health.checks.NAME.interval" = Span("10ms", "1d"), Value("5s"),
        "the pause between two tries";
    "health.checks.NAME.user" = Text("a user name", rule::account), Said("a dynamic user"),
        "the user that a try of `http`, `tcp` or `command` runs as";
    "health.checks.NAME.url" = Text("an address with `http://` or `https://`", rule::page), Said("required for `http`"),
        "what is asked for; redirects are not followed";
    "health.checks.NAME.expected_status" = Statuses, Said("`\"200-299\"`"),
        "the answers that are good, for `http`";
    "health.checks.NAME.body_contains" = Text("a text", rule::line), Nothing,
        "a text that the answer has to contain, for `http`";
    "health.checks.NAME.address" = Text("`host:port`", rule::address), Said("required for `tcp`"),
        "where a connection has to be accepted";
    "health.checks.NAME.command" = Texts("a program by its absolute path, and its arguments", rule::line), Said("required for `command`"),
        "what has to exit with 0";
    "health.checks.NAME.units" = Texts("full unit names", rule::unit), Said("required for `units`"),
        "what has to be active";

    "maintenance.windows" = Later(Harmless::EmptyTable), Nothing,
        "when a trial may begin";
    "hooks" = Later(Harmless::EmptyTable), Nothing,
        "programs that run before and after";
    "notify" = Later(Harmless::EmptyTable), Nothing,
        "whom to tell";
    "profiles" = Later(Harmless::EmptyTable), Nothing,
        "other profiles than the system's";

    "control.group" = Text("a group name", rule::account), Value("wheel"),
        "the group whose members may act over the control socket, besides root";
    "history.keep" = Count(1, 1_000_000), Whole(1000),
        "how many deployments are remembered";
    "history.keep_failed" = Count(0, 1000), Whole(3),
        "how many closures that were tried and not kept stay in the store, the newest ones, so that they can be looked at";
    "history.keep_failed_for" = Span("0s", "365d"), Value("7d"),
        "and how long each of them does at most";

    "paths.state_dir" = PATH, Value("/var/lib/autodeploy"),
        "the agent's own directory";
    "paths.activator_state_dir" = PATH, Value("/var/lib/autodeploy-activate"),
        "the activator's own directory, root's alone; not inside the agent's";
    "paths.runtime_dir" = PATH, Value("/run/autodeploy"),
        "where the control socket and the agent's half of the handover are; at most 99 bytes long";
    "paths.report_dir" = PATH, Value("/run/autodeploy-activate"),
        "where the activator's half of the handover is; not inside the agent's";
    "paths.system_profile" = PATH, Value("/nix/var/nix/profiles/system"),
        "the system profile";
    "paths.nix_bin" = PATH, Value("/run/current-system/sw/bin"),
        "the directory with `nix`, `nix-store` and `nix-env`";
}

/// Where the names of checks stand.
pub const CHECKS: &str = "health.checks";

/// Returns the key of a full path, in which a check's name stands for itself.
pub fn find(path: &str) -> Option<&'static Key> {
    let matches = |key: &&Key| {
        let (mut wanted, mut parts) = (key.name.split('.'), path.split('.'));
        loop {
            match (wanted.next(), parts.next()) {
                (None, None) => return true,
                (Some("NAME"), Some(_)) => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    };
    KEYS.iter().find(matches)
}

/// Returns what may stand directly in a table; `""` is the whole file.
pub fn inside(table: &str) -> Vec<&'static str> {
    let depth = table.split('.').filter(|part| !part.is_empty()).count();
    let mut names = Vec::new();
    for key in KEYS {
        let mut parts = key.name.split('.');
        let fits = table
            .split('.')
            .filter(|part| !part.is_empty())
            .all(|given| parts.next().is_some_and(|part| part == given || part == "NAME"));
        if let (true, Some(next)) = (fits, key.name.split('.').nth(depth))
            && !names.contains(&next)
        {
            names.push(next);
        }
    }
    names
}

impl Takes {
    /// Says what is taken, for people.
    pub fn said(&self) -> String {
        let quoted = |names: &[&str]| {
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        match self {
            Text(what, _) => (*what).to_owned(),
            Texts(what, _) => format!("a list: {what}"),
            Choice { now, later: [] } => quoted(now),
            Choice { now, later } => format!("{} (not yet: {})", quoted(now), quoted(later)),
            Span(least, most) => format!("a time span, `{least}` to `{most}`"),
            Size(least, most) => format!("bytes, or a size in quotes, `{least}` to `{most}`"),
            Count(least, most) => format!("a whole number, {least} to {most}"),
            Flag => "`true` or `false`".to_owned(),
            Statuses => "a number, a range in quotes, or a list of them".to_owned(),
            Later(Harmless::Text(text)) => format!("not yet (`{text}`)"),
            Later(_) => "not yet".to_owned(),
        }
    }
}

impl Standard {
    /// Says the default, for people.
    pub fn said(&self) -> String {
        match self {
            Required => "required".to_owned(),
            Nothing => "none".to_owned(),
            Said(words) => (*words).to_owned(),
            Value("") => "`\"\"`".to_owned(),
            Value(text) => format!("`{text}`"),
            Whole(number) => number.to_string(),
            Is(flag) => format!("`{flag}`"),
        }
    }
}
