//! `cargo xtask api`: schemathesis asks a running Bridge what its description promises: every
//! answer as described, nothing refused that fits, nothing taken that does not, no fault.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ::planet::{Patience, Planet, PlanetConfig, Programs};
use anyhow::{Result, ensure};
use clap::Args;

use crate::tools;

/// Hosts, so that uploads find places.
const HOSTS: usize = 4;
/// How long everybody may take to come online.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long everybody may take to end before being killed.
const END_WITHIN: Duration = Duration::from_secs(15);
/// Requests made up for each call in `cargo xtask test`.
const EXAMPLES: u32 = 10;

#[derive(Args)]
pub(crate) struct Options {
    /// Requests made up for each call, beside those that walk along every limit
    #[arg(long, default_value_t = 100)]
    examples: u32,
    /// What the requests follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The share of it that every test run has.
pub(crate) fn share(root: &Path) -> Result<()> {
    let options = Options {
        examples: EXAMPLES,
        seed: 1,
    };
    ensure!(
        run(root, &options)?,
        "the bridge is not as described; again: cargo xtask api --examples {EXAMPLES}"
    );
    Ok(())
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let schemathesis = tools::schemathesis()?;
    let programs = Programs::build(root)?;
    let dir = crate::target_folder(root).join("api");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let mut planet = Planet::new(PlanetConfig::new(programs, dir.join("planet"), HOSTS))?;
    planet.start(Patience::within(READY_WITHIN))?;
    let url = planet.layout().bridge_url();
    let owner = planet.owner("owner");
    owner.init(&url)?;
    // The first call signs in, and leaves its session for the next.
    let output = owner.run(["mkdir", "/folder"])?;
    ensure!(output.status.success(), "xcloud mkdir failed");
    let folder = root.join("xtask/schemathesis");
    let status = Command::new(schemathesis)
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{url}/openapi.json"))
        .args(["--seed", &options.seed.to_string()])
        .args(["--max-examples", &options.examples.to_string()])
        .env("XCLOUD_TOKEN", owner.token()?)
        .env("PYTHONPATH", &folder)
        .env("SCHEMATHESIS_HOOKS", "checks")
        .current_dir(&dir)
        .status()?;
    let killed = planet.stop(END_WITHIN);
    ensure!(killed.is_empty(), "had to be killed: {}", killed.join(", "));
    Ok(status.success())
}
