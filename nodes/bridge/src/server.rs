//! A Bridge that serves: opened in the right order, and closed in the reverse one.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use metastore::{OpenError, Store, StoreConfig};
use model::units::BridgeId;
use net::{BindError, Identity, IdentityError, Listener, Security, ServeLimits};
use tokio_util::sync::CancellationToken;

use crate::bridge::{Bridge, BridgeConfig, OpenBridgeError};
use crate::keys::{BridgeKeys, BridgeKeysError};
use crate::random::EntropyError;
use crate::{http, workers};

/// The database in the data folder.
pub const DATABASE_NAME: &str = "bridge.sqlite";
/// Connections at a time: a control channel for each Host, and the owners.
const CONNECTIONS_MAX: usize = 16_384;
/// Connections of one address: its Hosts and owners.
const CONNECTIONS_PER_IP_MAX: usize = 256;

/// How a Bridge serves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Its data folder, which exists and is locked by the caller.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it serves TLS under its own key; plain HTTP is for loopback only.
    pub tls: bool,
    /// How the Bridge is set up.
    pub bridge: BridgeConfig,
}

/// A Bridge that is ready to serve.
#[derive(Debug)]
pub struct Server {
    bridge: Bridge,
    listener: Listener,
    tls: bool,
}

/// Why a Bridge does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No randomness for a key.
    #[error("no randomness for the bridge's key")]
    Entropy(#[from] EntropyError),
    /// The keys cannot be used.
    #[error("the bridge's keys cannot be used")]
    Keys(#[from] BridgeKeysError),
    /// The keys make no TLS identity.
    #[error("the bridge's key makes no tls identity")]
    Identity(#[from] IdentityError),
    /// The database cannot be opened.
    #[error("the database cannot be opened")]
    Database(#[from] OpenError),
    /// The thread that opens files was lost.
    #[error("the start was interrupted")]
    Interrupted(#[source] io::Error),
    /// The address cannot be listened on.
    #[error("the bridge cannot listen")]
    Bind(#[from] BindError),
    /// The Bridge cannot be opened.
    #[error("the bridge cannot be opened")]
    Open(#[from] OpenBridgeError),
}

impl Server {
    /// Opens keys, database and address; serves nothing yet. It ends when `stop` is cancelled.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: ServerConfig, stop: CancellationToken) -> Result<Self, StartError> {
        let data = config.data.clone();
        let opened = tasks::spawn_blocking(move || open_files(&data)).await;
        let (keys, store) =
            opened.map_err(|error| StartError::Interrupted(io::Error::other(error)))??;
        Self::over(keys, store, config, stop).await
    }

    /// As [`Self::start`], over keys and a store that are open already; the data folder is not
    /// looked at.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn over(
        keys: BridgeKeys,
        store: Store,
        config: ServerConfig,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let security = if config.tls {
            Security::Tls(Identity::new(&keys.signing)?)
        } else {
            Security::PlainLoopback
        };
        let shared = config.bridge.behind_proxy || config.listen.ip().is_loopback();
        let per_ip_max = if shared {
            CONNECTIONS_MAX
        } else {
            CONNECTIONS_PER_IP_MAX
        };
        let limits = ServeLimits {
            connections_max: CONNECTIONS_MAX,
            per_ip_max,
            ..ServeLimits::default()
        };
        let listener = Listener::bind(config.listen, security, limits)?;
        let bridge = Bridge::open(store, keys, config.bridge, stop).await?;
        Ok(Self {
            bridge,
            listener,
            tls: config.tls,
        })
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> BridgeId {
        self.bridge.keys().id
    }

    /// The URL that Hosts and owners are given.
    #[must_use]
    pub fn url(&self) -> String {
        let addr = self.listener.local_addr();
        if self.tls {
            format!("https://{}@{addr}", self.id())
        } else {
            format!("http://{addr}")
        }
    }

    /// Serves until the Bridge stops; then finishes requests under way, ends the control channels
    /// and closes the store.
    pub async fn serve(self) {
        let Self {
            bridge, listener, ..
        } = self;
        let work = tokio::spawn(workers::run(bridge.clone()));
        listener
            .serve(http::router(bridge.clone()), bridge.stopping())
            .await;
        bridge.drained().await;
        if let Err(error) = work.await {
            tracing::error!(%error, "the workers failed");
        }
        // Dropping the last handle waits for writes that are queued.
        if let Err(error) = tasks::spawn_blocking(move || drop(bridge)).await {
            tracing::error!(%error, "the store could not be closed");
        }
    }
}

fn open_files(data: &Path) -> Result<(BridgeKeys, Store), StartError> {
    let keys = BridgeKeys::open(data, &mut crate::random::fresh()?)?;
    let store = Store::open(&data.join(DATABASE_NAME), StoreConfig::default())?;
    Ok((keys, store))
}
