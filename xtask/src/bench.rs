//! `cargo xtask bench`: the figures of `docs/benchmarks.md`, measured on this machine.

use std::path::Path;

use anyhow::{Context as _, Result};

/// Crates whose benches are plain programs that print their figures.
const CRATES: [&str; 5] = ["erasure", "model", "shardstore", "metastore", "net"];

pub(crate) fn run(root: &Path) -> Result<bool> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
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
