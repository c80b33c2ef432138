//! Programs of the system, wherever it keeps them.

use std::path::PathBuf;

use crate::effects::process::Program;

/// Returns where a program is, by our own `PATH`; `None` if it is nowhere there.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).filter(|place| place.is_absolute());
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// Lets a program show times in the zone that our own reader chose.
pub fn with_own_zone(program: Program) -> Program {
    match std::env::var_os("TZ") {
        Some(zone) => program.env("TZ", zone),
        None => program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no-such-program"), None);
    }
}
