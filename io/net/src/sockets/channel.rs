//! A WebSocket that this side dials: one text message at a time, both ways, bounded.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use http::header::{HOST, HeaderValue};
use model::wire::limits::CONTROL_MESSAGE_BYTES_MAX;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::connect::Link;
use crate::dialer::Dialer;
use crate::endpoint::Endpoint;
use crate::error::ConnectError;

/// How long the WebSocket handshake may take, and one message to be taken by the socket.
const STEP_WITHIN: Duration = Duration::from_secs(15);

/// Why a channel could not be opened, or ended. Each names the peer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No connection was made.
    #[error("{peer} could not be reached")]
    Connect {
        /// Who was dialled.
        peer: String,
        /// Which step failed.
        #[source]
        source: ConnectError,
    },
    /// The peer does not speak WebSocket at this path, or refused.
    #[error("{peer} did not open a channel")]
    Handshake {
        /// Who was dialled.
        peer: String,
        /// Why.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// The channel broke, or the peer broke its rules: a message above the limit, say.
    #[error("the channel to {peer} broke")]
    Broken {
        /// The other end.
        peer: String,
        /// How.
        #[source]
        source: Box<tungstenite::Error>,
    },
    /// A message that is not text.
    #[error("{peer} sent something else than text")]
    NotText {
        /// The other end.
        peer: String,
    },
    /// Nothing was heard, or taken, for too long.
    #[error("{peer} was silent beyond {} ms", after.as_millis())]
    Timeout {
        /// The other end.
        peer: String,
        /// The limit.
        after: Duration,
    },
}

/// An open channel. Drop it to close it.
pub struct Channel {
    /// The half that receives.
    pub reader: ChannelReader,
    /// The half that sends.
    pub writer: ChannelWriter,
}

/// The half of a [`Channel`] that receives.
pub struct ChannelReader {
    peer: String,
    stream: SplitStream<WebSocketStream<Link>>,
}

/// The half of a [`Channel`] that sends.
pub struct ChannelWriter {
    peer: String,
    sink: SplitSink<WebSocketStream<Link>, Message>,
}

impl Dialer {
    /// Opens a WebSocket at `path` of `endpoint`. Messages have at most 1 MiB.
    ///
    /// # Errors
    /// [`ChannelError::Connect`], [`ChannelError::Handshake`] and [`ChannelError::Timeout`].
    pub async fn channel(
        &self,
        endpoint: &Endpoint,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Channel, ChannelError> {
        let peer = endpoint.to_string();
        let failed = |source| ChannelError::Connect {
            peer: peer.clone(),
            source,
        };
        let pool = self.pool().ok_or(ConnectError::NoSockets).map_err(failed)?;
        let link = pool.connector().connect(endpoint).await.map_err(failed)?;
        let opening = open(link, endpoint, path, headers);
        let socket = timeout(STEP_WITHIN, opening)
            .await
            .map_err(|_| ChannelError::Timeout {
                peer: peer.clone(),
                after: STEP_WITHIN,
            })?
            .map_err(|source| ChannelError::Handshake {
                peer: peer.clone(),
                source: Box::new(source),
            })?;
        let (sink, stream) = socket.split();
        let reader = ChannelReader {
            peer: peer.clone(),
            stream,
        };
        Ok(Channel {
            reader,
            writer: ChannelWriter { peer, sink },
        })
    }
}

async fn open(
    link: Link,
    endpoint: &Endpoint,
    path: &str,
    headers: &HeaderMap,
) -> Result<WebSocketStream<Link>, tungstenite::Error> {
    // The library wants a whole URL, of which only the path and the authority are sent.
    let mut request = format!("ws://{}{path}", endpoint.authority()).into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().append(name.clone(), value.clone());
    }
    if let Ok(authority) = HeaderValue::try_from(endpoint.authority()) {
        request.headers_mut().insert(HOST, authority);
    }
    let limits = WebSocketConfig::default()
        .max_message_size(Some(CONTROL_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(CONTROL_MESSAGE_BYTES_MAX))
        .max_write_buffer_size(2 * CONTROL_MESSAGE_BYTES_MAX);
    tokio_tungstenite::client_async_with_config(request, link, Some(limits))
        .await
        .map(|(socket, _)| socket)
}

impl ChannelReader {
    /// The next message; `None` once the peer closed the channel or hung up. Pings are answered by the way
    /// and count as a sign of life.
    ///
    /// Cancel safe: no message is lost when the future is dropped.
    ///
    /// # Errors
    /// [`ChannelError::Timeout`] when nothing at all is heard `within` the limit;
    /// [`ChannelError::Broken`] and [`ChannelError::NotText`].
    pub async fn next(&mut self, within: Duration) -> Result<Option<String>, ChannelError> {
        loop {
            let message =
                timeout(within, self.stream.next())
                    .await
                    .map_err(|_| ChannelError::Timeout {
                        peer: self.peer.clone(),
                        after: within,
                    })?;
            match message {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Text(text))) => return Ok(Some(text.as_str().to_owned())),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_) | Message::Frame(_))) => {
                    return Err(ChannelError::NotText {
                        peer: self.peer.clone(),
                    });
                }
                Some(Err(error)) if hung_up(&error) => return Ok(None),
                Some(Err(source)) => return Err(broken(&self.peer, source)),
            }
        }
    }
}

impl ChannelWriter {
    /// Sends one message.
    ///
    /// # Errors
    /// [`ChannelError::Broken`], and [`ChannelError::Timeout`] when the peer does not take it.
    pub async fn send(&mut self, text: String) -> Result<(), ChannelError> {
        timeout(STEP_WITHIN, self.sink.send(Message::text(text)))
            .await
            .map_err(|_| ChannelError::Timeout {
                peer: self.peer.clone(),
                after: STEP_WITHIN,
            })?
            .map_err(|source| broken(&self.peer, source))
    }

    /// Says goodbye; the peer closes the channel.
    ///
    /// # Errors
    /// As [`ChannelWriter::send`].
    pub async fn close(&mut self) -> Result<(), ChannelError> {
        timeout(STEP_WITHIN, self.sink.close())
            .await
            .map_err(|_| ChannelError::Timeout {
                peer: self.peer.clone(),
                after: STEP_WITHIN,
            })?
            .map_err(|source| broken(&self.peer, source))
    }
}

/// The peer went away between two messages. It may do so without a word: messages carry their own
/// lengths, so nothing can be cut short unnoticed.
fn hung_up(error: &tungstenite::Error) -> bool {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => true,
        tungstenite::Error::Io(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

fn broken(peer: &str, source: tungstenite::Error) -> ChannelError {
    ChannelError::Broken {
        peer: peer.to_owned(),
        source: Box::new(source),
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.reader.peer)
    }
}

impl fmt::Debug for ChannelReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelReader({})", self.peer)
    }
}

impl fmt::Debug for ChannelWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelWriter({})", self.peer)
    }
}
