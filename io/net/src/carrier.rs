//! Calls where this program has no sockets: whoever runs it says how a request travels.
//!
//! In a browser that is fetch, WebTransport or a relay. The limits are the same as over sockets,
//! and are kept here, not by the carrier.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response};

use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::{CallError, Cause, ConnectError};
use crate::payload::Payload;
use crate::reply::{Body, Reply};
use crate::sent::Sent;
use crate::turns::Turn;

/// Largest head of an answer, names and values.
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The body of an answer that was carried here, piece by piece.
pub type CarriedBody = BoxStream<'static, Result<Bytes, Cause>>;

/// Carries requests to endpoints and answers back.
///
/// Whoever implements it proves the peer: a Host by its key, a Bridge as its URL says. Futures
/// and streams of a browser belong to its thread; `SendWrapper` of the crate `send_wrapper` makes
/// them what is asked for here.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// Sends `request`, whose URI is a path, to `endpoint`, and is ready with the head of the
    /// answer. What the network took of the body is told to `taken` as it goes.
    ///
    /// The future is dropped to give the request up, the body to give the answer up.
    ///
    /// # Errors
    /// [`CarryError`].
    fn carry(
        &self,
        endpoint: &Endpoint,
        request: Request<Payload>,
        taken: Taken,
    ) -> BoxFuture<'static, Result<Response<CarriedBody>, CarryError>>;
}

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The peer was not reached: nothing of the request can have arrived.
    #[error("the peer was not reached")]
    Unsent(#[source] Cause),
    /// The connection broke; the request may have arrived.
    #[error("the connection broke")]
    Broken(#[source] Cause),
}

/// An answer whose head is above the limit.
#[derive(Debug, thiserror::Error)]
#[error("the head of the answer is larger than {ANSWER_HEAD_BYTES_MAX} bytes")]
struct HeadTooLarge;

/// Told by the carrier how much of a request's body the network took.
///
/// It is how a peer that is slow is told from one that is gone, so it must be told while the body
/// goes, not before: `XMLHttpRequest` in a browser knows, fetch does not.
#[derive(Debug)]
pub struct Taken {
    sent: Sent,
    left: u64,
}

impl Taken {
    /// So many bytes more were taken. Neither none nor more than there are is a sign of life.
    pub fn add(&mut self, bytes: usize) {
        let bytes = bytes.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= bytes as u64;
        if bytes > 0 {
            self.sent.add(bytes);
        }
    }
}

/// Sends `call`, whose turn has come.
pub(crate) async fn send(
    carrier: &dyn Carrier,
    turn: Turn,
    endpoint: &Endpoint,
    call: &Call,
) -> Result<Reply, CallError> {
    let request = call.request(endpoint)?;
    let sent = Sent::new();
    let left = request.body().len();
    let watch = sent.watch(left, call.patience());
    let answer = carrier.carry(endpoint, request, Taken { sent, left });
    let answer = tokio::select! {
        biased;
        answer = answer => answer,
        (step, limit) = watch.overdue() => return Err(CallError::timeout(endpoint, step, limit)),
    };
    let peer = || endpoint.to_string();
    let broken = |source| CallError::Answer {
        peer: peer(),
        source,
    };
    let answer = answer.map_err(|error| match error {
        CarryError::Unsent(source) => CallError::Connect {
            peer: peer(),
            source: ConnectError::Carrier(source),
        },
        CarryError::Broken(source) => broken(source),
    })?;
    if head_bytes(answer.headers()) > ANSWER_HEAD_BYTES_MAX {
        return Err(broken(HeadTooLarge.into()));
    }
    let announced_bytes = announced_bytes(answer.headers());
    let body = |body| {
        Body::Carried(Carried {
            open: Some((body, turn)),
            announced_bytes,
        })
    };
    Ok(Reply::new(endpoint, call, answer.map(body)))
}

/// The body of an answer; it gives its turn to the next call at its end.
pub(crate) struct Carried {
    /// Until the body is read to its end, or fails.
    open: Option<(CarriedBody, Turn)>,
    announced_bytes: u64,
}

impl Carried {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Cause>> {
        let (body, _) = self.open.as_mut()?;
        let next = body.next().await;
        if !matches!(next, Some(Ok(_))) {
            self.open = None;
        }
        next
    }

    /// Bytes that are to come, as the head says.
    pub(crate) const fn announced_bytes(&self) -> u64 {
        self.announced_bytes
    }
}

fn head_bytes(headers: &HeaderMap) -> usize {
    let each = headers.iter();
    each.map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

fn announced_bytes(headers: &HeaderMap) -> u64 {
    let text = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
