//! A network to measure: one Bridge, some Hosts and an owner on this machine, and what a command of
//! the owner costs everybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::planet::{Node, Owner, Patience, Planet, PlanetConfig, Programs};
use anyhow::{Context as _, Result};

use super::files;
use super::meter::{self, Cost};
use super::table::mb;

const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(15);

/// Memory that is touched before each transfer. A virtual machine gets its memory from its host
/// page by page, at first touch, for two seconds of CPU per GB: ours must not be counted for it.
const WARM_BYTES: usize = 6 << 30;

/// A planet with an owner, and a folder for files beside it.
pub(crate) struct Stage {
    pub(crate) dir: PathBuf,
    pub(crate) planet: Planet,
    pub(crate) owner: Owner,
}

/// What a command cost the owner's client and the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bill {
    pub(crate) client: Cost,
    pub(crate) bridge_s: f64,
    pub(crate) hosts_s: f64,
}

impl Bill {
    /// Everybody's CPU seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.client.cpu_s + self.bridge_s + self.hosts_s
    }

    /// CPU seconds of client, Bridge and Hosts for each of `units`, as cells of a row.
    pub(crate) fn cells(&self, units: f64) -> [String; 4] {
        let share = |seconds: f64| format!("{:.2}", seconds / units);
        [
            share(self.client.cpu_s),
            share(self.bridge_s),
            share(self.hosts_s),
            format!("{} MB", mb(self.client.peak_bytes)),
        ]
    }
}

impl Stage {
    /// A new planet of `hosts` Hosts in `dir`.
    pub(crate) fn new(root: &Path, dir: PathBuf, hosts: usize) -> Result<Self> {
        // What an earlier run left behind, if there was one.
        files::empty_folder(&dir)?;
        let programs = Programs::build(root)?;
        let mut planet = Planet::new(PlanetConfig::new(programs, dir.join("planet"), hosts))?;
        planet.start(Patience::within(READY_WITHIN))?;
        let owner = planet.owner("owner");
        owner.init(&planet.layout().bridge_url())?;
        Ok(Self { dir, planet, owner })
    }

    /// What `transfer` costs everybody, after memory was warmed up.
    pub(crate) fn measure(
        &mut self,
        transfer: impl FnOnce(&Owner) -> Result<Cost>,
    ) -> Result<Bill> {
        // Written, so that it is really there, and given back at once.
        drop(std::hint::black_box(vec![1_u8; WARM_BYTES]));
        let (bridge_before, hosts_before) = self.spent()?;
        let client = transfer(&self.owner)?;
        let (bridge_after, hosts_after) = self.spent()?;
        Ok(Bill {
            client,
            bridge_s: bridge_after - bridge_before,
            hosts_s: hosts_after - hosts_before,
        })
    }

    /// Tells the others' peak memory and ends everything.
    pub(crate) fn end(mut self) -> Result<()> {
        let peaks = self
            .planet
            .hosts()
            .iter()
            .filter_map(Node::pid)
            .map(meter::peak_memory);
        let host_peak = peaks.max().unwrap_or(0);
        let bridge_peak = self.planet.bridge().pid().map_or(0, meter::peak_memory);
        let (host, bridge) = (mb(host_peak), mb(bridge_peak));
        println!("\npeak memory: largest Host {host} MB (aim 100), Bridge {bridge} MB");
        self.planet.stop(END_WITHIN);
        fs::remove_dir_all(&self.dir)?;
        Ok(())
    }

    /// CPU seconds of the Bridge and of all Hosts so far.
    fn spent(&mut self) -> Result<(f64, f64)> {
        let bridge = self.planet.bridge().pid().context("the Bridge has ended")?;
        let mut hosts_s = 0.0;
        for host in self.planet.hosts() {
            hosts_s += meter::cpu_time(host.pid().context("a Host has ended")?)?;
        }
        Ok((meter::cpu_time(bridge)?, hosts_s))
    }
}
