//! Connections kept open and shared: so many in all, idle ones not long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::connect::Connector;
use crate::dialer::DialerLimits;
use crate::endpoint::{Endpoint, EndpointKey};
use crate::error::ConnectError;
use crate::payload::Payload;
use crate::sent::Sent;
use crate::turns::Turn;

/// How long a connection whose last answer was just read may take to be ready again.
const READY_WITHIN: Duration = Duration::from_millis(100);

/// Largest head of an answer.
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most bytes read or queued at once on a connection.
pub(crate) const HTTP_BUFFER_BYTES: usize = 256 * 1024;

/// Connections to endpoints. A clone shares them; dropping the last clone closes them.
#[derive(Clone)]
pub(crate) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Connector,
    limits: DialerLimits,
    shelf: Mutex<Shelf>,
}

/// Who has which connections idle.
#[derive(Default)]
struct Shelf {
    slots: BTreeMap<EndpointKey, Vec<Idle>>,
    idle: usize,
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
    pool: Pool,
    key: EndpointKey,
    _turn: Turn,
}

impl Pool {
    /// No connections yet.
    ///
    /// # Errors
    /// [`ConnectError::Tls`] where the cryptographic library refuses our TLS profile.
    pub(crate) fn new(limits: DialerLimits) -> Result<Self, ConnectError> {
        let connector = Connector::new(limits.connect_within)
            .map_err(|error| ConnectError::Tls(std::io::Error::other(error)))?;
        let shelf = Mutex::new(Shelf::default());
        Ok(Self {
            inner: Arc::new(Inner {
                connector,
                limits,
                shelf,
            }),
        })
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.inner.connector
    }

    pub(crate) fn lease(&self, endpoint: &Endpoint, turn: Turn) -> Lease {
        Lease {
            pool: self.clone(),
            key: endpoint.key(),
            _turn: turn,
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.inner
            .shelf
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// A connection kept from before, if one is alive.
    pub(crate) async fn kept(&self) -> Option<Connection> {
        loop {
            let mut connection = self.pool.shelf().take(&self.key, &self.pool.inner.limits)?;
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
        let link = self.pool.inner.connector.connect(endpoint).await?;
        let sent = link.sent().clone();
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HTTP_BUFFER_BYTES)
            .max_header_size(ANSWER_HEAD_BYTES_MAX)
            .writev(true)
            .handshake(TokioIo::new(link))
            .await
            .map_err(|error| ConnectError::Http(error.into()))?;
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
            self.pool
                .shelf()
                .put(&self.key, connection, &self.pool.inner.limits);
        }
    }
}

impl Shelf {
    /// The connection used last, unless it is too old.
    fn take(&mut self, key: &EndpointKey, limits: &DialerLimits) -> Option<Connection> {
        let slot = self.slots.get_mut(key)?;
        let newest = slot.pop()?;
        self.idle -= 1;
        if newest.since.elapsed() < limits.idle_for {
            return Some(newest.connection);
        }
        self.idle -= slot.len();
        slot.clear();
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
        self.slots.entry(key.clone()).or_default().push(Idle {
            connection,
            since: Instant::now(),
        });
        self.idle += 1;
    }

    /// Closes what has been idle too long, forgets endpoints without a connection.
    fn sweep(&mut self, limits: &DialerLimits) {
        self.slots.retain(|_, slot| {
            slot.retain(|idle| idle.since.elapsed() < limits.idle_for);
            !slot.is_empty()
        });
        self.idle = self.slots.values().map(Vec::len).sum();
    }

    fn drop_oldest(&mut self) {
        let oldest = self
            .slots
            .values_mut()
            .filter(|slot| !slot.is_empty())
            .min_by_key(|slot| slot.first().map(|idle| idle.since));
        if let Some(slot) = oldest {
            slot.remove(0);
            self.idle -= 1;
        }
    }
}
