//! `cargo xtask bench`: the figures of `docs/benchmarks.md`, measured on this machine.

mod meter;
mod network;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;

/// Crates whose benches are plain programs that print their figures.
const CRATES: [&str; 5] = ["erasure", "model", "shardstore", "metastore", "net"];

#[derive(Args)]
pub(crate) struct Options {
    /// Only files through a whole network, not the parts
    #[arg(long)]
    network: bool,
    /// Bytes of the large file, in millions
    #[arg(long, default_value_t = 1_000)]
    megabytes: u64,
    /// Times the large file goes up and down
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    println!("load before: {}", load());
    network::run(root, options)?;
    println!("load after: {}", load());
    if options.network {
        return Ok(true);
    }
    let mut command = crate::cargo();
    command
        .arg("bench")
        .args(CRATES.iter().flat_map(|name| ["-p", name]))
        .arg("--benches");
    let benched = command
        .current_dir(root)
        .status()
        .context("running cargo bench")?;
    Ok(benched.success())
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.trim().to_owned()
}
