//! An observer with the disks of a machine in hand, who knows nothing of autodeploy's record.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use autodeploy_testhost::run;

use crate::disks::PARTITION_BYTES;
use crate::efi;
use crate::loader::Loader;
use crate::machine::Machine;

/// What the loader would start, by the `init=` of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The closure that is the default.
    pub default: String,
    /// The closure that is started once before it.
    pub once: Option<String>,
}

impl Machine {
    /// What the loader of this machine would do at the next boot; the power has to be off.
    ///
    /// # Errors
    /// Fails when its files do not say.
    pub fn loader_plan(&self) -> Result<Plan> {
        match self.image.loader {
            Loader::SystemdBoot => self.plan_of_systemd_boot(),
            Loader::Grub => plan_of_grub(
                &self.file_on_root("/boot/grub/grub.cfg")?,
                &self.file_on_root("/boot/grub/grubenv")?,
            ),
        }
    }

    fn plan_of_systemd_boot(&self) -> Result<Plan> {
        let conf = self.file_on_esp("/loader/loader.conf")?;
        let name = field(&conf, "default").context("loader.conf names no default")?;
        let started = |entry: &str| -> Result<String> {
            let text = self.file_on_esp(&format!("/loader/entries/{entry}"))?;
            init_of(&field(&text, "options").unwrap_or_default())
        };
        let flash = fs::read(self.file("vars.fd"))?;
        let once = efi::text(&flash, "LoaderEntryOneShot");
        Ok(Plan { default: started(&name)?, once: once.map(|name| started(&name)).transpose()? })
    }

    /// A file of the EFI system partition.
    ///
    /// # Errors
    /// Fails when it is not there.
    pub fn file_on_esp(&self, path: &str) -> Result<String> {
        let image = format!("{}@@{PARTITION_BYTES}", self.file("esp.img").display());
        let mut mtype = Command::new("mtype");
        mtype.env("MTOOLS_SKIP_CHECK", "1").args(["-i", &image, &format!("::{path}")]);
        run::run(&mut mtype, Duration::from_secs(30))?.ok()
    }

    /// A file of the root, as GRUB sees it: nothing that is only in the journal of ext4.
    ///
    /// # Errors
    /// Fails when it is not there.
    pub fn file_on_root(&self, path: &str) -> Result<String> {
        self.debugfs(&format!("cat {path}"))
    }

    /// Where the profile's link leads, as it is on the disk.
    ///
    /// # Errors
    /// Fails when it is not there.
    pub fn profile_on_disk(&self) -> Result<String> {
        let folder = "/nix/var/nix/profiles";
        let generation = self.link_on_root(&format!("{folder}/system"))?;
        self.link_on_root(&format!("{folder}/{generation}"))
    }

    fn link_on_root(&self, path: &str) -> Result<String> {
        // Long ones are not in the inode, and `cat` gives them.
        let stat = self.debugfs(&format!("stat {path}"))?;
        match stat.lines().find_map(|line| line.strip_prefix("Fast link dest: ")) {
            Some(quoted) => Ok(quoted.trim_matches('"').to_owned()),
            None => self.debugfs(&format!("cat {path}")),
        }
    }

    fn debugfs(&self, request: &str) -> Result<String> {
        let image = format!("{}?offset={PARTITION_BYTES}", self.file("root.img").display());
        let mut debugfs = Command::new("/usr/sbin/debugfs");
        let output =
            run::run(debugfs.args(["-c", "-R", request, &image]), Duration::from_secs(30))?;
        anyhow::ensure!(!output.stdout.is_empty(), "`{request}`: {}", output.stderr);
        output.ok()
    }
}

fn plan_of_grub(config: &str, environment: &str) -> Result<Plan> {
    let first = config.lines().find(|line| line.trim_start().starts_with("linux "));
    let default = init_of(first.context("grub.cfg has no entry")?)?;
    let armed = environment.lines().find_map(|line| line.strip_prefix("next_entry="));
    let once = match armed.filter(|entry| !entry.is_empty()) {
        Some(entry) => Some(named(config, entry)?),
        None => None,
    };
    Ok(Plan { default, once })
}

/// The closure of an entry that is named as `SUBMENU>ENTRY`, by titles or by numbers from 0.
fn named(config: &str, entry: &str) -> Result<String> {
    let mut lines = config.lines();
    let (mut depth, mut counts) = (0_usize, vec![0_usize]);
    let parts: Vec<&str> = entry.split('>').collect();
    let mut matched = 0;
    while let Some(line) = lines.next() {
        let kind = line.trim_start().split(' ').next().unwrap_or_default();
        if kind == "menuentry" || kind == "submenu" {
            let title = line.split('"').nth(1).unwrap_or_default();
            let number = counts[depth].to_string();
            counts[depth] += 1;
            let this = depth == matched
                && matched < parts.len()
                && [title, &number].contains(&parts[matched]);
            if this {
                matched += 1;
            }
            if kind == "submenu" {
                depth += 1;
                counts.push(0);
            } else if this && matched == parts.len() {
                let linux = lines.find(|line| line.trim_start().starts_with("linux "));
                return init_of(linux.context("an entry without a kernel")?);
            } else {
                lines.by_ref().find(|line| line.trim() == "}");
            }
        } else if line.trim() == "}" && depth > 0 {
            depth -= 1;
            counts.pop();
        }
    }
    anyhow::bail!("grub.cfg has no entry `{entry}`")
}

fn init_of(options: &str) -> Result<String> {
    let init = options.split(' ').find_map(|word| word.strip_prefix("init="));
    Ok(init.context("no init=")?.trim_end_matches("/init").to_owned())
}

fn field(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(' ')?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MENU: &str = r#"menuentry "NixOS" --class nixos --unrestricted {
  linux ($drive1)//k init=/nix/store/a/init quiet
  initrd ($drive1)//i
}

submenu "NixOS - All configurations" --class submenu {
menuentry "NixOS - Configuration 1 (x)" --class nixos {
  linux ($drive1)//k init=/nix/store/a/init quiet
}

}

submenu "NixOS - Profile 'trial'" --class submenu {
menuentry "NixOS - Configuration 2 (x)" --class nixos {
  linux ($drive1)//k init=/nix/store/c/init quiet
}

menuentry "NixOS - Configuration 1 (x)" --class nixos {
  linux ($drive1)//k init=/nix/store/b/init quiet
}

}
"#;

    #[track_caller]
    fn check(armed: &str, once: Option<&str>) {
        let environment = format!("# GRUB Environment Block\nnext_entry={armed}\n####");
        let plan = Plan { default: "/nix/store/a".into(), once: once.map(str::to_owned) };
        assert_eq!(plan_of_grub(MENU, &environment).unwrap(), plan, "{armed}");
    }

    #[test]
    fn an_entry_of_grub_is_found_by_titles_and_by_numbers() {
        check("", None);
        check("0", Some("/nix/store/a"));
        check("2>0", Some("/nix/store/c"));
        check("NixOS - Profile 'trial'>1", Some("/nix/store/b"));
        check("NixOS - Profile 'trial'>NixOS - Configuration 1 (x)", Some("/nix/store/b"));
        check("1>NixOS - Configuration 1 (x)", Some("/nix/store/a"));
        assert!(plan_of_grub(MENU, "next_entry=3>0\n").is_err());
    }
}
