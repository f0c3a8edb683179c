//! Accounts with their device lists, and the sessions of their devices.

use model::units::{AccountId, DeviceId, UnixMs};

use crate::{StoreError, SwapError};

/// An owner's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id: the first half of the SHA-256 of its identity key.
    pub id: AccountId,
    /// Its Ed25519 identity key.
    pub identity_key: [u8; 32],
    /// Its current device list.
    pub device_list: DeviceListRow,
    /// When it was made.
    pub created: UnixMs,
}

/// A signed device list, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceListRow {
    /// Its number; each list has a higher one than the list it replaces.
    pub seq: u64,
    /// Body and signature.
    pub bytes: Vec<u8>,
}

/// The SHA-256 of a session token; the token itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TokenHash(pub [u8; 32]);

/// A device that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its key.
    pub token: TokenHash,
    /// The account it may act for.
    pub account: AccountId,
    /// The device that signed in.
    pub device: DeviceId,
    /// When it ends.
    pub expires: UnixMs,
}

/// Accounts and sessions. Every call fails with [`StoreError`] where the database does.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait AccountTable {
    /// Returns an account.
    fn account(&self, account: &AccountId) -> Result<Option<Account>, StoreError>;

    /// Adds an account; `false` where the id is taken, and then nothing changes.
    fn insert_account(&mut self, account: &Account) -> Result<bool, StoreError>;

    /// Replaces the device list numbered `expected` by a later one. [`SwapError::Conflict`] gives
    /// the current number; also where `list.seq` is not above it.
    fn replace_device_list(
        &mut self,
        account: &AccountId,
        expected: u64,
        list: &DeviceListRow,
    ) -> Result<(), SwapError<u64>>;

    /// Returns a session that has not ended at `now`.
    fn session(&self, token: &TokenHash, now: UnixMs) -> Result<Option<Session>, StoreError>;

    /// Adds or replaces a session.
    fn put_session(&mut self, session: &Session) -> Result<(), StoreError>;

    /// Ends a session; `false` where there was none.
    fn delete_session(&mut self, token: &TokenHash) -> Result<bool, StoreError>;

    /// Removes up to `limit` sessions that ended at or before `now`; returns how many.
    fn sweep_sessions(&mut self, now: UnixMs, limit: u32) -> Result<u64, StoreError>;
}
