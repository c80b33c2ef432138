//! Arming and disarming on files in the shape of NixOS's.

use super::super::grub_config::tests::{nixos, path};
use super::*;

/// A machine whose menu has `a` as the default, `b` in a profile of its own, and `c`.
struct Boot {
    directory: tempfile::TempDir,
}

impl Boot {
    fn new() -> Boot {
        let boot = Boot { directory: tempfile::tempdir().unwrap() };
        boot.menu(&nixos("0"));
        boot
    }

    fn menu(&self, text: &str) {
        fs::write(self.directory.path().join("grub.cfg"), text).unwrap();
    }

    fn grub(&self) -> Grub {
        Grub { directory: self.directory.path().to_owned() }
    }

    fn armed(&self) -> Option<StorePath> {
        let grub = self.grub();
        let armed = grub.environment().unwrap().get(NEXT)?;
        grub.menu().unwrap().entry(&armed)?.system.clone()
    }

    #[track_caller]
    fn refuses_to_arm(&self, why: &str) {
        let error = self.grub().arm(&path('b'), &path('a')).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
}

#[test]
fn one_boot_is_armed_and_taken_back_and_other_variables_stay() {
    let boot = Boot::new();
    let mut environment = Environment::default();
    environment.set("saved_entry", Some("NixOS"));
    fs::write(boot.grub().environment_path(), environment.bytes().unwrap()).unwrap();
    boot.grub().arm(&path('b'), &path('a')).unwrap();
    assert_eq!(boot.armed(), Some(path('b')));
    boot.grub().arm(&path('b'), &path('a')).unwrap();
    boot.grub().disarm(&path('b')).unwrap();
    assert_eq!(boot.grub().environment().unwrap(), environment);
    boot.grub().disarm(&path('b')).unwrap();
    assert_eq!(fs::read(boot.grub().environment_path()).unwrap().len(), 1024);
}

#[test]
fn a_machine_without_a_block_gets_one_and_has_nothing_armed() {
    let boot = Boot::new();
    boot.grub().disarm(&path('b')).unwrap();
    assert!(!boot.grub().environment_path().exists());
    boot.grub().arm(&path('b'), &path('a')).unwrap();
    assert_eq!(boot.armed(), Some(path('b')));
}

#[test]
fn what_somebody_else_armed_stays_and_what_leads_nowhere_goes() {
    let boot = Boot::new();
    boot.grub().set(Some("1>1")).unwrap();
    boot.grub().disarm(&path('b')).unwrap();
    assert_eq!(boot.armed(), Some(path('c')));
    boot.grub().set(Some("a profile that is gone>0")).unwrap();
    boot.grub().disarm(&path('b')).unwrap();
    assert_eq!(boot.grub().environment().unwrap().get(NEXT), None);
}

#[test]
fn nothing_is_armed_unless_the_old_one_is_the_default() {
    let boot = Boot::new();
    boot.menu(&nixos("\"1>1\""));
    boot.refuses_to_arm("by default, not");
    boot.menu(&nixos("\"${saved_entry}\""));
    boot.refuses_to_arm("cannot be told");
    boot.menu(&nixos("0").replace(path('b').as_str(), path('d').as_str()));
    boot.refuses_to_arm("no entry of GRUB");
    assert!(!boot.grub().environment_path().exists());
}

#[test]
fn a_block_that_is_damaged_is_not_written_over() {
    let boot = Boot::new();
    fs::write(boot.grub().environment_path(), "next_entry=0\n").unwrap();
    boot.refuses_to_arm("is no environment block");
    assert!(boot.grub().disarm(&path('b')).is_err());
    assert_eq!(fs::read(boot.grub().environment_path()).unwrap(), b"next_entry=0\n");
}

#[test]
fn a_menu_that_forgets_nothing_says_so() {
    let boot = Boot::new();
    assert_eq!(boot.grub().not_in_its_menu(), None);
    boot.menu(&nixos("\"${saved_entry}\""));
    assert!(boot.grub().why_never_once().unwrap().contains("started last"));
    boot.menu(&nixos("0").replace("save_env next_entry", ""));
    assert!(boot.grub().why_never_once().unwrap().contains("does not read `next_entry`"));
    fs::remove_file(boot.directory.path().join("grub.cfg")).unwrap();
    assert!(boot.grub().why_never_once().unwrap().contains("grub.cfg"));
    assert!(!boot.grub().is_there());
}
