//! The way of a file up: plan, pages of slots, spares, receipts, and one commit.
//!
//! An upload is open from its plan until it is committed, given up or expired. Every Host that
//! was ever given a ticket of it can be named until then: by the group rows, and by the record's
//! history of slots. So none that stored in vain is left without its "not committed".

pub mod abandon;
pub mod commit;
pub mod more;
pub mod plan;
pub(crate) mod receipt_log;
pub mod receipts;
pub mod record;
pub mod slots;
pub mod tickets;

use metastore::{StoreError, Tx};
use model::codec::DecodeError;
use model::units::{AccountId, UploadId};
use model::wire::{Problem, ProblemCode};

use self::record::{OpenUpload, UploadRecord};
use crate::refusal::{Refusal, internal};

/// Why an upload cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum OpenUploadError {
    /// The account has no such upload, or it was committed or given up.
    #[error("upload {upload} is not open")]
    NotOpen {
        /// Its id.
        upload: UploadId,
    },
    /// Its row cannot be read.
    #[error("the record of upload {upload} cannot be read")]
    Record {
        /// Its id.
        upload: UploadId,
        /// Where it departs.
        #[source]
        source: DecodeError,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for OpenUploadError {
    fn problem(&self) -> Problem {
        match self {
            Self::NotOpen { upload } => Problem::new(
                ProblemCode::UploadState,
                format!("upload {upload} ended or never was; plan a new one"),
            ),
            Self::Record { .. } => internal(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// The open upload `upload` of `account`.
///
/// # Errors
/// [`OpenUploadError`].
pub fn find_open(
    tx: &dyn Tx,
    account: &AccountId,
    upload: &UploadId,
) -> Result<OpenUpload, OpenUploadError> {
    let not_open = OpenUploadError::NotOpen { upload: *upload };
    let Some(row) = tx.upload(account, upload)? else {
        return Err(not_open);
    };
    match UploadRecord::decode(&row.body) {
        Ok(UploadRecord::Open(open)) => Ok(open),
        Ok(UploadRecord::Erasing(_)) => Err(not_open),
        Err(source) => Err(OpenUploadError::Record {
            upload: *upload,
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
