//! The tables: one file each, with its rows and its trait. [`Tx`] is all of them together.

pub(crate) mod accounts;
pub(crate) mod blobs;
pub(crate) mod groups;
pub(crate) mod hosts;
pub(crate) mod keys;
pub(crate) mod nodes;
pub(crate) mod receipts;
pub(crate) mod roots;
pub(crate) mod uploads;
pub(crate) mod usage;

use crate::StoreError;

/// Most rows any call returns or removes, whatever limit it is given.
pub const ROWS_PER_CALL_MAX: u32 = 10_000;
/// Largest value of any column: above every page, plan and device list.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One transaction. Reads take `&self` and writes `&mut self`, so a read-only transaction is
/// simply a `&dyn Tx`. Traits of the tables need not be imported to call them on a `dyn Tx`.
pub trait Tx:
    accounts::AccountTable
    + roots::RootTable
    + nodes::NodeTable
    + blobs::BlobTable
    + groups::GroupTable
    + receipts::ReceiptTable
    + uploads::UploadTable
    + hosts::HostTable
    + usage::UsageTable
    + keys::KeyTable
{
}

/// Refuses a value above [`VALUE_BYTES_MAX`].
pub(crate) const fn check_value(field: &'static str, value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StoreError::TooLong {
            field,
            len: value.len(),
            max: VALUE_BYTES_MAX,
        });
    }
    Ok(())
}

/// Refuses a number that no engine's 64-bit signed column holds.
pub(crate) fn to_i64(field: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::OutOfRange { field })
}

/// Adds a signed change to a sum that may leave neither 0 nor 2^63 − 1.
pub(crate) fn add(field: &'static str, sum: u64, change: i64) -> Result<u64, StoreError> {
    let out_of_range = StoreError::OutOfRange { field };
    let sum = sum.checked_add_signed(change).ok_or(out_of_range)?;
    to_i64(field, sum).map(|_| sum)
}
