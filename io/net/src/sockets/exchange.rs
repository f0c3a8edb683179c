//! One request and its answer over a kept or a new connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, SizeHint};

use super::pool::{Connection, Lease};
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::{CallError, Cause};
use crate::payload::Payload;
use crate::reply::{Body, Reply};

/// Sends `call` over a connection of the lease and waits for the head of the answer.
///
/// A kept connection may have been closed by the peer while it was idle. The call is then
/// repeated once on a new connection, if it was not sent or may be repeated without harm.
pub(crate) async fn send(
    lease: Lease,
    endpoint: &Endpoint,
    call: &Call,
) -> Result<Reply, CallError> {
    let exchange = Exchange { endpoint, call };
    if let Some(kept) = lease.kept().await {
        match exchange.run(kept).await {
            Err(failure) if failure.may_repeat => {
                tracing::debug!(peer = %endpoint, "kept connection was dead, dialling again");
            }
            outcome => return exchange.reply(outcome, lease),
        }
    }
    let fresh = lease
        .dial(endpoint)
        .await
        .map_err(|source| CallError::Connect {
            peer: endpoint.to_string(),
            source,
        })?;
    let outcome = exchange.run(fresh).await;
    exchange.reply(outcome, lease)
}

/// One try of a call over one connection.
struct Exchange<'a> {
    endpoint: &'a Endpoint,
    call: &'a Call,
}

struct Failure {
    error: CallError,
    /// Whether the request was not sent, or does no harm when it arrives twice.
    may_repeat: bool,
}

impl Exchange<'_> {
    async fn run(
        &self,
        mut connection: Connection,
    ) -> Result<(Connection, Response<hyper::body::Incoming>), Failure> {
        let request = self.call.request(self.endpoint).map_err(|error| Failure {
            error,
            may_repeat: false,
        })?;
        let watch = connection
            .sent
            .watch(self.call.body.len(), self.call.patience());
        let answer = connection.sender.try_send_request(request);
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            (step, limit) = watch.overdue() => return Err(Failure {
                error: CallError::timeout(self.endpoint, step, limit),
                may_repeat: false,
            }),
        };
        match answer {
            Ok(response) => Ok((connection, response)),
            Err(mut unsent) => {
                let may_repeat =
                    unsent.take_message().is_some() || self.call.method.is_idempotent();
                let peer = self.endpoint.to_string();
                let error = CallError::Answer {
                    peer,
                    source: unsent.into_error().into(),
                };
                Err(Failure { error, may_repeat })
            }
        }
    }

    fn reply(
        &self,
        outcome: Result<(Connection, Response<hyper::body::Incoming>), Failure>,
        lease: Lease,
    ) -> Result<Reply, CallError> {
        let (connection, response) = outcome.map_err(|failure| failure.error)?;
        let response = response.map(|body| {
            let open = Some((connection, lease));
            let mut incoming = Incoming { body, open };
            if incoming.body.is_end_stream() {
                incoming.give_back();
            }
            Body::Socket(incoming)
        });
        Ok(Reply::new(self.endpoint, self.call, response))
    }
}

/// The body of an answer as it comes in. Dropped before its end it closes the connection.
pub(crate) struct Incoming {
    body: hyper::body::Incoming,
    /// Until the body is read to its end.
    open: Option<(Connection, Lease)>,
}

impl Incoming {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Cause>> {
        loop {
            let Some(frame) = self.body.frame().await else {
                self.give_back();
                return None;
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error.into())),
            };
            if self.body.is_end_stream() {
                self.give_back();
            }
            // Trailers mean nothing here.
            if let Ok(bytes) = frame.into_data() {
                return Some(Ok(bytes));
            }
        }
    }

    /// Bytes that are at least to come.
    pub(crate) fn announced_bytes(&self) -> u64 {
        self.body.size_hint().lower()
    }

    fn give_back(&mut self) {
        if let Some((connection, lease)) = self.open.take() {
            lease.keep(connection);
        }
    }
}

impl hyper::body::Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.get_mut().next();
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
