//! The Host as a whole: what its flows share, how it starts and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use model::crypto::SigningKey;
use model::units::{HostId, SHARD_BYTES_MAX};
use model::wire::control::{HostState, Offer};
use model::wire::{Schedule, api};
use net::{
    BindError, ConnectError, Dialer, DialerLimits, Identity, IdentityError, Listener, Security,
    ServeLimits,
};
use shardstore::{Volumes, VolumesError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::audit::Chains;
use crate::bandwidth::Bandwidth;
use crate::bridge_pin::{BridgePin, PinError};
use crate::bridges::{BridgeLink, Bridges};
use crate::buffers::Buffers;
use crate::config::HostConfig;
use crate::counts::{Done, Moved};
use crate::environment::Environment;
use crate::events::{Events, EventsError};
use crate::limits::{
    BODIES_MAX, BODIES_WAITING_MAX, READ_CHUNK_BYTES, READS_MAX, REPAIR_BANDWIDTH_PERCENT,
    REPAIR_BYTES_PER_S_MIN, REPAIRS_AT_ONCE_MAX,
};
use crate::proof::LeafLists;
use crate::speak::speak;
use crate::status::{self, JoinState};
use crate::ticket::Allowances;
use crate::trash::{Trash, TrashError};
use crate::wishes::{Wishes, WishesError};
use crate::{about, audit, download, join, metered, trash, upkeep, upload, wishes};

/// A Host that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// What its owner wishes cannot be read.
    #[error("cannot read the owner's wishes")]
    Wishes(#[from] WishesError),
    /// What is in the trash cannot be read.
    #[error("cannot open the trash")]
    Trash(#[from] TrashError),
    /// What the Bridges decided cannot be read.
    #[error("cannot open the events")]
    Events(#[from] EventsError),
    /// Its volumes cannot be opened.
    #[error("cannot open the volumes")]
    Volumes(#[from] VolumesError),
    /// What it knows of its Bridges cannot be used.
    #[error("cannot use what is known of the bridges")]
    Pin(#[from] PinError),
    /// No certificate can be made of its key.
    #[error("cannot make a certificate of the host's key")]
    Identity(#[from] IdentityError),
    /// It cannot listen.
    #[error("cannot serve shards")]
    Bind(#[from] BindError),
    /// It cannot dial.
    #[error("cannot set up outgoing connections")]
    Dialer(#[from] ConnectError),
}

/// A Host that is ready to run.
#[derive(Debug)]
pub struct Host {
    node: Arc<Node>,
    listener: Listener,
    dialer: Dialer,
    /// One for each Bridge, in their order.
    pins: Vec<BridgePin>,
}

/// What the flows share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: HostId,
    pub(crate) key: SigningKey,
    pub(crate) config: HostConfig,
    pub(crate) bound: SocketAddr,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) volumes: Volumes,
    /// The Bridges whose tickets are honoured, each once it was joined for the first time.
    pub(crate) bridges: Bridges,
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) bodies_waiting: Semaphore,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) body_buffers: Buffers,
    pub(crate) chunk_buffers: Buffers,
    pub(crate) bandwidth_up: Bandwidth,
    pub(crate) bandwidth_down: Bandwidth,
    pub(crate) allowances: Allowances,
    pub(crate) leaf_lists: LeafLists,
    pub(crate) moved: Moved,
    pub(crate) done: Done,
    pub(crate) chains: Chains,
    pub(crate) trash: Trash,
    pub(crate) events: Events,
    /// What the owner wishes, as far as it was seen.
    pub(crate) wishes: watch::Sender<Wishes>,
    /// Turns of repairs.
    pub(crate) repairs: Semaphore,
    /// Paces what repairs fetch.
    pub(crate) bandwidth_repair: Bandwidth,
    /// Paces scrub and compaction.
    pub(crate) upkeep: Bandwidth,
    pub(crate) metrics: Option<runtime::Metrics>,
}

impl Host {
    /// Brings the volumes back, reads what is known of the Bridges, and binds the data plane.
    /// Blocks while the volumes recover; needs a tokio runtime.
    ///
    /// # Errors
    /// [`HostError`] names the step that failed.
    pub fn open(
        config: HostConfig,
        key: SigningKey,
        environment: Arc<dyn Environment>,
        metrics: Option<runtime::Metrics>,
    ) -> Result<Self, HostError> {
        let settings = config.settings();
        let identity = Identity::new(&key)?;
        let security = Security::Tls(identity);
        let listener = Listener::bind(settings.listen, security, ServeLimits::default())?;
        let urls: Vec<_> = settings.bridges.iter().map(|bridge| &bridge.url).collect();
        let pins = BridgePin::open_all(&settings.data, &urls)?;
        let volumes = Volumes::open(&settings.data, settings.volume_configs())?;
        let dialer = Dialer::new(DialerLimits::default())?;
        let known: Vec<_> = pins.iter().map(BridgePin::bridge).collect();
        let node = Arc::new(Node {
            id: HostId(key.public()),
            key,
            bound: listener.local_addr(),
            environment,
            volumes,
            bridges: Bridges::new(&settings.bridges, &known),
            bodies: Arc::new(Semaphore::new(BODIES_MAX)),
            bodies_waiting: Semaphore::new(BODIES_WAITING_MAX),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            body_buffers: Buffers::new(SHARD_BYTES_MAX as usize, BODIES_MAX),
            chunk_buffers: Buffers::new(READ_CHUNK_BYTES, READS_MAX),
            bandwidth_up: Bandwidth::new(settings.bandwidth_up),
            bandwidth_down: Bandwidth::new(settings.bandwidth_down),
            allowances: Allowances::default(),
            leaf_lists: LeafLists::default(),
            moved: Moved::default(),
            done: Done::default(),
            chains: Chains::new(&settings.data),
            trash: Trash::open(&settings.data, settings.trash)?,
            events: Events::open(&settings.data)?,
            wishes: watch::Sender::new(Wishes::read(&settings.data)?),
            repairs: Semaphore::new(REPAIRS_AT_ONCE_MAX),
            bandwidth_repair: Bandwidth::new(settings.bandwidth_down.map(repair_share)),
            upkeep: Bandwidth::new(Some(settings.upkeep_bytes_per_s)),
            metrics,
            config,
        });
        Ok(Self {
            node,
            listener,
            dialer,
            pins,
        })
    }

    /// The Host's id: its public key.
    #[must_use]
    pub fn id(&self) -> HostId {
        self.node.id
    }

    /// Where the data plane listens.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.node.bound
    }

    /// How the control channels stand, now and from now on, in the order of the Bridges.
    #[must_use]
    pub fn join_states(&self) -> Vec<watch::Receiver<JoinState>> {
        let links = self.node.bridges.all();
        links.iter().map(|link| link.subscribe()).collect()
    }

    /// Serves shards and keeps to the Bridges until `stop` is cancelled; then lets requests under
    /// way finish and closes the store.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            node,
            listener,
            dialer,
            pins,
        } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.serve(router(&node), stop.clone()));
        for (link, pin) in node.bridges.all().iter().zip(pins) {
            tasks.spawn(join::keep_joined(
                Arc::clone(&node),
                Arc::clone(link),
                dialer.clone(),
                pin,
                stop.clone(),
            ));
        }
        drop(dialer);
        tasks.spawn(upkeep::watch_volumes(Arc::clone(&node), stop.clone()));
        tasks.spawn(upkeep::scrub(Arc::clone(&node), stop.clone()));
        tasks.spawn(upkeep::compact(Arc::clone(&node), stop.clone()));
        tasks.spawn(wishes::heed(Arc::clone(&node), stop.clone()));
        tasks.spawn(trash::empty(Arc::clone(&node), stop.clone()));
        tasks.spawn(status::keep_written(Arc::clone(&node), stop));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the host failed");
            }
        }
        status::write_last(&node);
        // Closing the store waits for its writer thread.
        tasks::spawn_blocking(move || drop(node)).await.ok();
    }
}

