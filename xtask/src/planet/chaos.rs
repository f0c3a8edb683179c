//! `cargo xtask planet --chaos`: trouble of all kinds on a planet that runs, and what came of it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::planet::Planet;
use ::planet::disasters::Talk;
use ::planet::disasters::chaos::{self, Chaos};
use anyhow::{Context as _, Result, bail};

use crate::tools;

/// Plays it until Ctrl-C or for `span`; `false` where something was lost.
pub(super) fn play(
    planet: &mut Planet,
    (seed, span): (u64, Option<Duration>),
    interrupted: &AtomicBool,
) -> Result<bool> {
    let owner = planet.owner(&format!("chaos-{seed}"));
    owner.init(&planet.layout().bridge_url())?;
    let scratch = planet.layout().dir().join("chaos");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).context("emptying the owner's scratch folder")?;
    }
    let end = span.map_or_else(
        || "until Ctrl-C".to_owned(),
        |span| format!("for {} s", span.as_secs()),
    );
    println!("\nChaos {end}, seed {seed}; every file must survive it.\n");
    let chaos = Chaos {
        seed,
        span,
        faketime: faketime(),
    };
    let give_up = || interrupted.load(Ordering::Relaxed);
    let mut talk = Talk {
        give_up: &give_up,
        progress: &mut |event| println!("{event}"),
    };
    match chaos::run(&chaos, planet, (&owner, &scratch), &mut talk) {
        Ok(score) => {
            println!("\n{score}");
            Ok(true)
        }
        Err(error) => {
            let logs = planet.layout().log("*");
            println!("\n{error:#}\nlogs: {}", logs.display());
            Ok(false)
        }
    }
}

/// `90 s`, `5 min` or `2 h`, with the space or without.
pub(super) fn span(text: &str) -> Result<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        _ => bail!("a span is `90 s`, `5 min` or `2 h`"),
    };
    let number: u32 = number.parse().context("a span begins with a number")?;
    Ok(Duration::from_secs(seconds) * number)
}

/// The library for wrong clocks, installed where that is possible.
fn faketime() -> Option<PathBuf> {
    chaos::faketime().or_else(|| match tools::install_faketime() {
        Ok(()) => chaos::faketime(),
        Err(error) => {
            println!("clocks stay right: {error:#}");
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_numbers_with_a_unit() {
        assert_eq!(span("90 s").unwrap(), Duration::from_secs(90));
        assert_eq!(span("5min").unwrap(), Duration::from_secs(300));
        assert_eq!(span("2 h").unwrap(), Duration::from_secs(7_200));
        for wrong in ["90", "h", "1.5 h", "5 days", ""] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
