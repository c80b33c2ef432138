//! The parsers on what NixOS writes, and arming against a scripted `bootctl`.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn path(letter: char) -> StorePath {
    format!("/nix/store/{}-nixos-system-box", letter.to_string().repeat(32)).parse().unwrap()
}

fn entry(system: char, kernel: &str) -> String {
    format!(
        "title NixOS\nsort-key nixos\nversion Generation 1 NixOS\nlinux /EFI/nixos/{kernel}.efi\n\
         initrd /EFI/nixos/i.efi\noptions init={}/init loglevel=4\nmachine-id 0\n",
        path(system)
    )
}

/// A machine that systemd-boot started: default `a` in generation 1, the trial entry `b`.
struct Esp {
    directory: tempfile::TempDir,
}

impl Esp {
    fn new() -> Esp {
        let esp = Esp { directory: tempfile::tempdir().unwrap() };
        for folder in ["boot/loader/entries", "vars"] {
            fs::create_dir_all(esp.at(folder)).unwrap();
        }
        esp.conf("timeout 5\ndefault nixos-generation-1.conf\n");
        esp.entry("nixos-generation-1.conf", &entry('a', "k1"));
        esp.entry("nixos-autodeploy-generation-1.conf", &entry('b', "k2"));
        esp.set("LoaderInfo", "systemd-boot 257.9");
        // Four bytes of attributes, the name in UTF-16, as efivarfs has them; no name, no file.
        let one_shot = esp.variable("LoaderEntryOneShot");
        esp.bootctl(&format!(
            "[ -z \"$2\" ] && exec rm -f {0}\n\
             {{ printf '\\007\\000\\000\\000'; printf %s \"$2\" | sed 's/./&\\x00/g'; }} > {0}",
            one_shot.display()
        ));
        esp
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn variable(&self, name: &str) -> PathBuf {
        self.at("vars").join(format!("{name}-{VENDOR}"))
    }

    fn conf(&self, text: &str) {
        fs::write(self.at("boot/loader/loader.conf"), text).unwrap();
    }

    fn entry(&self, name: &str, text: &str) {
        fs::write(self.at("boot/loader/entries").join(name), text).unwrap();
    }

    fn set(&self, name: &str, text: &str) {
        let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        let bytes: Vec<_> = [7, 0, 0, 0].into_iter().chain(units).collect();
        fs::write(self.variable(name), bytes).unwrap();
    }

    fn bootctl(&self, script: &str) {
        let program = self.at("bootctl");
        fs::write(&program, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn loader(&self) -> SystemdBoot {
        SystemdBoot {
            places: vec![self.at("boot"), self.at("efi")],
            variables: self.at("vars"),
            bootctl: self.at("bootctl"),
        }
    }

    fn armed(&self) -> Option<String> {
        self.loader().text_of("LoaderEntryOneShot")
    }

    #[track_caller]
    fn refuses_to_arm(&self, why: &str) {
        let error = self.loader().arm(&path('b'), &path('a')).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

const TRIAL: &str = "nixos-autodeploy-generation-1.conf";

#[test]
fn the_default_is_the_last_one_that_is_named() {
    let text = "timeout 5\ndefault nixos-generation-1.conf\n default\tnixos-*\nconsole-mode keep\n";
    assert_eq!(configured(text).unwrap(), "nixos-*");
    assert_eq!(configured("timeout 5\n"), None);
}

#[test]
fn entries_are_matched_as_the_loader_does() {
    for (pattern, name, expected) in [
        ("nixos-generation-1.conf", "nixos-generation-1.conf", true),
        ("nixos-generation-1", "nixos-generation-1.conf", true),
        ("nixos-generation-1.conf", "nixos-generation-11.conf", false),
        ("nixos-*", "nixos-generation-1.conf", true),
        ("nixos-?", "nixos-12.conf", false),
        ("@saved", "nixos-1.conf", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn an_entry_is_known_by_its_init() {
    assert_eq!(started_by(&entry('a', "k")).unwrap(), path('a'));
    assert_eq!(started_by("options root=/dev/sda"), None);
    assert_eq!(started_by("optionsinit=/nix/store/x/init"), None);
}

#[test]
fn counters_in_a_name_are_recognised() {
    for (name, expected) in [
        ("nixos+3.conf", true),
        ("nixos-generation-1+2-1.conf", true),
        ("c++.conf", false),
        ("nixos+3-.conf", false),
        ("nixos-generation-1.conf", false),
    ] {
        assert_eq!(is_counted(name), expected, "{name}");
    }
}

#[test]
fn the_default_is_read_from_the_variable_before_the_file() {
    let esp = Esp::new();
    assert_eq!(esp.loader().default(), Some(path('a')));
    esp.conf("default nixos-*\n");
    assert_eq!(esp.loader().default(), None);
    esp.set("LoaderEntryDefault", TRIAL);
    assert_eq!(esp.loader().default(), Some(path('b')));
}

#[test]
fn entries_and_configuration_may_lie_on_two_partitions() {
    let esp = Esp::new();
    fs::create_dir_all(esp.at("efi/loader")).unwrap();
    fs::rename(esp.at("boot/loader/loader.conf"), esp.at("efi/loader/loader.conf")).unwrap();
    assert_eq!(esp.loader().default(), Some(path('a')));
    esp.conf("default other.conf\n");
    assert_eq!(esp.loader().default(), None);
}

#[test]
fn one_boot_is_armed_and_taken_back() {
    let esp = Esp::new();
    assert_eq!(esp.loader().why_never_once(), None);
    esp.loader().arm(&path('b'), &path('a')).unwrap();
    assert_eq!(esp.armed().unwrap(), TRIAL);
    esp.loader().arm(&path('b'), &path('a')).unwrap();
    esp.loader().disarm(&path('b')).unwrap();
    assert_eq!(esp.armed(), None);
    esp.loader().disarm(&path('b')).unwrap();
}

#[test]
fn what_somebody_else_armed_stays_and_what_leads_nowhere_goes() {
    let esp = Esp::new();
    esp.set("LoaderEntryOneShot", "nixos-generation-1.conf");
    esp.loader().disarm(&path('b')).unwrap();
    assert_eq!(esp.armed().unwrap(), "nixos-generation-1.conf");
    esp.set("LoaderEntryOneShot", "nixos-autodeploy-generation-7.conf");
    esp.loader().disarm(&path('b')).unwrap();
    assert_eq!(esp.armed(), None);
}

#[test]
fn nothing_is_armed_unless_the_old_one_is_the_default() {
    let esp = Esp::new();
    esp.conf("default nixos-*\n");
    esp.refuses_to_arm("cannot be told");
    esp.conf(&format!("default {TRIAL}\n"));
    esp.refuses_to_arm("by default, not");
    assert_eq!(esp.armed(), None);
}

#[test]
fn the_entry_has_to_be_there_and_to_mean_one_thing() {
    let esp = Esp::new();
    esp.entry("nixos-generation-0.conf", &entry('b', "k2"));
    esp.loader().arm(&path('b'), &path('a')).unwrap();
    esp.entry("nixos-generation-0.conf", &entry('b', "another"));
    esp.refuses_to_arm("differently");
    for name in ["nixos-generation-0.conf", TRIAL] {
        fs::remove_file(esp.at("boot/loader/entries").join(name)).unwrap();
    }
    esp.refuses_to_arm("no entry of systemd-boot starts");
}

#[test]
fn what_the_firmware_did_not_keep_is_not_armed() {
    let esp = Esp::new();
    esp.bootctl("exit 0");
    esp.refuses_to_arm("did not keep it");
    esp.bootctl("echo 'no such device' >&2; exit 1");
    esp.refuses_to_arm("no such device");
    esp.set("LoaderEntryOneShot", TRIAL);
    esp.bootctl("exit 0");
    assert!(esp.loader().disarm(&path('b')).unwrap_err().to_string().contains("still armed"));
}

#[track_caller]
fn never(change: impl FnOnce(&Esp), why: &str) {
    let esp = Esp::new();
    change(&esp);
    let said = esp.loader().why_never_once().unwrap();
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_machine_that_cannot_arm_says_why() {
    never(|esp| fs::remove_dir_all(esp.at("vars")).unwrap(), "did not start this machine");
    never(|esp| esp.set("LoaderInfo", "GRUB 2.12"), "did not start this machine");
    never(|esp| esp.set("LoaderEntryDefault", TRIAL), "beats `loader.conf`");
    never(|esp| esp.entry("nixos-generation-2+3.conf", ""), "counts the boots");
    never(|esp| fs::remove_file(esp.at("bootctl")).unwrap(), "there is no");
    let features = |bits: u8| {
        move |esp: &Esp| {
            let bytes = [7, 0, 0, 0, bits, 0, 0, 0, 0, 0, 0, 0];
            fs::write(esp.variable("LoaderFeatures"), bytes).unwrap();
        }
    };
    never(features(7), "cannot start an entry just once");
    let esp = Esp::new();
    features(15)(&esp);
    assert_eq!(esp.loader().why_never_once(), None);
}
