//! `module.nix` where no Nix is needed to read it: its defaults are those of the agent.

use autodeploy::config::keys::{KEYS, Standard};

use crate::text;

/// Returns each option that is a text: its last name, and its default.
fn texts() -> Vec<(String, String)> {
    let module = text("module.nix");
    let options = module.lines().filter_map(|line| line.trim().split_once(" = text \""));
    options
        .map(|(name, rest)| {
            let default = rest.trim_end_matches("\";").rsplit('"').next().unwrap_or_default();
            (name.rsplit('.').next().unwrap_or_default().to_owned(), default.to_owned())
        })
        .collect()
}

#[test]
fn defaults_are_those_of_the_agent() {
    let texts = texts();
    assert_eq!(texts.len(), 5);
    for (name, default) in texts {
        let ours = |key: &&_| {
            let key: &autodeploy::config::keys::Key = key;
            !key.name.contains("NAME") && key.name.ends_with(&format!(".{name}"))
        };
        let key = KEYS.iter().find(ours).unwrap_or_else(|| panic!("`{name}`"));
        let Standard::Text(said) = key.standard else { panic!("`{}` is no text", key.name) };
        assert_eq!(said, default, "{}", key.name);
    }
}
