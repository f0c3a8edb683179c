//! What uploads and downloads share: connections, buffers, and what is known of each Host.

pub(crate) mod buffers;
mod environment;
mod failure;
pub(crate) mod hosts;
mod progress;
pub(crate) mod reports;
mod version;
pub(crate) mod window;

use std::sync::Arc;
use std::time::Duration;

use net::{Dialer, DialerLimits};

use crate::bridge_api::BridgeApi;
use buffers::Buffers;
pub use environment::{Environment, SystemEnvironment};
pub use failure::FailureKind;
pub(crate) use failure::{chain, failures};
use hosts::HostBook;
pub use progress::{Counter, Progress};
pub(crate) use version::speaking;

/// A Host that cannot be dialled within this is silent.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Connections to one Host at a time.
const CONNECTIONS_PER_HOST_MAX: usize = 6;

/// Limits of a client's connections: as [`Dialer::new`] wants them for transfers.
#[must_use]
pub fn dialer_limits() -> DialerLimits {
    DialerLimits {
        per_endpoint_max: CONNECTIONS_PER_HOST_MAX,
        connect_within: CONNECT_WITHIN,
        ..DialerLimits::default()
    }
}

/// How much a client takes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// Bytes of shards in memory, all transfers together. One segment is always let through.
    pub buffer_bytes_max: u64,
    /// Segments under way in one transfer.
    pub segments_max: usize,
    /// A Host that takes nothing more of a shard for this long, or does not answer when it has
    /// all of it, is silent. An upload may wait for twice this in vain, then it has failed.
    pub silent_after: Duration,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            buffer_bytes_max: 80 << 20,
            segments_max: 8,
            silent_after: Duration::from_secs(10),
        }
    }
}

/// One engine: every upload and download of a program goes through it, so that they share
/// connections, memory and what each learns about Hosts. A clone is the same engine.
#[derive(Clone, Debug)]
pub struct Transfer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    api: BridgeApi,
    dialer: Dialer,
    environment: Arc<dyn Environment>,
    hosts: HostBook,
    buffers: Buffers,
    limits: TransferLimits,
}

impl Transfer {
    /// An engine for the Bridge behind `api`.
    #[must_use]
    pub fn new(
        api: BridgeApi,
        dialer: Dialer,
        environment: Arc<dyn Environment>,
        limits: TransferLimits,
    ) -> Self {
        let buffers = Buffers::new(limits.buffer_bytes_max);
        let hosts = HostBook::default();
        Self {
            inner: Arc::new(Inner {
                api,
                dialer,
                environment,
                hosts,
                buffers,
                limits,
            }),
        }
    }

    /// The Bridge's calls.
    #[must_use]
    pub fn api(&self) -> &BridgeApi {
        &self.inner.api
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.inner.dialer
    }

    pub(crate) fn environment(&self) -> &dyn Environment {
        &*self.inner.environment
    }

    pub(crate) fn hosts(&self) -> &HostBook {
        &self.inner.hosts
    }

    pub(crate) fn buffers(&self) -> &Buffers {
        &self.inner.buffers
    }

    pub(crate) fn limits(&self) -> &TransferLimits {
        &self.inner.limits
    }
}
