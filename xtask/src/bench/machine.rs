//! What the machine is, so that figures of different machines are not compared.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::files;

/// Written to see how fast the disk is.
const PROBE_BYTES: usize = 512 << 20;
const WRITE_BYTES: usize = 1 << 20;
/// What our kernels use where it is there.
const FEATURES: [&str; 6] = ["sha_ni", "vaes", "gfni", "avx2", "avx512f", "avx512bw"];

/// Processor, its features that matter, cores, memory, and how fast `dir` takes what is synced.
pub(super) fn describe(dir: &Path) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map_or("?", |(_, value)| value)
    };
    let there: Vec<&str> = field("flags").split(' ').collect();
    let features: Vec<&str> = FEATURES
        .into_iter()
        .filter(|feature| there.contains(feature))
        .collect();
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{cores} cores of {} ({}); the disk takes {:.0} MB/s, synced",
        field("model name"),
        features.join(" "),
        disk_speed(dir)?
    ))
}

/// MB/s of one file written and synced.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn disk_speed(dir: &Path) -> Result<f64> {
    files::empty_folder(dir)?;
    let (mut file, content) = (File::create(dir.join("probe"))?, vec![7; WRITE_BYTES]);
    let begun = Instant::now();
    for _ in 0..PROBE_BYTES / WRITE_BYTES {
        file.write_all(&content)?;
    }
    file.sync_data()?;
    let took = begun.elapsed().as_secs_f64();
    fs::remove_dir_all(dir)?;
    Ok(PROBE_BYTES as f64 / 1e6 / took)
}
