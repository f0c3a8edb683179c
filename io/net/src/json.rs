//! JSON calls: what goes out is written, what comes back is bounded and parsed, and a refusal
//! becomes a typed error.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use model::wire::Problem;
use model::wire::limits::JSON_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::dialer::Dialer;
use crate::endpoint::Endpoint;
use crate::error::CallError;
use crate::payload::Payload;
use crate::reply::Reply;

/// Largest refusal that is read.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

impl Call {
    /// Sets the body to `value` as JSON.
    ///
    /// # Errors
    /// Whatever `value` says against being written, a map with non-text keys say.
    pub fn json(self, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(self
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body))
    }
}

impl Dialer {
    /// Gets `path` and parses the answer.
    ///
    /// # Errors
    /// Those of [`Dialer::send`] and [`Reply::json`].
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        path: &str,
    ) -> Result<T, CallError> {
        self.send_json(endpoint, &Call::get(path)).await
    }

    /// Posts `value` to `path` and parses the answer.
    ///
    /// # Errors
    /// [`CallError::Encode`], and those of [`Dialer::send`] and [`Reply::json`].
    pub async fn post_json<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        path: &str,
        value: &impl Serialize,
    ) -> Result<T, CallError> {
        let call = Call::post(path, Payload::empty())
            .json(value)
            .map_err(|source| CallError::Encode {
                peer: endpoint.to_string(),
                source,
            })?;
        self.send_json(endpoint, &call).await
    }

    /// Sends `call` and parses the answer.
    ///
    /// # Errors
    /// Those of [`Dialer::send`] and [`Reply::json`].
    pub async fn send_json<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<T, CallError> {
        let call = call
            .clone()
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        // Boxed, so that whoever makes such calls, which are few, need not be large.
        Box::pin(self.send(endpoint, &call)).await?.json().await
    }
}

impl Reply {
    /// The answer itself if it succeeded (status 2xx).
    ///
    /// # Errors
    /// [`CallError::Refused`] with the peer's problem, [`CallError::Status`] where it sent none.
    pub async fn success(mut self) -> Result<Self, CallError> {
        if self.status().is_success() {
            return Ok(self);
        }
        let (peer, status) = (self.peer().to_owned(), self.status());
        let body = self
            .collect_limited(PROBLEM_BYTES_MAX)
            .await
            .unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(CallError::Refused {
                peer,
                status,
                problem: Box::new(problem),
            }),
            Err(_) => Err(CallError::Status { peer, status }),
        }
    }

    /// Reads a success as JSON of at most 16 MiB; an empty body reads as `null`, so `()` is the
    /// type for answers without content.
    ///
    /// # Errors
    /// Those of [`Reply::success`] and [`Reply::collect_limited`], and [`CallError::Decode`].
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let mut reply = self.success().await?;
        let body = reply.collect_limited(JSON_BYTES_MAX).await?;
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text).map_err(|source| CallError::Decode {
            peer: reply.peer().to_owned(),
            source,
        })
    }
}

impl CallError {
    /// The peer's own reason, where it gave one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            Self::Request { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Answer { .. }
            | Self::Body { .. }
            | Self::TooLarge { .. }
            | Self::Encode { .. }
            | Self::Decode { .. }
            | Self::Status { .. } => None,
        }
    }
}
