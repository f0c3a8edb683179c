//! The Bridge's calls, typed: signs in again by itself, repeats what may be repeated.

mod calls;
mod error;
mod session;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderValue, Method};
use model::units::BridgeId;
use model::wire::api::Session;
use model::wire::{PROTOCOL_HEADER, ProblemCode, Program, ProtocolVersions};
use net::{BridgeUrl, Call, CallError, Dialer, Endpoint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tasks::time::{Instant, sleep};

use crate::transfer::{Environment, speaking};
pub use error::BridgeError;
pub use session::SignInKey;

/// A call is repeated for this long while the Bridge is away or busy.
const REPEAT_FOR: Duration = Duration::from_secs(10);
/// Wait before the first repetition; doubles each time.
const BACKOFF_MS_FIRST: u64 = 100;
/// Longest wait before a repetition.
const BACKOFF_MS_MAX: u64 = 2_000;

/// The calls of one Bridge. A clone shares the session.
#[derive(Clone)]
pub struct BridgeApi {
    inner: Arc<Inner>,
}

struct Inner {
    dialer: Dialer,
    endpoint: Endpoint,
    environment: Arc<dyn Environment>,
    sign_in: Option<SignInKey>,
    session: Mutex<Option<Session>>,
    /// What the Bridge said last that it speaks.
    theirs: Mutex<Option<ProtocolVersions>>,
    /// Held by whoever signs in, so that many calls that find no session sign in once.
    signing_in: tokio::sync::Mutex<()>,
}

/// Which failures allow a call to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// The Bridge takes it twice without harm.
    Freely,
    /// Only where the Bridge cannot have acted on it.
    IfUnsent,
    /// It is not worth it.
    Never,
}

/// Who must have signed in for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Anyone,
    Session,
}

/// A call as [`BridgeApi::send`] takes it.
struct Request {
    name: &'static str,
    call: Call,
    access: Access,
    repeat: Repeat,
}

