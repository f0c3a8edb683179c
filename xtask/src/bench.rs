//! `cargo xtask bench`: the figures of `docs/benchmarks.md`, measured on this machine, as rows
//! that can be pasted there.

pub(crate) mod files;
mod machine;
mod meter;
mod million;
mod network;
mod peers;
mod range;
mod small;
pub(crate) mod stage;
pub(crate) mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

/// Crates whose benches are plain programs that print their figures.
const CRATES: [&str; 5] = ["erasure", "model", "shardstore", "metastore", "net"];

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    only: Only,
    /// Bytes of the large file, in millions
    #[arg(long, default_value_t = 1_000)]
    megabytes: u64,
    /// Times the large file goes up and down
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Small files put at once
    #[arg(long, default_value_t = 20_000)]
    files: u32,
    /// Bytes of the file that a range is taken from, in millions
    #[arg(long, default_value_t = 5_000)]
    range_megabytes: u64,
    /// Entries of the large folder
    #[arg(long, default_value_t = 1_000_000)]
    entries: u32,
    /// Bytes of the large file that the peers get as well, in millions
    #[arg(long, default_value_t = 256)]
    peer_megabytes: u64,
    /// Small files that the peers get as well
    #[arg(long, default_value_t = 1_000)]
    peer_files: u32,
    /// Where everything lies [default: the target folder]; /dev/shm leaves the disk out
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Options {
    /// The folder of the bench NAME.
    fn folder(&self, root: &Path, name: &str) -> PathBuf {
        let base = self.dir.clone();
        let base = base.unwrap_or_else(|| crate::target_folder(root));
        base.join(format!("bench-{name}"))
    }
}

/// Which benches run; all but the peers if none is named.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
struct Only {
    /// One large file through a whole network, up and down
    #[arg(long)]
    network: bool,
    /// Small files through a whole network: many at once, one alone
    #[arg(long)]
    small: bool,
    /// 1 MiB out of the middle of a very large file
    #[arg(long)]
    range: bool,
    /// A folder of a million entries
    #[arg(long)]
    million: bool,
    /// The parts alone: `cargo bench` of the crates
    #[arg(long)]
    parts: bool,
    /// Tahoe-LAFS and restic with the same files; installs them
    #[arg(long)]
    peers: bool,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let only = &options.only;
    let all =
        !(only.network || only.small || only.range || only.million || only.parts || only.peers);
    let dir = options.folder(root, "disk");
    println!("machine: {}", machine::describe(&dir)?);
    println!("load before: {}", load());
    if all || only.network {
        network::run(root, options)?;
    }
    if all || only.small {
        small::run(root, options)?;
    }
    if all || only.range {
        range::run(root, options)?;
    }
    if all || only.million {
        million::run(root, options)?;
    }
    if only.peers {
        peers::run(root, options)?;
    }
    println!("\nload after: {}", load());
    if all || only.parts {
        return parts(root);
    }
    Ok(true)
}

fn parts(root: &Path) -> Result<bool> {
    let mut command = crate::cargo();
    command
        .arg("bench")
        .args(CRATES.iter().flat_map(|name| ["-p", name]))
        .arg("--benches");
    let benched = command.current_dir(root).status();
    Ok(benched.context("running cargo bench")?.success())
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.trim().to_owned()
}
