//! `xcore exit`: a Host leaves its Bridges, wholly or in part, and this shows how far that has come.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use host::{AskedBy, Environment as _, JoinState, Status, SystemEnvironment, Wishes};
use model::units::UnixMs;
use model::wire::upkeep::{LeaveProgress, LeaveWish};
use runtime::Size;
use serde::Serialize;

use crate::status::size;
use crate::{config, run};

/// How often the status file is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The Host stopped before it was done.
const EXIT_STOPPED: u8 = 3;

/// What was said on the command line or in the environment.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, or noted where nothing is followed, 1 it failed, \
                        3 the host stopped before it was done; it goes on when it runs again."
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct Flags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Give back only so much, `100GB` say.
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["cancel", "force"])]
    bytes: Option<Size>,
    /// Stay after all: what has moved stays moved, the rest stays here.
    #[arg(long, conflicts_with = "force")]
    cancel: bool,
    /// Leave at once and move nothing: what is kept here is lost, and is made anew from others.
    #[arg(long)]
    force: bool,
    /// Do not wait for the end.
    #[arg(long)]
    detach: bool,
    /// Print how it ended as JSON.
    #[arg(long)]
    json: bool,
}

/// How far all Bridges together have come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Progress {
    /// Bridges that were told.
    bridges_told: u64,
    /// All of them.
    bridges: u64,
    moved_bytes: u64,
    moved_shards: u64,
    left_bytes: u64,
    left_shards: u64,
    /// Whether all of them say that nothing is left to do.
    done: bool,
}

