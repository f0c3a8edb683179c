//! Small files through a whole network: many in one put and back, and one alone by a cold process.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::stage::{Bill, Stage};
use super::{Options, files, meter, table};

const HOSTS: usize = 8;
/// Times the single file goes up and down.
const ALONE: u32 = 20;
const AIM_UP: &str = "4,000 files/s";
const AIM_DOWN: &str = "6,000 files/s";

pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut stage = Stage::new(root, options.folder(root, "small"), HOSTS)?;
    let title = format!("small files, 10 KiB each, {HOSTS} Hosts, the Bridge's own class");
    let columns = [
        "what",
        "figure",
        "aim",
        "CPU-s: client",
        "Bridge",
        "Hosts",
        "client's peak",
    ];
    table::head(&title, &columns);
    many(&mut stage, options.files)?;
    alone(&stage)?;
    stage.end()
}

fn many(stage: &mut Stage, count: u32) -> Result<()> {
    let (local, back) = (stage.dir.join("many"), stage.dir.join("back"));
    files::small_files(&local, count)?;
    let up = stage
        .measure(|owner| meter::run(owner.command(["put", "--quiet"]).arg(&local).arg("/")))?;
    tell(&format!("{count} in one put"), count, AIM_UP, &up);
    files::empty_folder(&back)?;
    let down =
        stage.measure(|owner| meter::run(owner.command(["get", "--quiet", "/many"]).arg(&back)))?;
    tell("back", count, AIM_DOWN, &down);
    files::ensure_same(&local, &back.join("many"))?;
    fs::remove_dir_all(&local)?;
    fs::remove_dir_all(&back)?;
    Ok(())
}

fn tell(what: &str, count: u32, aim: &str, bill: &Bill) {
    let speed = format!("{:.0} files/s", f64::from(count) / bill.client.wall_s);
    let first = [what.to_owned(), speed, aim.to_owned()];
    table::row(first.into_iter().chain(bill.cells(1.0)));
}

/// One file, each time by a fresh process: medians.
fn alone(stage: &Stage) -> Result<()> {
    let (local, back) = (stage.dir.join("small"), stage.dir.join("small-back"));
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for index in 0..ALONE {
        files::random_file(&local, files::SMALL_BYTES as u64)?;
        let remote = format!("/small-{index}");
        let put = meter::run(
            stage
                .owner
                .command(["put", "--quiet"])
                .arg(&local)
                .arg(&remote),
        )?;
        let get = meter::run(stage.owner.command(["get", "--quiet", &remote]).arg(&back))?;
        files::ensure_same(&local, &back)?;
        fs::remove_file(&back)?;
        up.push(put);
        down.push(get);
    }
    for (what, aim, costs) in [("put", "60 ms", up), ("get", "40 ms", down)] {
        let median =
            |figure: fn(&meter::Cost) -> f64| table::median(costs.iter().map(figure).collect());
        let peak = costs.iter().map(|cost| cost.peak_bytes).max().unwrap_or(0);
        table::row([
            format!("one alone, cold process, median of {ALONE}: {what}"),
            format!("{:.0} ms", median(|cost| cost.wall_s) * 1_000.0),
            aim.to_owned(),
            format!("{:.2}", median(|cost| cost.cpu_s)),
            String::new(),
            String::new(),
            format!("{} MB", table::mb(peak)),
        ]);
    }
    Ok(())
}
