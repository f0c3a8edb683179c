//! `cargo xtask disasters`: power cuts, kills and bad lines, as many as wanted, and what was lost by
//! them.

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use ::planet::Programs;
use ::planet::disasters::Talk;
use ::planet::disasters::kills::{self, Kills, Victim};
use ::planet::disasters::lines::{self, Lines};
use ::planet::disasters::power::{self, PowerCuts};
use anyhow::{Context as _, Result};
use clap::Args;

use crate::{signals, tools};

/// Without a terminal a line is printed after so many cycles.
const TELL_EVERY: u64 = 25;

#[derive(Args)]
pub(crate) struct Options {
    /// Power cuts under a shard store and a Bridge's database; root only
    #[arg(long, default_value_t = 0)]
    power_cuts: u64,
    /// Kills of a Host while owners work
    #[arg(long, default_value_t = 0)]
    host_kills: u64,
    /// Kills of the Bridge while owners work
    #[arg(long, default_value_t = 0)]
    bridge_kills: u64,
    /// Times Hosts are cut off in a network with slow and lossy lines; root only
    #[arg(long, default_value_t = 0)]
    bad_lines: u64,
    /// Repeats moments, victims and files [default: by the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Where everything is kept [default: target/disasters]
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let programs = Programs::build_with_witness(root)?;
    let interrupted = signals::watch()?;
    let give_up = || interrupted.load(Ordering::Relaxed);
    let seed = options.seed.unwrap_or_else(crate::seed_of_now);
    let player = Player {
        root,
        options,
        seed,
        give_up: &give_up,
    };
    let mut fine = true;
    let cycles = options.power_cuts;
    fine &= player.play_if(power::why_not, ("power-cuts", cycles), &|dir, talk| {
        let programs = programs.clone();
        let cuts = PowerCuts {
            programs,
            dir,
            cycles,
            seed,
        };
        Ok(power::run(&cuts, talk)?.to_string())
    })?;
    let cycles = options.bad_lines;
    fine &= player.play_if(why_no_lines, ("bad-lines", cycles), &|dir, talk| {
        let programs = programs.clone();
        let lines = Lines {
            programs,
            dir,
            cycles,
            seed,
        };
        Ok(lines::run(&lines, talk)?.to_string())
    })?;
    for (name, victim, cycles) in [
        ("host-kills", Victim::Host, options.host_kills),
        ("bridge-kills", Victim::Bridge, options.bridge_kills),
    ] {
        fine &= player.play((name, cycles), &|dir, talk| {
            let programs = programs.clone();
            let kills = Kills {
                programs,
                dir,
                victim,
                cycles,
                seed,
            };
            Ok(kills::run(&kills, talk)?.to_string())
        })?;
    }
    Ok(fine)
}

/// Plays one kind of disaster in a folder; returns the score in words.
type Play<'a> = &'a dyn Fn(PathBuf, &mut Talk<'_>) -> Result<String>;

/// What all kinds are played with.
struct Player<'a> {
    root: &'a Path,
    options: &'a Options,
    seed: u64,
    give_up: &'a dyn Fn() -> bool,
}

impl Player<'_> {
    /// Plays it where nothing speaks against that on this machine.
    fn play_if(
        &self,
        why_not: impl FnOnce() -> Option<String>,
        (name, cycles): (&str, u64),
        play: Play<'_>,
    ) -> Result<bool> {
        if cycles > 0
            && let Some(reason) = why_not()
        {
            println!("{name}: not run: {reason}");
            return Ok(false);
        }
        self.play((name, cycles), play)
    }

    fn play(&self, (name, cycles): (&str, u64), play: Play<'_>) -> Result<bool> {
        if cycles == 0 || (self.give_up)() {
            return Ok(true);
        }
        let (dir, seed) = (folder(self.root, self.options, name)?, self.seed);
        println!(
            "{name}: {cycles} cycles, seed {seed}; to repeat: cargo xtask disasters --{name} {cycles} --seed {seed}"
        );
        let mut cycle = 0;
        let mut progress = |score: &dyn Display| {
            cycle += 1;
            tell(score, cycle);
        };
        let mut talk = Talk {
            give_up: self.give_up,
            progress: &mut progress,
        };
        match play(dir.clone(), &mut talk) {
            Ok(score) => {
                println!("\r{name}: {score}");
                fs::remove_dir_all(&dir)?;
                Ok(true)
            }
            Err(error) => {
                println!("\n{name}: {error:#}\nkept: {}", dir.display());
                Ok(false)
            }
        }
    }
}

/// Why there can be no bad lines, after what is missing was installed.
fn why_no_lines() -> Option<String> {
    let why_not = lines::why_not()?;
    match tools::install_network_tools() {
        Ok(()) => lines::why_not(),
        Err(error) => Some(format!("{why_not}; {error:#}")),
    }
}

/// An empty folder for one of the disasters.
fn folder(root: &Path, options: &Options, name: &str) -> Result<PathBuf> {
    let default = || crate::target_folder(root).join("disasters");
    let dir = options.dir.clone().unwrap_or_else(default).join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn tell(score: &dyn Display, cycle: u64) {
    if io::stdout().is_terminal() {
        print!("\r{score}");
        // A progress line that does not get out is no loss.
        let _lost = io::stdout().flush();
    } else if cycle.is_multiple_of(TELL_EVERY) {
        println!("{score}");
    }
}
