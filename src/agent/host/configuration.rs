//! The configuration that this run of the agent began with, and whether it still lies there.
//!
//! A switch leaves the running agent alone (`X-RestartIfChanged=false`), so nobody else tells it
//! that an operator has put another file in the place of its own. A look costs one `stat`; the
//! text is read when that shows another file.

use std::path::{Path, PathBuf};

use crate::agent::host::Configured;
use crate::config::settings::Settings;
use crate::effects::files::{self, Version};
use crate::effects::system;
use crate::model::failure::{Failure, Reason};

/// No configuration is longer, in bytes.
const LARGEST_BYTES: u64 = 1 << 20;

/// A configuration as text, from where it lies.
pub struct Configuration {
    path: PathBuf,
    text: String,
    /// The file that was looked at last, and what it was found to be.
    seen: Option<(Option<Version>, Configured)>,
}

impl Configuration {
    /// Reads the text.
    ///
    /// # Errors
    /// It is not there, too long, or not UTF-8.
    pub fn read(path: &Path) -> Result<Configuration, Failure> {
        let text = files::read_text(path, LARGEST_BYTES).map_err(|error| {
            let failure = Failure::new(Reason::INTERNAL, format!("{error:#}"));
            failure.hint("`--config` names another file")
        })?;
        Ok(Configuration { path: path.to_owned(), text, seen: None })
    }

    /// Returns the settings of it.
    ///
    /// # Errors
    /// Everything that is wrong with it; the list is not empty.
    pub fn check(&self) -> Result<Settings, Vec<Failure>> {
        crate::config::check(&self.text, &self.path.display().to_string(), &host_name())
    }

    /// Returns the settings of it.
    ///
    /// # Errors
    /// The first that is wrong with it, and how many there are besides.
    pub fn strict(&self) -> Result<Settings, Failure> {
        crate::config::strict(&self.text, &self.path.display().to_string(), &host_name())
    }

    /// Looks at what lies there now.
    pub fn look(&mut self) -> Configured {
        let version = files::version(&self.path);
        match &self.seen {
            Some((seen, found)) if *seen == version => return found.clone(),
            Some(_) | None => {}
        }
        let found = match Configuration::read(&self.path) {
            Ok(now) if now.text == self.text => Configured::Same,
            Ok(now) => now.strict().map_or_else(Configured::Refused, |_| Configured::Replaced),
            Err(failure) => Configured::Refused(failure),
        };
        self.seen = Some((version, found.clone()));
        found
    }
}

fn host_name() -> String {
    system::host_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const GOOD: &str = "host = \"m\"\n[source]\nurl = \"https://forge.test/infra\"\n";

    /// Begins with one configuration, puts another in its place, and looks.
    #[track_caller]
    fn check(now: Option<&str>, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("config.toml");
        let put = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::write(&file, text).unwrap();
            let _ = std::fs::remove_file(&link);
            symlink(&file, &link).unwrap();
        };
        put("first", GOOD);
        let mut configuration = Configuration::read(&link).unwrap();
        assert_eq!(configuration.look(), Configured::Same);
        match now {
            Some(text) => put("second", text),
            None => std::fs::remove_file(&link).unwrap(),
        }
        for _ in 0..2 {
            let found = match configuration.look() {
                Configured::Refused(failure) => failure.message,
                other => format!("{other:?}"),
            };
            assert!(found.contains(expected), "{found}");
        }
        put("first", GOOD);
        assert_eq!(configuration.look(), Configured::Same);
    }

    #[test]
    fn another_file_is_judged_before_anybody_leans_on_it() {
        check(Some(GOOD), "Same");
        check(Some(&format!("{GOOD}branch = \"next\"\n")), "Replaced");
        check(Some(&format!("{GOOD}brunch = \"next\"\n")), "line 4: unknown key `brunch`");
        check(Some("not TOML"), "line 1");
        check(None, "could not read");
    }
}
