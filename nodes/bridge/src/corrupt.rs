//! Rows that this program never writes: a fault of the database's file, told as the store's.

use std::sync::Arc;

use metastore::StoreError;

#[derive(Debug, thiserror::Error)]
#[error("table `{table}` holds a value it may not hold in `{field}`")]
struct CorruptRow {
    table: &'static str,
    field: &'static str,
}

/// The error for a value in `field` of `table` that cannot be.
pub(crate) fn corrupt(table: &'static str, field: &'static str) -> StoreError {
    let source = Arc::new(CorruptRow { table, field });
    StoreError::Engine {
        operation: "read a row",
        source,
    }
}
