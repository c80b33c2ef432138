//! PURE: how a commit of our repository is named to Nix, and what it is asked about it.

use std::fmt::Write;
use std::path::Path;

use crate::config::settings::Build;
use crate::model::commit::CommitId;

/// One attribute of the flake at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installable {
    /// `git+file://…?rev=…`: this commit, read in place, and nothing else.
    repository: String,
    subdirectory: String,
    submodules: bool,
    attribute: String,
}

/// What `nix eval --apply` makes of the attribute: both paths in one start of the evaluator, or
/// what it is instead of a derivation.
pub const BOTH_PATHS: &str = "system: \
    if builtins.isAttrs system && system ? drvPath && system ? outPath \
    then { drv = system.drvPath; out = system.outPath; } \
    else { instead = builtins.typeOf system; }";

impl Installable {
    /// Names what `build` says at `commit`.
    pub fn new(repository: &Path, commit: &CommitId, build: &Build) -> Installable {
        let path = percent_encoded(&repository.to_string_lossy(), "/");
        Installable {
            repository: format!("git+file://{path}?rev={commit}"),
            subdirectory: build.subdirectory.trim_matches('/').to_owned(),
            submodules: build.submodules,
            attribute: build.attribute.clone(),
        }
    }

    /// Returns the attribute's full path.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }

    /// Returns the reference to the flake, without the attribute.
    fn flake(&self) -> String {
        let mut flake = self.repository.clone();
        if !self.subdirectory.is_empty() {
            flake.push_str("&dir=");
            flake.push_str(&percent_encoded(&self.subdirectory, "/"));
        }
        if self.submodules {
            flake.push_str("&submodules=1");
        }
        flake
    }

    /// Returns the argument for `nix eval`.
    pub fn reference(&self) -> String {
        format!("{}#{}", self.flake(), percent_encoded(&self.attribute, ".\""))
    }

    /// Returns an expression for the first part of the attribute that is not there, with what
    /// there is instead; null if every part is there.
    ///
    /// Only the way to the attribute is evaluated, not the attribute.
    pub fn missing_part(&self) -> String {
        let file = match self.subdirectory.as_str() {
            "" => "/flake.nix".to_owned(),
            folder => format!("/{folder}/flake.nix"),
        };
        let parts: String = parts(&self.attribute).iter().map(|part| quoted(part) + " ").collect();
        format!(
            "let walk = at: path: \
               if path == [ ] then null \
               else let name = builtins.head path; in \
                 if !(builtins.isAttrs at) then {{ missing = name; there = [ ]; }} \
                 else if builtins.hasAttr name at \
                   then walk (builtins.getAttr name at) (builtins.tail path) \
                 else {{ missing = name; there = builtins.attrNames at; }}; \
             in if builtins.pathExists ((builtins.fetchTree {}).outPath + {}) \
                then walk (builtins.getFlake {}) [ {parts}] \
                else {{ missing = {}; there = [ ]; }}",
            quoted(&self.repository),
            quoted(&file),
            quoted(&self.flake()),
            quoted(file.trim_start_matches('/')),
        )
    }
}

/// Splits an attribute path at its dots, but for those in quotes, as Nix does on its command line.
fn parts(attribute: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut in_quotes = false;
    for c in attribute.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            '.' if !in_quotes => parts.push(String::new()),
            c => {
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    parts
}

/// Writes a Nix string.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${");
    format!("\"{escaped}\"")
}

/// Encodes everything in a URL but letters, digits, `-`, `_`, `~` and what `plain` has besides.
fn percent_encoded(text: &str, plain: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        match c.is_ascii_alphanumeric() || "-_.~".contains(c) || plain.contains(c) {
            true => encoded.push(c),
            // Writing to a String cannot fail.
            false => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::settings::{BuildMode, CollectGarbage};

    const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn build(attribute: &str, subdirectory: &str, submodules: bool) -> Build {
        Build {
            mode: BuildMode::Evaluate,
            attribute: attribute.to_owned(),
            subdirectory: subdirectory.to_owned(),
            submodules,
            substitute_only: false,
            evaluation_timeout: Duration::from_secs(1),
            evaluation_memory: 1 << 30,
            build_timeout: Duration::from_secs(1),
            reserve: 0,
            collect_garbage: CollectGarbage::Never,
        }
    }

    fn installable(attribute: &str, subdirectory: &str, submodules: bool) -> Installable {
        let build = build(attribute, subdirectory, submodules);
        Installable::new(Path::new("/var/lib/a b"), &COMMIT.parse().unwrap(), &build)
    }

    #[test]
    fn a_reference_names_one_commit_and_one_attribute() {
        let check = |installable: Installable, expected: &str| {
            let expected = expected.replace("COMMIT", COMMIT);
            assert_eq!(installable.reference(), format!("git+file:///var/lib/a%20b?{expected}"));
        };
        check(
            installable("nixosConfigurations.\"box.lan\".config", "", false),
            "rev=COMMIT#nixosConfigurations.\"box.lan\".config",
        );
        check(
            installable("a.b", "/sub dir/x/", true),
            "rev=COMMIT&dir=sub%20dir/x&submodules=1#a.b",
        );
        check(installable("a^b#c%", "", false), "rev=COMMIT#a%5Eb%23c%25");
    }

    #[test]
    fn parts_are_split_at_dots_outside_of_quotes() {
        assert_eq!(parts("a.\"b.c\".d"), ["a", "b.c", "d"]);
        assert_eq!(parts("a"), ["a"]);
        assert_eq!(parts("a..b"), ["a", "", "b"]);
    }

    #[test]
    fn text_in_an_expression_stays_text() {
        assert_eq!(quoted("a\"b\\${c}"), r#""a\"b\\\${c}""#);
        let expression = installable("a.\"${throw 1}\"", "", false).missing_part();
        assert!(expression.contains(r#"[ "a" "\${throw 1}" ]"#), "{expression}");
    }
}
