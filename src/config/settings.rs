//! The settings after validation: every value is in range and every default is filled in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that `config.toml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name of this machine in the flake; never empty.
    pub host: String,
    /// What is followed.
    pub source: Source,
    /// Which closures may be tried.
    pub closures: Closures,
    /// Whose commits are deployed.
    pub trust: Trust,
    /// How a commit becomes a closure.
    pub build: Build,
    /// How a closure is switched to.
    pub activation: Activation,
    /// What decides about a trial.
    pub health: Health,
    /// Who may act over the control socket.
    pub control: Control,
    /// How much is remembered.
    pub history: History,
    /// Where things are.
    pub paths: Paths,
    /// What is legal and still deserves a word in `status`.
    pub warnings: Vec<String>,
}

/// `[source]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `https://`, `http://`, `ssh://` or `file://`; without a password in it.
    pub url: String,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The pause between two polls, before jitter.
    pub poll_interval: Duration,
    /// The private key for `ssh://`.
    pub ssh_key_file: Option<PathBuf>,
    /// The password or token for `https://`.
    pub token_file: Option<PathBuf>,
    /// The user name that goes with either.
    pub username: String,
    /// The host keys that are believed for `ssh://`.
    pub known_hosts_file: PathBuf,
    /// After this long without a good poll the remote is called stale.
    pub stale_after: Duration,
    /// The limit on one fetch.
    pub fetch_timeout: Duration,
    /// The limit on what one fetch may bring, in bytes.
    pub max_fetch_bytes: u64,
    /// The first commit that is believed when nothing was kept yet (`trust.introduction`).
    pub introduction: Option<crate::model::commit::CommitId>,
    /// After this long without a new commit the branch is called stale (`trust.max_tip_age`).
    pub max_tip_age: Option<Duration>,
}

/// `trust.closures` and `trust.closure_keys`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closures {
    /// Those that Nix holds for whole.
    Any,
    /// Those that are signed.
    Signed {
        /// The keys that may sign a system; without one, nothing is ever tried.
        keys: Vec<String>,
    },
}

/// `trust.signatures`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// Whoever can push decides.
    #[default]
    Off,
    /// The tip of the branch has to be signed.
    Tip,
    /// Every commit along first parents since the last kept one has to be signed.
    EveryCommit,
}

impl Signatures {
    /// Returns the word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Signatures::Off => "off",
            Signatures::Tip => "tip",
            Signatures::EveryCommit => "every-commit",
        }
    }
}

/// `[trust]`, as far as it is about who signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trust {
    /// Which commits have to be signed.
    pub signatures: Signatures,
    /// The SSH keys that may sign.
    pub allowed_signers_file: Option<PathBuf>,
    /// The OpenPGP keys that may sign.
    pub openpgp_keyring_file: Option<PathBuf>,
}

/// `build.mode`, as far as this release goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildMode {
    /// Manifests where they are trusted, else evaluation. Today: evaluation.
    Auto,
    /// Always evaluate on this machine.
    Evaluate,
}

/// `[build]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// How the store path of a commit is found.
    pub mode: BuildMode,
    /// The full attribute path of the system's toplevel.
    pub attribute: String,
    /// The folder of the flake in the repository; empty for its root.
    pub subdirectory: String,
    /// Whether submodules are fetched and seen by the evaluation.
    pub submodules: bool,
    /// Never build, only substitute.
    pub substitute_only: bool,
    /// The limit on one evaluation.
    pub evaluation_timeout: Duration,
    /// The limit on the memory of each of the evaluator's processes, in bytes.
    pub evaluation_memory: u64,
    /// The limit on one build or download.
    pub build_timeout: Duration,
    /// The room that has to be left beside what is downloaded, in bytes.
    pub reserve: u64,
    /// What to do when there is not.
    pub collect_garbage: CollectGarbage,
}

/// `build.collect_garbage`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectGarbage {
    /// Say so, and try again later.
    Never,
    /// As much as is needed.
    WhenFull,
}

/// `activation.reboot`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// autodeploy starts none.
    Never,
    /// autodeploy reboots when a closure needs it.
    WhenNeeded,
}

