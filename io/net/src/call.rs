//! A request: what is asked of whom, every wait limited.

use std::time::Duration;

use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};

use crate::endpoint::Endpoint;
use crate::error::CallError;
use crate::payload::Payload;
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

    /// Its method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
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

impl Call {
    /// The HTTP request; its chunks are shared, so a second one costs next to nothing.
    pub(crate) fn request(&self, endpoint: &Endpoint) -> Result<Request<Payload>, CallError> {
        let build = || -> Result<Request<Payload>, http::Error> {
            let mut request = Request::builder()
                .method(self.method.clone())
                .uri(self.path.as_str())
                .body(self.body.clone())?;
            request.headers_mut().clone_from(&self.headers);
            let authority = HeaderValue::try_from(endpoint.authority())?;
            request.headers_mut().insert(HOST, authority);
            Ok(request)
        };
        build().map_err(|source| CallError::Request {
            peer: endpoint.to_string(),
            source,
        })
    }

    pub(crate) const fn patience(&self) -> Patience {
        Patience {
            stall: self.stall_within,
            answer: self.answer_within,
        }
    }
}