impl BridgeApi {
    /// The Bridge at `url`. Without `sign_in` only the calls open to anyone work.
    #[must_use]
    pub fn new(
        dialer: Dialer,
        url: BridgeUrl,
        sign_in: Option<SignInKey>,
        environment: Arc<dyn Environment>,
    ) -> Self {
        let inner = Inner {
            dialer,
            endpoint: Endpoint::Bridge(url),
            environment,
            sign_in,
            session: Mutex::new(None),
            theirs: Mutex::new(None),
            signing_in: tokio::sync::Mutex::new(()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The Bridge's id, where it is known.
    #[must_use]
    pub fn bridge(&self) -> Option<BridgeId> {
        let pinned = match &self.inner.endpoint {
            Endpoint::Bridge(url) => url.pinned(),
            Endpoint::Host { .. } => None,
        };
        pinned.or(self.inner.sign_in.as_ref().map(|key| key.bridge))
    }

    /// The session now, to be kept for the next start.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.inner
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Goes on with a session kept from before.
    pub fn resume(&self, session: Session) {
        self.set_session(Some(session));
    }

    fn set_session(&self, session: Option<Session>) {
        *self
            .inner
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// Whether both sides speak `version` or a later one.
    #[must_use]
    pub fn speaks(&self, version: u16) -> bool {
        self.theirs()
            .and_then(|theirs| ProtocolVersions::OURS.common(theirs))
            .is_some_and(|common| common >= version)
    }

    fn theirs(&self) -> Option<ProtocolVersions> {
        *self
            .inner
            .theirs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call. What changes something is only sent to a Bridge of which it is known what it
    /// speaks: an older one would leave out what it does not know.
    async fn send<T: DeserializeOwned>(&self, request: Request) -> Result<T, BridgeError> {
        if self.theirs().is_none() && request.call.method() != Method::GET {
            Box::pin(self.about()).await?;
        }
        let deadline = Instant::now() + REPEAT_FOR;
        let mut signed_in_again = false;
        let mut backoff_ms = BACKOFF_MS_FIRST;
        loop {
            self.agree(&request)?;
            let (call, token) = self.authorized(&request).await?;
            let error = match self.exchange(request.name, &call).await? {
                Ok(answer) => return self.agree(&request).map(|()| answer),
                Err(error) => error,
            };
            let wait_ms = backoff_ms / 2 + self.inner.environment.draw(backoff_ms);
            let wait = Duration::from_millis(wait_ms);
            if is_unauthorized(&error) && request.access == Access::Session && !signed_in_again {
                signed_in_again = true;
                self.forget_session(token.as_deref());
            } else if request.repeat.allows(&error) && Instant::now() + wait < deadline {
                tracing::debug!(call = request.name, %error, wait_ms, "bridge call is repeated");
                sleep(wait).await;
                backoff_ms = (2 * backoff_ms).min(BACKOFF_MS_MAX);
            } else {
                return Err(BridgeError::of(request.name, error));
            }
        }
    }

    /// Sends `call` once, and learns from the answer what the Bridge speaks.
    async fn exchange<T: DeserializeOwned>(
        &self,
        name: &'static str,
        call: &Call,
    ) -> Result<Result<T, CallError>, BridgeError> {
        let inner = &self.inner;
        let reply = match inner.dialer.send(&inner.endpoint, call).await {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(error)),
        };
        let header = reply.headers().get(PROTOCOL_HEADER);
        let theirs = ProtocolVersions::of_header(header.map(HeaderValue::as_bytes));
        let theirs = theirs.map_err(|source| BridgeError::Versions { call: name, source })?;
        *inner.theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(theirs);
        Ok(reply.json().await)
    }

    /// Refuses a Bridge that speaks no version of ours, as far as is known.
    fn agree(&self, request: &Request) -> Result<(), BridgeError> {
        let Some(theirs) = self.theirs().filter(|_| !request.only_asks()) else {
            return Ok(());
        };
        let agreed = ProtocolVersions::OURS.agree(Program::Client, (Program::Bridge, theirs));
        agreed.map(|_| ()).map_err(|refused| BridgeError::Version {
            call: request.name,
            refused,
        })
    }

    /// The call with the token in it that is current.
    async fn authorized(&self, request: &Request) -> Result<(Call, Option<String>), BridgeError> {
        let json = HeaderValue::from_static("application/json");
        let call = speaking(request.call.clone()).header(ACCEPT, json);
        if request.access == Access::Anyone {
            return Ok((call, None));
        }
        let token = self.token().await?;
        Ok((session::with_token(call, &token)?, Some(token)))
    }
}

impl fmt::Debug for BridgeApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeApi")
            .field("bridge", &self.inner.endpoint)
            .finish_non_exhaustive()
    }
}

impl Request {
    fn get(name: &'static str, path: impl Into<String>) -> Self {
        Self {
            name,
            call: Call::get(path),
            access: Access::Session,
            repeat: Repeat::Freely,
        }
    }

    /// A call that sends `body`.
    fn with_body(
        name: &'static str,
        call: Call,
        body: &impl Serialize,
    ) -> Result<Self, BridgeError> {
        let call = call
            .json(body)
            .map_err(|source| BridgeError::Encode { call: name, source })?;
        Ok(Self {
            name,
            call,
            access: Access::Session,
            repeat: Repeat::Freely,
        })
    }

    /// Whether it asks who the Bridge is, which anybody may of any Bridge.
    fn only_asks(&self) -> bool {
        self.access == Access::Anyone && self.call.method() == Method::GET
    }

    const fn anyone(mut self) -> Self {
        self.access = Access::Anyone;
        self
    }

    const fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }
}

impl Repeat {
    fn allows(self, error: &CallError) -> bool {
        match self {
            Self::Freely => is_unsent(error) || is_cut(error),
            Self::IfUnsent => is_unsent(error),
            Self::Never => false,
        }
    }
}

fn is_unauthorized(error: &CallError) -> bool {
    error
        .problem()
        .is_some_and(|problem| problem.code == ProblemCode::Unauthorized)
}

/// The Bridge was not reached, or said that it did nothing yet.
fn is_unsent(error: &CallError) -> bool {
    let code = error.problem().map(|problem| problem.code);
    matches!(error, CallError::Connect { .. })
        || matches!(code, Some(ProblemCode::Busy | ProblemCode::Unavailable))
}

/// The Bridge may have acted, but its answer was lost.
const fn is_cut(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Answer { .. } | CallError::Body { .. } | CallError::Timeout { .. }
    )
}
