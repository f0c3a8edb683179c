//! `cargo xtask planet`: a network of one's own on this machine.

mod chaos;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use ::planet::disasters::chaos::HOSTS_MIN;
use ::planet::{Layout, Node, Owner, Patience, Planet, PlanetConfig, Programs, stop_left};
use anyhow::{Result, ensure};
use clap::Args;

use crate::signals;

/// Hosts of a new planet: four may die, and what they kept is made anew on the others.
const HOSTS: usize = 12;
/// How long everybody may take to come online.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long everybody may take to end before being killed.
const END_WITHIN: Duration = Duration::from_secs(15);
/// Pause between two looks at the processes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(crate) struct Options {
    /// Number of Hosts [default: as many as the folder had, else 12]
    #[arg(long)]
    hosts: Option<usize>,
    /// Where everything is kept [default: target/planet]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Space each Host offers
    #[arg(long, default_value = "10GB")]
    space: String,
    /// How the printed commands spread files, `coded:4/8` say
    #[arg(long)]
    class: Option<String>,
    /// Return when the planet is ready and leave it running
    #[arg(long, conflicts_with = "stop")]
    detach: bool,
    /// End the planet that runs in the folder
    #[arg(long)]
    stop: bool,
    /// Kill, freeze, damage and move Hosts and the Bridge at random while an owner works, and see
    /// that nothing is lost
    #[arg(long, conflicts_with_all = ["detach", "stop"])]
    chaos: bool,
    /// How long chaos lasts, `90 s` or `2 h` say [default: until Ctrl-C]
    #[arg(long = "for", value_name = "SPAN", requires = "chaos", value_parser = chaos::span)]
    span: Option<Duration>,
    /// Repeats the events of chaos and the files [default: by the clock]
    #[arg(long, requires = "chaos")]
    seed: Option<u64>,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let default = || crate::target_folder(root).join("planet");
    let dir = options.dir.clone().unwrap_or_else(default);
    if options.stop {
        return stop(&dir);
    }
    let interrupted = signals::watch()?;
    let hosts = match options.hosts {
        Some(hosts) => hosts,
        None => Layout::hosts_kept(&dir)?.unwrap_or(HOSTS),
    };
    let hosts = if options.chaos {
        hosts.max(HOSTS_MIN)
    } else {
        hosts
    };
    let programs = Programs::build(root)?;
    let config = PlanetConfig {
        space: options.space.clone(),
        outlives_us: options.detach,
        ..PlanetConfig::new(programs, dir, hosts)
    };
    let mut planet = Planet::new(config)?;
    if let Err(error) = start(&mut planet, &interrupted) {
        planet.stop(END_WITHIN);
        return Err(error);
    }
    if options.chaos {
        let seed = options.seed.unwrap_or_else(crate::seed_of_now);
        let fine = chaos::play(&mut planet, (seed, options.span), &interrupted)?;
        planet.stop(END_WITHIN);
        return Ok(fine);
    }
    print_guide(&mut planet, options);
    if options.detach {
        planet.leave()?;
        return Ok(true);
    }
    println!("\nCtrl-C ends everything; the data stays.");
    attend(&mut planet, &interrupted);
    println!("ending…");
    let killed = planet.stop(END_WITHIN);
    if !killed.is_empty() {
        println!("had to be killed: {}", killed.join(", "));
    }
    Ok(killed.is_empty())
}

fn stop(dir: &Path) -> Result<bool> {
    let (ended, killed) = stop_left(dir, END_WITHIN)?;
    match (ended, killed) {
        (0, 0) => println!("no planet runs in {}", dir.display()),
        (_, 0) => println!("{ended} processes ended"),
        _ => println!("{ended} processes ended, {killed} had to be killed"),
    }
    Ok(killed == 0)
}

fn start(planet: &mut Planet, interrupted: &AtomicBool) -> Result<()> {
    let give_up = || interrupted.load(Ordering::Relaxed);
    planet.start(Patience {
        within: READY_WITHIN,
        give_up: &give_up,
    })?;
    ensure!(!give_up(), "interrupted");
    let bridge = planet.layout().bridge_url();
    planet.owner("owner").init(&bridge)
}

/// Waits for Ctrl-C and tells of those who ended before.
fn attend(planet: &mut Planet, interrupted: &AtomicBool) {
    let mut gone: Vec<String> = Vec::new();
    while !interrupted.load(Ordering::Relaxed) {
        let hosts = planet.hosts().iter_mut().filter_map(farewell);
        let mut ended: Vec<_> = hosts.collect();
        ended.extend(farewell(planet.bridge()));
        for (name, message) in ended {
            if !gone.contains(&name) {
                println!("{message}");
                gone.push(name);
            }
        }
        sleep(LOOK_EVERY);
    }
}

fn farewell(node: &mut Node) -> Option<(String, String)> {
    let status = node.exit_status()?;
    let (name, again) = (node.name().to_owned(), node.command_line());
    let message = format!("{name} ended ({status}); to bring it back: {again}");
    Some((name, message))
}

fn print_guide(planet: &mut Planet, options: &Options) {
    let layout = planet.layout().clone();
    let dir = layout.dir().display();
    println!("\nThe planet in {dir} is ready.\n");
    let pid = planet.bridge().pid().unwrap_or_default();
    println!("  bridge  {}  process {pid}", layout.bridge_url());
    for (place, node) in layout.hosts().iter().zip(planet.hosts()) {
        let pid = node.pid().unwrap_or_default();
        println!(
            "  {:6}  {}  process {pid}  zone {}",
            place.name, place.addr, place.zone
        );
    }
    println!("  logs    {}", layout.log("*").display());
    let owner = planet.owner("owner");
    println!("  phrase  {}\n\nTry:\n", owner.phrase().display());
    suggest(planet, &owner, options.class.as_deref());
    if options.detach {
        println!("\nTo end everything: cargo xtask planet --stop --dir {dir}");
    }
}

/// Commands to paste.
fn suggest(planet: &mut Planet, owner: &Owner, class: Option<&str>) {
    let (program, home) = (owner.program(), owner.home().display());
    let xcloud = format!("{} --home {home}", program.display());
    let class = class.map(|class| format!("--class {class} "));
    let class = class.unwrap_or_default();
    let first = planet.hosts().first().and_then(Node::pid);
    let first = first.unwrap_or_default();
    println!("  alias xcloud='{xcloud}'");
    println!(
        "  alias xcore='{}'",
        program.with_file_name("xcore").display()
    );
    println!("  xcloud put {class}README.md {} /", program.display());
    println!("  xcloud where /xcloud    # which Hosts have it, and how many may fail");
    println!("  xcloud verify /    # every Host proves what it keeps");
    println!("  kill -9 {first}    # h1 dies");
    println!("  watch {xcloud} where /xcloud    # 7 of 8 shards, and 8 again within two minutes");
    println!("  xcloud get /README.md - | cmp - README.md");
    if let Some(second) = planet.layout().hosts().get(1) {
        let data = second.data.display();
        println!("  xcore events --data {data}    # what the Bridge decided about h2");
        println!("  xcore exit --data {data}    # h2 leaves; its shards move first");
    }
}
