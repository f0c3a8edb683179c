//! Makes things go wrong at their time, and right again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use host::{AskedBy, Wishes};
use model::units::UnixMs;
use model::wire::upkeep::LeaveWish;
use shardstore::disk::Disk as _;
use turmoil::Sim;

use crate::environment::EPOCH_MS;
use crate::nodes;
use crate::plan::{Fault, Node, Planned};
use crate::platter;
use crate::shared::{self, Shared};

/// Files whose bits change by themselves.
const FLIPPED: [&str; 3] = [".log", "index.checkpoint", "scrub"];

/// The faults of a run, and which of them are on.
pub(crate) struct Faults {
    shared: Arc<Shared>,
    waiting: Vec<Planned>,
    on: Vec<Planned>,
    /// Nodes whose program does not run, and which no fault brings back before its time.
    down: BTreeSet<Node>,
    nodes: Vec<Node>,
}

impl Faults {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let mut waiting = shared.plan.faults.clone();
        // The next one last.
        waiting.reverse();
        let nodes = shared::nodes(&shared.plan);
        Self {
            shared,
            waiting,
            on: Vec::new(),
            down: BTreeSet::new(),
            nodes,
        }
    }

    /// Whether all faults are over.
    pub(crate) fn are_over(&self) -> bool {
        self.waiting.is_empty() && self.on.is_empty()
    }

    /// Does what is due.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>) {
        let now = self.shared.clock.ms();
        while self.waiting.last().is_some_and(|next| next.at_ms <= now) {
            if let Some(next) = self.waiting.pop() {
                self.begin(sim, next);
            }
        }
        let dark = self.on.iter().filter_map(|planned| match planned.fault {
            Fault::PowerCut { node, .. } => Some(node),
            _ => None,
        });
        let dark: Vec<Node> = dark
            .filter(|node| !self.down.contains(node) && self.is_dark(*node))
            .collect();
        for node in dark {
            self.lose_power(sim, node);
        }
        let (over, on): (Vec<_>, Vec<_>) = self
            .on
            .drain(..)
            .partition(|planned| planned.until_ms <= now);
        self.on = on;
        for planned in over {
            self.end(sim, planned.fault);
        }
    }

    fn begin(&mut self, sim: &mut Sim<'_>, planned: Planned) {
        let fault = planned.fault;
        self.shared.trace.note("!", format_args!("{fault:?}"));
        match fault {
            Fault::PowerCut { node, accesses } => {
                self.disk(node, |machine| machine.power_for = Some(accesses));
            }
            Fault::Restart { host } => self.shared.stop(Node::Host(host)),
            Fault::Leaves { host } => self.leave(host),
            Fault::Gone { host } | Fault::Wiped { host } | Fault::Drops { host } => {
                self.lose_power(sim, Node::Host(host));
            }
            Fault::ClockJump { node, ms } => self.shared.set_skew(node, Some(ms)),
            Fault::Partition { .. } => self.part(sim, fault, true),
            Fault::Clogged { a, b } => sim.hold(a.ip(), b.ip()),
            Fault::Slow { node, bytes_per_s } => {
                self.shared.sockets.set_rate(node.ip(), Some(bytes_per_s));
            }
            Fault::DiskFull { host } => {
                self.disk(Node::Host(host), |machine| {
                    machine.taken_bytes = u64::MAX / 2;
                });
            }
            Fault::SlowDisks { ms } => crate::world::set_disk_pace_ms(ms),
            Fault::BitFlip { host } => {
                let machine = Node::Host(host).to_string();
                let flipped = self.shared.disks.flip_bit(&machine, &FLIPPED);
                self.shared
                    .trace
                    .note(&machine, format_args!("bit flipped: {flipped}"));
                return;
            }
        }
        // A Host that is gone stays gone.
        if !matches!(fault, Fault::Gone { .. }) {
            self.on.push(planned);
        }
    }

    fn end(&mut self, sim: &mut Sim<'_>, fault: Fault) {
        self.shared.trace.note("!", format_args!("over: {fault:?}"));
        match fault {
            Fault::PowerCut { node, .. } => {
                if !self.down.contains(&node) {
                    self.lose_power(sim, node);
                }
                self.shared.disks.restore_power(&node.to_string());
                self.bounce(sim, node);
            }
            Fault::Restart { host } => self.bounce_stopped(sim, host),
            Fault::Wiped { host } => {
                self.shared.disks.wipe(&Node::Host(host).to_string());
                if let Err(error) = make_folder(&self.shared, host) {
                    self.shared.trace.violation("!", error);
                }
                self.bounce(sim, Node::Host(host));
            }
            Fault::Drops { host } => {
                let node = Node::Host(host);
                self.shared.disks.restore_power(&node.to_string());
                let what = match platter::drop_half(&self.shared, host) {
                    Ok(shards) => format!("dropped {shards} shards"),
                    // It had no time to make one.
                    Err(error) => format!("drops nothing: {error:#}"),
                };
                self.shared.trace.note(&node.to_string(), what);
                self.bounce(sim, node);
            }
            Fault::ClockJump { node, .. } => self.shared.set_skew(node, None),
            Fault::Partition { .. } => self.part(sim, fault, false),
            Fault::Clogged { a, b } => sim.release(a.ip(), b.ip()),
            Fault::Slow { node, .. } => self.shared.sockets.set_rate(node.ip(), None),
            Fault::DiskFull { host } => {
                self.disk(Node::Host(host), |machine| machine.taken_bytes = 0);
            }
            Fault::SlowDisks { .. } => crate::world::set_disk_pace_ms(0),
            Fault::Gone { .. } | Fault::BitFlip { .. } | Fault::Leaves { .. } => {}
        }
    }

    /// As its owner does with `xcore exit`.
    fn leave(&self, host: u64) {
        let now = UnixMs(EPOCH_MS + self.shared.clock.ms());
        let asked = Wishes::change(&nodes::data_of(host), |wishes| {
            wishes.ask(LeaveWish::All, AskedBy::Owner, now);
        });
        let node = Node::Host(host).to_string();
        match asked {
            Ok(_) => self.shared.leaves(host),
            Err(error) => self
                .shared
                .trace
                .note(&node, format_args!("stays: {error}")),
        }
    }

    fn lose_power(&mut self, sim: &mut Sim<'_>, node: Node) {
        self.disk(node, crate::disk::Machine::cut_power);
        self.crash(sim, node);
    }

    /// Ends a program at once. Nothing that it would say on its way out is heard.
    fn crash(&mut self, sim: &mut Sim<'_>, node: Node) {
        if !self.down.insert(node) {
            return;
        }
        let others = self.nodes.iter().filter(|other| **other != node);
        let others: Vec<Node> = others.copied().collect();
        for other in &others {
            sim.partition(node.ip(), other.ip());
        }
        sim.crash(node.ip());
        for other in &others {
            sim.repair(node.ip(), other.ip());
        }
        // What was cut or clogged before still is.
        let on: Vec<Fault> = self.on.iter().map(|planned| planned.fault).collect();
        for fault in on {
            match fault {
                Fault::Partition { .. } => self.part(sim, fault, true),
                Fault::Clogged { a, b } if a == node || b == node => sim.hold(a.ip(), b.ip()),
                _ => {}
            }
        }
        self.shared.trace.note(&node.to_string(), "down");
    }

    fn bounce(&mut self, sim: &mut Sim<'_>, node: Node) {
        if self.down.remove(&node) {
            sim.bounce(node.ip());
            self.shared.trace.note(&node.to_string(), "started");
        }
    }

    /// Starts a Host that was asked to stop, whether it has or is still at it.
    fn bounce_stopped(&mut self, sim: &mut Sim<'_>, host: u64) {
        let node = Node::Host(host);
        if self.down.contains(&node) {
            return;
        }
        if sim.is_host_running(node.ip()) {
            self.shared.trace.note(&node.to_string(), "killed");
            self.crash(sim, node);
        }
        self.down.insert(node);
        self.bounce(sim, node);
    }

    fn part(&self, sim: &Sim<'_>, fault: Fault, on: bool) {
        let Fault::Partition { from, to, one_way } = fault else {
            return;
        };
        let sockets = &self.shared.sockets;
        sockets.set_cut(from.ip(), to.ip(), on);
        sockets.set_cut(to.ip(), from.ip(), on && !one_way);
        match (on, one_way) {
            (true, true) => sim.partition_oneway(from.ip(), to.ip()),
            (true, false) => sim.partition(from.ip(), to.ip()),
            (false, true) => sim.repair_oneway(from.ip(), to.ip()),
            (false, false) => sim.repair(from.ip(), to.ip()),
        }
    }

    /// Whether the power of `node` has gone.
    fn is_dark(&self, node: Node) -> bool {
        let disks = &self.shared.disks;
        disks.with(&node.to_string(), |machine| machine.is_dark())
    }

    fn disk(&self, node: Node, change: impl FnOnce(&mut crate::disk::Machine)) {
        self.shared.disks.with(&node.to_string(), change);
    }
}

