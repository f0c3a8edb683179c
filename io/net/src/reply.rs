//! The answer to a call: its head, and its body within limits.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use tasks::time::timeout;

use crate::call::Call;
use crate::carrier::Carried;
use crate::endpoint::Endpoint;
use crate::error::{CallError, Cause, Step};

/// The answer to a [`Call`]: its head, and its body as it arrives.
pub struct Reply {
    peer: String,
    status: StatusCode,
    headers: HeaderMap,
    stall_within: Duration,
    body: Body,
}

/// Where the body comes from.
pub(crate) enum Body {
    #[cfg(not(target_family = "wasm"))]
    Socket(crate::sockets::Incoming),
    Carried(Carried),
}

impl Reply {
    pub(crate) fn new(endpoint: &Endpoint, call: &Call, response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            peer: endpoint.to_string(),
            status: head.status,
            headers: head.headers,
            stall_within: call.stall_within,
            body,
        }
    }

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
        let next = timeout(self.stall_within, self.body.next())
            .await
            .map_err(|_| CallError::Timeout {
                peer: self.peer.clone(),
                step: Step::Body,
                after: self.stall_within,
            })?;
        next.transpose().map_err(|source| CallError::Body {
            peer: self.peer.clone(),
            source,
        })
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
        if self.body.announced_bytes() > limit_bytes as u64 {
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
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("peer", &self.peer)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Body {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, Cause>> {
        match self {
            #[cfg(not(target_family = "wasm"))]
            Self::Socket(incoming) => incoming.next().await,
            Self::Carried(carried) => carried.next().await,
        }
    }

    /// Bytes that are at least to come.
    fn announced_bytes(&self) -> u64 {
        match self {
            #[cfg(not(target_family = "wasm"))]
            Self::Socket(incoming) => incoming.announced_bytes(),
            Self::Carried(carried) => carried.announced_bytes(),
        }
    }
}
