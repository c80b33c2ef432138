//! Why something did not work: a stable code, a sentence, and what to do next.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A stable kebab-case code. Open on purpose: a record of a newer release may hold one that this
/// release does not know, and it has to be shown and kept all the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason(Cow<'static, str>);

/// Declares every code that this release uses, with what it means.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $meaning:literal;)*) => {
        impl Reason {
            $(#[doc = $meaning] pub const $name: Reason = Reason(Cow::Borrowed($code));)*

            /// Every code with its meaning; `docs/operations.md` shows this list.
            pub const ALL: &[(&'static str, &'static str)] = &[$(($code, $meaning),)*];
        }
    };
}

reasons! {
    ALREADY_RUNNING = "already-running", "the closure runs already; nothing was switched";
    HEALTHY = "healthy", "every required check was green for as long as asked";
    UNREACHABLE = "unreachable", "the remote did not answer, or not in time";
    NO_SUCH_BRANCH = "no-such-branch", "the remote has no such branch";
    ACCESS_DENIED = "access-denied", "the remote refused the key, the token or the host key did not match";
    FETCH_FAILED = "fetch-failed", "the objects did not arrive whole";
    TOO_LARGE = "too-large", "a limit on what may be fetched was passed";
    CLONE_DAMAGED = "clone-damaged", "the agent's repository was damaged and is fetched anew";
    SUBMODULE_REFUSED = "submodule-refused", "a submodule leads to a place on this machine, or to no full address";
    NOT_A_DESCENDANT = "not-a-descendant", "the tip does not descend from the last kept commit, from `trust.introduction`, or from what a person named instead";
    DATE_WENT_BACK = "date-went-back", "the commit's date lies before that of the commit that it has to descend from";
    NOT_SIGNED = "not-signed", "a commit is not signed";
    BAD_SIGNATURE = "bad-signature", "the signature of a commit is not one of that commit, or cannot be read";
    UNTRUSTED_KEY = "untrusted-key", "a commit is signed by a key that may not sign, or not at that time";
    UNSUPPORTED_SIGNATURE = "unsupported-signature", "the signature of a commit is of a kind that proves nothing here";
    TOO_MANY_COMMITS = "too-many-commits", "there are more commits since the last kept one than are verified at once";
    KEYS_UNUSABLE = "keys-unusable", "a file of keys that may sign is missing, or cannot be read";
    MANIFEST_UNSUPPORTED = "manifest-unsupported", "this release cannot read manifests yet";
    NO_SUCH_HOST = "no-such-host", "the flake has no such host or attribute";
    EVALUATION_FAILED = "evaluation-failed", "the flake did not evaluate";
    EVALUATION_TIMEOUT = "evaluation-timeout", "the evaluation took too long and was ended";
    BUILD_FAILED = "build-failed", "the closure did not build";
    BUILD_TIMEOUT = "build-timeout", "the build took too long and was ended";
    NOT_SUBSTITUTABLE = "not-substitutable", "no cache has the closure, and this machine may not build";
    NIX_UNREACHABLE = "nix-unreachable", "the Nix daemon did not answer";
    NO_SPACE = "no-space", "the disk is full";
    NOT_A_SYSTEM = "not-a-system", "the path is not a NixOS system";
    WRONG_HOST = "wrong-host", "the closure belongs to another host";
    INVALID_PATH = "invalid-path", "the path is not valid in the Nix store";
    NO_CONFIGURATION = "no-configuration", "the closure has no readable configuration of autodeploy";
    BAD_CONFIGURATION = "bad-configuration", "the configuration was refused";
    NO_WAY_BACK = "no-way-back", "the running system could not be brought back, so nothing was tried";
    STALE_REQUEST = "stale-request", "the request was made before the last boot, or for another running system";
    BAD_REQUEST = "bad-request", "the request could not be read";
    BLOCKED = "blocked", "the closure was reverted before and nobody unblocked it";
    REBOOT_NEEDED = "reboot-needed", "the closure has to be booted, and this machine can arm no single boot";
    STAGED_UNPROVED = "staged-unproved", "it is the boot default, and nothing has proved it, as `activation.unproved_boot` allows";
    BOOTLOADER_DID_NOT_START_IT = "bootloader-did-not-start-it", "the boot that it was armed for brought the old system";
    LOCK_HELD = "lock-held", "somebody else was switching at that moment";
    PRE_SWITCH_REFUSED = "pre-switch-refused", "a pre-switch check or an inhibitor refused the switch";
    SWITCH_FAILED = "switch-failed", "the switch failed";
    ACTIVATION_FAILED = "activation-failed", "the activation script failed";
    SWITCH_TIMEOUT = "switch-timeout", "the switch took too long and was ended";
    UNHEALTHY = "unhealthy", "a required check was not green within the window";
    ENVIRONMENT = "environment", "a check is red on the old system too: not the commit's fault";
    BOOTLOADER = "bootloader", "the boot default could not be set";
    SOMEONE_ELSE_SWITCHED = "someone-else-switched", "somebody else switched the system meanwhile";
    POWER_CUT = "power-cut", "the machine was reset during the trial";
    SHUTDOWN = "shutdown", "the machine was shut down during the trial";
    ACTIVATOR_RESTARTED = "activator-restarted", "the trial process was ended; the old system was brought back";
    OLD_SYSTEM_BROKEN = "old-system-broken", "the old system could not be activated";
    LOCAL_FACT_LOST = "local-fact-lost", "a unit, route or resolver did not come back with the old system";
    TOO_MANY_ATTEMPTS = "too-many-attempts", "a counted loop reached its limit";
    RECORD_UNREADABLE = "record-unreadable", "the activator's record could not be read and was set aside";
    DATABASE_DAMAGED = "database-damaged", "the history could not be read and was set aside";
    ACTIVATOR_UNREACHABLE = "activator-unreachable", "the activator did not take the request";
    NEWER_COMMIT = "newer-commit", "a newer commit came first";
    BY_OPERATOR = "by-operator", "a person asked for it";
    CLOSURE_NOT_SIGNED = "closure-not-signed", "the closure, or what it needs, is not signed as `trust.closures` demands";
    INTERNAL = "internal", "a fault of autodeploy itself";
}

impl Reason {
    /// Makes a code that was read from a record.
    pub fn from_code(code: impl Into<String>) -> Reason {
        Reason(Cow::Owned(code.into()))
    }

    /// Returns the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What went wrong, for programs (`reason`) and for people (`message`, `hint`).
///
/// `message` is one sentence, lower case, no full stop: what was being done, the noun and the
/// value in backticks, the cause after a colon. `hint` is something to type or to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub reason: Reason,
    /// One escaped line.
    pub message: String,
    /// What the operator can do, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// Makes a failure without a hint.
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        Failure { reason, message: message.into(), hint: None }
    }

    /// Adds what the operator can type or look at.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// Adds a hint where there is none yet.
    pub fn or_hint(self, hint: impl Into<String>) -> Failure {
        match self.hint {
            Some(_) => self,
            None => self.hint(hint),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for (code, meaning) in Reason::ALL {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
            assert!(seen.insert(code), "{code} is there twice");
            assert!(!meaning.ends_with('.') && !meaning.is_empty(), "{code}");
        }
    }

    #[test]
    fn an_unknown_code_is_kept() {
        let reason: Reason = serde_json::from_str("\"from-the-future\"").unwrap();
        assert_eq!(serde_json::to_string(&reason).unwrap(), "\"from-the-future\"");
    }
}
