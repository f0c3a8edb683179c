//! Files through a whole network: one Bridge, eight Hosts and a client on this machine.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use ::planet::{Owner, Patience, Planet, PlanetConfig, Programs};
use anyhow::{Context as _, Result, ensure};

use super::Options;
use super::meter::{self, Cost};

const HOSTS: usize = 8;
const CLASS: &str = "coded:4/8";
const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(15);

/// Memory that is touched before each transfer. A virtual machine gets its memory from its host
/// page by page, at first touch, for two seconds of CPU per GB: ours must not be counted for it.
const WARM_BYTES: usize = 6 << 30;

/// CPU seconds of the Bridge and of all Hosts together.
#[derive(Clone, Copy)]
struct Spent {
    bridge_s: f64,
    hosts_s: f64,
}

pub(super) fn run(root: &Path, options: &Options) -> Result<()> {
    let dir = crate::target_folder(root).join("bench-network");
    // What an earlier run left behind, if there was one.
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    let programs = Programs::build(root)?;
    let mut planet = Planet::new(PlanetConfig::new(programs, dir.join("planet"), HOSTS))?;
    planet.start(Patience::within(READY_WITHIN))?;
    let owner = planet.owner("owner");
    owner.init(&planet.layout().bridge_url())?;
    println!(
        "\none file of {} MB, {CLASS}, {HOSTS} Hosts",
        options.megabytes
    );
    for round in 1..=options.rounds {
        large_file(&mut planet, &owner, &dir, options.megabytes, round)?;
    }
    single_small_file(&owner, &dir)?;
    let host_peaks = planet
        .hosts()
        .iter()
        .filter_map(::planet::Node::pid)
        .map(meter::peak_memory);
    let host_peak = host_peaks.max().unwrap_or(0);
    let bridge_peak = planet.bridge().pid().map_or(0, meter::peak_memory);
    println!(
        "peak memory: largest Host {} MB, Bridge {} MB",
        mb(host_peak),
        mb(bridge_peak)
    );
    planet.stop(END_WITHIN);
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn large_file(
    planet: &mut Planet,
    owner: &Owner,
    dir: &Path,
    megabytes: u64,
    round: u32,
) -> Result<()> {
    let (local, back) = (dir.join("large"), dir.join("back"));
    random_file(&local, megabytes * 1_000_000)?;
    let remote = format!("/large-{round}");
    measure(planet, "up", megabytes, || {
        let put = ["put", "--quiet", "--class", CLASS].map(Path::new);
        meter::run(owner.command(put).arg(&local).arg(&remote))
    })?;
    measure(planet, "down", megabytes, || {
        meter::run(owner.command(["get", "--quiet", &remote]).arg(&back))
    })?;
    ensure!(same(&local, &back)?, "what came back differs");
    fs::remove_file(&back)?;
    Ok(())
}

/// A 10 KiB file alone, each time by a fresh process: median of twenty.
fn single_small_file(owner: &Owner, dir: &Path) -> Result<()> {
    let (local, back) = (dir.join("small"), dir.join("small-back"));
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for index in 0..20 {
        random_file(&local, 10_240)?;
        let remote = format!("/small-{index}");
        up.push(meter::run(owner.command(["put", "--quiet"]).arg(&local).arg(&remote))?.wall_s);
        down.push(meter::run(owner.command(["get", "--quiet", &remote]).arg(&back))?.wall_s);
        fs::remove_file(&back)?;
    }
    println!(
        "10 KiB, cold process: put {:.0} ms, get {:.0} ms",
        median_ms(up),
        median_ms(down)
    );
    Ok(())
}

fn measure(
    planet: &mut Planet,
    way: &str,
    megabytes: u64,
    transfer: impl FnOnce() -> Result<Cost>,
) -> Result<()> {
    // Written, so that it is really there, and given back at once.
    drop(std::hint::black_box(vec![1_u8; WARM_BYTES]));
    let before = spent(planet)?;
    let cost = transfer()?;
    let after = spent(planet)?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let gb = megabytes as f64 / 1_000.0;
    println!(
        "  {way:4}  {:6.0} MB/s  CPU-s per GB: client {:.2}, Bridge {:.2}, Hosts {:.2}  client peak {} MB",
        gb * 1_000.0 / cost.wall_s,
        cost.cpu_s / gb,
        (after.bridge_s - before.bridge_s) / gb,
        (after.hosts_s - before.hosts_s) / gb,
        mb(cost.peak_bytes),
    );
    Ok(())
}

fn spent(planet: &mut Planet) -> Result<Spent> {
    let bridge = planet.bridge().pid().context("the Bridge has ended")?;
    let mut hosts_s = 0.0;
    for host in planet.hosts() {
        hosts_s += meter::cpu_time(host.pid().context("a Host has ended")?)?;
    }
    Ok(Spent {
        bridge_s: meter::cpu_time(bridge)?,
        hosts_s,
    })
}

fn random_file(path: &Path, bytes: u64) -> Result<()> {
    let mut source = File::open("/dev/urandom")?.take(bytes);
    io::copy(&mut source, &mut File::create(path)?)?;
    Ok(())
}

fn same(a: &Path, b: &Path) -> Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let len = a.read(&mut left)?;
        if len == 0 {
            return Ok(b.read(&mut right)? == 0);
        }
        let (Some(left), Some(right)) = (left.get(..len), right.get_mut(..len)) else {
            return Ok(false);
        };
        if b.read_exact(right).is_err() || left != right {
            return Ok(false);
        }
    }
}

fn median_ms(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default() * 1_000.0
}

const fn mb(bytes: u64) -> u64 {
    bytes / 1_000_000
}
