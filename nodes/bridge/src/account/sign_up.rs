//! Opens an account: an identity key and the first device list it signed.

use metastore::{Account, DeviceListRow, StoreError, Tx};
use model::crypto::account_of;
use model::formats::device_list::{DeviceList, DeviceListError};
use model::units::{AccountId, UnixMs};
use model::wire::api::NewAccount;
use model::wire::{Problem, ProblemCode};

use crate::refusal::Refusal;

/// Why no account was opened.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    /// The device list is not one of this identity.
    #[error("the device list is not signed by the identity key")]
    Devices(#[source] DeviceListError),
    /// It is not the first list.
    #[error("the device list is number {seq}; an account begins with number 1")]
    NotFirst {
        /// Its number.
        seq: u64,
    },
    /// The account exists with another list.
    #[error("account {account} exists")]
    Exists {
        /// Its id.
        account: AccountId,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for SignUpError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::Devices(_) | Self::NotFirst { .. } => ProblemCode::BadRequest,
            Self::Exists { .. } => {
                let detail = "the account exists; sign in, or restore it from its phrase";
                return Problem::new(ProblemCode::Conflict, detail);
            }
            Self::Store(error) => return error.problem(),
        };
        Problem::new(code, crate::refusal::chain(self))
    }
}

/// Opens the account; repeating it with the same content is no error.
///
/// # Errors
/// [`SignUpError`].
pub fn sign_up(
    tx: &mut dyn Tx,
    request: &NewAccount,
    now: UnixMs,
) -> Result<AccountId, SignUpError> {
    let account = account_of(&request.identity.0);
    let list = DeviceList::open(&request.device_list.0, &account).map_err(SignUpError::Devices)?;
    let seq = list.content().seq;
    if seq != 1 {
        return Err(SignUpError::NotFirst { seq });
    }
    let row = Account {
        id: account,
        identity_key: request.identity.0,
        device_list: DeviceListRow {
            seq,
            bytes: list.bytes().to_vec(),
        },
        created: now,
    };
    if tx.insert_account(&row)? {
        return Ok(account);
    }
    let same = tx
        .account(&account)?
        .is_some_and(|kept| kept.device_list == row.device_list);
    if same {
        Ok(account)
    } else {
        Err(SignUpError::Exists { account })
    }
}
