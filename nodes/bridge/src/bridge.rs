//! The Bridge as one value: its store, its keys, its Hosts; what endpoints and workers share.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use metastore::{HostRow, Store, StoreError, TxError};
use model::units::{AccountId, UnixMs};
use model::wire::Problem;
use net::{ConnectError, Dialer, DialerLimits};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::{Context, Policy};
use crate::environment::Environment;
use crate::healing::Healing;
use crate::hosts::directory::Directory;
use crate::keys::BridgeKeys;
use crate::random::EntropyError;
use crate::refusal::internal;
use crate::throttle::Throttle;

/// Hosts read from the store at a time.
const HOSTS_PER_READ: u32 = 4_096;
/// Pieces of slow work (signatures, hashes) under way at a time; further ones wait.
const SLOW_WORK_MAX: usize = 8;
/// Memory for the bodies of requests under way, in units of [`BODY_UNIT_BYTES`]: 512 MiB.
const BODY_UNITS: usize = 8_192;
/// Memory for bodies is counted in these.
pub(crate) const BODY_UNIT_BYTES: usize = 65_536;
/// Hosts that may be connected from one address; this machine's own are not counted.
const HOSTS_PER_ADDRESS_MAX: u32 = 64;

/// How a Bridge is set up.
#[derive(Clone)]
pub struct BridgeConfig {
    /// What the operator allows.
    pub policy: Policy,
    /// Whether requests come through a proxy of the operator's, which tells the client's address
    /// in `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// Gives the text of `/metrics`.
    pub metrics: Option<runtime::Metrics>,
    /// Where time and randomness come from.
    pub environment: Arc<dyn Environment>,
}

/// A Bridge. A clone is another handle on the same one.
#[derive(Clone)]
pub struct Bridge {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    keys: Arc<BridgeKeys>,
    directory: Directory,
    config: BridgeConfig,
    dialer: Dialer,
    stop: CancellationToken,
    channels: TaskTracker,
    slow_work: Semaphore,
    body_units: Semaphore,
    endings: Notify,
    newcomers: Throttle<IpAddr>,
    reports: Throttle<AccountId>,
    host_channels: Throttle<IpAddr>,
    healing: Healing,
    opened: tokio::time::Instant,
    /// It was there before: its memory may be an older backup.
    was_there: bool,
}

