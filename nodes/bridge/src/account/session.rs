//! Signing in, and knowing who a request is from.

use metastore::{IdempotencyKey, Session as SessionRow, StoreError, TokenHash, Tx};
use model::crypto::sha256;
use model::formats::device_list::{DeviceList, DeviceListError};
use model::units::{AccountId, DeviceId};
use model::wire::api::{Session, SignIn};
use model::wire::limits::CLOCK_SKEW_MS_MAX;
use model::wire::{Problem, ProblemCode, Signed, SignedError};
use rand_core::CryptoRng;

use crate::context::Context;
use crate::refusal::{Refusal, internal};

/// How long a device stays signed in.
pub const DEVICE_SESSION_MS: u64 = 7 * 24 * 3_600_000;
/// How long the identity key stays signed in: long enough to restore an account.
pub const IDENTITY_SESSION_MS: u64 = 15 * 60_000;
const NONCE_CHARS: usize = 32;
const TOKEN_BYTES: usize = 32;

/// Who a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub account: AccountId,
    /// The device, or the identity key.
    pub key: DeviceId,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// It cannot be read, or is not signed by the key it names.
    #[error("the sign-in is not signed by the key it names")]
    Signed(#[from] SignedError),
    /// It is for another Bridge.
    #[error("the sign-in is for another bridge")]
    OtherBridge,
    /// Its time is too far from the Bridge's.
    #[error("the clocks are {apart_ms} ms apart, limit {CLOCK_SKEW_MS_MAX}")]
    Clock {
        /// How far.
        apart_ms: u64,
    },
    /// Its nonce is not 32 hexadecimal characters.
    #[error("the nonce is not 32 hexadecimal characters")]
    Nonce,
    /// It was used before.
    #[error("this sign-in was used before")]
    Replayed,
    /// There is no such account, or the key is none of its devices'.
    #[error("no such account, or the key is none of its devices'")]
    Unknown,
    /// The device list cannot be read.
    #[error("the device list cannot be read")]
    Devices(#[source] DeviceListError),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for SignInError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::Nonce => ProblemCode::BadRequest,
            Self::Signed(_) | Self::Clock { .. } | Self::Replayed | Self::OtherBridge => {
                ProblemCode::Forbidden
            }
            Self::Unknown => ProblemCode::Unauthorized,
            Self::Devices(_) => return internal(),
            Self::Store(error) => return error.problem(),
        };
        Problem::new(code, crate::refusal::chain(self))
    }
}

/// Opens a session for a device of the account, or shortly for its identity key. A sign-in is
/// accepted once.
///
/// # Errors
/// [`SignInError`].
pub fn sign_in(
    tx: &mut dyn Tx,
    context: &Context,
    rng: &mut dyn CryptoRng,
    signed: &Signed<SignIn>,
) -> Result<Session, SignInError> {
    let claimed = signed.peek()?;
    let SignIn {
        account,
        key,
        bridge,
        at,
        nonce,
    } = signed.open(&claimed.key.0)?;
    if bridge != context.keys.id {
        return Err(SignInError::OtherBridge);
    }
    let apart_ms = context.now.0.abs_diff(at.0);
    if apart_ms > CLOCK_SKEW_MS_MAX {
        return Err(SignInError::Clock { apart_ms });
    }
    let hexadecimal = nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
    if nonce.len() != NONCE_CHARS || !hexadecimal {
        return Err(SignInError::Nonce);
    }
    let row = tx.account(&account)?.ok_or(SignInError::Unknown)?;
    let lifetime = if row.identity_key == key.0 {
        IDENTITY_SESSION_MS
    } else {
        let devices =
            DeviceList::open(&row.device_list.bytes, &account).map_err(SignInError::Devices)?;
        devices.device(&key).ok_or(SignInError::Unknown)?;
        DEVICE_SESSION_MS
    };
    let once = [
        b"sign-in",
        &key.0[..],
        nonce.to_ascii_lowercase().as_bytes(),
    ]
    .concat();
    let once = IdempotencyKey(sha256(&once));
    if tx.idempotent(&account, &once, context.now)?.is_some() {
        return Err(SignInError::Replayed);
    }
    tx.put_idempotent(&account, &once, b"", at.plus_ms(2 * CLOCK_SKEW_MS_MAX))?;
    let mut token = [0; TOKEN_BYTES];
    rng.fill_bytes(&mut token);
    let (token, expires) = (
        data_encoding::HEXLOWER.encode(&token),
        context.now.plus_ms(lifetime),
    );
    let hash = token_hash(&token);
    tx.put_session(&SessionRow {
        token: hash,
        account,
        device: key,
        expires,
    })?;
    Ok(Session { token, expires })
}

/// Who holds `token`; `None` where the session ended or its device is no longer on the list.
///
/// # Errors
/// [`SignInError::Store`] and [`SignInError::Devices`].
pub fn owner(
    tx: &dyn Tx,
    context: &Context,
    token: &TokenHash,
) -> Result<Option<Owner>, SignInError> {
    let Some(session) = tx.session(token, context.now)? else {
        return Ok(None);
    };
    let SessionRow {
        account,
        device: key,
        ..
    } = session;
    let Some(row) = tx.account(&account)? else {
        return Ok(None);
    };
    let listed = row.identity_key == key.0
        || DeviceList::open(&row.device_list.bytes, &account)
            .map_err(SignInError::Devices)?
            .device(&key)
            .is_some();
    Ok(listed.then_some(Owner { account, key }))
}

/// What is stored of a token.
#[must_use]
pub fn token_hash(token: &str) -> TokenHash {
    TokenHash(sha256(token.as_bytes()))
}
