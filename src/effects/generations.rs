//! The generations of a profile, as anybody may read them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What lies beside a profile's link, and which of it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Every generation, lowest number first.
    pub links: Vec<Link>,
    /// The number that the profile points to.
    pub current: Option<u64>,
    /// What was activated last.
    pub running: Option<String>,
    /// What was booted.
    pub booted: Option<String>,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The number in `<profile>-<number>-link`.
    pub number: u64,
    /// Where it leads to.
    pub toplevel: String,
    /// When it was made; RFC 3339, UTC.
    pub created_at: String,
}

/// Reads a profile. A generation that is removed meanwhile is left out.
///
/// # Errors
/// Its directory cannot be read.
pub fn read(profile: &Path) -> Result<Profile> {
    let reading = || format!("could not read the generations of `{}`", profile.display());
    let name = profile.file_name().and_then(|name| name.to_str()).with_context(reading)?;
    let directory = profile.parent().with_context(reading)?;
    let mut links = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let Some(number) = entry.file_name().to_str().and_then(|file| number_of(file, name)) else {
            continue;
        };
        if let (Some(toplevel), Ok(metadata)) = (target(&entry.path()), entry.metadata()) {
            let created = metadata.modified().ok().and_then(|time| time.try_into().ok());
            let created: jiff::Timestamp = created.unwrap_or_default();
            let created_at = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            links.push(Link { number, toplevel, created_at });
        }
    }
    links.sort_by_key(|link| link.number);
    Ok(Profile {
        links,
        current: target(profile).and_then(|link| number_of(link.rsplit('/').next()?, name)),
        running: target(Path::new("/run/current-system")),
        booted: target(Path::new("/run/booted-system")),
    })
}

fn target(link: &Path) -> Option<String> {
    fs::read_link(link).ok()?.into_os_string().into_string().ok()
}

fn number_of(file: &str, profile: &str) -> Option<u64> {
    file.strip_prefix(profile)?.strip_prefix('-')?.strip_suffix("-link")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn generations_are_read_in_the_order_of_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for number in [9, 10, 100] {
            symlink(format!("/nix/store/{number}"), at(&format!("system-{number}-link"))).unwrap();
        }
        symlink("/nix/store/other", at("other-1-link")).unwrap();
        symlink("/nix/store/odd", at("system-x-link")).unwrap();
        symlink("system-10-link", at("system")).unwrap();
        let profile = read(&at("system")).unwrap();
        let seen: Vec<_> =
            profile.links.iter().map(|link| (link.number, link.toplevel.as_str())).collect();
        let expected = [(9, "/nix/store/9"), (10, "/nix/store/10"), (100, "/nix/store/100")];
        assert_eq!(seen, expected);
        assert_eq!(profile.current, Some(10));
    }

    #[test]
    fn a_profile_that_is_not_there_is_named() {
        let error = read(Path::new("/no/such/system")).unwrap_err();
        assert_eq!(error.to_string(), "could not read the generations of `/no/such/system`");
    }
}
