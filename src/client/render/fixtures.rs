//! Wire values for the tests of this room.

use jiff::tz::{Offset, TimeZone};

use crate::client::render::time::Moment;
use crate::control::deployment::{Check, Details, Event, Evidence};
use crate::control::status::{Blocked, RebootNeeded, Remote, Running, Stale, Status, Summary};

/// A commit.
pub const COMMIT: &str = "c0ffee12c0ffee12c0ffee12c0ffee12c0ffee12";

/// What that commit resolves to.
pub const CLOSURE: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web1-25.11";

/// What ran before it.
pub const OLD: &str = "/nix/store/zyxwvsrqpnmlkjihgfdcba9876543210-nixos-system-web1-25.05";

/// Noon in London, read an hour east of it.
pub fn moment() -> Moment {
    Moment {
        now: "2025-11-21T12:00:00Z".parse().unwrap(),
        zone: TimeZone::fixed(Offset::constant(1)),
    }
}

/// A machine in good order.
pub fn status() -> Status {
    let running = Running {
        toplevel: CLOSURE.to_owned(),
        commit: Some(COMMIT.to_owned()),
        generation: Some(42),
    };
    Status {
        host: "web1".to_owned(),
        phase: "idle".to_owned(),
        boot_default: Some(running.clone()),
        running,
        remote: Remote {
            url: "ssh://git@forge/infra".to_owned(),
            branch: "main".to_owned(),
            tip: Some(COMMIT.to_owned()),
            last_success_at: Some("2025-11-21T11:59:48Z".to_owned()),
            last_error: None,
            stale: false,
            stale_reasons: vec![],
            mark: None,
        },
        deployment: Some(summary()),
        checks: vec![check("units", "green", ""), check("web", "green", "answered 200")],
        blocked: vec![],
        gates: vec![],
        reboot_needed: RebootNeeded::default(),
        drift: None,
        staged: None,
        only_built_in_checks: false,
        warnings: vec![],
    }
}

/// A way of being stale.
pub fn stale() -> Stale {
    Stale {
        kind: "clock-behind".to_owned(),
        message: "the clock is behind".to_owned(),
        hint: "timedatectl".to_owned(),
    }
}

/// A deployment that was kept.
pub fn summary() -> Summary {
    Summary {
        id: 7,
        commit: Some(COMMIT.to_owned()),
        toplevel: Some(CLOSURE.to_owned()),
        outcome: Some("kept".to_owned()),
        reason: Some("healthy".to_owned()),
        message: "every required check was green for 60 s".to_owned(),
        started_at: "2025-11-21T08:58:40Z".to_owned(),
        finished_at: Some("2025-11-21T09:00:00Z".to_owned()),
        subject: Some("web: answer faster".to_owned()),
        hint: None,
    }
}

/// A deployment that was reverted, with all that is known of it.
pub fn reverted() -> Details {
    Details {
        summary: Summary {
            id: 8,
            outcome: Some("reverted".to_owned()),
            reason: Some("unhealthy".to_owned()),
            message: "generation 43 was not healthy within 2 min".to_owned(),
            ..summary()
        },
        kind: "follow".to_owned(),
        phase: "idle".to_owned(),
        hint: Some("autodeployctl log 8".to_owned()),
        old_toplevel: Some(OLD.to_owned()),
        generation: None,
        stays_until: Some("2025-11-28T09:00:00Z".to_owned()),
        attempts: 1,
        events: vec![
            event("2025-11-21T08:58:40Z", "new-tip", "`main` moved to c0ffee12"),
            event("2025-11-21T08:59:00Z", "trial-requested", "asked the activator for a trial"),
        ],
        checks: vec![check("units", "green", ""), check("web", "red", "answered 503")],
        evidence: vec![Evidence {
            about: "check `web`".to_owned(),
            text: "HTTP/1.1 503\nno backend\n".to_owned(),
        }],
    }
}

/// A check.
pub fn check(name: &str, state: &str, message: &str) -> Check {
    Check {
        name: name.to_owned(),
        kind: if name == "units" { "units" } else { "http" }.to_owned(),
        severity: "required".to_owned(),
        state: state.to_owned(),
        excused: false,
        message: message.to_owned(),
    }
}

/// A closure that is blocked.
pub fn blocked() -> Blocked {
    Blocked {
        toplevel: OLD.to_owned(),
        commit: Some("deadbeef".repeat(5)),
        reason: "unhealthy".to_owned(),
        since: "2025-11-20T12:00:00Z".to_owned(),
    }
}

fn event(at: &str, event: &str, message: &str) -> Event {
    Event { at: at.to_owned(), event: event.to_owned(), message: message.to_owned() }
}
