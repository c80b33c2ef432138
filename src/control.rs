//! The Varlink interface `org.autodeploy.Control` between the agent and whoever asks it.
//!
//! Wire types only: what the agent knows is turned into these in `agent`, and these into words in
//! `client`. Fields are only ever added. The names are the contract of `status --json`.

pub mod ask;
pub mod deployment;
#[cfg(feature = "client")]
pub mod proxy;
pub mod status;

/// The socket's name in `paths.runtime_dir`.
pub const SOCKET: &str = "control";

/// The name of the interface.
pub const INTERFACE: &str = "org.autodeploy.Control";

/// The methods of the interface.
pub const METHODS: [&str; 12] = [
    "GetStatus",
    "Watch",
    "ListDeployments",
    "ShowDeployment",
    "RunNow",
    "Rollback",
    "Answer",
    "Block",
    "Unblock",
    "Pause",
    "Resume",
    "Reanchor",
];
