//! The device list of an account: read, and replaced by its successor.

use metastore::{DeviceListRow, StoreError, SwapError, Tx};
use model::formats::device_list::{DeviceList, DeviceListError};
use model::units::{AccountId, DeviceId};
use model::wire::api::DeviceListAnswer;
use model::wire::{Base64, Problem, ProblemCode};

use crate::refusal::{Refusal, internal};

/// Why the device list was not read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// There is no such account.
    #[error("account {account} does not exist")]
    Account {
        /// Its id.
        account: AccountId,
    },
    /// The new list is not one of this account.
    #[error("the new device list cannot be used")]
    New(#[source] DeviceListError),
    /// The current list cannot be read.
    #[error("the current device list cannot be read")]
    Current(#[source] DeviceListError),
    /// The new list does not come directly after the current one.
    #[error("device list {found} does not follow the current one, number {current}")]
    Successor {
        /// Its number.
        found: u64,
        /// The current number.
        current: u64,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for DevicesError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::Account { .. } => ProblemCode::NotFound,
            Self::New(_) => ProblemCode::BadRequest,
            Self::Successor { found, current } => {
                let facts = serde_json::json!({ "found": found, "current": current });
                return Problem::new(ProblemCode::Conflict, self.to_string()).with_facts(facts);
            }
            Self::Current(_) => return internal(),
            Self::Store(error) => return error.problem(),
        };
        Problem::new(code, crate::refusal::chain(self))
    }
}

/// The current device list.
///
/// # Errors
/// [`DevicesError`].
pub fn device_list(tx: &dyn Tx, account: &AccountId) -> Result<DeviceListAnswer, DevicesError> {
    let row = tx
        .account(account)?
        .ok_or(DevicesError::Account { account: *account })?;
    let device_list = Base64(row.device_list.bytes);
    Ok(DeviceListAnswer {
        device_list,
        identity: DeviceId(row.identity_key),
    })
}

/// Replaces the device list by `bytes`, its successor signed by the identity key. Repeating it is
/// no error.
///
/// # Errors
/// [`DevicesError`].
pub fn replace_device_list(
    tx: &mut dyn Tx,
    account: &AccountId,
    bytes: &[u8],
) -> Result<(), DevicesError> {
    let new = DeviceList::open(bytes, account).map_err(DevicesError::New)?;
    let row = tx
        .account(account)?
        .ok_or(DevicesError::Account { account: *account })?;
    if row.device_list.bytes == bytes {
        return Ok(());
    }
    let older = DeviceList::open(&row.device_list.bytes, account).map_err(DevicesError::Current)?;
    let (found, current) = (new.content().seq, older.content().seq);
    if !new.follows(&older) {
        return Err(DevicesError::Successor { found, current });
    }
    let list = DeviceListRow {
        seq: found,
        bytes: new.bytes().to_vec(),
    };
    match tx.replace_device_list(account, current, &list) {
        Ok(()) => Ok(()),
        Err(SwapError::Conflict { current }) => Err(DevicesError::Successor {
            found,
            current: current.unwrap_or(0),
        }),
        Err(SwapError::Store(error)) => Err(error.into()),
    }
}
