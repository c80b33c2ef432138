//! The user database.

use anyhow::{Context, Result};
use nix::unistd::Group;

/// Returns the number of a group; `None` if there is no such group.
///
/// May wait for a directory server where the machine has one: not to be called on the loop.
///
/// # Errors
/// The database could not be read.
pub fn group_id(name: &str) -> Result<Option<u32>> {
    let found = Group::from_name(name).with_context(|| format!("could not look up `{name}`"))?;
    Ok(found.map(|group| group.gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name() {
        assert_eq!(group_id("root").unwrap(), Some(0));
        assert_eq!(group_id("no-such-group").unwrap(), None);
    }
}
