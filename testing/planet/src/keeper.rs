//! Kills a group of processes when whoever started them is gone, even by SIGKILL.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// A shell that leads the group and waits for the end of its standard input, which only this
/// process holds open: the system closes it when this process ends.
#[derive(Debug)]
pub struct Keeper {
    shell: Child,
    group: i32,
}

impl Keeper {
    /// Starts the shell.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", "read -r _; kill -9 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the shell that ends everything")?;
        let group = Pid::from_child(&shell).as_raw_nonzero().get();
        Ok(Self { shell, group })
    }

    /// The group for processes that must not outlive this one.
    #[must_use]
    pub const fn group(&self) -> i32 {
        self.group
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its input; it kills what is left of its group, and itself.
        drop(self.shell.stdin.take());
        let _gone = self.shell.wait();
    }
}
