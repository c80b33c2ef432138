//! `autodeployctl`: asks the agent, shows, waits, and exits with an honest code.
//!
//! | file | what |
//! |---|---|
//! | [`args`] | what can be typed |
//! | [`exit`] | PURE: which outcome leads to which exit code |
//! | [`render`] | PURE: wire types to words |
//! | [`failed`] | PURE: one sentence, what to type next, the exit code |
//! | [`link`], [`contact`] | a connection, and patience when there is none for a while |
//! | [`follow`], [`act`] | waiting for the end of a deployment |
//! | [`output`], [`progress`] | standard output and standard error |
//! | the others | one per command |
//!
//! Nothing here reads or writes the agent's state behind its back.

pub mod abort;
pub mod act;
pub mod args;
pub mod check_config;
pub mod contact;
pub mod exit;
pub mod failed;
pub mod follow;
pub mod generations;
pub mod history;
pub mod link;
pub mod log;
pub mod output;
pub mod progress;
pub mod reanchor;
pub mod render;
pub mod rollback;
pub mod run_now;
pub mod settle;
pub mod shell;
pub mod show;
pub mod status;
pub mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::client::args::{Arguments, Command};
use crate::client::exit::Exit;
use crate::client::failed::Failed;
use crate::client::link::Order;
use crate::client::render::time::Moment;
use crate::effects::clock;

/// Does what the command line says; what went wrong is printed here and nowhere else.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(&arguments)),
        Err(error) => Err(Failed::from(anyhow::Error::from(error))),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failed) => {
            if !failed.message.is_empty() {
                output::complain(&failed.to_string());
            }
            failed.exit.into()
        }
    }
}

async fn carry_out(arguments: &Arguments) -> Result<Exit, Failed> {
    let socket = &arguments.socket;
    let what = |arguments: &args::What| arguments.what.clone();
    match &arguments.command {
        Command::Status(arguments) => status::run(socket, arguments).await,
        Command::History(arguments) => history::run(socket, arguments).await,
        Command::Show(arguments) => show::run(socket, arguments).await,
        Command::Log(arguments) => log::run(socket, arguments).await,
        Command::Generations(arguments) => generations::run(socket, arguments).await,
        Command::RunNow(arguments) => run_now::run(socket, arguments).await,
        Command::Watch(arguments) => watch::run(socket, arguments).await,
        Command::Rollback(arguments) => rollback::run(socket, arguments).await,
        Command::Abort(arguments) => abort::run(socket, arguments).await,
        Command::Block(it) => settle::run(socket, Order::Block { what: what(it) }).await,
        Command::Unblock(it) => settle::run(socket, Order::Unblock { what: what(it) }).await,
        Command::Pause(it) => settle::run(socket, Order::Pause { reason: it.reason.clone() }).await,
        Command::Resume => settle::run(socket, Order::Resume).await,
        Command::Reanchor(arguments) => reanchor::run(socket, arguments).await,
        Command::CheckConfig(arguments) => check_config::run(arguments),
        Command::Completions { shell } => shell::completions(*shell),
        Command::Man { directory } => shell::man(directory),
    }
}

fn moment() -> Moment {
    let (now, zone) = clock::local();
    Moment { now, zone }
}
