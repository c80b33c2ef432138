//! `autodeploy-activate`: reads its arguments and says how it went.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use autodeploy::activator::command::{USAGE, carry_out, read};

/// Wrong arguments.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(|one| one.to_string_lossy().into_owned());
    let wish = match read(arguments) {
        Ok(wish) => wish,
        Err(mistake) => {
            let _ = writeln!(stderr(), "{mistake}\n\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match carry_out(&wish) {
        Ok(said) => {
            if !said.is_empty() {
                let _ = writeln!(stdout(), "{said}");
            }
            ExitCode::SUCCESS
        }
        Err((code, said)) => {
            let _ = writeln!(stderr(), "{said}");
            code
        }
    }
}