/// `activation.last_resort`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastResort {
    /// Reboot once into the old default.
    Reboot,
    /// Stay up and alarm.
    Alarm,
}

/// `activation.unproved_boot`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnprovedBoot {
    /// What only a boot can try waits where no single boot can be armed.
    Refuse,
    /// It becomes the boot default without having proved itself.
    Allow,
}

/// `activation.drift`: what follows when somebody replaced a kept closure by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Say so; deploy the next *other* closure.
    Report,
    /// Nothing until `resume`.
    Hold,
    /// Bring it back at once.
    Restore,
}

/// `[activation]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The hard limit on one `switch-to-configuration`.
    pub switch_timeout: Duration,
    /// Whether autodeploy may reboot.
    pub reboot: Reboot,
    /// What to do when the old system cannot be brought back.
    pub last_resort: LastResort,
    /// What to do where no single boot can be armed.
    pub unproved_boot: UnprovedBoot,
    /// What to do about a switch by hand.
    pub drift: Drift,
}

/// `[health]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The time within which every required check has to become green and stay so for `settle`.
    pub window: Duration,
    /// How long all required checks have to be green without a break; below `window`.
    pub settle: Duration,
    /// The configured checks by name, disabled ones left out. The built-in `units` and `lifeline`
    /// are not in here.
    pub checks: BTreeMap<String, Check>,
}

impl Health {
    /// Tells whether nothing but the built-in checks decides about a trial.
    pub fn only_built_in_decide(&self) -> bool {
        !self.checks.values().any(|check| check.severity == Severity::Required)
    }
}

/// Whether a check decides or is only reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Decides.
    Required,
    /// Is reported.
    Wanted,
}

/// `[health.checks.NAME]`
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Check {
    /// What is looked at.
    pub probe: Probe,
    /// Whether it decides.
    pub severity: Severity,
    /// The limit on one try; a hang is a failure.
    pub timeout: Duration,
    /// The pause between two tries.
    pub interval: Duration,
    /// The user that the try runs as; `None` is a dynamic user.
    pub user: Option<String>,
}

/// What a check looks at, with all that this kind needs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Probe {
    /// A GET that must answer with an expected status; no redirects.
    Http {
        /// `http://` or `https://`.
        url: String,
        /// Inclusive ranges, for example `(200, 299)`.
        expected_status: Vec<(u16, u16)>,
        /// A text that the body has to contain.
        body_contains: Option<String>,
    },
    /// A connection that must be accepted.
    Tcp {
        /// `host:port`.
        address: String,
    },
    /// A program that must exit with 0.
    Command {
        /// Program (absolute) and arguments.
        command: Vec<String>,
    },
    /// Units that must be active.
    Units {
        /// Full unit names.
        units: Vec<String>,
    },
    /// A kind that a newer release knows: reported, never decides.
    Unknown {
        /// Its name.
        name: String,
    },
}

impl Probe {
    /// Returns the kind as it is written in the configuration.
    pub fn kind(&self) -> &str {
        match self {
            Probe::Http { .. } => "http",
            Probe::Tcp { .. } => "tcp",
            Probe::Command { .. } => "command",
            Probe::Units { .. } => "units",
            Probe::Unknown { name } => name,
        }
    }
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The group whose members may act; root always may.
    pub group: String,
}

/// `[history]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How many deployments are remembered.
    pub keep: u32,
    /// How many closures that were tried and not kept stay in the store.
    pub keep_failed: u32,
    /// For how long each of them does at most.
    pub keep_failed_for: Duration,
}

/// `[paths]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The agent's own directory.
    pub state_dir: PathBuf,
    /// The activator's own directory.
    pub activator_state_dir: PathBuf,
    /// Socket, request, answer and lifeline; belongs to the agent.
    pub runtime_dir: PathBuf,
    /// The activator's report; belongs to root, everybody may read it.
    pub report_dir: PathBuf,
    /// The system profile.
    pub system_profile: PathBuf,
    /// The directory with `nix`, `nix-store` and `nix-env`.
    pub nix_bin: PathBuf,
}
