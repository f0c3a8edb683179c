//! The sockets of simulated nodes: turmoil's, made slow where a fault says so, and silent from the
//! moment on that their machine has no power.
//!
//! turmoil sends nothing twice: what a partition swallows leaves a gap behind which the connection
//! hears nothing more, while the other direction goes on. A kernel would notice that nobody
//! acknowledges; so a connection that lost something ends after as long as ours are told to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use net::{Accept, Network, SimulatedListener, SimulatedStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net::{TcpListener, TcpStream};

use crate::disk::Disks;

/// Bytes that a slow link takes at a time.
const SLOW_PIECE_BYTES: usize = 16 * 1_024;
/// A connection whose bytes nobody acknowledges for this long is dead.
const UNHEARD_MAX: Duration = Duration::from_secs(20);

/// All sockets of a run. A clone is the same network.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    disks: Disks,
    links: Arc<Mutex<Links>>,
}

#[derive(Debug, Default)]
struct Links {
    /// The machines that have a power supply to lose.
    machines: BTreeMap<IpAddr, String>,
    /// Bytes per second that these nodes send and get.
    slow: BTreeMap<IpAddr, u64>,
    /// From whom nothing gets to whom.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    traffic: Traffic,
}

/// What went over the network: where two runs part, this differs first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) connections: u64,
    pub(crate) writes: u64,
    pub(crate) bytes: u64,
}

impl Sockets {
    pub(crate) fn new(disks: Disks) -> Self {
        Self {
            disks,
            links: Arc::default(),
        }
    }

    pub(crate) fn add_machine(&self, ip: IpAddr, name: &str) {
        self.links().machines.insert(ip, name.to_owned());
    }

    /// From now on `ip` sends and gets so many bytes per second.
    pub(crate) fn set_rate(&self, ip: IpAddr, bytes_per_s: Option<u64>) {
        let slow = &mut self.links().slow;
        match bytes_per_s {
            Some(rate) => slow.insert(ip, rate),
            None => slow.remove(&ip),
        };
    }

    /// From now on nothing gets from one node to the other, or everything does again.
    pub(crate) fn set_cut(&self, from: IpAddr, to: IpAddr, is_cut: bool) {
        let cut = &mut self.links().cut;
        if is_cut {
            cut.insert((from, to));
        } else {
            cut.remove(&(from, to));
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.links().traffic
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self, tcp: TcpStream) -> io::Result<SimulatedStream> {
        let (here, there) = (tcp.local_addr()?.ip(), tcp.peer_addr()?.ip());
        let mut links = self.links();
        links.traffic.connections += 1;
        let machine = links.machines.get(&here).cloned();
        drop(links);
        Ok(Box::new(Socket {
            tcp,
            sockets: self.clone(),
            ends: [here, there],
            machine,
            busy: None,
            unheard: None,
        }))
    }
}

impl Network for Sockets {
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<SimulatedStream>> {
        let sockets = self.clone();
        Box::pin(async move { sockets.stream(TcpStream::connect(addr).await?) })
    }

    fn listen(&self, addr: SocketAddr) -> io::Result<(SimulatedListener, SocketAddr)> {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port());
        let bound = TcpListener::bind(any).now_or_never();
        let tcp = bound.ok_or_else(|| io::Error::other("turmoil waits before it listens"))??;
        let addr = SocketAddr::new(addr.ip(), tcp.local_addr()?.port());
        let sockets = self.clone();
        Ok((Box::new(Door { tcp, sockets }), addr))
    }
}

struct Door {
    tcp: TcpListener,
    sockets: Sockets,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

impl Accept for Door {
    fn accept(&self) -> BoxFuture<'_, io::Result<(SimulatedStream, SocketAddr)>> {
        Box::pin(async {
            let (tcp, peer) = self.tcp.accept().await?;
            Ok((self.sockets.stream(tcp)?, peer))
        })
    }
}

/// A connection.
#[derive(Debug)]
struct Socket {
    tcp: TcpStream,
    sockets: Sockets,
    ends: [IpAddr; 2],
    machine: Option<String>,
    /// Until a slow link has taken what was written last.
    busy: Option<Pin<Box<Sleep>>>,
    /// Something was lost: when the connection is given up.
    unheard: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    /// A machine without power neither sends nor hears.
    fn is_dark(&self) -> bool {
        let machine = self.machine.as_ref();
        machine.is_some_and(|name| self.sockets.disks.with(name, |machine| machine.is_dark()))
    }

    /// Fails once nothing was heard for too long.
    fn poll_unheard(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let unheard = self.unheard.as_mut();
        match unheard.map(|unheard| unheard.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Err(io::ErrorKind::TimedOut.into()),
            Some(Poll::Pending) | None => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_dark() {
            return Poll::Pending;
        }
        self.poll_unheard(cx)?;
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_dark() {
            return Poll::Pending;
        }
        self.poll_unheard(cx)?;
        if let Some(busy) = &mut self.busy {
            ready!(busy.as_mut().poll(cx));
            self.busy = None;
        }
        let [here, there] = self.ends;
        let (rate, is_cut) = {
            let links = self.sockets.links();
            let rates = self.ends.iter().filter_map(|ip| links.slow.get(ip));
            (rates.min().copied(), links.cut.contains(&(here, there)))
        };
        if is_cut && self.unheard.is_none() {
            self.unheard = Some(Box::pin(sleep(UNHEARD_MAX)));
            self.poll_unheard(cx)?;
        }
        let most = rate.map_or(buf.len(), |_| SLOW_PIECE_BYTES.min(buf.len()));
        let piece = buf.get(..most).unwrap_or(buf);
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, piece))?;
        if let Some(rate) = rate {
            let takes_us = written as u64 * 1_000_000 / rate;
            self.busy = Some(Box::pin(sleep(Duration::from_micros(takes_us))));
        }
        let mut links = self.sockets.links();
        links.traffic.writes += 1;
        links.traffic.bytes += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_dark() {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
