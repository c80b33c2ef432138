//! `autodeployd`: the agent. See `autodeploy::agent`.

use std::process::ExitCode;

use autodeploy::agent::start::{Order, carry_out, misused};

fn main() -> ExitCode {
    match Order::read(std::env::args_os().skip(1)) {
        Ok(order) => carry_out(order),
        Err(error) => misused(&error),
    }
}
