//! What the nodes of a run and whoever drives them share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge::keys::BridgeKeys;
use metastore::Store;
use model::crypto::{Secret, SigningKey};
use model::units::HostId;
use net::BridgeUrl;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::device::Kept;
use crate::disk::Disks;
use crate::environment::{Clock, NodeEnvironment, Skew};
use crate::model::Files;
use crate::network::Sockets;
use crate::plan::{Node, Plan};
use crate::trace::Trace;

/// Where the Bridge listens.
pub(crate) const BRIDGE_PORT: u16 = 7_400;
/// Where Hosts listen.
pub(crate) const HOST_PORT: u16 = 7_500;

/// Everything of a run that outlives its nodes.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) clock: Clock,
    pub(crate) trace: Trace,
    pub(crate) disks: Disks,
    pub(crate) sockets: Sockets,
    pub(crate) bridge: BridgeKeys,
    pub(crate) devices: Vec<Arc<Kept>>,
    skews: BTreeMap<Node, Skew>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    starts: BTreeMap<Node, u64>,
    stops: BTreeMap<Node, CancellationToken>,
    /// Hosts that have asked to leave.
    leaving: BTreeSet<u64>,
    /// Everything that goes wrong is over.
    healed: bool,
}

impl Shared {
    pub(crate) fn new(plan: Plan) -> Self {
        let clock = Clock::default();
        let trace = Trace::new(clock.clone());
        let disks = Disks::new(plan.seed, 1 << 30);
        let sockets = Sockets::new(disks.clone());
        for node in nodes(&plan) {
            sockets.add_machine(node.ip(), &node.to_string());
        }
        let owners = plan.devices.iter().zip(1..);
        let devices = owners
            .flat_map(|(devices, owner)| (1..=*devices).map(move |device| (owner, device == 1)));
        let devices: Vec<Arc<Kept>> = devices
            .zip(1..)
            .map(|((owner, is_first), number)| {
                let machine = (disks.clone(), Node::Device(number).to_string());
                Arc::new(Kept::new(owner, is_first, machine))
            })
            .collect();
        let nodes = nodes(&plan);
        let skews: BTreeMap<Node, Skew> = nodes
            .iter()
            .zip(&plan.skew_ms)
            .map(|(node, ms)| {
                let skew = Skew::default();
                skew.set_ms(*ms);
                (*node, skew)
            })
            .collect();
        let secret = |what: &str| Secret::new(secret_bytes(plan.seed, what));
        Self {
            bridge: BridgeKeys::new(&secret("bridge"), &secret("serials")),
            clock,
            trace,
            disks,
            sockets,
            devices,
            skews,
            state: Mutex::new(State {
                store: Store::mem(),
                starts: BTreeMap::new(),
                stops: BTreeMap::new(),
                leaving: BTreeSet::new(),
                healed: false,
            }),
            plan,
        }
    }

    /// The Bridge's database, which outlives its crashes.
    pub(crate) fn store(&self) -> Store {
        self.state().store.clone()
    }

    /// A backup of the database as it is now.
    pub(crate) fn backup(&self) -> Option<Store> {
        self.state().store.backup()
    }

    /// From its next start on the Bridge has this database.
    pub(crate) fn restore(&self, backup: Store) {
        self.state().store = backup;
    }

    /// The key of a node; for the owner `number`, the entropy of its recovery phrase.
    pub(crate) fn secret(&self, what: &str) -> Secret {
        Secret::new(secret_bytes(self.plan.seed, what))
    }

    pub(crate) fn host_key(&self, host: u64) -> SigningKey {
        SigningKey::from_seed(&self.secret(&Node::Host(host).to_string()))
    }

    pub(crate) fn host_id(&self, host: u64) -> HostId {
        HostId(self.host_key(host).public())
    }

    /// The URL that Hosts and owners are given.
    pub(crate) fn bridge_url(&self) -> anyhow::Result<BridgeUrl> {
        let addr = SocketAddr::new(Node::Bridge.ip(), BRIDGE_PORT);
        Ok(format!("https://{}@{addr}", self.bridge.id).parse()?)
    }

    /// A start of `node`: what it has for clock and randomness, and what stops it.
    pub(crate) fn start(&self, node: Node) -> (Arc<NodeEnvironment>, CancellationToken) {
        let mut state = self.state();
        let start = state.starts.entry(node).or_default();
        *start += 1;
        let start = *start;
        let stop = CancellationToken::new();
        state.stops.insert(node, stop.clone());
        drop(state);
        let skew = self.skews.get(&node).cloned().unwrap_or_default();
        let name = node.to_string();
        let named = (name.as_str(), start);
        let environment = NodeEnvironment::new(
            self.plan.seed,
            named,
            self.disks.clone(),
            (self.clock.clone(), skew),
        );
        (Arc::new(environment), stop)
    }

    /// Sets the clock of `node` ahead by so much, or to what it was at the start.
    pub(crate) fn set_skew(&self, node: Node, ms: Option<i64>) {
        let index = self.skews.keys().position(|known| *known == node);
        let planned = index.and_then(|index| self.plan.skew_ms.get(index));
        if let Some(skew) = self.skews.get(&node) {
            skew.set_ms(ms.or(planned.copied()).unwrap_or(0));
        }
    }

    /// Has `node` stop in good order.
    pub(crate) fn stop(&self, node: Node) {
        if let Some(stop) = self.state().stops.get(&node) {
            stop.cancel();
        }
    }

    /// `host` has asked to leave.
    pub(crate) fn leaves(&self, host: u64) {
        self.state().leaving.insert(host);
    }

    /// Hosts that have asked to leave.
    pub(crate) fn leaving(&self) -> BTreeSet<u64> {
        self.state().leaving.clone()
    }

    /// From now on everything is to work again.
    pub(crate) fn heal(&self) {
        self.state().healed = true;
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.state().healed
    }

    /// What the devices of all owners should see.
    pub(crate) fn files(&self, device: &Kept) -> Vec<Files> {
        let same = self.devices.iter();
        same.filter(|other| other.owner == device.owner)
            .map(|other| other.files().clone())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All nodes, the Bridge first.
pub(crate) fn nodes(plan: &Plan) -> Vec<Node> {
    let hosts = (1..=plan.hosts).map(Node::Host);
    let devices = (1..=plan.device_count()).map(Node::Device);
    [Node::Bridge]
        .into_iter()
        .chain(hosts)
        .chain(devices)
        .collect()
}

impl Node {
    /// Its address. Each Host has a network, and so a zone, of its own.
    pub(crate) fn ip(self) -> IpAddr {
        let byte = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        let ip = match self {
            Self::Bridge => Ipv4Addr::new(10, 0, 0, 1),
            Self::Host(number) => Ipv4Addr::new(10, 1, byte(number), 1),
            Self::Device(number) => Ipv4Addr::new(10, 2, byte(number), 1),
        };
        ip.into()
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("b"),
            Self::Host(number) => write!(f, "h{number}"),
            Self::Device(number) => write!(f, "d{number}"),
        }
    }
}

fn secret_bytes(seed: u64, what: &str) -> [u8; 32] {
    let digest = Sha256::new()
        .chain_update(b"secret of ")
        .chain_update(seed.to_le_bytes())
        .chain_update(what.as_bytes())
        .finalize();
    digest.into()
}
