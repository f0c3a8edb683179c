//! One request and its answer, every wait limited.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use model::wire::Problem;
use tokio::time::timeout;

use crate::connect::ConnectError;
use crate::endpoint::Endpoint;
use crate::payload::Payload;
use crate::pool::{Connection, Dialer, Lease};
use crate::sent::Patience;

/// A request to be sent with [`Dialer::send`].
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Payload,
    pub(crate) answer_within: Duration,
    pub(crate) stall_within: Duration,
}

/// What a call was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its turn: too many requests were under way.
    Turn,
    /// The peer to take some more of the request.
    Send,
    /// The head of the answer, from when the last of the request was handed over.
    Answer,
    /// The next bytes of the answer's body.
    Body,
}

/// Why a call has no answer, or not the wanted one. Each names the peer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request cannot be written down: a bad path or header.
    #[error("the request to {peer} is malformed")]
    Request {
        /// Who was called.
        peer: String,
        /// What is wrong.
        #[source]
        source: http::Error,
    },
    /// No connection was made; nothing was sent.
    #[error("{peer} could not be reached")]
    Connect {
        /// Who was called.
        peer: String,
        /// Which step failed.
        #[source]
        source: ConnectError,
    },
    /// A step took too long.
    #[error("{peer} kept us waiting for {step} beyond {} ms", after.as_millis())]
    Timeout {
        /// Who was called.
        peer: String,
        /// What was waited for.
        step: Step,
        /// The limit.
        after: Duration,
    },
    /// The connection broke before the head of the answer; the request may have been received.
    #[error("the connection to {peer} broke before its answer")]
    Answer {
        /// Who was called.
        peer: String,
        /// How it broke.
        #[source]
        source: hyper::Error,
    },
    /// The connection broke within the answer's body.
    #[error("the connection to {peer} broke within its answer")]
    Body {
        /// Who was called.
        peer: String,
        /// How it broke.
        #[source]
        source: hyper::Error,
    },
    /// The answer is larger than the caller takes.
    #[error("the answer of {peer} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Who was called.
        peer: String,
        /// The caller's limit.
        limit_bytes: usize,
    },
    /// What was to be sent could not be written as JSON.
    #[error("the request to {peer} could not be written as json")]
    Encode {
        /// Who was called.
        peer: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is not the JSON that was expected.
    #[error("the answer of {peer} is not the expected json")]
    Decode {
        /// Who was called.
        peer: String,
        /// Where it departs.
        #[source]
        source: serde_json::Error,
    },
    /// The peer refused, and said why.
    #[error("{peer} refused: {problem}")]
    Refused {
        /// Who was called.
        peer: String,
        /// The HTTP status.
        status: StatusCode,
        /// The peer's reason.
        problem: Box<Problem>,
    },
    /// The peer answered with a status that was not asked for, and no reason we understand.
    #[error("{peer} answered with status {status}")]
    Status {
        /// Who was called.
        peer: String,
        /// The HTTP status.
        status: StatusCode,
    },
}

impl Call {
    /// A call of `method` to `path`, which begins with a slash. Limits: 30 s for the head of the
    /// answer, 15 s between pieces of either body.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Payload::empty(),
            answer_within: Duration::from_secs(30),
            stall_within: Duration::from_secs(15),
        }
    }

    /// A GET of `path`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A PUT of `body` to `path`.
    #[must_use]
    pub fn put(path: impl Into<String>, body: impl Into<Payload>) -> Self {
        Self::new(Method::PUT, path).body(body)
    }

    /// A POST of `body` to `path`.
    #[must_use]
    pub fn post(path: impl Into<String>, body: impl Into<Payload>) -> Self {
        Self::new(Method::POST, path).body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Payload>) -> Self {
        self.body = body.into();
        self
    }

    /// Limits the time from when the last of the request was handed to the network to the head of
    /// the answer, and before that the wait for a free connection.
    ///
    /// After a body that went slowly the answer may take as long as the body did, up to 20 s,
    /// because some of it may still wait in buffers on the way.
    #[must_use]
    pub const fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit;
        self
    }

    /// Limits the time in which the peer takes nothing more of the request's body, and the time
    /// between pieces of the answer's.
    #[must_use]
    pub const fn stall_within(mut self, limit: Duration) -> Self {
        self.stall_within = limit;
        self
    }
}

