//! `autodeployctl check-config`

use crate::client::args;
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::output;
use crate::client::render::words;
use crate::config;
use crate::effects::{files, host_name};

/// No configuration is larger, in bytes.
const LARGEST_BYTES: u64 = 1 << 20;

/// Says everything that is wrong with a configuration, or what deserves a word in it.
///
/// # Errors
/// It cannot be read, or something is wrong with it.
pub fn run(arguments: &args::CheckConfig) -> Result<Exit, Failed> {
    let path = arguments.file.display().to_string();
    let text = files::read_text(&arguments.file, LARGEST_BYTES)?;
    match config::check(&text, &path, &host_name::read()) {
        Ok(settings) => {
            let warning = |one: &String| format!("warning: {}\n", words::line(one));
            let warnings: String = settings.warnings.iter().map(warning).collect();
            output::print(&format!("{warnings}`{}` is in order\n", words::line(&path)))?;
            Ok(Exit::Done)
        }
        Err(failures) => {
            let all: Vec<_> =
                failures.into_iter().map(|one| Failed::from(one).to_string()).collect();
            Err(Failed::new(all.join("\n\n"), ""))
        }
    }
}
