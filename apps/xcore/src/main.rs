//! `xcore`: rents out spare disk to the owners of a network. `run` is the Host itself, `status`
//! shows how a running or stopped one is.

mod config;
mod run;
mod status;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Rents out spare disk: stores and serves shards that it cannot read.
#[derive(Debug, Parser)]
#[command(name = "xcore", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Joins a Bridge, and stores and serves shards until it is stopped.
    Run(Box<config::Flags>),
    /// Shows how a Host is, or was when it stopped.
    Status(status::Flags),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(flags) => run::run(&flags),
        Command::Status(flags) => status::show(&flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all that is left to tell it on.
            let told = writeln!(std::io::stderr(), "xcore: {error:#}");
            ExitCode::from(if told.is_ok() { 1 } else { 2 })
        }
    }
}
