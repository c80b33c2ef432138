//! The files of boot loaders: a script, a block of variables, entries.

use super::lines;
use crate::effects::bootloader::grub_config::{Default, parse};
use crate::effects::bootloader::{grub_environment, systemd_boot};

const HEADER: &[u8] = b"# GRUB Environment Block\n";
const BLOCK: usize = 1024;

/// Laws of the menu: a name that is armed for a system leads to that system, and a default is never
/// guessed. Of the block: it is written as it was read, and setting one variable changes no other.
pub fn grub(bytes: &[u8]) {
    menu(&String::from_utf8_lossy(bytes));
    let mut block = [HEADER, &bytes[..bytes.len().min(BLOCK - HEADER.len())]].concat();
    block.resize(BLOCK, b'#');
    environment(&block);
    environment(bytes);
}

fn menu(text: &str) {
    let menu = parse(text);
    for entry in &menu.entries {
        assert!(!entry.way.is_empty());
        let Some(system) = &entry.system else { continue };
        if let Some(name) = menu.name_of(system) {
            let named = menu.entry(&name).expect("a name names an entry");
            assert_eq!(named.system.as_ref(), Some(system));
        }
    }
    match &menu.default {
        Default::Named(value) => assert!(!value.contains('$')),
        Default::LastStarted | Default::Unknown => assert_eq!(menu.default_system(), None),
    }
}

fn environment(bytes: &[u8]) {
    let Some(read) = grub_environment::parse(bytes) else { return };
    assert_eq!(read.bytes().as_deref(), Some(bytes));
    let saved = read.get("saved_entry");
    for value in ["NixOS>>1", "a\\\n#", "\\"] {
        let mut changed = read.clone();
        changed.set("next_entry", Some(value));
        assert_eq!(changed.get("saved_entry"), saved);
        let Some(written) = changed.bytes() else { continue };
        let again = grub_environment::parse(&written).expect("what was written is a block");
        assert_eq!(again.get("next_entry").as_deref(), Some(value));
        assert_eq!(again, changed);
        changed.set("next_entry", None);
        assert_eq!(changed.get("next_entry"), None);
    }
}

/// Laws: an entry boots like itself, is found by its own name, and no pattern takes for ever.
pub fn systemd_boot(bytes: &[u8]) {
    let _ = systemd_boot::utf_16(bytes);
    let Some([name, pattern, text]) = lines(bytes) else { return };
    assert!(systemd_boot::boot_alike(text, text));
    let _ = (systemd_boot::started_by(text), systemd_boot::is_counted(name));
    if let Some(default) = systemd_boot::configured(text) {
        assert_eq!(default.trim(), default);
    }
    let _ = systemd_boot::matches(pattern, name);
    assert!(systemd_boot::matches("*", name));
    assert!(name.contains(['*', '?']) || systemd_boot::matches(name, name));
}
