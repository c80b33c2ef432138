//! `autodeployctl completions` and `man`: what packages install.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::client::args::Arguments;
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::output;
use crate::effects::files;

/// Prints completions for a shell.
///
/// # Errors
/// They could not be written.
pub fn completions(shell: clap_complete::Shell) -> Result<Exit, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "autodeployctl", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Writes a page for the program and one for each command into a directory.
///
/// # Errors
/// The directory is not there, or not writable.
pub fn man(directory: &Path) -> Result<Exit, Failed> {
    let mut program = Arguments::command();
    // Gives the commands their full names and the options that all of them have.
    program.build();
    write_page(directory, "autodeployctl", &program)?;
    for command in program.get_subcommands().filter(|one| !one.is_hide_set()) {
        let name = format!("autodeployctl-{}", command.get_name());
        if command.get_name() != "help" {
            write_page(directory, &name, command)?;
        }
    }
    Ok(Exit::Done)
}

fn write_page(directory: &Path, name: &str, command: &clap::Command) -> Result<(), Failed> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(anyhow::Error::from)?;
    Ok(files::write_durably(&directory.join(format!("{name}.1")), &page, 0o644)?)
}
