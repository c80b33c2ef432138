//! What a closure says about itself: the activator reads it as root, and an evaluation wrote it.

use super::{cut_at, lines, shown};
use crate::effects::closure::{BootFacts, inhibitors, major, needs_boot};
use crate::model::store_path::StorePath;

/// Laws: a system that is like the running one need not be booted; why another one has to be is
/// said in lines that can be shown; a store path reads back, and has a name.
pub fn closure(bytes: &[u8]) {
    let Some([systemd, running, new]) = lines(bytes) else { return };
    let facts = |text: &str| BootFacts {
        parts: vec![("kernel-params", text.to_owned())],
        systemd: major(systemd),
        interface: Some(text.to_owned()),
        inhibitors: inhibitors(text),
    };
    let (running, new) = (facts(running), facts(new));
    assert_eq!(needs_boot(&running, &running, &running), [""; 0]);
    for reason in needs_boot(&running, &running, &new) {
        shown(&reason, cut_at(100));
    }
    if let Ok(path) = systemd.parse::<StorePath>() {
        assert_eq!(path.as_str(), systemd);
        assert!(!path.name().is_empty() && !path.name().contains('/'));
    }
}
