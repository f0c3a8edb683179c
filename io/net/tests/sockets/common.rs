//! A listener and a dialer of our own, ended with the test.

use std::net::SocketAddr;
use std::time::Duration;

use model::crypto::{Secret, SigningKey};
use model::units::HostId;
use net::{Dialer, DialerLimits, Endpoint, Identity, Listener, Router, Security, ServeLimits};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A listener that serves until dropped.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    _stop: tokio_util::sync::DropGuard,
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([byte; 32]))
}

pub(crate) fn tls(byte: u8) -> Security {
    Security::Tls(Identity::new(&key(byte)).unwrap())
}

pub(crate) fn host(byte: u8, addr: SocketAddr) -> Endpoint {
    Endpoint::Host {
        id: HostId(key(byte).public()),
        addrs: vec![addr],
    }
}

pub(crate) fn bridge(url: &str) -> Endpoint {
    Endpoint::Bridge(url.parse().unwrap())
}

pub(crate) fn serve(security: Security, limits: ServeLimits, router: Router) -> Served {
    serve_at(loopback(), security, limits, router)
}

pub(crate) fn serve_at(
    addr: SocketAddr,
    security: Security,
    limits: ServeLimits,
    router: Router,
) -> Served {
    let listener = Listener::bind(addr, security, limits).unwrap();
    let addr = listener.local_addr();
    let stop = CancellationToken::new();
    let task = tokio::spawn(listener.serve(router, stop.clone()));
    Served {
        addr,
        _stop: stop.clone().drop_guard(),
        stop,
        task,
    }
}

/// Limits that show within a test.
pub(crate) fn tight() -> ServeLimits {
    ServeLimits {
        head_within: Duration::from_millis(300),
        handshake_within: Duration::from_millis(300),
        rate_grace: Duration::from_millis(300),
        drain_within: Duration::from_millis(300),
        ..ServeLimits::default()
    }
}

pub(crate) fn dialer() -> Dialer {
    Dialer::new(DialerLimits::default()).unwrap()
}
