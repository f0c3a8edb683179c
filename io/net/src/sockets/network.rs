//! Where connections come from: the operating system, or a simulated network that whoever
//! simulates brings along.
//!
//! The choice is made per thread, by a guard, because a simulation is one thread that plays every
//! node; a program never takes the guard. Real connections stay what they are: the choice costs
//! them one branch, no allocation and no indirect call.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A simulated network, which knows by itself which node is running.
pub trait Network: fmt::Debug {
    /// Connects the running node to `addr`.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<SimulatedStream>>;

    /// Has the running node listen on `addr`; also returns the address with the port that was
    /// picked.
    ///
    /// # Errors
    /// As an operating system would: the address is in use, say.
    fn listen(&self, addr: SocketAddr) -> io::Result<(SimulatedListener, SocketAddr)>;
}

/// A connection of a simulated network.
pub type SimulatedStream = Box<dyn Stream>;

/// An address that is listened on in a simulated network.
pub type SimulatedListener = Box<dyn Accept>;

/// What a connection can do.
pub trait Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + fmt::Debug + Send + Sync + Unpin> Stream for S {}

/// What an address that is listened on can do.
pub trait Accept: fmt::Debug + Send + Sync {
    /// The next connection, and who made it.
    fn accept(&self) -> BoxFuture<'_, io::Result<(SimulatedStream, SocketAddr)>>;
}

thread_local! {
    static NETWORK: RefCell<Option<Arc<dyn Network>>> = const { RefCell::new(None) };
}

/// As long as it lives, what this thread dials and serves goes over a simulated network.
#[derive(Debug)]
pub struct SimulatedNetwork {
    before: Option<Arc<dyn Network>>,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl SimulatedNetwork {
    /// From now on this thread's sockets are those of `network`.
    #[must_use]
    pub fn here(network: Arc<dyn Network>) -> Self {
        Self {
            before: NETWORK.replace(Some(network)),
            _thread: PhantomData,
        }
    }
}

impl Drop for SimulatedNetwork {
    fn drop(&mut self) {
        NETWORK.set(self.before.take());
    }
}

fn simulated() -> Option<Arc<dyn Network>> {
    NETWORK.with_borrow(Clone::clone)
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) enum Tcp {
    System(TcpStream),
    Simulated(SimulatedStream),
}

impl Tcp {
    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let simulated = simulated().map(|network| network.connect(addr));
        match simulated {
            None => TcpStream::connect(addr).await.map(Self::System),
            Some(connecting) => connecting.await.map(Self::Simulated),
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Simulated(tcp) => Pin::new(tcp).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Simulated(tcp) => Pin::new(tcp).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Simulated(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::System(tcp) => tcp.is_write_vectored(),
            Self::Simulated(tcp) => tcp.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Simulated(tcp) => Pin::new(tcp).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Simulated(tcp) => Pin::new(tcp).poll_shutdown(cx),
        }
    }
}

/// An address that is listened on.
#[derive(Debug)]
pub(crate) enum Listening {
    System(TcpListener),
    Simulated(SimulatedListener),
}

impl Listening {
    /// Listens on `addr`; also returns the address with the port that was picked.
    pub(crate) fn on(addr: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        if let Some(network) = simulated() {
            let (listener, addr) = network.listen(addr)?;
            return Ok((Self::Simulated(listener), addr));
        }
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let tcp = socket.listen(BACKLOG)?;
        let addr = tcp.local_addr()?;
        Ok((Self::System(tcp), addr))
    }

    /// The next connection. Cancel safe.
    pub(crate) async fn accept(&self) -> io::Result<(Tcp, SocketAddr)> {
        match self {
            Self::System(listener) => {
                let (tcp, peer) = listener.accept().await?;
                Ok((Tcp::System(tcp), peer))
            }
            Self::Simulated(listener) => {
                let (tcp, peer) = listener.accept().await?;
                Ok((Tcp::Simulated(tcp), peer))
            }
        }
    }
}
