//! A Bridge, Hosts and an owner in the namespaces of a rig.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::HOSTS;
use super::rig::{BRIDGE, OWNER, Rig};
use crate::keeper::Keeper;
use crate::node::{LOOK_EVERY, Node};
use crate::owner::Owner;
use crate::programs::Programs;
use crate::survey::{self, Event};

const BRIDGE_PORT: u16 = 7400;
const HOST_PORT: u16 = 7500;
/// Nothing takes longer, unless it never happens.
const WITHIN: Duration = Duration::from_secs(60);

/// Everybody; gone when dropped.
#[derive(Debug)]
pub(super) struct World {
    // Processes before what they run in.
    bridge: Node,
    hosts: Vec<Node>,
    owner: Owner,
    _keeper: Keeper,
    pub(super) rig: Rig,
    programs: Programs,
    dir: PathBuf,
}

impl World {
    /// Everybody is there, on perfect lines.
    pub(super) fn start(programs: &Programs, dir: &Path) -> Result<Self> {
        let (rig, keeper) = (Rig::make(HOSTS)?, Keeper::start()?);
        let node = |number: usize, name: &str, program: &Path| {
            let log = dir.join("logs").join(format!("{name}.log"));
            Node::new(name, Path::new("ip"), log, keeper.group())
                .args(rig.enter(number).into_iter().skip(1))
                .args([program])
        };
        let mut bridge = node(BRIDGE, "bridge", &programs.xbridge)
            .args([
                "--listen",
                &format!("{}:{BRIDGE_PORT}", Rig::address(BRIDGE)),
            ])
            .args(["--tls", "--trust-zones", "--profile", "dev", "--data"])
            .args([dir.join("bridge")]);
        bridge.start()?;
        let url = url_in_log(&mut bridge)?;
        let hosts = (0..HOSTS).map(|number| {
            let name = format!("h{}", number + 1);
            let listen = format!("{}:{HOST_PORT}", Rig::address(number));
            node(number, &name, &programs.xcore)
                .args([
                    "run", "--bridge", &url, "--listen", &listen, "--space", "10GB",
                ])
                .args(["--name", &name, "--zone", &format!("z{number}"), "--data"])
                .args([dir.join(&name)])
        });
        let hosts = hosts.collect();
        let (home, phrase) = (dir.join("owner"), dir.join("owner.phrase"));
        let owner = Owner::new(&programs.xcloud, home, phrase).entered_by(rig.enter(OWNER));
        let mut world = Self {
            bridge,
            hosts,
            owner,
            _keeper: keeper,
            rig,
            programs: programs.clone(),
            dir: dir.to_owned(),
        };
        for host in &mut world.hosts {
            host.start()?;
        }
        world.wait_online()?;
        world.owner.init(&url)?;
        Ok(world)
    }

    /// Where the owner has files of its own.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.dir.join("scratch").join(name)
    }

    /// Runs the client, which must succeed.
    pub(super) fn xcloud<const N: usize>(&self, args: [&str; N]) -> Result<()> {
        let output = self.owner.run(args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        ensure!(
            status.success(),
            "{args:?} ended ({status}): {}",
            said.trim()
        );
        Ok(())
    }

    /// How many segments of all files lack a shard on a Host of its own that is online.
    pub(super) fn short_segments(&self) -> Result<usize> {
        let mut short = 0;
        for path in self.owner.files()? {
            let segments = self.owner.segments(&path)?;
            short += segments
                .iter()
                .filter(|segment| !segment.is_whole())
                .count();
        }
        Ok(short)
    }

    /// What the Bridge decided about a Host.
    pub(super) fn events(&self, number: usize) -> Result<Vec<Event>> {
        survey::events(&self.programs.xcore, &self.data(number))
    }

    /// A Host dies with all it has, and another takes its place.
    pub(super) fn replace(&mut self, number: usize) -> Result<()> {
        let data = self.data(number);
        let host = self.hosts.get_mut(number).context("no such host")?;
        host.kill();
        fs::remove_dir_all(data)?;
        host.start()
    }

    fn data(&self, number: usize) -> PathBuf {
        self.dir.join(format!("h{}", number + 1))
    }

    fn wait_online(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let states = survey::host_states(&self.programs.xbridge, &self.dir.join("bridge"));
            let states = states.unwrap_or_default();
            let online = states.iter().filter(|(_, state)| state == "online");
            if online.count() == HOSTS {
                return Ok(());
            }
            ensure!(
                began.elapsed() < WITHIN && self.bridge.is_running(),
                "not everybody is online: {states:?}; the bridge's log says:\n{}",
                self.bridge.log_tail()
            );
            sleep(LOOK_EVERY);
        }
    }
}

/// The one line that the Bridge prints on standard output.
fn url_in_log(bridge: &mut Node) -> Result<String> {
    let began = Instant::now();
    loop {
        let log = fs::read_to_string(bridge.log()).unwrap_or_default();
        let whole = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
        if let Some(url) = whole.lines().find(|line| line.starts_with("https://")) {
            return Ok(url.to_owned());
        }
        ensure!(
            began.elapsed() < WITHIN && bridge.is_running(),
            "the bridge does not serve; its log says:\n{log}"
        );
        sleep(LOOK_EVERY);
    }
}
