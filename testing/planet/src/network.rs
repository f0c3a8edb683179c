//! The planet: a Bridge and its Hosts, started in order, waited for, ended together.

mod hosts;

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::ask::ask;
use crate::keeper::Keeper;
use crate::layout::{HostPlace, Layout};
use crate::left::{self, Left};
use crate::node::{LOOK_EVERY, Node};
use crate::owner::Owner;
use crate::programs::Programs;

/// Where the Bridge tells how many Hosts are online.
const ABOUT: &str = "/v1/bridge";

/// What a planet is made of.
#[derive(Clone, Debug)]
pub struct PlanetConfig {
    /// The programs.
    pub programs: Programs,
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Number of Hosts.
    pub hosts: usize,
    /// Space each Host offers, `10GB` say.
    pub space: String,
    /// How patient the Bridge is: `dev` or `standard`.
    pub profile: String,
    /// Further arguments of every Host.
    pub host_args: Vec<OsString>,
    /// Further arguments of the Bridge.
    pub bridge_args: Vec<OsString>,
    /// Whether the processes may outlive us; else they die with this process.
    pub outlives_us: bool,
}

impl PlanetConfig {
    /// `hosts` Hosts of 10 GB in `dir`, which die with this process.
    #[must_use]
    pub fn new(programs: Programs, dir: impl Into<PathBuf>, hosts: usize) -> Self {
        Self {
            programs,
            dir: dir.into(),
            hosts,
            space: "10GB".to_owned(),
            profile: "dev".to_owned(),
            host_args: Vec::new(),
            bridge_args: Vec::new(),
            outlives_us: false,
        }
    }
}

/// How long to wait, and when to give up earlier.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// The limit.
    pub within: Duration,
    /// Asked again and again: whether to give up now.
    pub give_up: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// Waits up to `within`, come what may.
    #[must_use]
    pub const fn within(within: Duration) -> Self {
        Self {
            within,
            give_up: &|| false,
        }
    }
}

impl std::fmt::Debug for Patience<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// A network of processes; dropping it kills them all, unless they were left.
#[derive(Debug)]
pub struct Planet {
    programs: Programs,
    layout: Layout,
    // Before the keeper, so that each process is collected before the group is ended.
    bridge: Node,
    hosts: Vec<Node>,
    _keeper: Option<Keeper>,
}

#[derive(Deserialize)]
struct About {
    hosts_online: u64,
}

impl Planet {
    /// Lays the planet out and starts nothing yet.
    ///
    /// # Errors
    /// When its folder cannot be used, or a planet runs there already.
    pub fn new(config: PlanetConfig) -> Result<Self> {
        let layout = Layout::open(&config.dir, config.hosts)?;
        let dir = layout.dir();
        ensure!(
            !left::is_running(dir)?,
            "a planet runs in {} already",
            dir.display()
        );
        let keeper = if config.outlives_us {
            None
        } else {
            Some(Keeper::start()?)
        };
        let group = keeper.as_ref().map_or(0, Keeper::group);
        let bridge = bridge_node(&config, &layout, group);
        let hosts = layout
            .hosts()
            .iter()
            .map(|host| host_node(&config, &layout, host, group))
            .collect();
        Ok(Self {
            programs: config.programs,
            layout,
            bridge,
            hosts,
            _keeper: keeper,
        })
    }

    /// Starts the Bridge, then the Hosts, and waits until the Bridge counts them all online.
    ///
    /// # Errors
    /// When one of them ends, or not all are there in time; names it and shows its log's end.
    pub fn start(&mut self, patience: Patience<'_>) -> Result<()> {
        self.start_bridge(patience)?;
        for host in &mut self.hosts {
            host.start()?;
        }
        left::remember(self.layout.dir(), &self.running())?;
        let everybody = self.hosts.len();
        self.wait_online(everybody, patience)
    }

    /// Starts the Bridge, again perhaps, and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time.
    pub fn start_bridge(&mut self, patience: Patience<'_>) -> Result<()> {
        self.bridge.start()?;
        self.wait_until(patience, "the bridge answers", |planet| {
            planet.online().is_ok()
        })
    }

    /// Waits until exactly `hosts` Hosts are online.
    ///
    /// # Errors
    /// When a process that was started ends, or they are not in time.
    pub fn wait_online(&mut self, hosts: usize, patience: Patience<'_>) -> Result<()> {
        let goal = format!("{hosts} hosts are online");
        self.wait_until(patience, &goal, |planet| {
            planet
                .online()
                .is_ok_and(|online| usize::try_from(online) == Ok(hosts))
        })
    }

