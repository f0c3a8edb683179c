//! `cargo xtask sim`: simulated networks, one seed a run.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Args;

/// The profile it is built with.
const PROFILE: &str = "sim";

#[derive(Args)]
pub(crate) struct Options {
    /// Run this seed, twice, and compare
    #[arg(long, conflicts_with_all = ["seeds", "forever"])]
    seed: Option<u64>,
    /// Print everything that happens
    #[arg(long, short, requires = "seed")]
    verbose: bool,
    /// Run so many seeds over all cores [default: 100]
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of them [default: 1]
    #[arg(long, conflicts_with = "forever")]
    from: Option<u64>,
    /// Go on until something fails, from where the last time ended
    #[arg(long)]
    forever: bool,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let built = crate::cargo()
        .args(["build", "--quiet", "--package", "sim", "--profile", PROFILE])
        .current_dir(root)
        .status()?;
    ensure!(built.success(), "the simulation does not build");
    let target = crate::target_folder(root);
    let mut sim = std::process::Command::new(target.join(PROFILE).join("sim"));
    let numbers = [
        ("--seed", options.seed),
        ("--seeds", options.seeds),
        ("--from", options.from),
    ];
    for (flag, number) in numbers {
        if let Some(number) = number {
            sim.args([flag, &number.to_string()]);
        }
    }
    if options.verbose {
        sim.arg("--verbose");
    }
    if options.forever {
        sim.arg("--forever");
        sim.arg("--state").arg(target.join(PROFILE).join("next"));
    }
    Ok(sim.current_dir(root).status()?.success())
}
