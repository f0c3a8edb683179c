//! Plays a plan: builds the nodes, lets time pass, makes things go wrong, and judges in the end.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use metastore::Store;
use net::SimulatedNetwork;
use shardstore::disk::SimulatedDisk;
use tasks::Inline;
use turmoil::Sim;

use crate::ending::Ending;
use crate::faults::{self, Faults};
use crate::plan::{HOSTS_LEFT, Node, Plan, Sabotage};
use crate::shared::{self, Shared};
use crate::trace;

/// The steps in which time passes. Messages arrive between them; timers ring to the millisecond.
const TICK: Duration = Duration::from_millis(20);
/// The longest run: beyond that something waits for ever.
const RUN_MAX: Duration = Duration::from_secs(3_600);
/// When the backup is made that a Bridge may be restored from.
const BACKUP_AT: Duration = Duration::from_secs(20);
/// Segments on their way on one connection.
const TCP_SEGMENTS_MAX: usize = 256;

thread_local! {
    static DISK_PACE_MS: Cell<u64> = const { Cell::new(0) };
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// From now on all blocking work takes so long.
pub(crate) fn set_disk_pace_ms(ms: u64) {
    DISK_PACE_MS.set(ms);
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: String,
    /// What happened, a line each.
    pub trace: Vec<String>,
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// How much simulated time passed.
    pub simulated: Duration,
    /// How many shards the Bridge counted on in the end, all of which were there.
    pub shards: u64,
    /// How many faults of each kind there were.
    pub faults: Vec<(&'static str, u64)>,
}

impl Report {
    /// Whether everything held.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Plays `plan` on this thread.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    count_panics();
    PANICS.set(0);
    set_disk_pace_ms(0);
    let shared = Arc::new(Shared::new(plan.clone()));
    let _inline = Inline::here(|| Duration::from_millis(DISK_PACE_MS.get()));
    let _disks = SimulatedDisk::here(Arc::new(shared.disks.clone()));
    let _network = SimulatedNetwork::here(Arc::new(shared.sockets.clone()));
    let (elapsed, shards) = play(&shared);
    conclude(&shared, elapsed, shards)
}

/// Everything until the last node is gone; returns how much time has passed, and how many
/// shards there were in the end.
fn play(shared: &Arc<Shared>) -> (Duration, u64) {
    if let Err(error) = faults::make_folders(shared) {
        shared.trace.violation("!", error);
    }
    sabotage(shared);
    let mut sim = build(shared);
    let mut faults = Faults::new(Arc::clone(shared));
    let (mut ending, mut backup) = (Ending::default(), None);
    while !ending.step(shared, &mut sim, backup.as_ref()) {
        if let Err(error) = sim.step() {
            shared
                .trace
                .violation("!", format_args!("a node failed: {error}"));
            break;
        }
        shared.clock.set(sim.elapsed());
        faults.step(&mut sim);
        if backup.is_none() && sim.elapsed() >= BACKUP_AT {
            backup = shared.backup();
        }
        if !shared.is_healed() {
            heal_when_over(shared, &faults, &mut sim, backup.as_ref());
        }
        if sim.elapsed() > RUN_MAX {
            shared.trace.violation("!", "the run does not end");
            break;
        }
    }
    let elapsed = sim.elapsed();
    let nodes = shared::nodes(&shared.plan);
    for node in nodes {
        if let Node::Host(host) = node {
            let name = Node::Host(host).to_string();
            shared.disks.with(&name, crate::disk::Machine::cut_power);
        }
    }
    drop(sim);
    (elapsed, ending.shards)
}

fn build(shared: &Arc<Shared>) -> Sim<'static> {
    let (shortest, longest) = shared.plan.latency_ms;
    let mut sim = turmoil::Builder::new()
        .rng_seed(shared.plan.seed)
        .tick_duration(TICK)
        .simulation_duration(RUN_MAX * 2)
        .min_message_latency(Duration::from_millis(shortest))
        .max_message_latency(Duration::from_millis(longest))
        .tcp_capacity(TCP_SEGMENTS_MAX)
        .build();
    for node in shared::nodes(&shared.plan) {
        let shared = Arc::clone(shared);
        sim.host(node.ip(), move || {
            crate::nodes::run(Arc::clone(&shared), node)
        });
    }
    sim
}

/// Once all devices have worked and all faults are over, nothing goes wrong any more.
fn heal_when_over(shared: &Shared, faults: &Faults, sim: &mut Sim<'_>, backup: Option<&Store>) {
    let worked = shared.devices.iter().all(|device| device.has_worked());
    if !worked || !faults.are_over() {
        return;
    }
    shared.trace.note("!", "everything works again");
    match shared.plan.sabotage {
        Some(Sabotage::TooManyGone) => {
            let gone = HOSTS_LEFT + 1..=shared.plan.hosts;
            gone.for_each(|host| sim.crash(Node::Host(host).ip()));
        }
        Some(Sabotage::OldBackup) => {
            sim.crash(Node::Bridge.ip());
            if let Some(backup) = backup {
                shared.restore(backup.clone());
            }
            sim.bounce(Node::Bridge.ip());
        }
        Some(Sabotage::DisksLie) | None => {}
    }
    shared.heal();
}

fn sabotage(shared: &Shared) {
    if shared.plan.sabotage == Some(Sabotage::DisksLie) {
        for host in 1..=shared.plan.hosts {
            let name = Node::Host(host).to_string();
            shared.disks.with(&name, |machine| machine.lies = true);
        }
    }
}

/// What came of it, now that all is over.
fn conclude(shared: &Shared, elapsed: Duration, shards: u64) -> Report {
    if PANICS.get() > 0 {
        shared
            .trace
            .violation("!", format_args!("{} panics", PANICS.get()));
    }
    let traffic = shared.sockets.traffic();
    shared.trace.note("!", format_args!("{traffic:?}"));
    let (trace, violations) = shared.trace.take();
    Report {
        seed: shared.plan.seed,
        hash: trace::hash(&trace),
        trace,
        violations,
        simulated: elapsed,
        shards,
        faults: faults::kinds(&shared.plan.faults).into_iter().collect(),
    }
}

/// Counts the panics of each thread, which a task keeps to itself.
fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}