    /// How many Hosts the Bridge counts online.
    ///
    /// # Errors
    /// When the Bridge does not say.
    pub fn online(&self) -> Result<u64> {
        let about: About = serde_json::from_str(&ask(self.layout.bridge(), ABOUT)?)?;
        Ok(about.hosts_online)
    }

    /// Addresses and folders.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The Bridge's process.
    pub const fn bridge(&mut self) -> &mut Node {
        &mut self.bridge
    }

    /// The Hosts' processes, `h1` first.
    pub fn hosts(&mut self) -> &mut [Node] {
        &mut self.hosts
    }

    /// The owner called `name`; [`Owner::init`] opens the account.
    #[must_use]
    pub fn owner(&self, name: &str) -> Owner {
        let dir = self.layout.dir();
        Owner::new(
            &self.programs.xcloud,
            dir.join(name),
            dir.join(format!("{name}.phrase")),
        )
    }

    /// Asks everybody to end, Hosts first, and waits; kills who does not. Returns the names of
    /// those that were killed.
    pub fn stop(&mut self, within: Duration) -> Vec<String> {
        let mut killed = Vec::new();
        let began = Instant::now();
        for host in &self.hosts {
            // Fails only for those that do not run.
            let _not_running = host.ask_to_end();
        }
        for node in &mut self.hosts {
            if !node.wait_to_end(within.saturating_sub(began.elapsed())) {
                killed.push(node.name().to_owned());
            }
        }
        let _not_running = self.bridge.ask_to_end();
        if !self.bridge.wait_to_end(within) {
            killed.push(self.bridge.name().to_owned());
        }
        // What stays written down no longer runs, and is known by that.
        let _stale = left::forget(self.layout.dir());
        killed
    }

    /// Leaves everybody running in the background, for [`stop_left`](crate::stop_left).
    ///
    /// # Errors
    /// When the processes cannot be written down; then they are killed.
    pub fn leave(mut self) -> Result<()> {
        left::remember(self.layout.dir(), &self.running())?;
        self.bridge.leave();
        self.hosts.iter_mut().for_each(Node::leave);
        Ok(())
    }

    /// The first process that ended by itself, with its log's end.
    ///
    /// # Errors
    /// That is the error.
    pub fn check_alive(&mut self) -> Result<()> {
        for node in std::iter::once(&mut self.bridge).chain(&mut self.hosts) {
            if let Some(status) = node.exit_status() {
                bail!(
                    "{} ended ({status}); its log says:\n{}",
                    node.name(),
                    node.log_tail()
                );
            }
        }
        Ok(())
    }

    fn running(&self) -> Vec<Left> {
        let nodes = std::iter::once(&self.bridge).chain(&self.hosts);
        nodes
            .filter_map(|node| Left::new(node.name(), node.pid()?))
            .collect()
    }

    fn wait_until(
        &mut self,
        patience: Patience<'_>,
        goal: &str,
        reached: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            self.check_alive()
                .with_context(|| format!("waiting until {goal}"))?;
            if reached(self) {
                return Ok(());
            }
            ensure!(
                !(patience.give_up)(),
                "interrupted while waiting until {goal}"
            );
            if began.elapsed() > patience.within {
                let seconds = patience.within.as_secs();
                let log = self.bridge.log_tail();
                bail!(
                    "gave up after {seconds} s waiting until {goal}; the bridge's log says:\n{log}"
                );
            }
            sleep(LOOK_EVERY);
        }
    }
}

fn bridge_node(config: &PlanetConfig, layout: &Layout, group: i32) -> Node {
    Node::new(
        "bridge",
        &config.programs.xbridge,
        layout.log("bridge"),
        group,
    )
    .args(["--data"])
    .args([layout.bridge_data()])
    .args(["--listen", &layout.bridge().to_string(), "--trust-zones"])
    .args(["--profile", &config.profile])
    .args(config.bridge_args.clone())
}

fn host_node(config: &PlanetConfig, layout: &Layout, host: &HostPlace, group: i32) -> Node {
    Node::new(
        &host.name,
        &config.programs.xcore,
        layout.log(&host.name),
        group,
    )
    .args(["run", "--data"])
    .args([&host.data])
    .args([
        "--bridge",
        &layout.bridge_url(),
        "--listen",
        &host.addr.to_string(),
    ])
    .args([
        "--space",
        &config.space,
        "--name",
        &host.name,
        "--zone",
        &host.zone,
    ])
    .args(config.host_args.clone())
}

#[cfg(test)]
mod tests;
