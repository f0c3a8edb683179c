//! 1 MiB out of the middle of a very large file, by a cold process: what it moves, how long it takes.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::stage::Stage;
use super::{Options, files, meter, table};

const HOSTS: usize = 8;
const CLASS: &str = "coded:4/8";
const RANGE_BYTES: u64 = 1 << 20;
/// Times a range is fetched, each a little further on.
const ROUNDS: u64 = 10;

pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut stage = Stage::new(root, options.folder(root, "range"), HOSTS)?;
    let (local, back) = (stage.dir.join("large"), stage.dir.join("back"));
    files::random_file(&local, options.range_megabytes * 1_000_000)?;
    let put = stage.measure(|owner| {
        let put = ["put", "--quiet", "--class", CLASS].map(Path::new);
        meter::run(owner.command(put).arg(&local).arg("/large"))
    })?;
    let title = format!(
        "1 MiB from the middle of a file of {} MB, {CLASS}, {HOSTS} Hosts, cold process, median of {ROUNDS}",
        options.range_megabytes
    );
    table::head(&title, &["what", "figure", "aim"]);
    let (mut walls, mut moved, mut cpu, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let start = options.range_megabytes * 500_000 + round * RANGE_BYTES;
        // Both ends count.
        let range = format!("{start}-{}", start + RANGE_BYTES - 1);
        let before = loopback_bytes()?;
        let cost = meter::run(
            stage
                .owner
                .command(["get", "--quiet", "--range", &range, "/large"])
                .arg(&back),
        )?;
        moved.push(loopback_bytes()? - before);
        walls.push(cost.wall_s * 1_000.0);
        cpu.push(cost.cpu_s);
        peak = cost.peak_bytes.max(peak);
        ensure_range(&local, start, &back)?;
        fs::remove_file(&back)?;
    }
    table::row([
        "moved, everything that crossed the loopback".to_owned(),
        format!("{:.2} MB", table::median(moved) / 1e6),
        "3 MB".to_owned(),
    ]);
    table::row([
        "wall".to_owned(),
        format!("{:.0} ms", table::median(walls)),
        "50 ms".to_owned(),
    ]);
    table::row([
        "CPU-s of the client".to_owned(),
        format!("{:.3}", table::median(cpu)),
        String::new(),
    ]);
    table::row([
        "client's peak memory, of get and of put before".to_owned(),
        format!(
            "{} MB, {} MB",
            table::mb(peak),
            table::mb(put.client.peak_bytes)
        ),
        "200 MB".to_owned(),
    ]);
    stage.end()
}

fn ensure_range(local: &Path, start: u64, back: &Path) -> Result<()> {
    let mut found = Vec::new();
    File::open(back)?.read_to_end(&mut found)?;
    ensure!(
        found.len() as u64 == RANGE_BYTES,
        "{} bytes came back",
        found.len()
    );
    let mut expected = vec![0; found.len()];
    File::open(local)?.read_exact_at(&mut expected, start)?;
    ensure!(found == expected, "another range came back");
    Ok(())
}

/// Bytes that the loopback interface has carried so far, TLS and the Bridge's answers included; and
/// whatever else talks on this machine, so the machine should be quiet.
fn loopback_bytes() -> Result<f64> {
    let table = fs::read_to_string("/proc/net/dev")?;
    let line = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"));
    let count = line.and_then(|rest| rest.split_whitespace().next());
    Ok(count.context("no loopback interface")?.parse()?)
}