impl Node {
    /// How the Host is, as anyone is told.
    pub(crate) fn state(&self) -> HostState {
        let (usage, trash_bytes) = (self.volumes.usage(), self.trash.bytes());
        let used_bytes = usage.live_bytes + usage.overhead_bytes;
        HostState {
            used_bytes,
            free_bytes: self.free_bytes(),
            shards: usage.records,
            paused: self.is_paused(),
            volumes_away: u32::try_from(self.volumes.away()).unwrap_or(u32::MAX),
            shards_rotten: self.volumes.bad_shards(),
            trash_bytes,
        }
    }

    /// Bytes that new shards may take: what is free, and what the trash would give up. None for
    /// one that leaves.
    pub(crate) fn free_bytes(&self) -> u64 {
        if self.wishes.borrow().is_leaving() {
            return 0;
        }
        let (usage, trash_bytes) = (self.volumes.usage(), self.trash.bytes());
        let free_bytes = usage.free_bytes.saturating_add(trash_bytes);
        free_bytes
            .min(usage.space_bytes)
            .min(self.offered_left().saturating_add(trash_bytes))
    }

    /// Bytes offered: what is configured, without what was given back.
    pub(crate) fn space_bytes(&self) -> u64 {
        let configured = self.config.settings().space_bytes();
        self.wishes.borrow().space_bytes(configured)
    }

