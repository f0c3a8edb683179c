//! Whoever sends calls: over sockets of its own, or by whatever the app carries them with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tasks::time::timeout;

use crate::call::Call;
use crate::carrier::{self, Carrier};
use crate::endpoint::Endpoint;
use crate::error::{CallError, Step};
use crate::reply::Reply;
use crate::turns::Turns;
#[cfg(not(target_family = "wasm"))]
use crate::{
    error::ConnectError,
    sockets::{self, Pool},
};

/// Sends calls to endpoints and keeps their connections.
///
/// A clone shares the connections. Dropping the last clone closes them.
#[derive(Clone)]
pub struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    limits: DialerLimits,
    turns: Turns,
    way: Way,
}

enum Way {
    #[cfg(not(target_family = "wasm"))]
    Sockets(Pool),
    Carrier(Arc<dyn Carrier>),
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

impl Dialer {
    /// A dialer with sockets of its own, and no connections yet.
    ///
    /// # Errors
    /// [`ConnectError::Tls`] where the cryptographic library refuses our TLS profile.
    #[cfg(not(target_family = "wasm"))]
    pub fn new(limits: DialerLimits) -> Result<Self, ConnectError> {
        Ok(Self::with(Way::Sockets(Pool::new(limits)?), limits))
    }

    /// A dialer whose calls `carrier` carries. Of the limits those of connections are its affair.
    #[must_use]
    pub fn over(carrier: Arc<dyn Carrier>, limits: DialerLimits) -> Self {
        Self::with(Way::Carrier(carrier), limits)
    }

    fn with(way: Way, limits: DialerLimits) -> Self {
        let turns = Turns::new(&limits);
        Self {
            inner: Arc::new(Inner { limits, turns, way }),
        }
    }

    /// The connections, where there are any.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn pool(&self) -> Option<&Pool> {
        match &self.inner.way {
            Way::Sockets(pool) => Some(pool),
            Way::Carrier(_) => None,
        }
    }

    /// Sends `call` to `endpoint` and waits for the head of the answer, whatever its status.
    ///
    /// A kept connection may have been closed by the peer while it was idle. The call is then
    /// repeated once on a new connection, if it was not sent or may be repeated without harm.
    ///
    /// Dropping the future, or the [`Reply`] before its end, closes the connection.
    ///
    /// # Errors
    /// [`CallError`], which names the peer and the step that failed.
    pub async fn send(&self, endpoint: &Endpoint, call: &Call) -> Result<Reply, CallError> {
        // Checked before anything is dialled.
        call.request(endpoint)?;
        let turn = timeout(call.answer_within, self.inner.turns.wait(endpoint))
            .await
            .map_err(|_| CallError::timeout(endpoint, Step::Turn, call.answer_within))?;
        match &self.inner.way {
            #[cfg(not(target_family = "wasm"))]
            Way::Sockets(pool) => sockets::send(pool.lease(endpoint, turn), endpoint, call).await,
            Way::Carrier(carrier) => {
                Box::pin(carrier::send(&**carrier, turn, endpoint, call)).await
            }
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}
