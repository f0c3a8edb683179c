//! A Host of a planet, asked and told by its own program.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Planet;
use crate::layout::HostPlace;
use crate::survey::{self, Event, HostStatus};

impl Planet {
    /// Runs `xcore` with `args` for the Host `number`, the first being 0, to its end.
    ///
    /// # Errors
    /// When it cannot be run; what it answers is the caller's to judge.
    pub fn xcore<A: AsRef<OsStr>>(
        &self,
        number: usize,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        let data = self.place(number)?.data;
        let mut command = Command::new(&self.programs.xcore);
        command.args(args).arg("--data").arg(data);
        let output = command.stdin(Stdio::null()).output();
        output.context("running xcore")
    }

    /// The same; it must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn tell_host<A: AsRef<OsStr>>(
        &self,
        number: usize,
        args: impl IntoIterator<Item = A>,
    ) -> Result<()> {
        let output = self.xcore(number, args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        ensure!(status.success(), "xcore ended ({status}): {}", said.trim());
        Ok(())
    }

    /// What the Host wrote down of itself last.
    ///
    /// # Errors
    /// When it wrote nothing yet.
    pub fn host_status(&self, number: usize) -> Result<HostStatus> {
        let path = self.place(number)?.data.join("status.json");
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// What the Bridge decided about the Host, as far as that knows; oldest first.
    ///
    /// # Errors
    /// When its program does not say.
    pub fn host_events(&self, number: usize) -> Result<Vec<Event>> {
        survey::events(&self.programs.xcore, &self.place(number)?.data)
    }

    /// What the Bridge believes of its Hosts: their names and states, as `xbridge hosts` says.
    ///
    /// # Errors
    /// When its program does not say.
    pub fn host_states(&self) -> Result<Vec<(String, String)>> {
        survey::host_states(&self.programs.xbridge, &self.layout.bridge_data())
    }

    /// Runs `xbridge` with `args` beside the Bridge, to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn xbridge<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Output> {
        let mut command = Command::new(&self.programs.xbridge);
        command
            .args(args)
            .arg("--data")
            .arg(self.layout.bridge_data());
        let output = command.stdin(Stdio::null()).output();
        output.context("running xbridge")
    }

    fn place(&self, number: usize) -> Result<HostPlace> {
        let place = self.layout.hosts().into_iter().nth(number);
        place.with_context(|| format!("there is no host {number}"))
    }
}