    /// What is left of the bytes offered; without end where all that is configured is.
    pub(crate) fn offered_left(&self) -> u64 {
        let offered = self.space_bytes();
        if offered == self.config.settings().space_bytes() {
            // Each volume sees to its own limit.
            return u64::MAX;
        }
        let usage = self.volumes.usage();
        let taken = usage.live_bytes + usage.overhead_bytes + usage.reserved_bytes;
        offered.saturating_sub(taken)
    }

    /// Promised hours: those the owner wishes, else those configured.
    pub(crate) fn schedule(&self) -> Schedule {
        let wished = self.wishes.borrow().schedule;
        wished.unwrap_or(self.config.settings().schedule)
    }

    /// What a Bridge is offered.
    pub(crate) fn offer(&self, link: &BridgeLink) -> Offer {
        let configured = self.config.offer(self.bound, link.quota_bytes);
        Offer {
            space_bytes: configured.space_bytes.min(self.space_bytes()),
            schedule: self.schedule(),
            ..configured
        }
    }

    /// Acts on `wishes` from now on.
    pub(crate) fn take_wishes(&self, wishes: Wishes) {
        let is_new = |now: &mut Wishes| {
            let is_new = *now != wishes;
            if is_new {
                *now = wishes;
            }
            is_new
        };
        if self.wishes.send_if_modified(is_new) {
            self.bridges.news.notify_one();
        }
    }

    /// How the Host is, as one of its Bridges is told: where there are several or it has a quota,
    /// what counts is that Bridge's part.
    pub(crate) fn state_for(&self, link: &BridgeLink) -> HostState {
        let state = self.state();
        let is_only = self.bridges.all().len() == 1 && link.quota_bytes.is_none();
        let Some(bridge) = link.id().filter(|_| !is_only) else {
            let free_bytes = link.free_bytes(0, state.free_bytes);
            return HostState {
                free_bytes,
                ..state
            };
        };
        let held = self.volumes.held_by(&bridge);
        let trash_bytes = self.trash.bytes_of(&bridge);
        let kept_bytes = held.bytes.saturating_sub(trash_bytes);
        HostState {
            used_bytes: held.bytes,
            free_bytes: link.free_bytes(kept_bytes, state.free_bytes),
            shards: held.records,
            trash_bytes,
            ..state
        }
    }

    /// Whether shards are on their way in or out.
    pub(crate) fn is_busy(&self) -> bool {
        self.bodies.available_permits() < BODIES_MAX || self.reads.available_permits() < READS_MAX
    }

    /// Whether the owner wishes that it rests, or now is outside the promised hours.
    pub(crate) fn is_paused(&self) -> bool {
        let now = self.environment.now();
        let rests = self.wishes.borrow().is_paused(now);
        rests || !self.schedule().promises(now)
    }
}

/// What repairs may take of the bandwidth.
fn repair_share(bytes_per_s: u64) -> u64 {
    (bytes_per_s / 100 * REPAIR_BANDWIDTH_PERCENT).max(REPAIR_BYTES_PER_S_MIN)
}

fn router(node: &Arc<Node>) -> Router {
    Router::new()
        .route("/v1/shards", put(upload::put_shard))
        .route("/v1/shards/{id}", get(download::get_shard))
        .route("/v1/receipts/{id}", get(upload::get_receipt))
        .route(api::AUDIT, post(audit::post_audit))
        .route("/v1/about", get(about::about))
        .route("/healthz", get(about::health))
        .route("/metrics", get(metered::metrics))
        .layer(axum::middleware::from_fn(speak))
        .with_state(Arc::clone(node))
}
