//! Unit files as a list of settings, in the way that systemd.syntax(7) reads them.

use std::collections::BTreeMap;

/// Each setting, `Section.Name`, with its values in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UnitFile(pub BTreeMap<String, Vec<String>>);

impl UnitFile {
    /// Reads a unit file. An empty value is kept: it says that a list is empty.
    #[track_caller]
    pub fn parse(text: &str) -> UnitFile {
        let mut settings = BTreeMap::<_, Vec<_>>::new();
        let mut section = String::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
                continue;
            }
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("`{line}`"));
            let setting = format!("{section}.{}", name.trim());
            settings.entry(setting).or_default().push(value.trim().to_owned());
        }
        UnitFile(settings)
    }

    /// Returns the one value of a setting.
    #[track_caller]
    pub fn one(&self, setting: &str) -> &str {
        match self.all(setting) {
            [value] => value,
            values => panic!("`{setting}` has the values {values:?}"),
        }
    }

    /// Returns all values of a setting.
    pub fn all(&self, setting: &str) -> &[String] {
        self.0.get(setting).map_or(&[], Vec::as_slice)
    }
}