impl Dialer {
    /// Sends `call` to `endpoint` over a kept or a new connection and waits for the head of the
    /// answer, whatever its status.
    ///
    /// A kept connection may have been closed by the peer while it was idle. The call is then
    /// repeated once on a new connection, if it was not sent or may be repeated without harm.
    ///
    /// Dropping the future, or the [`Reply`] before its end, closes the connection.
    ///
    /// # Errors
    /// [`CallError`], which names the peer and the step that failed.
    pub async fn send(&self, endpoint: &Endpoint, call: &Call) -> Result<Reply, CallError> {
        let exchange = Exchange { endpoint, call };
        // Checked before anything is dialled.
        exchange.request()?;
        let lease = timeout(call.answer_within, self.lease(endpoint))
            .await
            .map_err(|_| exchange.timeout(Step::Turn, call.answer_within))?;
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
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        let request = self.request().map_err(|error| Failure {
            error,
            may_repeat: false,
        })?;
        let patience = Patience {
            stall: self.call.stall_within,
            answer: self.call.answer_within,
        };
        let watch = connection.sent.watch(self.call.body.len(), patience);
        let answer = connection.sender.try_send_request(request);
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            (step, limit) = watch.overdue() => return Err(Failure {
                error: self.timeout(step, limit),
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
                    source: unsent.into_error(),
                };
                Err(Failure { error, may_repeat })
            }
        }
    }

    fn reply(
        &self,
        outcome: Result<(Connection, Response<Incoming>), Failure>,
        lease: Lease,
    ) -> Result<Reply, CallError> {
        let (connection, response) = outcome.map_err(|failure| failure.error)?;
        let (head, body) = response.into_parts();
        let mut reply = Reply {
            peer: self.endpoint.to_string(),
            status: head.status,
            headers: head.headers,
            stall_within: self.call.stall_within,
            body,
            open: Some((connection, lease)),
        };
        if reply.body.is_end_stream() {
            reply.give_back();
        }
        Ok(reply)
    }

    /// The HTTP request; its chunks are shared, so a second one costs next to nothing.
    fn request(&self) -> Result<Request<Payload>, CallError> {
        let build = || -> Result<Request<Payload>, http::Error> {
            let mut request = Request::builder()
                .method(self.call.method.clone())
                .uri(self.call.path.as_str())
                .body(self.call.body.clone())?;
            request.headers_mut().clone_from(&self.call.headers);
            let authority = HeaderValue::try_from(self.endpoint.authority())?;
            request.headers_mut().insert(HOST, authority);
            Ok(request)
        };
        build().map_err(|source| CallError::Request {
            peer: self.endpoint.to_string(),
            source,
        })
    }

    fn timeout(&self, step: Step, after: Duration) -> CallError {
        CallError::Timeout {
            peer: self.endpoint.to_string(),
            step,
            after,
        }
    }
}

/// The answer to a [`Call`]: its head, and its body as it arrives.
pub struct Reply {
    peer: String,
    status: StatusCode,
    headers: HeaderMap,
    stall_within: Duration,
    body: Incoming,
    /// Until the body is read to its end.
    open: Option<(Connection, Lease)>,
}

impl Reply {
    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Who answered, as errors name it.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The next piece of the body, in the sizes in which it arrives; `None` at its end.
    ///
    /// Cancel safe: no bytes are lost when the future is dropped.
    ///
    /// # Errors
    /// [`CallError::Body`] and [`CallError::Timeout`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let frame = timeout(self.stall_within, self.body.frame())
                .await
                .map_err(|_| {
                    let after = self.stall_within;
                    CallError::Timeout {
                        peer: self.peer.clone(),
                        step: Step::Body,
                        after,
                    }
                })?;
            let Some(frame) = frame else {
                self.give_back();
                return Ok(None);
            };
            let frame = frame.map_err(|source| CallError::Body {
                peer: self.peer.clone(),
                source,
            })?;
            if self.body.is_end_stream() {
                self.give_back();
            }
            // Trailers mean nothing here.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    /// The whole body, if it has at most `limit_bytes`.
    ///
    /// Memory grows with what arrives, not with what is announced.
    ///
    /// # Errors
    /// [`CallError::TooLarge`] as soon as more is announced or arrives, and those of
    /// [`Reply::chunk`].
    pub async fn collect_limited(&mut self, limit_bytes: usize) -> Result<Bytes, CallError> {
        let too_large = || CallError::TooLarge {
            peer: self.peer.clone(),
            limit_bytes,
        };
        if self.body.size_hint().lower() > limit_bytes as u64 {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > limit_bytes {
                return Err(CallError::TooLarge {
                    peer: self.peer.clone(),
                    limit_bytes,
                });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    fn give_back(&mut self) {
        if let Some((connection, lease)) = self.open.take() {
            lease.keep(connection);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("peer", &self.peer)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn => "a free connection",
            Self::Send => "the request to be taken",
            Self::Answer => "an answer",
            Self::Body => "the rest of an answer",
        })
    }
}
