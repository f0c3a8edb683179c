//! Signing in: a key's signature for a bearer token.

use std::fmt;

use data_encoding::HEXLOWER;
use http::Method;
use model::crypto::SigningKey;
use model::units::{AccountId, BridgeId, DeviceId};
use model::wire::Signed;
use model::wire::api::{SESSIONS, Session, SignIn};
use net::Call;

use super::{BridgeApi, BridgeError, Repeat, Request};

/// A session that ends within this is not used any more.
const SESSION_MS_MIN: u64 = 10_000;

/// Who signs in, and at which Bridge: a signature for another Bridge is worth nothing.
#[derive(Clone, Debug)]
pub struct SignInKey {
    /// The Bridge.
    pub bridge: BridgeId,
    /// The account.
    pub account: AccountId,
    /// The key of a device on the account's list, or its identity key.
    pub key: SigningKey,
}

impl SignInKey {
    fn sign(&self, at: model::units::UnixMs, nonce: [u8; 16]) -> Signed<SignIn> {
        let sign_in = SignIn {
            account: self.account,
            key: DeviceId(self.key.public()),
            bridge: self.bridge,
            at,
            nonce: HEXLOWER.encode(&nonce),
        };
        Signed::new(&self.key, &sign_in)
    }
}

impl BridgeApi {
    /// Opens a session; calls that need one do so by themselves.
    ///
    /// # Errors
    /// [`BridgeError::SignedOut`] without a key to sign in with, and those of every call.
    pub async fn sign_in(&self) -> Result<Session, BridgeError> {
        let key = self.inner.sign_in.as_ref().ok_or(BridgeError::SignedOut)?;
        let mut nonce = [0; 16];
        self.inner.environment.random(&mut nonce);
        let signed = key.sign(self.inner.environment.now(), nonce);
        // The nonce counts once, so only what did not arrive is sent again.
        let request = Request::with_body("sign in", Call::new(Method::POST, SESSIONS), &signed)?
            .anyone()
            .repeat(Repeat::IfUnsent);
        // `send` signs in for other calls; this one is open to anyone, so it ends here.
        let session: Session = Box::pin(self.send(request)).await?;
        self.set_session(Some(session.clone()));
        Ok(session)
    }

    pub(super) async fn token(&self) -> Result<String, BridgeError> {
        if let Some(token) = self.live_token() {
            return Ok(token);
        }
        let _turn = self.inner.signing_in.lock().await;
        match self.live_token() {
            Some(token) => Ok(token),
            None => Ok(self.sign_in().await?.token),
        }
    }

    /// Drops the session, unless another call has renewed it meanwhile.
    pub(super) fn forget_session(&self, used: Option<&str>) {
        if self
            .session()
            .is_some_and(|session| Some(session.token.as_str()) == used)
        {
            self.set_session(None);
        }
    }

    fn live_token(&self) -> Option<String> {
        let soon = self.inner.environment.now().plus_ms(SESSION_MS_MIN);
        self.session()
            .filter(|session| session.expires > soon)
            .map(|session| session.token)
    }
}

pub(super) fn with_token(call: Call, token: &str) -> Result<Call, BridgeError> {
    let mut value =
        http::HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| BridgeError::Token)?;
    value.set_sensitive(true);
    Ok(call.header(http::header::AUTHORIZATION, value))
}

impl fmt::Display for SignInKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "account {} at bridge {}",
            self.account.short(),
            self.bridge.short()
        )
    }
}
