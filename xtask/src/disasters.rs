//! `cargo xtask disasters`: power cuts and kills, as many as wanted, and what was lost by them.

use std::fmt::Display;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use ::planet::Programs;
use ::planet::disasters::Talk;
use ::planet::disasters::kills::{self, Kills, Victim};
use ::planet::disasters::power::{self, PowerCuts};
use anyhow::{Context as _, Result};
use clap::Args;

use crate::signals;

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
    let play = |name: &str,
                cycles: u64,
                play: &dyn Fn(PathBuf, &mut Talk<'_>) -> Result<String>| {
        if cycles == 0 || give_up() {
            return anyhow::Ok(true);
        }
        let dir = folder(root, options, name)?;
        println!(
            "{name}: {cycles} cycles, seed {seed}; to repeat: cargo xtask disasters --{name} {cycles} --seed {seed}"
        );
        let mut cycle = 0;
        let mut progress = |score: &dyn Display| {
            cycle += 1;
            tell(score, cycle);
        };
        let mut talk = Talk {
            give_up: &give_up,
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
    };
    let mut fine = true;
    if options.power_cuts > 0
        && let Some(reason) = power::why_not()
    {
        println!("power-cuts: not run: {reason}");
        fine = false;
    } else {
        fine &= play("power-cuts", options.power_cuts, &|dir, talk| {
            let (programs, cycles) = (programs.clone(), options.power_cuts);
            let cuts = PowerCuts {
                programs,
                dir,
                cycles,
                seed,
            };
            Ok(power::run(&cuts, talk)?.to_string())
        })?;
    }
    for (name, victim, cycles) in [
        ("host-kills", Victim::Host, options.host_kills),
        ("bridge-kills", Victim::Bridge, options.bridge_kills),
    ] {
        fine &= play(name, cycles, &|dir, talk| {
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
