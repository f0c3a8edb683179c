//! Serves a router: plain on loopback or TLS under a node's key, every peer held to limits.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::wire::limits::{HEAD_BYTES_MAX, TRANSFER_RATE_MIN};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connect::{Link, buffered, tune};
use super::door::{Admission, Door};
use super::identity::Identity;
use super::inbound::Inbound;
use super::meter::{Meter, Pace};
use super::network::{Listening, Tcp};
use super::pool::HTTP_BUFFER_BYTES;
use super::socket::Socket;
use super::tls;

/// Pause after the system refused to accept, when it is out of file handles say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections are secured.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all; only for addresses of this machine.
    PlainLoopback,
    /// TLS 1.3 under this node's key.
    Tls(Identity),
}

/// What a [`Listener`] takes from peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Open connections in all.
    pub connections_max: usize,
    /// Open connections of one address (one /64 with IPv6).
    pub per_ip_max: usize,
    /// From the start of a connection, or the end of the last answer, to the end of a request's
    /// head; so it also ends idle connections.
    pub head_within: Duration,
    /// The TLS handshake.
    pub handshake_within: Duration,
    /// Slowest body accepted and slowest reading of our answers, bytes per second.
    pub rate_min: u64,
    /// How far a peer may be behind that rate before it is cut.
    pub rate_grace: Duration,
    /// How long requests under way may take once the listener shuts down.
    pub drain_within: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            per_ip_max: 512,
            head_within: Duration::from_secs(30),
            handshake_within: Duration::from_secs(10),
            rate_min: TRANSFER_RATE_MIN,
            rate_grace: Duration::from_secs(10),
            drain_within: Duration::from_secs(10),
        }
    }
}

/// Why an address is not listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Plain HTTP would be open to the network.
    #[error("plain http on {addr} would be open to the network; only loopback may be plain")]
    PlainBeyondLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The system refused: the port is in use, say.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// An address that is listened on.
#[derive(Debug)]
pub struct Listener {
    tcp: Listening,
    addr: SocketAddr,
    security: Security,
    limits: ServeLimits,
}

impl Listener {
    /// Listens on `addr`; port 0 picks a free one.
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    pub fn bind(
        addr: SocketAddr,
        security: Security,
        limits: ServeLimits,
    ) -> Result<Self, BindError> {
        if matches!(security, Security::PlainLoopback) && !addr.ip().is_loopback() {
            return Err(BindError::PlainBeyondLoopback { addr });
        }
        let (tcp, addr) = Listening::on(addr).map_err(|source| BindError::Bind { addr, source })?;
        Ok(Self {
            tcp,
            addr,
            security,
            limits,
        })
    }

    /// The address, with the port that was picked.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `router` until `stop` is cancelled; then takes no more requests, lets those under
    /// way finish within [`ServeLimits::drain_within`] and cuts the rest.
    ///
    /// Handlers find the peer's address as [`ConnectInfo<SocketAddr>`](ConnectInfo). WebSockets
    /// leave this machinery once they are open: they must watch `stop` themselves.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let Self {
            tcp,
            limits,
            security,
            ..
        } = self;
        let cut = CancellationToken::new();
        let house = House {
            door: Door::new(limits.connections_max, limits.per_ip_max),
            tls: match security {
                Security::PlainLoopback => None,
                Security::Tls(identity) => Some(TlsAcceptor::from(identity.server())),
            },
            limits,
            router,
            tasks: TaskTracker::new(),
            stop: stop.clone(),
            cut: cut.clone(),
        };
        let house = Arc::new(house);
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = tcp.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => house.clone().receive(tcp, peer),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(tcp);
        house.tasks.close();
        if timeout(limits.drain_within, house.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = house.tasks.len(),
                "cutting requests under way"
            );
            cut.cancel();
            house.tasks.wait().await;
        }
    }
}

/// What every connection of a listener shares.
struct House {
    door: Door,
    tls: Option<TlsAcceptor>,
    limits: ServeLimits,
    router: Router,
    tasks: TaskTracker,
    /// No more requests.
    stop: CancellationToken,
    /// No more time.
    cut: CancellationToken,
}

impl House {
    fn receive(self: Arc<Self>, tcp: Tcp, peer: SocketAddr) {
        let admission = match self.door.admit(peer.ip()) {
            Ok(admission) => admission,
            Err(reason) => {
                tracing::debug!(?reason, "connection turned away");
                return;
            }
        };
        tune(&tcp);
        let house = Arc::clone(&self);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = house.cut.cancelled() => {}
                () = house.attend(tcp, peer, admission) => {}
            }
        });
    }

    async fn attend(&self, tcp: Tcp, peer: SocketAddr, admission: Admission) {
        let link = match &self.tls {
            None => Link::Plain(Socket::new(tcp)),
            Some(tls) => match timeout(self.limits.handshake_within, secure(tls, tcp)).await {
                Ok(Ok(link)) => link,
                Ok(Err(error)) => return tracing::debug!(%error, "tls handshake failed"),
                Err(_) => return tracing::debug!("tls handshake timed out"),
            },
        };
        let guest = Guest {
            link,
            meter: Meter::new(self.pace()),
            _admission: admission,
        };
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|request| self.answer(&router, request, peer));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.head_within)
                .max_header_size(HEAD_BYTES_MAX)
                .max_buf_size(HTTP_BUFFER_BYTES)
                .writev(true)
                .serve_connection(TokioIo::new(guest), service)
                .with_upgrades()
        );
        let served = tokio::select! {
            biased;
            // Whether it is to stop is looked up first: a connection that is never idle would
            // otherwise not hear of it.
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
            served = connection.as_mut() => served,
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended");
        }
    }

    fn answer(
        &self,
        router: &TowerToHyperService<Router>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        let mut request = request
            .map(|body| axum::body::Body::new(Inbound::new(body, self.pace(), self.tasks.clone())));
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    }

    const fn pace(&self) -> Pace {
        Pace {
            grace: self.limits.rate_grace,
            bytes_per_second: self.limits.rate_min,
        }
    }
}

async fn secure(acceptor: &TlsAcceptor, tcp: Tcp) -> io::Result<Link> {
    let stream = acceptor
        .accept_with(buffered(tcp), |session| {
            session.set_buffer_limit(Some(tls::TLS_BUFFER_BYTES));
        })
        .await?;
    Ok(Link::Tls(Box::new(stream.into())))
}

/// A peer's connection: holds its place at the door as long as it is open, also as a WebSocket,
/// and is cut when the peer reads our bytes too slowly.
struct Guest {
    link: Link,
    meter: Meter,
    _admission: Admission,
}

impl Guest {
    fn metered(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = written else {
            let slow = ready!(self.meter.poll_waiting(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, slow)));
        };
        self.meter.moved(*written.as_ref().unwrap_or(&0));
        Poll::Ready(written)
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.link).poll_write(cx, buf);
        self.metered(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.link).poll_write_vectored(cx, bufs);
        self.metered(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.link).poll_flush(cx);
        self.metered(cx, flushed.map_ok(|()| 0)).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}
