//! The tables in SQLite: WAL, `synchronous=FULL`, hand-written SQL, statements prepared once.

mod accounts;
mod backup;
mod blobs;
mod groups;
mod hosts;
mod keys;
mod nodes;
mod open;
mod readers;
mod receipts;
mod roots;
mod uploads;
mod usage;
mod writer;

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row};

pub use self::backup::{BackupError, backup};
pub(crate) use self::readers::Readers;
pub(crate) use self::writer::Writer;
use crate::tables::ROWS_PER_CALL_MAX;
use crate::{StoreError, Tx};

/// A transaction that is open on a connection.
#[derive(Debug)]
struct SqliteTx<'c> {
    connection: &'c Connection,
}

impl Tx for SqliteTx<'_> {}

impl SqliteTx<'_> {
    /// Changes rows; returns how many.
    fn execute(
        &self,
        operation: &'static str,
        sql: &str,
        params: impl Params,
    ) -> Result<u64, StoreError> {
        let statement = self.connection.prepare_cached(sql);
        let rows = statement.and_then(|mut statement| statement.execute(params));
        rows.map(|rows| rows as u64).map_err(engine(operation))
    }

    /// Reads the row that a query finds, if any.
    fn one<T>(
        &self,
        operation: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let statement = self.connection.prepare_cached(sql);
        let row = statement.and_then(|mut it| it.query_row(params, read).optional());
        row.map_err(engine(operation))
    }

    /// Reads the rows that a query finds; the query has a limit.
    fn many<T>(
        &self,
        operation: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let statement = self.connection.prepare_cached(sql);
        let rows = statement.and_then(|mut it| it.query_map(params, read)?.collect());
        rows.map_err(engine(operation))
    }
}

/// Names the operation that failed.
fn engine(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Engine {
        operation,
        source: Arc::new(source),
    }
}

/// Reads a number, which is never negative.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// Refuses a stored value that this program never writes.
fn corrupt(
    column: usize,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, reason.into())
}

/// A bound that is compared with stored numbers; beyond the largest one it is the largest.
fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A caller's limit, and never more than any call may return.
fn bounded(limit: u32) -> u32 {
    limit.min(ROWS_PER_CALL_MAX)
}
