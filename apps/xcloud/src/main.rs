//! `xcloud`: an owner's files in the cloud, from the command line.

mod cli;
mod commands;
mod exit;
mod phrase;
mod printer;
mod progress;
mod signals;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use runtime::{LogFormat, start_logs};

use cli::Cli;
use exit::{Exit, Failure};
use printer::Printer;

/// What is still being written locally when the program ends may take this long.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where nobody can be told, the exit code still tells.
            let _gone = error.print();
            return u8::try_from(error.exit_code())
                .unwrap_or(Exit::Usage.code())
                .into();
        }
    };
    let printer = Printer::new(&cli.global);
    if let Err(error) = start_logs(LogFormat::Human, "off") {
        printer.complain(&format!("xcloud: {error}"));
        return Exit::Usage.into();
    }
    let exit = match run(cli, printer) {
        Ok(exit) => exit,
        Err(failure) => told(&printer, &failure),
    };
    exit.into()
}

fn run(cli: Cli, printer: Printer) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let exit = runtime.block_on(async {
        tokio::select! {
            // A command that hears of the end itself has something to say about it.
            biased;
            done = commands::run(cli, printer) => done,
            () = signals::asked_to_end() => Ok(Exit::Interrupted),
        }
    });
    // Dropping the command's future took back what was half done; this lets it happen.
    runtime.shutdown_timeout(SHUTDOWN_WITHIN);
    printer.flush()?;
    exit
}

/// Tells of a failure, unless it is that nobody listens.
fn told(printer: &Printer, failure: &Failure) -> Exit {
    let cause = failure.error.root_cause().downcast_ref::<io::Error>();
    if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe) {
        return Exit::Done;
    }
    if printer.json {
        // The exit code and standard error tell as well.
        let _gone = printer.value(&failure.report());
    }
    printer.complain(&format!("xcloud: {}", failure.sentence()));
    failure.exit
}
