//! restic, to a repository in a folder.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{Given, Tasks, Took};
use crate::bench::{files, meter};
use crate::tools;

/// Beside the repository, as a person's would be.
const PASSWORD: &str = "a bench has no secrets";

pub(super) fn run(dir: &Path, given: &Given<'_>) -> Result<Tasks> {
    tools::install_restic()?;
    files::empty_folder(dir)?;
    let restic = |args: &[&OsStr], inside: &Path| -> Result<Took> {
        let mut command = Command::new("restic");
        command
            .args(["--quiet", "--repo"])
            .arg(dir.join("repository"))
            .arg("--cache-dir")
            .arg(dir.join("cache"))
            .args(args)
            .env("RESTIC_PASSWORD", PASSWORD)
            .current_dir(inside)
            .stdin(Stdio::null());
        let cost = meter::run(&mut command).context("running restic")?;
        Ok(Took {
            wall_s: cost.wall_s,
            cpu_s: cost.cpu_s,
            peak_bytes: cost.peak_bytes,
        })
    };
    restic(&[OsStr::new("init")], dir)?;
    let there_and_back = |what: &Path| -> Result<[Took; 2]> {
        let (above, name) = (
            what.parent().context("no folder")?,
            what.file_name().context("no name")?,
        );
        let up = restic(&[OsStr::new("backup"), name], above)?;
        files::empty_folder(given.back)?;
        let restore = ["restore", "latest", "--target"].map(OsStr::new);
        let down = restic(&[&restore[..], &[given.back.as_os_str()]].concat(), above)?;
        files::ensure_same(what, &given.back.join(name))?;
        Ok([up, down])
    };
    let [up, down] = there_and_back(given.large)?;
    let [small_up, small_down] = there_and_back(given.small)?;
    Ok([up, down, small_up, small_down])
}
