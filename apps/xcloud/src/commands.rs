//! One file per command: arguments in, one call of the drive, results out.

mod arrange;
mod delete;
mod download;
mod join;
mod list;
mod locate;
mod rollback;
mod tidy;
mod unfinished;
mod upload;
mod verify;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory as _;
use client::drive::{Drive, Home, PathError, TypedPath};
use client::transfer::SystemEnvironment;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::printer::{Printer, human_bytes};

pub(crate) async fn run(cli: Cli, printer: Printer) -> Result<Exit, Failure> {
    if let Command::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "xcloud", &mut io::stdout());
        return Ok(Exit::Done);
    }
    let home = Home::at(home_dir(cli.global.home)?);
    if let Command::Init(args) = cli.command {
        return join::init(&home, args, printer).await;
    }
    let drive = Drive::open(home, Arc::new(SystemEnvironment))?;
    let done = on_drive(&drive, cli.command, printer).await;
    drive.close();
    done
}

async fn on_drive(drive: &Drive, command: Command, printer: Printer) -> Result<Exit, Failure> {
    // Boxed: each command's state is large, and only one of them runs.
    match command {
        Command::Put(args) => Box::pin(upload::put(drive, args, printer)).await,
        Command::Get(args) => Box::pin(download::get(drive, args, printer)).await,
        Command::Cat(args) => Box::pin(download::cat(drive, args, printer)).await,
        Command::Mkdir(args) => Box::pin(arrange::mkdir(drive, args, printer)).await,
        Command::Mv(args) => Box::pin(arrange::mv(drive, args, printer)).await,
        Command::Cp(args) => Box::pin(arrange::cp(drive, args, printer)).await,
        Command::Rm(args) => Box::pin(delete::rm(drive, args, printer)).await,
        Command::AcceptRollback(args) => Box::pin(rollback::accept(drive, args, printer)).await,
        Command::Tidy(args) => Box::pin(tidy::tidy(drive, args, printer)).await,
        other => look(drive, other, printer).await,
    }
}

/// Commands that only look at what is there.
async fn look(drive: &Drive, command: Command, printer: Printer) -> Result<Exit, Failure> {
    match command {
        Command::Ls(args) => Box::pin(list::ls(drive, args, printer)).await,
        Command::Stat(args) => Box::pin(list::stat(drive, args, printer)).await,
        Command::Du(args) => Box::pin(list::du(drive, args, printer)).await,
        Command::Uploads(args) => Box::pin(unfinished::uploads(drive, args, printer)).await,
        Command::Where(args) => Box::pin(locate::locate(drive, args, printer)).await,
        Command::Verify(args) => Box::pin(verify::verify(drive, args, printer)).await,
        _ => Ok(Exit::Done),
    }
}

/// `--home`, or the user's data folder (XDG Base Directory).
fn home_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    given
        .or_else(|| set("XDG_DATA_HOME").map(|dir| PathBuf::from(dir).join("xcloud")))
        .or_else(|| set("HOME").map(|dir| PathBuf::from(dir).join(".local/share/xcloud")))
        .ok_or_else(|| Failure::usage("there is no home folder here; name one with --home DIR"))
}

/// A path in the cloud.
fn remote(typed: &OsStr) -> Result<TypedPath, PathError> {
    TypedPath::parse(typed.as_encoded_bytes())
}

/// The last of `paths`, and those before it.
fn split_last<T>(mut paths: Vec<T>) -> Result<(Vec<T>, T), Failure> {
    let last = paths
        .pop()
        .ok_or_else(|| Failure::usage("two paths are needed"))?;
    Ok((paths, last))
}

/// ` in 1.2 s (345.6 MB/s)`.
fn rate(bytes: u64, seconds: f64) -> String {
    let per_second = if seconds > 0.0 {
        Duration::from_secs_f64(seconds)
    } else {
        Duration::ZERO
    };
    let millis = per_second.as_millis().max(1);
    let rate = u128::from(bytes) * 1_000 / millis;
    let rate = human_bytes(u64::try_from(rate).unwrap_or(u64::MAX));
    format!(" in {seconds:.1} s ({rate}/s)")
}
