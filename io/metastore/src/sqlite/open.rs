//! Opens the database file and brings its schema up to date.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::OpenError;

/// Every schema as the change from the one before it. Never edit one that was released: add the
/// next.
const SCHEMAS: [&str; 2] = [include_str!("schema.sql"), include_str!("schema_2.sql")];

/// How long a connection waits for another program (a backup, a shell) to release its lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// More than the statements there are, so that each is prepared once per connection.
const STATEMENTS_CACHED_MAX: usize = 128;
/// The write-ahead log is copied back at this length: 32 MiB.
const CHECKPOINT_PAGES: i64 = 4_096;
/// The write-ahead log is cut to this length after a checkpoint.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// Opens or makes the file, with its schema up to date, for the one writer.
pub(crate) fn open_writer(path: &Path, cache_bytes: u64) -> Result<Connection, OpenError> {
    let opened = |source: rusqlite::Error| OpenError::Open {
        path: path.to_path_buf(),
        source: source.into(),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(path, flags, cache_bytes).map_err(opened)?;
    set_durable(&connection).map_err(opened)?;
    migrate(&mut connection, &SCHEMAS)?;
    Ok(connection)
}

/// Opens the file, which exists, for reading only.
pub(crate) fn open_reader(path: &Path, cache_bytes: u64) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, cache_bytes)
}

fn connect(path: &Path, flags: OpenFlags, cache_bytes: u64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    let kibibytes = i64::try_from(cache_bytes / 1_024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kibibytes)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn set_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", 8_192)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)
}

/// Applies the schemas that the file does not have yet, each in a transaction of its own.
fn migrate(connection: &mut Connection, schemas: &[&str]) -> Result<(), OpenError> {
    let failed = |version| {
        move |source: rusqlite::Error| OpenError::Migrate {
            version,
            source: source.into(),
        }
    };
    let found = schema_version(connection).map_err(failed(0))?;
    let known = u32::try_from(schemas.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::SchemaTooNew { found, known });
    }
    for (version, schema) in (1..).zip(schemas).skip(found as usize) {
        apply(connection, version, schema).map_err(failed(version))?;
    }
    Ok(())
}

fn schema_version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL)",
    )?;
    let version: Option<[u8; 4]> = connection
        .query_row(
            "SELECT value FROM meta WHERE key = 'schema_version'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(version.map_or(0, u32::from_le_bytes))
}

fn apply(connection: &mut Connection, version: u32, schema: &str) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(schema)?;
    tx.execute(
        "INSERT INTO meta (key, value) VALUES ('schema_version', ?1)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [version.to_le_bytes()],
    )?;
    tx.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE_BYTES: u64 = 1 << 20;

    #[test]
    fn schemas_are_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE t (a INTEGER)";
        let second = "ALTER TABLE t ADD COLUMN b INTEGER";

        migrate(&mut connection, &[first]).unwrap();
        migrate(&mut connection, &[first, second]).unwrap();
        migrate(&mut connection, &[first, second]).unwrap();

        connection
            .execute("INSERT INTO t (a, b) VALUES (1, 2)", [])
            .unwrap();
        assert_eq!(schema_version(&connection).unwrap(), 2);
    }

    #[test]
    fn a_schema_that_fails_leaves_the_one_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE t (a INTEGER)";
        let broken = "ALTER TABLE t ADD COLUMN b INTEGER; ALTER TABLE missing ADD COLUMN c";

        let refused = migrate(&mut connection, &[first, broken]).unwrap_err();

        assert!(matches!(refused, OpenError::Migrate { version: 2, .. }));
        assert_eq!(schema_version(&connection).unwrap(), 1);
        connection.prepare("SELECT b FROM t").unwrap_err();
    }

    #[test]
    fn a_file_of_a_later_program_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(
            &mut connection,
            &["CREATE TABLE t (a INTEGER)", "DROP TABLE t"],
        )
        .unwrap();

        let refused = migrate(&mut connection, &["CREATE TABLE t (a INTEGER)"]).unwrap_err();

        assert!(matches!(
            refused,
            OpenError::SchemaTooNew { found: 2, known: 1 }
        ));
    }

    #[test]
    fn commits_are_synced_to_a_log_of_large_pages() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("db"), CACHE_BYTES).unwrap();
        let pragma = |name: &str| -> String {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            format!(
                "{:?}",
                connection.pragma_query_value(None, name, read).unwrap()
            )
        };

        assert_eq!(pragma("page_size"), "Integer(8192)");
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        assert_eq!(pragma("synchronous"), "Integer(2)");
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &path).unwrap();

        let refused = open_writer(&path, CACHE_BYTES).unwrap_err();

        assert!(matches!(refused, OpenError::Open { .. }), "{refused:?}");
    }
}
