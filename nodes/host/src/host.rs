//! The Host as a whole: what its flows share, how it starts and how it stops.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::routing::{get, put};
use model::crypto::SigningKey;
use model::units::{BridgeId, HostId, SHARD_BYTES_MAX};
use model::wire::control::HostState;
use net::{
    BindError, ConnectError, Dialer, DialerLimits, Identity, IdentityError, Listener, Security,
    ServeLimits,
};
use shardstore::{OpenError, Store, StoreConfig};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bandwidth::Bandwidth;
use crate::bridge_pin::{BridgePin, PinError};
use crate::buffers::Buffers;
use crate::config::HostConfig;
use crate::environment::Environment;
use crate::limits::{BODIES_MAX, BODIES_WAITING_MAX, READ_CHUNK_BYTES, READS_MAX};
use crate::status::{self, JoinState};
use crate::ticket::Allowances;
use crate::{about, download, join, upload};

/// Folder of the shard store in a Host's data folder.
const STORE_FOLDER: &str = "store";

/// A Host that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Its shards cannot be opened.
    #[error("cannot open the shard store")]
    Store(#[from] OpenError),
    /// What it knows of its Bridge cannot be used.
    #[error("cannot use what is known of the bridge")]
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
    pin: BridgePin,
}

/// What the flows share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: HostId,
    pub(crate) key: SigningKey,
    pub(crate) config: HostConfig,
    pub(crate) bound: SocketAddr,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) store: Store,
    /// The Bridge whose tickets are honoured; empty until one was joined for the first time.
    pub(crate) bridge: OnceLock<BridgeId>,
    pub(crate) join_state: watch::Sender<JoinState>,
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) bodies_waiting: Semaphore,
    pub(crate) reads: Arc<Semaphore>,
    pub(crate) body_buffers: Buffers,
    pub(crate) chunk_buffers: Buffers,
    pub(crate) bandwidth_up: Bandwidth,
    pub(crate) bandwidth_down: Bandwidth,
    pub(crate) allowances: Allowances,
    pub(crate) moved: Moved,
}

/// Bytes of shards moved since the start.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Host {
    /// Brings the store back, reads what is known of the Bridge, and binds the data plane.
    /// Blocks while the store recovers; needs a tokio runtime.
    ///
    /// # Errors
    /// [`HostError`] names the step that failed.
    pub fn open(
        config: HostConfig,
        key: SigningKey,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, HostError> {
        let settings = config.settings();
        let identity = Identity::new(&key)?;
        let security = Security::Tls(identity);
        let listener = Listener::bind(settings.listen, security, ServeLimits::default())?;
        let pin = BridgePin::open(&settings.data, settings.bridge.pinned())?;
        let store = Store::open(
            &settings.data.join(STORE_FOLDER),
            StoreConfig {
                keep_free_bytes: settings.keep_free_bytes,
                ..StoreConfig::new(settings.space_bytes)
            },
        )?;
        report_recovery(&store);
        let dialer = Dialer::new(DialerLimits::default())?;
        let bridge = pin.bridge().map_or_else(OnceLock::new, OnceLock::from);
        let node = Arc::new(Node {
            id: HostId(key.public()),
            key,
            bound: listener.local_addr(),
            environment,
            store,
            bridge,
            join_state: watch::Sender::new(JoinState::default()),
            bodies: Arc::new(Semaphore::new(BODIES_MAX)),
            bodies_waiting: Semaphore::new(BODIES_WAITING_MAX),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            body_buffers: Buffers::new(SHARD_BYTES_MAX as usize, BODIES_MAX),
            chunk_buffers: Buffers::new(READ_CHUNK_BYTES, READS_MAX),
            bandwidth_up: Bandwidth::new(settings.bandwidth_up),
            bandwidth_down: Bandwidth::new(settings.bandwidth_down),
            allowances: Allowances::default(),
            moved: Moved::default(),
            config,
        });
        Ok(Self {
            node,
            listener,
            dialer,
            pin,
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

    /// The Bridge whose tickets are honoured, if one was ever joined.
    #[must_use]
    pub fn bridge(&self) -> Option<BridgeId> {
        self.node.bridge.get().copied()
    }

    /// How the control channel stands, now and from now on.
    #[must_use]
    pub fn join_state(&self) -> watch::Receiver<JoinState> {
        self.node.join_state.subscribe()
    }

    /// Serves shards and keeps to the Bridge until `stop` is cancelled; then lets requests under
    /// way finish and closes the store.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            node,
            listener,
            dialer,
            pin,
        } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.serve(router(&node), stop.clone()));
        tasks.spawn(join::keep_joined(
            Arc::clone(&node),
            dialer,
            pin,
            stop.clone(),
        ));
        tasks.spawn(status::keep_written(Arc::clone(&node), stop));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the host failed");
            }
        }
        status::write_last(&node);
        // Closing the store waits for its writer thread.
        tokio::task::spawn_blocking(move || drop(node)).await.ok();
    }
}

impl Node {
    /// How the Host is, as the Bridge is told.
    pub(crate) fn state(&self) -> HostState {
        let usage = self.store.usage();
        HostState {
            used_bytes: usage.live_bytes + usage.overhead_bytes,
            free_bytes: usage.free_bytes,
            shards: usage.records,
            paused: self.is_paused(),
        }
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
        .route("/v1/about", get(about::about))
        .route("/healthz", get(about::health))
        .with_state(Arc::clone(node))
}

fn report_recovery(store: &Store) {
    let recovery = store.recovery();
    if recovery.damaged > 0 || recovery.cut_bytes > 0 || recovery.rebuilt {
        tracing::warn!(
            damaged = recovery.damaged,
            cut_bytes = recovery.cut_bytes,
            rebuilt = recovery.rebuilt,
            "shard store recovered"
        );
    }
}
