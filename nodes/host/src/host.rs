//! The Host as a whole: what its flows share, how it starts and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::{get, put};
use model::crypto::SigningKey;
use model::units::{HostId, SHARD_BYTES_MAX};
use model::wire::control::HostState;
use net::{
    BindError, ConnectError, Dialer, DialerLimits, Identity, IdentityError, Listener, Security,
    ServeLimits,
};
use shardstore::{Volumes, VolumesError};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bandwidth::Bandwidth;
use crate::bridge_pin::{BridgePin, PinError};
use crate::bridges::{BridgeLink, Bridges};
use crate::buffers::Buffers;
use crate::config::HostConfig;
use crate::environment::Environment;
use crate::limits::{BODIES_MAX, BODIES_WAITING_MAX, READ_CHUNK_BYTES, READS_MAX};
use crate::proof::LeafLists;
use crate::speak::speak;
use crate::status::{self, JoinState};
use crate::ticket::Allowances;
use crate::{about, download, join, metered, upkeep, upload};

/// A Host that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
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
    /// Paces scrub and compaction.
    pub(crate) upkeep: Bandwidth,
    pub(crate) metrics: Option<runtime::Metrics>,
}

/// Bytes of shards moved since the start.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    received: AtomicU64,
    sent: AtomicU64,
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
        let usage = self.volumes.usage();
        HostState {
            used_bytes: usage.live_bytes + usage.overhead_bytes,
            free_bytes: usage.free_bytes,
            shards: usage.records,
            paused: self.is_paused(),
            volumes_away: u32::try_from(self.volumes.away()).unwrap_or(u32::MAX),
            shards_rotten: self.volumes.bad_shards(),
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
        HostState {
            used_bytes: held.bytes,
            free_bytes: link.free_bytes(held.bytes, state.free_bytes),
            shards: held.records,
            ..state
        }
    }

    /// Whether shards are on their way in or out.
    pub(crate) fn is_busy(&self) -> bool {
        self.bodies.available_permits() < BODIES_MAX || self.reads.available_permits() < READS_MAX
    }

    /// Whether now is outside the promised hours.
    pub(crate) fn is_paused(&self) -> bool {
        !self
            .config
            .settings()
            .schedule
            .promises(self.environment.now())
    }
}

impl Moved {
    pub(crate) fn count_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes received and bytes sent.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }
}

fn router(node: &Arc<Node>) -> Router {
    Router::new()
        .route("/v1/shards", put(upload::put_shard))
        .route("/v1/shards/{id}", get(download::get_shard))
        .route("/v1/receipts/{id}", get(upload::get_receipt))
        .route("/v1/about", get(about::about))
        .route("/healthz", get(about::health))
        .route("/metrics", get(metered::metrics))
        .layer(axum::middleware::from_fn(speak))
        .with_state(Arc::clone(node))
}
