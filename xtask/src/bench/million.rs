//! A folder of very many entries: what one more costs, how soon a part of it is listed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ::planet::{Patience, Programs};
use anyhow::{Context as _, Result, ensure};

use super::stage::Stage;
use super::{Options, files, meter, table};

const HOSTS: usize = 5;
/// Times one entry is added, and a hundred are listed.
const ROUNDS: u32 = 10;
const END_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    let witness = Programs::build_with_witness(root)?.witness()?;
    let mut stage = Stage::new(root, options.folder(root, "million"), HOSTS)?;
    let folder = stage.dir.join("folder");
    files::empty_folder(&folder)?;
    for number in 0..options.entries {
        write!(
            File::create(folder.join(format!("entry {number:07}")))?,
            "{number}"
        )?;
    }
    let title = format!("a folder of {} entries, {HOSTS} Hosts", options.entries);
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
    let put = stage
        .measure(|owner| meter::run(owner.command(["put", "--quiet"]).arg(&folder).arg("/")))?;
    let speed = f64::from(options.entries) / put.client.wall_s;
    let first = [
        "put".to_owned(),
        format!("{speed:.0} entries/s"),
        String::new(),
    ];
    table::row(first.into_iter().chain(put.cells(1.0)));
    fs::remove_dir_all(&folder)?;
    add(&mut stage, &witness)?;
    list(&stage)?;
    stage.end()
}

/// Bytes of pages that come with one more entry.
fn add(stage: &mut Stage, witness: &Path) -> Result<()> {
    let before = page_bytes(stage, witness)?;
    let mut costs = Vec::new();
    for number in 0..ROUNDS {
        let local = stage.dir.join("one");
        write!(File::create(&local)?, "one more {number}")?;
        // Spread over the folder, so that each falls upon a page of its own.
        let remote = format!("/folder/entry {number}{number}5 and a half");
        costs.push(meter::run(
            stage
                .owner
                .command(["put", "--quiet"])
                .arg(&local)
                .arg(&remote),
        )?);
    }
    let bytes = (page_bytes(stage, witness)? - before) / u64::from(ROUNDS);
    let wall = table::median(costs.iter().map(|cost| cost.wall_s).collect());
    let peak = costs.iter().map(|cost| cost.peak_bytes).max().unwrap_or(0);
    tell(
        "one more entry: bytes of pages",
        format!("{bytes} B"),
        "64 KiB",
        peak,
    );
    tell(
        "the same: wall",
        format!("{:.0} ms", wall * 1_000.0),
        "",
        peak,
    );
    Ok(())
}

/// A hundred entries, by a process and a home that know no page.
fn list(stage: &Stage) -> Result<()> {
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        let pages = stage.owner.home().join("pages");
        if pages.exists() {
            fs::remove_dir_all(pages)?;
        }
        let mut list = stage.owner.command(["ls", "--limit", "100", "/folder"]);
        let quiet = std::process::Stdio::null;
        costs.push(meter::run(list.stdout(quiet()).stderr(quiet()))?);
    }
    let wall = table::median(costs.iter().map(|cost| cost.wall_s).collect());
    let peak = costs.iter().map(|cost| cost.peak_bytes).max().unwrap_or(0);
    tell(
        "100 listed from cold",
        format!("{:.0} ms", wall * 1_000.0),
        "50 ms",
        peak,
    );
    Ok(())
}

fn tell(what: &str, figure: String, aim: &str, peak_bytes: u64) {
    let peak = format!("{} MB (aim 200)", table::mb(peak_bytes));
    let none = String::new;
    table::row([
        what.to_owned(),
        figure,
        aim.to_owned(),
        none(),
        none(),
        none(),
        peak,
    ]);
}

/// Bytes of all pages at the Bridge, which is stopped meanwhile. Replaced pages are kept for weeks,
/// so what is added is what was written.
fn page_bytes(stage: &mut Stage, witness: &Path) -> Result<u64> {
    let bridge = stage.planet.bridge();
    bridge.ask_to_end()?;
    ensure!(bridge.wait_to_end(END_WITHIN), "the Bridge did not end");
    let database = stage.planet.layout().bridge_data().join("bridge.sqlite");
    let output = Command::new(witness)
        .arg("page-bytes")
        .arg(database)
        .arg(stage.owner.home().join("settings.json"))
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let patience = Patience::within(END_WITHIN);
    stage.planet.start_bridge(patience)?;
    stage.planet.wait_online(HOSTS, patience)?;
    let said = String::from_utf8(output.stdout)?;
    said.trim().parse().context("the witness said no number")
}
