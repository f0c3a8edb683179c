//! `sim`: runs seeds and says which failed. `cargo xtask sim` builds it and calls it.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

mod series;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use series::{Series, Summary};
use sim::{Report, run_seed};

/// Runs simulated networks, seed by seed.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Cli {
    /// Run this one
    #[arg(long, conflicts_with_all = ["seeds", "forever"])]
    seed: Option<u64>,
    /// Print everything that happens
    #[arg(long, short, requires = "seed")]
    verbose: bool,
    /// Run so many
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Go on until something fails, from the seed in the state file on
    #[arg(long, conflicts_with = "from")]
    forever: bool,
    /// Where the next seed is remembered
    #[arg(long, default_value = "target/sim/next")]
    state: PathBuf,
    /// Run every so many-th seed twice and compare; 0 for none
    #[arg(long, default_value_t = 10)]
    twice: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
fn run(cli: &Cli) -> Result<bool> {
    if let Some(seed) = cli.seed {
        return Ok(one(seed, cli.verbose));
    }
    let threads = std::thread::available_parallelism()?.get();
    let series = Series {
        threads,
        twice: cli.twice,
    };
    if !cli.forever {
        return Ok(told(&series.run(cli.from..cli.from + cli.seeds)));
    }
    let mut from = series::next_seed(&cli.state)?;
    loop {
        let summary = series.run(from..from + cli.seeds);
        from += cli.seeds;
        series::remember(&cli.state, from)?;
        if !told(&summary) {
            return Ok(false);
        }
    }
}

fn one(seed: u64, verbose: bool) -> bool {
    let (first, second) = (run_seed(seed), run_seed(seed));
    if verbose || !first.is_good() {
        first.trace.iter().for_each(|line| println!("{line}"));
    }
    let same = compare(&first, &second);
    first
        .violations
        .iter()
        .for_each(|violation| println!("violated: {violation}"));
    println!(
        "seed {seed}: {}, {} simulated seconds, trace {}",
        if first.is_good() { "good" } else { "FAILED" },
        first.simulated.as_secs(),
        first.hash
    );
    first.is_good() && same
}

/// Whether two runs of a seed are the same; says where they part.
fn compare(first: &Report, second: &Report) -> bool {
    if first.hash == second.hash {
        return true;
    }
    let lines = first.trace.iter().zip(&second.trace);
    let parted = lines.clone().find(|(one, other)| one != other);
    println!("seed {} is not the same twice:", first.seed);
    if let Some((one, other)) = parted {
        println!("  {one}\n  {other}");
    }
    false
}

/// Prints what came of a series; whether everything held.
fn told(summary: &Summary) -> bool {
    for seed in &summary.failed {
        println!("cargo xtask sim --seed {seed} --verbose");
    }
    println!("{summary}");
    summary.failed.is_empty()
}
