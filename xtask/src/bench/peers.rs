//! The same fresh files through Tahoe-LAFS, restic and ourselves, in one run: ratios.
//!
//! Tahoe-LAFS: introducer, five storage nodes and a client on loopback, 3 of 5. restic: a local
//! repository, so one disk and no network. Ours: a Bridge, five Hosts, a cold client, 3 of 5.

mod restic;
mod tahoe;
mod web;

use std::path::Path;

use anyhow::Result;

use super::stage::{Bill, Stage};
use super::{Options, files, meter, table};

const HOSTS: usize = 5;
const CLASS: &str = "coded:3/5";

/// What one system needed for one of the tasks.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall_s: f64,
    /// CPU seconds of all its processes.
    cpu_s: f64,
    /// Of its largest process so far.
    peak_bytes: u64,
}

/// The four tasks, in this order.
type Tasks = [Took; 4];

/// What everybody is given.
struct Given<'a> {
    /// The large file.
    large: &'a Path,
    /// The folder of small files.
    small: &'a Path,
    small_count: u32,
    /// Emptied before, for what comes back.
    back: &'a Path,
}

pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    // Ours first: it makes the folder that everybody works in.
    let mut stage = Stage::new(root, options.folder(root, "peers"), HOSTS)?;
    let (large, small, back) = (
        stage.dir.join("large"),
        stage.dir.join("small"),
        stage.dir.join("back"),
    );
    files::random_file(&large, options.peer_megabytes * 1_000_000)?;
    files::small_files(&small, options.peer_files)?;
    let given = Given {
        large: &large,
        small: &small,
        small_count: options.peer_files,
        back: &back,
    };
    let ours = ours(&mut stage, &given)?;
    let dir = stage.dir.clone();
    let restic = restic::run(&dir.join("restic"), &given)?;
    let tahoe = tahoe::run(&dir.join("tahoe"), &given)?;
    let title = format!(
        "one file of {} MB, {} files of 10 KiB; X Cloud {CLASS}, Tahoe-LAFS 3 of 5, restic to a local repository",
        options.peer_megabytes, options.peer_files
    );
    let columns = [
        "task",
        "X Cloud",
        "Tahoe-LAFS",
        "restic",
        "× Tahoe-LAFS",
        "aim",
        "× restic",
        "CPU-s: X Cloud, Tahoe-LAFS, restic",
        "largest process so far",
    ];
    table::head(&title, &columns);
    let names = [
        ("up", "6"),
        ("down", "15"),
        ("small up", "50"),
        ("small down", "50"),
    ];
    for (at, (name, aim)) in names.into_iter().enumerate() {
        let of = |tasks: &Tasks| tasks.get(at).copied();
        if let (Some(ours), Some(tahoe), Some(restic)) = (of(&ours), of(&tahoe), of(&restic)) {
            tell((name, aim), options, [ours, tahoe, restic]);
        }
    }
    stage.end()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn tell((task, aim): (&str, &str), options: &Options, all: [Took; 3]) {
    let (amount, unit) = if task.starts_with("small") {
        (f64::from(options.peer_files), "files/s")
    } else {
        (options.peer_megabytes as f64, "MB/s")
    };
    let speeds = all.map(|took| format!("{:.1} {unit}", amount / took.wall_s));
    let [ours, tahoe, restic] = all;
    let times = |other: Took| format!("{:.1}", other.wall_s / ours.wall_s);
    let cpu = all.map(|took| format!("{:.2}", took.cpu_s));
    let peaks = all.map(|took| format!("{} MB", table::mb(took.peak_bytes)));
    let rest = [
        times(tahoe),
        aim.to_owned(),
        times(restic),
        cpu.join(", "),
        peaks.join(", "),
    ];
    table::row([task.to_owned()].into_iter().chain(speeds).chain(rest));
}

fn ours(stage: &mut Stage, given: &Given<'_>) -> Result<Tasks> {
    let put = ["put", "--quiet", "--class", CLASS].map(Path::new);
    let up = stage.measure(|owner| meter::run(owner.command(put).arg(given.large).arg("/")))?;
    files::empty_folder(given.back)?;
    let down = stage
        .measure(|owner| meter::run(owner.command(["get", "--quiet", "/large"]).arg(given.back)))?;
    files::ensure_same(given.large, &given.back.join("large"))?;
    let small_up =
        stage.measure(|owner| meter::run(owner.command(put).arg(given.small).arg("/")))?;
    files::empty_folder(given.back)?;
    let small_down = stage
        .measure(|owner| meter::run(owner.command(["get", "--quiet", "/small"]).arg(given.back)))?;
    files::ensure_same(given.small, &given.back.join("small"))?;
    Ok([up, down, small_up, small_down].map(|bill: Bill| Took {
        wall_s: bill.client.wall_s,
        cpu_s: bill.cpu_s(),
        peak_bytes: bill.client.peak_bytes,
    }))
}
