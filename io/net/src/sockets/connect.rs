//! Opens one connection to an endpoint: names to addresses, TCP to the first that answers, TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::network::Tcp;
use super::socket::Socket;
use super::{pin, tls};
use crate::endpoint::{BridgeUrl, Endpoint, Trust, UrlHost};
use crate::error::ConnectError;
use crate::sent::Sent;

/// Addresses of one Host that are tried.
const ADDRS_MAX: usize = 8;

/// Head start of each address before the next one is tried as well (RFC 8305).
const ADDR_HEAD_START: Duration = Duration::from_millis(250);

/// Most bytes that the kernel takes ahead of what the network takes, so that what was handed over
/// says how far the peer is.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// A connection whose bytes nobody acknowledges for this long is dead.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNHEARD_MAX: Duration = Duration::from_secs(20);

/// TLS client configurations: by key, and by the public web's certificates.
#[derive(Clone)]
pub(crate) struct Connector {
    pinned: Arc<ClientConfig>,
    web: Arc<ClientConfig>,
    within: Duration,
}

impl Connector {
    pub(crate) fn new(within: Duration) -> Result<Self, rustls::Error> {
        Ok(Self {
            pinned: Arc::new(pin::pinned_client()?),
            web: Arc::new(pin::web_client()?),
            within,
        })
    }

    /// Connects to `endpoint` within the limit.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Link, ConnectError> {
        timeout(self.within, self.connect_unhurried(endpoint))
            .await
            .map_err(|_| ConnectError::Timeout { after: self.within })?
    }

    async fn connect_unhurried(&self, endpoint: &Endpoint) -> Result<Link, ConnectError> {
        match endpoint {
            Endpoint::Host { id, addrs } => {
                let tcp = connect_first(addrs).await?;
                self.secure(tcp, &self.pinned, pin::key_name(id.as_bytes()))
                    .await
            }
            Endpoint::Bridge(url) => {
                let tcp = connect_first(&lookup(url).await?).await?;
                match url.trust() {
                    Trust::Plain => Ok(Link::Plain(Socket::new(tcp))),
                    Trust::Key(id) => {
                        self.secure(tcp, &self.pinned, pin::key_name(id.as_bytes()))
                            .await
                    }
                    Trust::Web => self.secure(tcp, &self.web, web_name(url)?).await,
                }
            }
        }
    }

    async fn secure(
        &self,
        tcp: Tcp,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Link, ConnectError> {
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector
            .connect_with(name, buffered(tcp), |session| {
                session.set_buffer_limit(Some(tls::TLS_BUFFER_BYTES));
            })
            .await
            .map_err(tls_failure)?;
        Ok(Link::Tls(Box::new(stream.into())))
    }
}

fn tls_failure(error: io::Error) -> ConnectError {
    let reason = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match reason {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        )) => ConnectError::WrongKey,
        _ => ConnectError::Tls(error),
    }
}

async fn lookup(url: &BridgeUrl) -> Result<Vec<SocketAddr>, ConnectError> {
    let port = url.port();
    match url.host() {
        UrlHost::Ip(ip) => Ok(vec![SocketAddr::new(*ip, port)]),
        UrlHost::Name(name) if name == "localhost" => Ok(vec![
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port),
        ]),
        UrlHost::Name(name) => tokio::net::lookup_host((name.as_str(), port))
            .await
            .map(Iterator::collect)
            .map_err(|source| ConnectError::Lookup {
                name: name.clone(),
                source,
            }),
    }
}

fn web_name(url: &BridgeUrl) -> Result<ServerName<'static>, ConnectError> {
    match url.host() {
        UrlHost::Ip(ip) => Ok(ServerName::from(*ip)),
        UrlHost::Name(name) => ServerName::try_from(name.clone())
            .map_err(|error| ConnectError::Tls(io::Error::other(error))),
    }
}

/// Tries the addresses in order, each with a head start; the first connection wins.
async fn connect_first(addrs: &[SocketAddr]) -> Result<Tcp, ConnectError> {
    let mut waiting = addrs.iter().take(ADDRS_MAX).copied();
    let Some(first) = waiting.next() else {
        return Err(ConnectError::NoAddress);
    };
    let mut attempts = FuturesUnordered::from_iter([Tcp::connect(first)]);
    let mut tried = 1;
    loop {
        let next = tokio::select! {
            // An attempt that has ended counts more than the start of another one.
            biased;
            Some(outcome) = attempts.next() => match outcome {
                Ok(tcp) => {
                    tune_dialled(&tcp);
                    return Ok(tcp);
                }
                Err(source) => match waiting.next() {
                    Some(addr) => addr,
                    None if attempts.is_empty() => return Err(ConnectError::Tcp { tried, source }),
                    None => continue,
                },
            },
            () = sleep(ADDR_HEAD_START), if waiting.len() > 0 => match waiting.next() {
                Some(addr) => addr,
                None => continue,
            },
        };
        attempts.push(Tcp::connect(next));
        tried += 1;
    }
}

/// Socket options of a connection that this side opened.
fn tune_dialled(tcp: &Tcp) {
    tune(tcp);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Tcp::System(tcp) = tcp {
        let socket = socket2::SockRef::from(tcp);
        let tuned = socket
            .set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
            .and_then(|()| socket.set_tcp_user_timeout(Some(UNHEARD_MAX)));
        if let Err(error) = tuned {
            tracing::debug!(%error, "socket option refused");
        }
    }
}

/// Socket options of every connection, either side.
pub(crate) fn tune(tcp: &Tcp) {
    if let Tcp::System(tcp) = tcp
        && let Err(error) = tcp.set_nodelay(true)
    {
        tracing::debug!(%error, "socket option refused");
    }
}

/// Ciphertext is taken from the socket in larger pieces than the 4 KiB rustls asks for.
pub(crate) fn buffered(tcp: Tcp) -> BufReader<Socket> {
    BufReader::with_capacity(tls::TLS_READ_BYTES, Socket::new(tcp))
}

/// A connection, plain or not, on either side.
#[derive(Debug)]
pub(crate) enum Link {
    Plain(Socket),
    Tls(Box<tokio_rustls::TlsStream<BufReader<Socket>>>),
}

impl Link {
    /// What was handed over to the network so far.
    pub(crate) fn sent(&self) -> &Sent {
        match self {
            Self::Plain(socket) => socket.sent(),
            Self::Tls(tls) => tls.get_ref().0.get_ref().sent(),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => poll_read_records(tls, cx, buf),
        }
    }
}

/// Reads one record, and further ones as long as they lie in the buffer already.
fn poll_read_records(
    tls: &mut tokio_rustls::TlsStream<BufReader<Socket>>,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let before = buf.filled().len();
        ready!(Pin::new(&mut *tls).poll_read(cx, buf))?;
        let more_at_hand = !tls.get_ref().0.buffer().is_empty();
        if buf.remaining() == 0 || buf.filled().len() == before || !more_at_hand {
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
