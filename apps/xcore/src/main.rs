//! `xcore`: rents out spare disk to the owners of a network. `run` is the Host itself, `status`
//! shows how a running or stopped one is, `verify` reads every shard of a stopped one, `volumes`
//! shows where they are kept, `events` what the Bridges decided. `exit`, `pause`, `resume` and
//! `schedule` tell a running one what its owner wishes.

mod config;
mod events;
mod exit;
mod moment;
mod pause;
mod run;
mod status;
mod verify;
mod volumes;

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
    /// Reads every shard of a Host that does not run, and says which have rotted.
    Verify(verify::Flags),
    /// Shows the volumes that a Host has had, or has it forget one.
    Volumes(volumes::Flags),
    /// Shows what the Bridges decided about a Host, and why.
    Events(events::Flags),
    /// Leaves the Bridges, wholly or in part: they have what is kept here moved first.
    Exit(exit::Flags),
    /// Has a Host rest for a while: it takes no shards and serves none.
    Pause(pause::PauseFlags),
    /// Ends a pause.
    Resume(pause::ResumeFlags),
    /// Gives a running Host other hours than those it was started with.
    Schedule(pause::ScheduleFlags),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(flags) => run::run(&flags).map(|()| ExitCode::SUCCESS),
        Command::Status(flags) => status::show(&flags).map(|()| ExitCode::SUCCESS),
        Command::Verify(flags) => verify::verify(&flags),
        Command::Volumes(flags) => volumes::volumes(&flags).map(|()| ExitCode::SUCCESS),
        Command::Events(flags) => events::show(&flags).map(|()| ExitCode::SUCCESS),
        Command::Exit(flags) => exit::exit(&flags),
        Command::Pause(flags) => pause::pause(&flags).map(|()| ExitCode::SUCCESS),
        Command::Resume(flags) => pause::resume(&flags).map(|()| ExitCode::SUCCESS),
        Command::Schedule(flags) => pause::schedule(&flags).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // Standard error is all that is left to tell it on.
            let told = writeln!(std::io::stderr(), "xcore: {error:#}");
            ExitCode::from(if told.is_ok() { 1 } else { 2 })
        }
    }
}
