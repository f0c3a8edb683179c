//! What can go wrong below a rule: the engine, a row that changed, a transaction that was lost.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// A database that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or set up.
    #[error("cannot open the database `{path}`")]
    Open {
        /// Its path.
        path: PathBuf,
        /// The engine's reason.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A later program has written the file.
    #[error("the database has schema {found}; this program knows {known} at most")]
    SchemaTooNew {
        /// The file's schema.
        found: u32,
        /// The latest one known.
        known: u32,
    },
    /// The file could not be brought to the next schema; it keeps the one it has.
    #[error("cannot bring the database to schema {version}")]
    Migrate {
        /// The schema that was tried.
        version: u32,
        /// The engine's reason.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The writer thread could not be started.
    #[error("cannot start the writer thread")]
    Thread {
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// The database could not do what it was asked. Nothing of the transaction was kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused a statement.
    #[error("the database failed to {operation}")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// The engine's reason.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The commit of this transaction, or of the batch it belonged to, did not become durable.
    #[error("the transaction did not become durable")]
    Commit {
        /// The engine's reason.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A number left its range: above 2^63 − 1, or a sum below zero.
    #[error("`{field}` is out of range")]
    OutOfRange {
        /// The number.
        field: &'static str,
    },
    /// A value is larger than [`crate::VALUE_BYTES_MAX`].
    #[error("`{field}` is {len} bytes long, limit {max}")]
    TooLong {
        /// The value.
        field: &'static str,
        /// Its length.
        len: usize,
        /// Its limit.
        max: usize,
    },
    /// The store is shut down.
    #[error("the store is closed")]
    Closed,
    /// The rule panicked; its transaction was rolled back.
    #[error("the rule panicked")]
    Panicked,
}

/// A compare-and-swap that did not take place.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SwapError<T> {
    /// The row is not the expected one.
    #[error("the row has changed")]
    Conflict {
        /// What stands there now; `None` where there is no row.
        current: Option<T>,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Why a transaction left no trace.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TxError<E> {
    /// The rule returned an error; its changes were rolled back.
    #[error("the rule refused")]
    Rule(#[source] E),
    /// The database failed. Where the commit failed, whether it took place may be unknown: retry,
    /// every acknowledged write is idempotent.
    #[error("the store failed")]
    Store(#[from] StoreError),
}