/// Asks the Host in the data folder to leave, and follows it.
pub(crate) fn exit(flags: &Flags) -> anyhow::Result<ExitCode> {
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    anyhow::ensure!(data.is_dir(), "no host has run in {} yet", data.display());
    let (wish, now) = (wish(flags)?, SystemEnvironment.now());
    let mut at = UnixMs(0);
    Wishes::change(&data, |wishes| at = wishes.ask(wish, AskedBy::Owner, now))?;
    let running = run::is_running(&data);
    if !running || flags.detach || flags.cancel {
        say(noted(wish, running))?;
        return Ok(ExitCode::SUCCESS);
    }
    let followed = follow(&data, at, flags)?;
    if flags.json {
        say(&serde_json::to_string_pretty(&followed)?)?;
    }
    let is_over = followed.done || flags.force;
    match (is_over, flags.json) {
        (true, false) => say(&over(flags, &followed))?,
        (true, true) => {}
        (false, _) => {
            tell("the host has stopped; it goes on leaving when it runs again")?;
            return Ok(ExitCode::from(EXIT_STOPPED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn wish(flags: &Flags) -> anyhow::Result<LeaveWish> {
    Ok(match (flags.cancel, flags.bytes.map(Size::bytes)) {
        (true, _) => LeaveWish::Stay,
        (false, Some(0)) => anyhow::bail!("--bytes 0 gives nothing back; --cancel takes it back"),
        (false, Some(bytes)) => LeaveWish::Part { bytes },
        (false, None) => LeaveWish::All,
    })
}

const fn noted(wish: LeaveWish, running: bool) -> &'static str {
    match (wish, running) {
        (LeaveWish::Stay, true) => "noted: it stays, and is told so to its bridges",
        (LeaveWish::Stay, false) => "noted: it stays; its bridges are told when the host runs",
        (LeaveWish::Part { .. } | LeaveWish::All, true) => {
            "noted: it leaves; `xcore status` shows how far it has come"
        }
        (LeaveWish::Part { .. } | LeaveWish::All, false) => {
            "noted: leaving begins when the host runs (`xcore run`), which it must until that is done"
        }
    }
}

/// Shows how far it has come until it is done, or the Host stops.
fn follow(data: &Path, at: UnixMs, flags: &Flags) -> anyhow::Result<Progress> {
    let mut shown = Progress::default();
    loop {
        let status = Status::read(data)?;
        let progress = progress(&status, at);
        if progress != shown && !flags.json {
            tell(&line(&progress))?;
        }
        shown = progress;
        let told = shown.bridges_told == shown.bridges && shown.bridges > 0;
        if shown.done || (flags.force && told) || !run::is_running(data) {
            return Ok(shown);
        }
        sleep(LOOK);
    }
}

/// Of the wish that was made `at`.
fn progress(status: &Status, at: UnixMs) -> Progress {
    let asked = status.wishes.leave.as_ref();
    let is_known = asked.is_some_and(|asked| asked.at == at);
    let known = || {
        status
            .bridges
            .iter()
            .filter(|bridge| bridge.bridge.is_some())
    };
    let told = known().filter(|bridge| bridge.leave_told == at);
    let mut sum = Progress {
        bridges_told: told.clone().count() as u64,
        bridges: known().count() as u64,
        done: is_known && asked.is_some_and(|asked| asked.done),
        ..Progress::default()
    };
    for LeaveProgress {
        moved_bytes,
        moved_shards,
        left_bytes,
        left_shards,
        ..
    } in told.filter_map(|bridge| bridge.leaving)
    {
        sum.moved_bytes += moved_bytes;
        sum.moved_shards += moved_shards;
        sum.left_bytes += left_bytes;
        sum.left_shards += left_shards;
    }
    sum
}

fn line(progress: &Progress) -> String {
    let Progress {
        bridges_told: told,
        bridges,
        ..
    } = progress;
    if told < bridges {
        return format!("{told} of {bridges} bridges told");
    }
    format!(
        "{} in {} shards moved, {} in {} left",
        size(progress.moved_bytes),
        progress.moved_shards,
        size(progress.left_bytes),
        progress.left_shards
    )
}

fn over(flags: &Flags, progress: &Progress) -> String {
    if flags.force {
        return "the bridges know that this host leaves and moves nothing; it may be stopped \
                now.\nWhat it kept is made anew from other hosts: each coded shard is read k times \
                over, at their owners' and hosts' cost, what a bridge holds back for that from this \
                host is not paid, and a segment that has too few other shards is lost."
            .to_owned();
    }
    let moved = format!(
        "done: {} in {} shards moved",
        size(progress.moved_bytes),
        progress.moved_shards
    );
    match flags.bytes {
        Some(_) => format!("{moved}; so much less space is offered from now on"),
        None => format!("{moved}; the host may be stopped, and its folders removed"),
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")
}

/// Progress goes to standard error.
fn tell(text: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "{text}").context("cannot write to standard error")
}

/// How leaving stands, as `xcore status` says it; `None` where nobody wants to.
pub(crate) fn shown(status: &Status) -> Option<String> {
    let asked = status.wishes.leave.as_ref()?;
    let (whose, done) = (asked.by, asked.done);
    let what = match (asked.wish, whose) {
        (LeaveWish::Stay, _) => return None,
        (LeaveWish::All, _) => "everything".to_owned(),
        (LeaveWish::Part { bytes }, AskedBy::Owner) => size(bytes),
        (LeaveWish::Part { bytes }, AskedBy::Space) => {
            format!("{}, because volumes hold more than they may", size(bytes))
        }
    };
    let away = |state: &JoinState| !matches!(state, JoinState::Joined { .. });
    let mut text = format!("{what}; {}", line(&progress(status, asked.at)));
    if done {
        text.push_str("; done");
    } else if status.bridges.iter().any(|bridge| away(&bridge.join)) {
        text.push_str("; waits for bridges that are away");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{Cli, Command};

    fn flags(args: &str) -> anyhow::Result<Flags> {
        let args = ["xcore", "exit"].into_iter().chain(args.split_whitespace());
        match Cli::try_parse_from(args)?.command {
            Command::Exit(flags) => Ok(flags),
            other => anyhow::bail!("not an exit: {other:?}"),
        }
    }

    #[test]
    fn one_thing_is_wished_at_a_time() {
        let wished = |args: &str| flags(args).and_then(|flags| wish(&flags));
        assert_eq!(wished("--data d --json").unwrap(), LeaveWish::All);
        assert_eq!(wished("--force").unwrap(), LeaveWish::All);
        let part = LeaveWish::Part {
            bytes: 100_000_000_000,
        };
        assert_eq!(wished("--bytes 100GB --detach").unwrap(), part);
        assert_eq!(wished("--cancel").unwrap(), LeaveWish::Stay);
        for wrong in [
            "--bytes 0",
            "--bytes 1GB --cancel",
            "--bytes 1GB --force",
            "--cancel --force",
        ] {
            assert!(wished(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_that_does_not_run_is_told_of_when_it_does() {
        let data = tempfile::tempdir().unwrap();
        let mut all = flags("").unwrap();
        all.data = Some(data.path().to_owned());
        exit(&all).unwrap();
        let asked = Wishes::read(data.path()).unwrap().leave.unwrap();
        assert_eq!((asked.wish, asked.by), (LeaveWish::All, AskedBy::Owner));
        assert!(noted(LeaveWish::All, false).contains("begins when the host runs"));
        all.data = Some(data.path().join("nowhere"));
        assert!(exit(&all).is_err());
    }

    #[test]
    fn the_end_is_told_in_words() {
        let progress = Progress {
            bridges_told: 1,
            bridges: 1,
            moved_bytes: 5_000_000,
            moved_shards: 7,
            done: true,
            ..Progress::default()
        };
        assert_eq!(line(&progress), "5 MB in 7 shards moved, 0 B in 0 left");
        let whole = over(&flags("").unwrap(), &progress);
        assert!(whole.ends_with("the host may be stopped, and its folders removed"));
        let part = over(&flags("--bytes 5MB").unwrap(), &progress);
        assert!(part.ends_with("so much less space is offered from now on"));
        let force = over(&flags("--force").unwrap(), &progress);
        assert!(force.contains("made anew from other hosts"));
    }
}
