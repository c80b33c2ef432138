//! Whether a closure has to be booted, and why: PURE. Whether there is room for it is in [`room`].
//!
//! What is compared is read in `effects` and comes in as plain values.

use std::collections::BTreeMap;

use crate::model::text::escaped;

pub mod room;

/// What of a system only a boot can change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootParts {
    /// Where the link `kernel` leads to.
    pub kernel: Option<String>,
    /// Where the link `initrd` leads to.
    pub initrd: Option<String>,
    /// Where the link `kernel-modules` leads to.
    pub modules: Option<String>,
    /// The text of `kernel-params`.
    pub parameters: Option<String>,
    /// How PID 1 is told of a switch.
    pub interface: Option<String>,
    /// The version of systemd, from the name of its store path.
    pub systemd: Option<String>,
    /// `switch-inhibitors`
    pub inhibitors: BTreeMap<String, String>,
}

/// Returns why `target` has to be booted, given what was booted and what runs; empty if it need
/// not be.
///
/// systemd, the init interface and the inhibitors are compared with what *runs* (they change with a
/// switch), the rest with what was *booted*.
pub fn reboot_reasons(booted: &BootParts, running: &BootParts, target: &BootParts) -> Vec<String> {
    let differ = |one: &Option<String>, other: &Option<String>| one.is_some() && one != other;
    let mut reasons = Vec::new();
    let mut add = |reason: &str| reasons.push(reason.to_owned());
    if differ(&target.kernel, &booted.kernel) {
        add("the kernel differs");
    }
    if differ(&target.initrd, &booted.initrd) {
        add("the initrd differs");
    }
    if differ(&target.modules, &booted.modules) {
        add("the kernel modules differ");
    }
    if differ(&target.parameters, &booted.parameters) {
        add("the kernel parameters differ");
    }
    match (major(&target.systemd), major(&running.systemd)) {
        (Some(new), Some(old)) if new != old => {
            add(&format!("systemd changes its major version from {old} to {new}"));
        }
        _ => {}
    }
    if running.interface.is_some() && differ(&target.interface, &running.interface) {
        add("the init interface differs");
    }
    for (key, new) in &target.inhibitors {
        if running.inhibitors.get(key).is_some_and(|old| old != new) {
            add(&format!("the switch inhibitor `{}` differs", escaped(key, 60)));
        }
    }
    reasons
}

/// Returns the version in the name of a store path such as `…-systemd-257.6`.
pub fn version_of(path: &str) -> Option<String> {
    let digit = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    path.rsplit('/').find(|part| !part.is_empty())?.rsplit('-').find(digit).map(str::to_owned)
}

fn major(version: &Option<String>) -> Option<u32> {
    let digits: String = version.as_ref()?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> BootParts {
        let some = |text: &str| Some(text.to_owned());
        BootParts {
            kernel: some("k1"),
            initrd: some("i1"),
            modules: some("m1"),
            parameters: some("quiet"),
            interface: some("systemd 2"),
            systemd: some("257.6"),
            inhibitors: BTreeMap::from([("dbus".to_owned(), "broker".to_owned())]),
        }
    }

    #[track_caller]
    fn check(change: impl Fn(&mut BootParts), expected: &[&str]) {
        let mut target = parts();
        change(&mut target);
        assert_eq!(reboot_reasons(&parts(), &parts(), &target), expected);
    }

    #[test]
    fn each_part_that_only_a_boot_changes_is_named() {
        check(|_| {}, &[]);
        check(|p| p.kernel = Some("k2".into()), &["the kernel differs"]);
        check(|p| p.initrd = Some("i2".into()), &["the initrd differs"]);
        check(|p| p.modules = Some("m2".into()), &["the kernel modules differ"]);
        check(|p| p.parameters = Some("debug".into()), &["the kernel parameters differ"]);
        check(|p| p.interface = Some("systemd 3".into()), &["the init interface differs"]);
        check(|p| p.interface = None, &[]);
        check(|p| p.systemd = Some("257.9".into()), &[]);
        check(
            |p| p.systemd = Some("258~rc1".into()),
            &["systemd changes its major version from 257 to 258"],
        );
    }

    #[test]
    fn a_version_is_read_from_the_name_of_a_store_path() {
        let of = |path: &str| version_of(path);
        assert_eq!(of("/nix/store/0a-systemd-257.6").as_deref(), Some("257.6"));
        assert_eq!(of("/nix/store/zz-systemd-minimal-258-rc1/").as_deref(), Some("258"));
        assert_eq!(of("/nix/store/zz-systemd"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn an_inhibitor_counts_when_both_have_it_with_different_values() {
        check(
            |p| p.inhibitors = BTreeMap::from([("dbus".to_owned(), "dbus".to_owned())]),
            &["the switch inhibitor `dbus` differs"],
        );
        check(|p| p.inhibitors = BTreeMap::from([("new".to_owned(), "x".to_owned())]), &[]);
        check(|p| p.inhibitors = BTreeMap::new(), &[]);
    }

    #[test]
    fn the_name_of_an_inhibitor_drives_no_terminal() {
        let facts = |value: &str| BootParts {
            inhibitors: BTreeMap::from([("a\u{1b}[2J".to_owned(), value.to_owned())]),
            ..parts()
        };
        assert_eq!(
            reboot_reasons(&parts(), &facts("1"), &facts("2")),
            [r"the switch inhibitor `a\u{1b}[2J` differs"]
        );
    }

    #[test]
    fn a_container_without_a_kernel_needs_no_boot() {
        let none = |p: &mut BootParts| (p.kernel, p.initrd, p.modules) = (None, None, None);
        check(none, &[]);
    }
}