/// Makes the data folders, as whoever sets a Host up would.
pub(crate) fn make_folders(shared: &Shared) -> std::io::Result<()> {
    (1..=shared.plan.hosts).try_for_each(|host| make_folder(shared, host))
}

fn make_folder(shared: &Shared, host: u64) -> std::io::Result<()> {
    let data = nodes::data_of(host);
    shared.disks.create_folders(&data)?;
    match data.parent() {
        Some(top) => shared.disks.sync_folder(top),
        None => Ok(()),
    }
}

/// How many of each kind there are, for whoever counts what runs have met.
pub(crate) fn kinds(faults: &[Planned]) -> BTreeMap<&'static str, u64> {
    let mut kinds = BTreeMap::new();
    for planned in faults {
        let kind = match planned.fault {
            Fault::PowerCut { .. } => "power cuts",
            Fault::Restart { .. } => "restarts",
            Fault::Gone { .. } => "hosts gone",
            Fault::Wiped { .. } => "wiped disks",
            Fault::ClockJump { .. } => "clock jumps",
            Fault::Partition { .. } => "partitions",
            Fault::Clogged { .. } => "clogged links",
            Fault::Slow { .. } => "slow links",
            Fault::DiskFull { .. } => "full disks",
            Fault::SlowDisks { .. } => "slow disks",
            Fault::Drops { .. } => "dropped shards",
            Fault::Leaves { .. } => "hosts leaving",
            Fault::BitFlip { .. } => "bit flips",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
