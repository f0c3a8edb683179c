//! `cargo xtask profile FLOW`: where the time of one flow goes, by share, for client, Hosts and
//! Bridge. Samples by perf's CPU clock, which also virtual machines have.

mod shares;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ::planet::Node;
use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::bench::files;
use crate::bench::stage::Stage;
use crate::tools;
use shares::{Party, Sample, Shares};

const HOSTS: usize = 8;
/// Samples a second of each core; no divisor of what timers have.
const SAMPLES_PER_SECOND: &str = "997";
const CLASS: &str = "coded:4/8";

#[derive(Args)]
pub(crate) struct Options {
    /// What is looked at
    flow: Flow,
    /// Bytes of the large file, in millions
    #[arg(long, default_value_t = 1_000)]
    megabytes: u64,
    /// Small files, 10 KiB each
    #[arg(long, default_value_t = 20_000)]
    files: u32,
    /// Symbols shown of each party
    #[arg(long, default_value_t = 12)]
    symbols: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Flow {
    /// A large file up
    Upload,
    /// A large file down
    Download,
    /// Many small files up
    SmallUp,
    /// Many small files down
    SmallDown,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    tools::install_perf()?;
    let mut stage = Stage::new(
        root,
        crate::target_folder(root).join("bench-profile"),
        HOSTS,
    )?;
    let (local, back, record) = (
        stage.dir.join("local"),
        stage.dir.join("back"),
        stage.dir.join("perf.data"),
    );
    let small = matches!(options.flow, Flow::SmallUp | Flow::SmallDown);
    if small {
        files::small_files(&local, options.files)?;
    } else {
        files::random_file(&local, options.megabytes * 1_000_000)?;
    }
    let mut put = vec!["put".as_ref(), "--quiet".as_ref()];
    if !small {
        put.extend(["--class", CLASS].map(Path::new));
    }
    put.extend([&local, Path::new("/")]);
    let put = stage.owner.command(put);
    let get = stage.owner.command([
        Path::new("get"),
        Path::new("--quiet"),
        Path::new("/local"),
        &back,
    ]);
    files::empty_folder(&back)?;
    // A copy, so that no other client on this machine is taken for ours.
    let client = stage.dir.join("xcloud");
    fs::copy(stage.owner.program(), &client)?;
    if matches!(options.flow, Flow::Upload | Flow::SmallUp) {
        sample((&client, &put), &record)?;
    } else {
        done(&put)?;
        sample((&client, &get), &record)?;
        files::ensure_same(&local, &back.join("local"))?;
    }
    let shares = count(&mut stage, &client, &record)?;
    let name = options.flow.to_possible_value();
    let name = name.as_ref().map_or("", |name| name.get_name());
    shares.tell(name, options.symbols);
    stage.end()?;
    Ok(true)
}

/// Runs `command` by the program `client`, with every process of the machine watched.
fn sample((client, command): (&Path, &Command), record: &Path) -> Result<()> {
    let mut perf = Command::new("perf");
    perf.args([
        "record",
        "-q",
        "-a",
        "-e",
        "cpu-clock",
        "-F",
        SAMPLES_PER_SECOND,
        "-o",
    ])
    .arg(record)
    .arg("--")
    .arg(client)
    .args(command.get_args())
    .stdin(Stdio::null());
    let status = perf.status().context("running perf")?;
    ensure!(status.success(), "perf or the client failed: {status}");
    Ok(())
}

fn done(command: &Command) -> Result<()> {
    let status = Command::new(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "the client failed: {status}");
    Ok(())
}

/// Sorts the samples by party: the Bridge and the Hosts are known, the client is whoever ran the
/// program `client`.
fn count(stage: &mut Stage, client: &Path, record: &Path) -> Result<Shares> {
    let output = Command::new("perf")
        .args(["script", "--no-inline", "-F", "pid,ip,sym,dso", "-i"])
        .arg(record)
        .stdin(Stdio::null())
        .output()
        .context("running perf script")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::remove_file(record)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let samples: Vec<Sample<'_>> = text.lines().filter_map(Sample::parse).collect();
    let bridge = stage.planet.bridge().pid();
    let hosts: BTreeSet<i32> = stage.planet.hosts().iter().filter_map(Node::pid).collect();
    let of_client = samples
        .iter()
        .filter(|sample| Path::new(sample.object) == client);
    let clients: BTreeSet<i32> = of_client.map(|sample| sample.pid).collect();
    let mut shares = Shares::default();
    for sample in &samples {
        let party = if Some(sample.pid) == bridge {
            Party::Bridge
        } else if hosts.contains(&sample.pid) {
            Party::Hosts
        } else if clients.contains(&sample.pid) {
            Party::Client
        } else {
            continue;
        };
        shares.add(party, sample);
    }
    Ok(shares)
}
