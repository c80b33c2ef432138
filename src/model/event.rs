//! The kinds of events: each has a name and a fixed `MESSAGE_ID`, and every transition is one.
//!
//! `systemd/autodeploy.catalog` explains each of them to `journalctl -x`; a test holds the two
//! against each other. An id is never changed and never used for something else.

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// One line per phase change and step.
    Info,
    /// An operator may act.
    Warning,
    /// An operator must act.
    Error,
}

/// Declares the kinds with name, id and level.
macro_rules! events {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $id:literal, $level:ident;)*) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind { $($(#[$doc])* $kind,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[EventKind] = &[$(EventKind::$kind),*];

            /// Returns the value of `AUTODEPLOY_EVENT`.
            pub fn name(self) -> &'static str {
                match self { $(EventKind::$kind => $name,)* }
            }

            /// Returns the value of `MESSAGE_ID`: 32 hexadecimal digits.
            pub fn message_id(self) -> &'static str {
                match self { $(EventKind::$kind => $id,)* }
            }

            /// Returns how loud it is.
            pub fn level(self) -> Level {
                match self { $(EventKind::$kind => Level::$level,)* }
            }
        }
    };
}

events! {
    /// The agent is ready.
    AgentStarted = "agent-started", "53469f23e67047c8b93add2cbcf169d3", Info;
    /// The agent was asked to stop, or ends itself to begin with another configuration.
    AgentStopped = "agent-stopped", "a830485ad2b84ef0b112287af38d52e8", Info;
    /// The remote did not answer.
    PollFailed = "poll-failed", "af999fc9933e40f9ae5afdb2b928a595", Warning;
    /// The remote answers again.
    PollRecovered = "poll-recovered", "a6e3f4bd86f54c9ca778a5d13f36ca80", Info;
    /// No good poll for long, no new commit for long, or a clock that is behind what it has seen.
    RemoteStale = "remote-stale", "77abefa519ed4c459a0ee4d7ebe161c4", Warning;
    /// The remote is not stale any more.
    RemoteFresh = "remote-fresh", "4cc6eba9c3954287b4a7b5278c55bb07", Info;
    /// The branch moved.
    NewTip = "new-tip", "fd2f281678184fa29d31565ba1eb1b05", Info;
    /// The objects did not arrive.
    FetchFailed = "fetch-failed", "314a964c2bd04547a4eb93c21722f3a0", Warning;
    /// The commit may be deployed.
    CommitVerified = "commit-verified", "d9d6c006298c42aab9db2d29cdc0036d", Info;
    /// The commit may not be deployed.
    CommitRefused = "commit-refused", "f7cf7a76ddef49a183672765497b4115", Error;
    /// The first tip became the mark: nothing was kept before.
    MarkMoved = "mark-moved", "40741509372f44ad80950ec6be3ddc3a", Warning;
    /// A person put another commit in the place of the mark.
    Reanchored = "reanchored", "e42ec4577ee545538b7663e0bb309f11", Warning;
    /// The closure of the commit is known.
    ClosureResolved = "closure-resolved", "8a533ab6dfe64e20997eb74bd6df49b4", Info;
    /// The closure could not be worked out.
    ResolveFailed = "resolve-failed", "4150f1e10a4146489a21d85607d3c22c", Warning;
    /// The closure is in the store.
    ClosureRealised = "closure-realised", "b292eb6d11dc46adbb82528374c9db2b", Info;
    /// The closure could not be got.
    RealiseFailed = "realise-failed", "3b07b84614bf442fb63e7d71be453993", Warning;
    /// A gate holds the deployment back.
    DeploymentHeld = "deployment-held", "0f487c54f5a540cc80b867893efed340", Info;
    /// The activator was asked for a trial.
    TrialRequested = "trial-requested", "a1cf008eb7e34969bb6b13326c8776db", Info;
    /// The activator does not take requests.
    ActivatorUnreachable = "activator-unreachable", "2f7a168bb5e64deca2baca25c02e4f1e", Error;
    /// The deployment ended without fault.
    DeploymentFinished = "deployment-finished", "a2358daced4d486da18688bf6887ebdc", Info;
    /// The deployment ended, and the old system runs.
    DeploymentFailed = "deployment-failed", "400f99f3584142b393df9154dc9af2a6", Warning;
    /// The closure will not be tried again by itself.
    ClosureBlocked = "closure-blocked", "14ba9eb9d92f43b78c25f0254ad73b74", Warning;
    /// A person allowed the closure again.
    ClosureUnblocked = "closure-unblocked", "49058a5def104bdea404e3f45ce37a62", Info;
    /// A person paused deployments.
    Paused = "paused", "943f45a9b9a94636a1f574209fc95f39", Info;
    /// A person resumed deployments.
    Resumed = "resumed", "91705b70f8424b4d82bded7494aca851", Info;
    /// A person asked for something over the control socket.
    OperatorAsked = "operator-asked", "66ac94274ae64fe49a90fcf024fadac1", Info;
    /// Another configuration lies there, and cannot be used.
    ConfigurationRefused = "configuration-refused", "558f97df2ee2469f8ecbd38ac20c45e4", Warning;
    /// Something of the agent's state was damaged, set aside and made anew.
    StateMended = "state-mended", "b5cdea90ca2249bc955f4be2e27120ad", Warning;
    /// Somebody replaced the kept system by hand.
    DriftSeen = "drift-seen", "d229af4b08f04581b1cb9dedcff7dfb9", Warning;
    /// What was replaced by hand is as it was kept again, and nobody deployed it.
    DriftOver = "drift-over", "5a9ed853578440a0ad93a0cf090a9c5a", Info;
    /// Somebody set the system profile to a system that neither runs nor was kept.
    StagedByHand = "staged-by-hand", "7e35f4c45f6943afa96f079744453e11", Warning;
    /// The activator took a request.
    RequestTaken = "request-taken", "e4c924b1542d48e18f698fc2a8ea6baa", Info;
    /// A request that is already in the record came again.
    RequestRepeated = "request-repeated", "47ddfa0a00f94ef981f36ae0eee3c4c9", Info;
    /// The activator refused a request.
    RequestRefused = "request-refused", "0ac50a7a808e4c339798d95c209e941b", Warning;
    /// The trial entered a phase.
    PhaseEntered = "phase-entered", "2b06bbe8b00f49f38e3b524c72c65e7d", Info;
    /// A check turned green or red.
    CheckChanged = "check-changed", "b023297c73894e74a43511cf10f5d76a", Info;
    /// What was collected before a revert.
    EvidenceKept = "evidence-kept", "c266f3a4b8184d2a984422924042ee1d", Info;
    /// The closure proved itself and is the default now.
    TrialKept = "trial-kept", "6e6488d57e674bd88a6e43333e23e701", Info;
    /// The old system runs again.
    TrialReverted = "trial-reverted", "38f3973778ce4832b68e67ed5d0050cf", Warning;
    /// The old system could not be brought back: a person is needed.
    TrialRevertFailed = "trial-revert-failed", "b6e5f244179440b4b96f2332f3a28c1c", Error;
    /// The trial ended before anything was switched.
    TrialFailed = "trial-failed", "b2166159e61745c99e79302f5b1aa2fe", Warning;
    /// The trial was ended from outside.
    TrialInterrupted = "trial-interrupted", "c6898566fc024d02b33b75ef0a8e901b", Warning;
    /// An interrupted trial was found and is being brought to its end.
    TrialRecovered = "trial-recovered", "eec5e7fd6f624337b29794674cd41182", Warning;
    /// The next boot tries the closure, once.
    TrialArmed = "trial-armed", "3ec26b86e7fb4e348f9d15b97c30cd4d", Warning;
    /// A reboot was asked for, into a system on trial or back from it.
    RebootAsked = "reboot-asked", "1fccfac5d171472e92d75c03abdc0a0b", Warning;
    /// The machine reboots into the old system.
    LastResort = "last-resort", "d5ce013387df479794789a8f56627b17", Error;
    /// Something that the activator needs did not work.
    ActivatorFailed = "activator-failed", "cb03dad8bed74fed9ea87d268c05caae", Error;
    /// The activator's record was unreadable and was set aside.
    RecordUnreadable = "record-unreadable", "c4816dcbb0154743a1a8009b1d5df81d", Error;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_ids_are_unique_and_well_formed() {
        let names: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        let ids: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.message_id()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        assert_eq!(ids.len(), EventKind::ALL.len());
        for id in ids {
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        }
    }
}
