//! The kernel's host name.

/// Reads it; empty if it is not text.
pub fn read() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
