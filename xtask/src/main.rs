//! Checks and chores of this workspace; run as `cargo xtask <name>`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool"
)]

mod api;
mod bench;
mod disasters;
mod fleet;
mod fuzz;
mod layers;
mod planet;
mod profile;
mod signals;
mod sim;
mod test;
mod tidy;
mod tools;
mod vectors;
mod wasm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

/// Chores of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run a Bridge, Hosts and an owner on this machine, to keep files in
    Planet(planet::Options),
    /// Run every check and test; what CI runs
    Test,
    /// Measure the figures of docs/benchmarks.md
    Bench(bench::Options),
    /// Show where the time of one flow goes
    Profile(profile::Options),
    /// Cut the power and lines and kill, again and again, and look for what was acknowledged
    Disasters(disasters::Options),
    /// Run simulated networks, one seed a run
    Sim(sim::Options),
    /// Simulate how long data lives among a million home computers
    Fleet(fleet::Options),
    /// Check that a running Bridge is as its description says, with schemathesis
    Api(api::Options),
    /// Try every decoder on what nobody would send
    Fuzz(fuzz::Options),
    /// Check that dependencies point downwards
    Layers,
    /// Check the text: file lengths, first lines, banned words
    Tidy,
    /// Check that the test vectors are what the scripts beside them make
    Vectors,
    /// Compile for the browser what its app stands on
    Wasm(wasm::Options),
}

fn main() -> ExitCode {
    let root = workspace_root();
    let done = match Cli::parse().chore {
        Chore::Planet(options) => planet::run(&root, &options),
        Chore::Test => test::run(&root),
        Chore::Bench(options) => bench::run(&root, &options),
        Chore::Profile(options) => profile::run(&root, &options),
        Chore::Disasters(options) => disasters::run(&root, &options),
        Chore::Sim(options) => sim::run(&root, &options),
        Chore::Fleet(options) => fleet::run(&root, &options),
        Chore::Api(options) => api::run(&root, &options),
        Chore::Fuzz(options) => fuzz::run(&root, &options),
        Chore::Layers => layers::check(&root).map(|findings| report(&findings)),
        Chore::Tidy => tidy::check(&root).map(|findings| report(&findings)),
        Chore::Vectors => vectors::check(&root).map(|findings| report(&findings)),
        Chore::Wasm(options) => wasm::run(&root, &options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Prints what was found; true when that is nothing.
fn report(findings: &[String]) -> bool {
    findings.iter().for_each(|finding| println!("{finding}"));
    findings.is_empty()
}

fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A seed that differs from one run to the next.
fn seed_of_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// The cargo that runs us.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}
