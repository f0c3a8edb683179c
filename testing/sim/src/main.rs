//! `sim`: runs seeds. `cargo xtask sim` builds it and calls it.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Runs a simulated network, seed by seed.
#[derive(Debug, Parser)]
struct Cli {
    /// Run this seed
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _ = PathBuf::new();
    let report = sim::run_seed(cli.seed.unwrap_or(1));
    for line in &report.trace {
        println!("{line}");
    }
    println!("{} {:?} {:?}", report.hash, report.simulated, report.violations);
    ExitCode::SUCCESS
}
