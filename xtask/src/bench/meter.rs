//! What a process costs: CPU time and peak memory, read from `/proc`.

use std::fs;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Clock ticks of `/proc/PID/stat` in a second: fixed at 100 for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Pause between two looks at a running process.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a finished command cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Wall time, seconds.
    pub(crate) wall_s: f64,
    /// CPU time, user and system, seconds.
    pub(crate) cpu_s: f64,
    /// Peak resident memory, bytes.
    pub(crate) peak_bytes: u64,
}

/// Runs `command` to its end.
///
/// # Errors
/// When it cannot be run, or fails.
pub(crate) fn run(command: &mut Command) -> Result<Cost> {
    let started = Instant::now();
    let mut child = command.spawn().context("starting the client")?;
    let pid = Pid::from_child(&child);
    let mut peak_bytes = 0;
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // Left as a zombie for a moment, so that its CPU time can still be read.
    while waitid(WaitId::Pid(pid), look)?.is_none() {
        peak_bytes = peak_bytes.max(peak_memory(pid.as_raw_nonzero().get()));
        sleep(LOOK_EVERY);
    }
    let wall_s = started.elapsed().as_secs_f64();
    let cpu_s = cpu_time(pid.as_raw_nonzero().get())?;
    let status: ExitStatus = child.wait()?;
    ensure!(status.success(), "the client failed: {status}");
    Ok(Cost {
        wall_s,
        cpu_s,
        peak_bytes,
    })
}

/// CPU time of a process so far, user and system, seconds.
///
/// # Errors
/// When there is no such process.
pub(crate) fn cpu_time(pid: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, field 2, may hold spaces; the fields after it start with the state, field 3.
    let (_, fields) = stat.rsplit_once(") ").context("malformed /proc/PID/stat")?;
    let ticks = |field: usize| -> Result<f64> {
        let text = fields
            .split(' ')
            .nth(field - 3)
            .context("short /proc/PID/stat")?;
        Ok(text.parse()?)
    };
    Ok((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

/// Peak resident memory of a process so far, bytes; 0 once it is gone.
pub(crate) fn peak_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
