//! One large file through a whole network: one Bridge, eight Hosts and a client on this machine.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::stage::{Bill, Stage};
use super::{Options, files, meter, table};

const HOSTS: usize = 8;
const CLASS: &str = "coded:4/8";
const AIM_UP: &str = "300";
const AIM_DOWN: &str = "750";

pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut stage = Stage::new(root, options.folder(root, "network"), HOSTS)?;
    let title = format!(
        "one file of {} MB, {CLASS}, {HOSTS} Hosts",
        options.megabytes
    );
    let columns = [
        "way",
        "MB/s",
        "aim",
        "CPU-s per GB: client",
        "Bridge",
        "Hosts",
        "client's peak",
    ];
    table::head(&title, &columns);
    let (local, back) = (stage.dir.join("large"), stage.dir.join("back"));
    for round in 1..=options.rounds {
        files::random_file(&local, options.megabytes * 1_000_000)?;
        let remote = format!("/large-{round}");
        let up = stage.measure(|owner| {
            let put = ["put", "--quiet", "--class", CLASS].map(Path::new);
            meter::run(owner.command(put).arg(&local).arg(&remote))
        })?;
        tell("up", AIM_UP, options.megabytes, &up);
        let down = stage
            .measure(|owner| meter::run(owner.command(["get", "--quiet", &remote]).arg(&back)))?;
        tell("down", AIM_DOWN, options.megabytes, &down);
        files::ensure_same(&local, &back)?;
        fs::remove_file(&back)?;
    }
    stage.end()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn tell(way: &str, aim: &str, megabytes: u64, bill: &Bill) {
    let megabytes = megabytes as f64;
    let speed = format!("{:.0}", megabytes / bill.client.wall_s);
    let first = [way.to_owned(), speed, aim.to_owned()];
    table::row(first.into_iter().chain(bill.cells(megabytes / 1_000.0)));
}
