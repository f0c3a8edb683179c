//! Connections kept open and shared: a few to each endpoint, so many in all, idle ones not long.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::connect::{ConnectError, Connector};
use crate::endpoint::{Endpoint, EndpointKey};
use crate::payload::Payload;
use crate::sent::Sent;

/// How long a connection whose last answer was just read may take to be ready again.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// Largest head of an answer.
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most bytes read or queued at once on a connection.
pub(crate) const HTTP_BUFFER_BYTES: usize = 256 * 1024;

/// Dials endpoints and keeps their connections.
///
/// A clone shares the connections. Dropping the last clone closes them.
#[derive(Clone)]
pub struct Dialer {
    inner: Arc<Inner>,
}

/// How many connections a [`Dialer`] keeps, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialerLimits {
    /// Requests under way to one endpoint at a time; further ones wait.
    pub per_endpoint_max: usize,
    /// Requests under way to all endpoints at a time; further ones wait.
    pub total_max: usize,
    /// Idle connections kept in all; the longest idle one makes room.
    pub idle_max: usize,
    /// How long an idle connection is kept. Servers close theirs later than that.
    pub idle_for: Duration,
    /// From dialling to the end of the TLS handshake.
    pub connect_within: Duration,
}

impl Default for DialerLimits {
    fn default() -> Self {
        Self {
            per_endpoint_max: 4,
            total_max: 256,
            idle_max: 256,
            idle_for: Duration::from_secs(20),
            connect_within: Duration::from_secs(5),
        }
    }
}

struct Inner {
    connector: Connector,
    limits: DialerLimits,
    total: Arc<Semaphore>,
    shelf: Mutex<Shelf>,
}

/// Who has which connections idle.
#[derive(Default)]
struct Shelf {
    slots: BTreeMap<EndpointKey, Slot>,
    idle: usize,
}

struct Slot {
    permits: Arc<Semaphore>,
    idle: Vec<Idle>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// An open HTTP connection; dropping it closes it.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Payload>,
    pub(crate) sent: Sent,
    _driver: AbortOnDropHandle<()>,
}

/// The right to have a request under way; goes with the answer until that is read.
pub(crate) struct Lease {
    dialer: Dialer,
    key: EndpointKey,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Dialer {
    /// A dialer without connections.
    ///
    /// # Errors
    /// [`ConnectError::Tls`] where the cryptographic library refuses our TLS profile.
    pub fn new(limits: DialerLimits) -> Result<Self, ConnectError> {
        let connector = Connector::new(limits.connect_within)
            .map_err(|error| ConnectError::Tls(std::io::Error::other(error)))?;
        let total = Arc::new(Semaphore::new(limits.total_max));
        let shelf = Mutex::new(Shelf::default());
        Ok(Self {
            inner: Arc::new(Inner {
                connector,
                limits,
                total,
                shelf,
            }),
        })
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.inner.connector
    }

    /// Waits for the right to send one request to `endpoint`.
    pub(crate) async fn lease(&self, endpoint: &Endpoint) -> Lease {
        let key = endpoint.key();
        let own = Arc::clone(&self.shelf().slot(&key, &self.inner.limits).permits);
        #[expect(clippy::expect_used, reason = "neither semaphore is ever closed")]
        let own = own.acquire_owned().await.expect("semaphore is open");
        #[expect(clippy::expect_used, reason = "neither semaphore is ever closed")]
        let total = Arc::clone(&self.inner.total)
            .acquire_owned()
            .await
            .expect("semaphore is open");
        Lease {
            dialer: self.clone(),
            key,
            _permits: [own, total],
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.inner
            .shelf
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// A connection kept from before, if one is alive.
    pub(crate) async fn kept(&self) -> Option<Connection> {
        loop {
            let mut connection = self
                .dialer
                .shelf()
                .take(&self.key, &self.dialer.inner.limits)?;
            if connection.sender.is_closed() {
                continue;
            }
            if matches!(
                timeout(READY_WITHIN, connection.sender.ready()).await,
                Ok(Ok(()))
            ) {
                return Some(connection);
            }
        }
    }

    /// A fresh connection.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<Connection, ConnectError> {
        let link = self.dialer.inner.connector.connect(endpoint).await?;
        let sent = link.sent().clone();
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HTTP_BUFFER_BYTES)
            .max_header_size(ANSWER_HEAD_BYTES_MAX)
            .writev(true)
            .handshake(TokioIo::new(link))
            .await
            .map_err(ConnectError::Http)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Connection {
            sender,
            sent,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    /// Gives a connection back whose answer has been read to the end.
    pub(crate) fn keep(self, connection: Connection) {
        if !connection.sender.is_closed() {
            self.dialer
                .shelf()
                .put(&self.key, connection, &self.dialer.inner.limits);
        }
    }
}

impl Shelf {
    fn slot(&mut self, key: &EndpointKey, limits: &DialerLimits) -> &mut Slot {
        self.slots.entry(key.clone()).or_insert_with(|| Slot {
            permits: Arc::new(Semaphore::new(limits.per_endpoint_max)),
            idle: Vec::new(),
        })
    }

    /// The connection used last, unless it is too old.
    fn take(&mut self, key: &EndpointKey, limits: &DialerLimits) -> Option<Connection> {
        let slot = self.slots.get_mut(key)?;
        let newest = slot.idle.pop()?;
        self.idle -= 1;
        if newest.since.elapsed() < limits.idle_for {
            return Some(newest.connection);
        }
        self.idle -= slot.idle.len();
        slot.idle.clear();
        None
    }

    fn put(&mut self, key: &EndpointKey, connection: Connection, limits: &DialerLimits) {
        self.sweep(limits);
        if limits.idle_max == 0 {
            return;
        }
        if self.idle >= limits.idle_max {
            self.drop_oldest();
        }
        self.slot(key, limits).idle.push(Idle {
            connection,
            since: Instant::now(),
        });
        self.idle += 1;
    }

    /// Closes what has been idle too long, forgets endpoints that nobody uses.
    fn sweep(&mut self, limits: &DialerLimits) {
        self.slots.retain(|_, slot| {
            slot.idle
                .retain(|idle| idle.since.elapsed() < limits.idle_for);
            !slot.idle.is_empty() || Arc::strong_count(&slot.permits) > 1
        });
        self.idle = self.slots.values().map(|slot| slot.idle.len()).sum();
    }

    fn drop_oldest(&mut self) {
        let oldest = self
            .slots
            .values_mut()
            .filter(|slot| !slot.idle.is_empty())
            .min_by_key(|slot| slot.idle.first().map(|idle| idle.since));
        if let Some(slot) = oldest {
            slot.idle.remove(0);
            self.idle -= 1;
        }
    }
}