/// Why a Bridge could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenBridgeError {
    /// The Hosts could not be read.
    #[error("the hosts could not be read from the store")]
    Hosts(#[from] TxError<StoreError>),
    /// Nothing could be dialled.
    #[error("the dialer could not be made")]
    Dialer(#[from] ConnectError),
}

impl Bridge {
    /// Opens the Bridge of `store`; it ends when `stop` is cancelled.
    ///
    /// # Errors
    /// [`OpenBridgeError`].
    pub async fn open(
        store: Store,
        keys: BridgeKeys,
        config: BridgeConfig,
        stop: CancellationToken,
    ) -> Result<Self, OpenBridgeError> {
        let rows = read_hosts(&store).await?;
        let memory = store.read(|tx| crate::memory::read(tx)).await?;
        let now = config.environment.now();
        // A Bridge without a memory is new, or older than marks.
        let alive = if memory.mark > 0 { memory.at } else { now };
        let inner = Inner {
            store,
            keys: Arc::new(keys),
            directory: Directory::new(config.policy.timing, &rows, (alive, now)),
            config,
            dialer: Dialer::new(DialerLimits {
                idle_max: 0,
                ..DialerLimits::default()
            })?,
            stop,
            channels: TaskTracker::new(),
            slow_work: Semaphore::new(SLOW_WORK_MAX),
            body_units: Semaphore::new(BODY_UNITS),
            endings: Notify::new(),
            newcomers: Throttle::new(200, 120),
            reports: Throttle::new(2_048, 1_024),
            host_channels: Throttle::new(HOSTS_PER_ADDRESS_MAX, HOSTS_PER_ADDRESS_MAX),
            healing: Healing::default(),
            opened: tokio::time::Instant::now(),
            was_there: memory.mark > 0,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// What rules decide by, now.
    #[must_use]
    pub fn context(&self) -> Context {
        Context {
            keys: Arc::clone(&self.inner.keys),
            roster: self.inner.directory.roster(),
            policy: self.inner.config.policy,
            now: self.now(),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.inner.config.environment.now()
    }

    /// A generator with a fresh seed.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub(crate) fn fresh_rng(&self) -> Result<ChaCha20Rng, EntropyError> {
        let seed = self.inner.config.environment.seed()?;
        Ok(ChaCha20Rng::from_seed(seed))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Who the Bridge is.
    #[must_use]
    pub fn keys(&self) -> &BridgeKeys {
        &self.inner.keys
    }

    /// The Hosts.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Whether Hosts had time to say that this is an older backup.
    #[must_use]
    pub(crate) fn was_corrected(&self) -> bool {
        let patience = self.policy().timing.silence_max();
        !self.inner.was_there || self.inner.opened.elapsed() >= patience
    }

    /// What audits and repair keep in memory.
    #[must_use]
    pub fn healing(&self) -> &Healing {
        &self.inner.healing
    }

    /// A generator for what the Bridge draws by itself. Should the system have no randomness, the
    /// generator is as predictable as the clock: questions are then guessed, nothing is forged.
    #[must_use]
    pub(crate) fn rng(&self) -> ChaCha20Rng {
        self.fresh_rng().unwrap_or_else(|error| {
            tracing::error!(%error, "drawing by the clock");
            ChaCha20Rng::seed_from_u64(self.now().0)
        })
    }

    /// What the operator allows.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.config.policy
    }

    /// Dials Hosts.
    #[must_use]
    pub fn dialer(&self) -> &Dialer {
        &self.inner.dialer
    }

    /// Fires when the Bridge is to end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// Waits until every control channel has ended.
    pub async fn drained(&self) {
        self.inner.channels.close();
        self.inner.channels.wait().await;
    }

    /// Rings when an upload was given up or blobs were purged: there is something to erase.
    pub(crate) fn endings(&self) -> &Notify {
        &self.inner.endings
    }

    /// Memory for the bodies of requests, in units of [`BODY_UNIT_BYTES`].
    pub(crate) fn body_units(&self) -> &Semaphore {
        &self.inner.body_units
    }

    pub(crate) fn channels(&self) -> &TaskTracker {
        &self.inner.channels
    }

    pub(crate) fn config(&self) -> &BridgeConfig {
        &self.inner.config
    }

    /// Whether `peer` may open accounts or sign in once more.
    pub(crate) fn admits_newcomer(&self, peer: IpAddr) -> bool {
        peer.is_loopback() || self.inner.newcomers.take(peer, 1, self.now())
    }

    /// Whether `peer` may open another control channel.
    pub(crate) fn admits_host(&self, peer: IpAddr) -> bool {
        peer.is_loopback() || self.inner.host_channels.take(peer, 1, self.now())
    }

    /// Whether `account` may send so many reports.
    pub(crate) fn admits_reports(&self, account: AccountId, reports: u32) -> bool {
        self.inner.reports.take(account, reports, self.now())
    }

    /// Runs slow work off the async threads, a bounded number of pieces at a time.
    ///
    /// # Errors
    /// The internal problem where the work panicked.
    pub(crate) async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        // Never closed, so the permit is always there.
        let _permit = self
            .inner
            .slow_work
            .acquire()
            .await
            .map_err(|_| internal())?;
        tasks::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "slow work failed");
            internal()
        })
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bridge({})", self.inner.keys.id.short())
    }
}

impl fmt::Debug for BridgeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeConfig")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

async fn read_hosts(store: &Store) -> Result<Vec<HostRow>, TxError<StoreError>> {
    let mut hosts: Vec<HostRow> = Vec::new();
    loop {
        let after = hosts.last().map(|row| row.alias);
        let rows = store
            .read(move |tx| tx.scan_hosts(after, HOSTS_PER_READ))
            .await?;
        if rows.is_empty() {
            return Ok(hosts);
        }
        hosts.extend(rows);
    }
}
