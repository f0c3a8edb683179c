//! Why a call failed.

use std::time::Duration;
use std::{fmt, io};

use http::StatusCode;
use model::wire::Problem;

use crate::endpoint::Endpoint;

/// What whoever carries requests says of a failure.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

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
        source: Cause,
    },
    /// The connection broke within the answer's body.
    #[error("the connection to {peer} broke within its answer")]
    Body {
        /// Who was called.
        peer: String,
        /// How it broke.
        #[source]
        source: Cause,
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

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address was given or found.
    #[error("no address to dial")]
    NoAddress,
    /// The name could not be looked up.
    #[error("{name} could not be looked up")]
    Lookup {
        /// The name.
        name: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address answered; the last failure is the source.
    #[error("none of {tried} addresses answered")]
    Tcp {
        /// Addresses tried.
        tried: usize,
        /// The last failure.
        #[source]
        source: io::Error,
    },
    /// Somebody answered who does not hold the expected key.
    #[error("the peer does not hold the expected key")]
    WrongKey,
    /// The TLS handshake failed.
    #[error("the tls handshake failed")]
    Tls(#[source] io::Error),
    /// Whoever carries requests could not reach the peer.
    #[error("no way to the peer")]
    Carrier(#[source] Cause),
    /// Requests are carried here, and a channel needs a socket.
    #[error("no socket can be opened here")]
    NoSockets,
    /// The HTTP connection could not be set up.
    #[error("the http connection could not be set up")]
    Http(#[source] Cause),
    /// The peer closed the connection as soon as it was made.
    #[error("the peer closed the new connection")]
    Closed,
    /// It took too long.
    #[error("no connection within {} ms", after.as_millis())]
    Timeout {
        /// The limit.
        after: Duration,
    },
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

impl CallError {
    pub(crate) fn timeout(endpoint: &Endpoint, step: Step, after: Duration) -> Self {
        Self::Timeout {
            peer: endpoint.to_string(),
            step,
            after,
        }
    }
}
