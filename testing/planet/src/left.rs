//! Planets left running in the background: who they are, and their end.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::node::LOOK_EVERY;

/// The file in the planet's folder that names the processes.
const LEFT_NAME: &str = "running.json";

/// A process left behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// When it was started, in the system's ticks since its own start. The same number given to
    /// another process later has another time.
    started: u64,
}

impl Left {
    pub(crate) fn new(name: &str, pid: i32) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            pid,
            started: started(pid)?,
        })
    }

    fn runs(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.runs()) {
            // Fails only for a process that just ended.
            let _ended = kill_process(pid, signal);
        }
    }
}

/// Remembers the processes of the planet in `dir`.
pub(crate) fn remember(dir: &Path, processes: &[Left]) -> Result<()> {
    let mut file = File::create(dir.join(LEFT_NAME))?;
    serde_json::to_writer_pretty(&mut file, processes)?;
    file.write_all(b"\n")?;
    Ok(())
}

/// Whether a planet runs in `dir`.
pub(crate) fn is_running(dir: &Path) -> Result<bool> {
    Ok(recall(dir)?.iter().any(Left::runs))
}

/// Ends the planet that was left running in `dir`: asks, waits `within`, kills the rest. Returns
/// how many ended by themselves and how many had to be killed.
///
/// # Errors
/// When the list of processes cannot be read.
pub fn stop_left(dir: &Path, within: Duration) -> Result<(usize, usize)> {
    let running: Vec<Left> = recall(dir)?.into_iter().filter(Left::runs).collect();
    // Hosts first, so that the Bridge hears them leave; the Bridge was started first.
    running
        .iter()
        .rev()
        .for_each(|process| process.signal(Signal::TERM));
    let began = Instant::now();
    while running.iter().any(Left::runs) && began.elapsed() < within {
        sleep(LOOK_EVERY);
    }
    let killed = running.iter().filter(|process| process.runs()).count();
    running
        .iter()
        .for_each(|process| process.signal(Signal::KILL));
    forget(dir)?;
    Ok((running.len() - killed, killed))
}

/// Nothing runs in `dir` any more.
pub(crate) fn forget(dir: &Path) -> Result<()> {
    match fs::remove_file(dir.join(LEFT_NAME)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn recall(dir: &Path) -> Result<Vec<Left>> {
    let path = dir.join(LEFT_NAME);
    match fs::read(&path) {
        Ok(json) => {
            serde_json::from_slice(&json).with_context(|| format!("reading {}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// When the living process `pid` was started.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_was_left_is_ended_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let spawn = || {
            Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        };
        let (mut left, mut other) = (spawn(), spawn());
        let pid = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        let mut taken_over = Left::new("gone", pid(&other)).unwrap();
        taken_over.started -= 1;
        remember(
            scratch.path(),
            &[Left::new("left", pid(&left)).unwrap(), taken_over],
        )
        .unwrap();
        assert!(is_running(scratch.path()).unwrap());

        assert_eq!(
            stop_left(scratch.path(), Duration::from_secs(60)).unwrap(),
            (1, 0)
        );

        left.wait().unwrap();
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!is_running(scratch.path()).unwrap());
        assert_eq!(stop_left(scratch.path(), Duration::ZERO).unwrap(), (0, 0));
    }
}
