//! Where a commit's submodules lead, looked at before Nix follows them.
//!
//! Nix 2.26 reads a `file://` or relative address in place and with the rights of the agent's user,
//! whatever `GIT_ALLOW_PROTOCOL` says, and puts what it finds into the store, which everybody can
//! read (tried). So `.gitmodules` is read here as Nix reads it, by libgit2, and refused as a whole.
//! What a submodule has for submodules itself is not in our repository, and not looked at.

use std::fs;

use git2::{Config, ObjectType, Repository};

use crate::config::rule;
use crate::effects::git::{clone, says};
use crate::model::commit::CommitId;
use crate::model::failure::{Failure, Reason};
use crate::model::text::escaped;

const FILE: &str = ".gitmodules";

/// No list of submodules is larger, in bytes.
const LARGEST: usize = 1 << 20;

const REGULAR: i32 = 0o100_000;

/// Looks at every submodule that the commit names.
///
/// # Errors
/// `submodule-refused`; `clone-damaged`
pub fn check(own: &Repository, tip: &CommitId) -> Result<(), Failure> {
    let broken = |error: git2::Error| says::own(clone::place(own), &error);
    let refused = |cause: &str| {
        let message = format!("commit `{}` cannot be used: {cause}", tip.short());
        Failure::new(Reason::SUBMODULE_REFUSED, message)
            .hint("`.gitmodules` may name `https://`, `http://` and `ssh://` addresses, in full")
    };
    let tree = clone::commit(own, tip)?.tree().map_err(broken)?;
    let Some(entry) = tree.get_name(FILE) else { return Ok(()) };
    if entry.kind() != Some(ObjectType::Blob) || entry.filemode() & 0o170_000 != REGULAR {
        return Err(refused("`.gitmodules` is no file"));
    }
    let (bytes, _) = own.odb().and_then(|odb| odb.read_header(entry.id())).map_err(broken)?;
    if bytes > LARGEST {
        return Err(refused(&format!("`.gitmodules` is larger than {LARGEST} bytes")));
    }
    let content = own.find_blob(entry.id()).map_err(broken)?.content().to_owned();
    let settings = settings(own, &content).map_err(|cause| {
        refused(&format!("`.gitmodules` cannot be read: {}", escaped(&cause, 200)))
    })?;
    match settings.iter().find_map(|(name, value)| wrong(name, value)) {
        Some(cause) => Err(refused(&cause)),
        None => Ok(()),
    }
}

/// Returns every setting with its full name, repeated ones as often as they are there.
fn settings(own: &Repository, content: &[u8]) -> Result<Vec<(String, String)>, String> {
    // What it includes would be read as well: that is refused before anything is opened.
    let text = String::from_utf8_lossy(content).to_ascii_lowercase();
    let sections = text.split('[').skip(1).map(str::trim_start);
    if sections.into_iter().any(|section| section.starts_with("include")) {
        return Err("it includes other files".to_owned());
    }
    let place = own.path().join("autodeploy-gitmodules");
    fs::write(&place, content).map_err(|error| error.to_string())?;
    let read = Config::open(&place).and_then(|config| {
        let mut found = Vec::new();
        let mut entries = config.entries(None)?;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let value = entry.has_value().then(|| text(entry.value_bytes()));
            found.push((text(entry.name_bytes()), value.unwrap_or_default()));
        }
        Ok(found)
    });
    let _ = fs::remove_file(&place);
    read.map_err(|error| error.message().to_owned())
}

/// Says what is wrong with one setting.
fn wrong(name: &str, value: &str) -> Option<String> {
    let (submodule, key) = name.strip_prefix("submodule.")?.rsplit_once('.')?;
    let shown = escaped(submodule, 80);
    if leads_out(submodule) {
        return Some(format!("a submodule has the name `{shown}`"));
    }
    let complaint = match key {
        "path" if leads_out(value) => "is no place in the repository".to_owned(),
        "url" => match address(value) {
            Ok(()) => return None,
            Err(complaint) => complaint,
        },
        _ => return None,
    };
    Some(format!("the `{key}` of submodule `{shown}`, `{}`, {complaint}", escaped(value, 200)))
}

fn leads_out(path: &str) -> bool {
    path.is_empty() || path.starts_with(['/', '-']) || path.split('/').any(|part| part == "..")
}

/// Refuses what is not a remote with its full address.
fn address(url: &str) -> Result<(), String> {
    let short_form = url.split_once(':').filter(|(host, path)| {
        host.contains('@') && !host.contains('/') && !path.starts_with("//")
    });
    let full = match short_form {
        Some((host, path)) => format!("ssh://{host}/{}", path.trim_start_matches('/')),
        None => url.to_owned(),
    };
    match rule::remote(&full) {
        Ok(()) if full.starts_with("file:") => Err("is a place on this machine".to_owned()),
        Ok(()) => Ok(()),
        Err(complaint) => Err(complaint.says),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_remotes_in_full_are_followed() {
        for url in ["https://h/x.git", "http://h:8080/x", "ssh://git@h/x", "git@h:x/y.git"] {
            assert_eq!(wrong("submodule.a.url", url), None, "{url}");
        }
        for (url, says) in [
            ("file:///srv/x", "is a place on this machine"),
            ("/srv/x", "has no scheme"),
            ("../x", "has no scheme"),
            ("./x", "has no scheme"),
            ("ext::sh -c touch% /ran", "has no scheme"),
            ("--upload-pack=touch /ran", "has no scheme"),
            ("ssh://-oProxyCommand=x/y", "has no valid host name"),
            ("ssh://-x/y", "has no valid host name"),
            ("-x@h:y", "has no valid user name"),
            ("git://h/x", "has the scheme `git`"),
            ("https://me:s3cr3t@h/x", "has a user name or a password in it"),
            ("https://h/x\nurl = /srv/x", "has a control character in it"),
            ("", "is empty"),
        ] {
            let said = wrong("submodule.a.url", url).unwrap();
            assert!(said.ends_with(&format!("`, {says}")), "{url}: {said}");
            assert!(!said.contains("s3cr3t"), "{said}");
        }
    }

    #[test]
    fn names_and_paths_stay_in_the_repository() {
        assert_eq!(wrong("submodule.a/b.path", "c/d..e"), None);
        assert_eq!(wrong("submodule.a.branch", "../.."), None);
        assert_eq!(wrong("core.url", "/srv/x"), None);
        for (name, value) in [
            ("submodule.../../x.url", "https://h/x"),
            ("submodule.-x.path", "x"),
            ("submodule.a.path", "../x"),
            ("submodule.a.path", "/etc"),
            ("submodule.a.path", ""),
            ("submodule.a.path", "-x"),
        ] {
            assert!(wrong(name, value).is_some(), "{name} {value}");
        }
    }
}
