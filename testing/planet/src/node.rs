//! One process of the planet: started, killed, frozen, started again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Pause between two looks at a process.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Bytes of a log's end that an error shows.
const LOG_TAIL_BYTES: u64 = 2000;

/// A program with its arguments, running or not.
#[derive(Debug)]
pub struct Node {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    log: PathBuf,
    environment: Vec<(OsString, OsString)>,
    /// The process group to join; 0 is one of its own, which outlives us.
    group: i32,
    child: Option<Child>,
}

impl Node {
    /// A program that is not started yet, in the process group `group`; 0 is one of its own,
    /// which outlives us.
    #[must_use]
    pub fn new(name: &str, program: &Path, log: PathBuf, group: i32) -> Self {
        let (name, program) = (name.to_owned(), program.to_owned());
        Self {
            name,
            program,
            args: Vec::new(),
            log,
            environment: Vec::new(),
            group,
            child: None,
        }
    }

    /// The same with further arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// `bridge`, `h1`, …
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file its output goes to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        log_tail(&self.log).unwrap_or_default()
    }

    /// What to type to run the same by hand.
    #[must_use]
    pub fn command_line(&self) -> String {
        let words = std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(|a| &**a));
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The id of the process, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.child
            .as_ref()
            .map(|child| Pid::from_child(child).as_raw_nonzero().get())
    }

    /// Further arguments for the next start.
    pub fn push_args<A: Into<OsString>>(&mut self, args: impl IntoIterator<Item = A>) {
        self.args.extend(args.into_iter().map(Into::into));
    }

    /// What the next start adds to the environment, and nothing else.
    pub fn set_environment(&mut self, environment: Vec<(OsString, OsString)>) {
        self.environment = environment;
    }

    /// Starts the process, unless it runs. Its output is appended to the log.
    ///
    /// # Errors
    /// When the program or the log cannot be opened.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        if let Some(folder) = self.log.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(self.group)
            .spawn()
            .with_context(|| format!("starting {} ({})", self.name, self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none() && self.child.is_some()
    }

    /// How the process ended, if it ran and ended by itself.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Ends the process at once (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a process that ended already.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }

    /// Stops the process without ending it (SIGSTOP): it is there and silent.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks the process to end (SIGTERM).
    ///
    /// # Errors
    /// When it does not run.
    pub fn ask_to_end(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits for the process to end by itself, else kills it. Returns whether it ended by itself.
    pub fn wait_to_end(&mut self, within: Duration) -> bool {
        let began = Instant::now();
        while self.is_running() {
            if began.elapsed() > within {
                self.kill();
                return false;
            }
            sleep(LOOK_EVERY);
        }
        self.child = None;
        true
    }

    /// Leaves the process to itself.
    pub(crate) fn leave(&mut self) {
        self.child = None;
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self
            .child
            .as_ref()
            .with_context(|| format!("{} does not run", self.name))?;
        kill_process(Pid::from_child(child), signal)
            .with_context(|| format!("sending a signal to {}", self.name))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn log_tail(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::Keeper;

    fn shell(folder: &Path, group: i32, script: &str) -> Node {
        Node::new("sh", Path::new("/bin/sh"), folder.join("sh.log"), group).args(["-c", script])
    }

    fn runs(pid: i32) -> bool {
        // A process that ended and is not yet collected counts as ended.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }

    #[test]
    fn a_node_comes_back_after_a_kill() {
        let scratch = tempfile::tempdir().unwrap();
        let keeper = Keeper::start().unwrap();
        let mut node = shell(scratch.path(), keeper.group(), "echo here; exec sleep 1000");
        assert!(!node.is_running());
        for _ in 0..2 {
            node.start().unwrap();
            assert!(node.is_running());
            node.kill();
            assert!(!node.is_running());
        }
    }

    #[test]
    fn one_that_does_not_listen_is_killed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut node = shell(
            scratch.path(),
            0,
            "trap '' TERM; echo ready; while :; do sleep 1000 & wait; done",
        );
        node.start().unwrap();
        while !node.log_tail().contains("ready") {
            sleep(LOOK_EVERY);
        }
        node.ask_to_end().unwrap();
        assert!(!node.wait_to_end(Duration::from_millis(100)));
        let mut polite = shell(scratch.path(), 0, "exec sleep 1000");
        polite.start().unwrap();
        polite.ask_to_end().unwrap();
        assert!(polite.wait_to_end(Duration::from_secs(60)));
    }

    #[test]
    fn nobody_outlives_the_keeper() {
        let scratch = tempfile::tempdir().unwrap();
        let keeper = Keeper::start().unwrap();
        let mut node = shell(scratch.path(), keeper.group(), "exec sleep 1000");
        node.start().unwrap();
        let pid = node.pid().unwrap();
        assert!(runs(pid));
        drop(keeper);
        while runs(pid) {
            sleep(LOOK_EVERY);
        }
        assert!(node.exit_status().is_some());
    }
}
