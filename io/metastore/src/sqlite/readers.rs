//! Reading: a few read-only connections, each rule on a snapshot of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::open::open_reader;
use super::{SqliteTx, engine};
use crate::{StoreError, Tx, TxError};

/// Connections that read at once at most; further callers wait.
const READERS_MAX: usize = 4;

/// The connections, opened when first needed.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    cache_bytes: u64,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of a database that exists.
    pub(crate) fn new(path: PathBuf, cache_bytes: u64) -> Self {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Self {
            path,
            cache_bytes,
            permits,
            idle: Mutex::default(),
        }
    }

    /// Runs a rule on a snapshot that holds every acknowledged write, off the async threads.
    pub(crate) async fn run<T, E>(
        self: &Arc<Self>,
        rule: impl FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TxError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let work = move || {
            let outcome = readers.run_here(rule);
            drop((readers, permit));
            outcome
        };
        let outcome = tokio::task::spawn_blocking(work).await;
        outcome.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    fn run_here<T, E>(&self, rule: impl FnOnce(&dyn Tx) -> Result<T, E>) -> Result<T, TxError<E>> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                open_reader(&self.path, self.cache_bytes).map_err(engine("open a connection"))?
            }
        };
        let control = |sql| {
            connection
                .prepare_cached(sql)
                .and_then(|mut it| it.execute([]))
        };
        control("BEGIN").map_err(engine("begin a snapshot"))?;
        let run = AssertUnwindSafe(|| {
            rule(&SqliteTx {
                connection: &connection,
            })
        });
        let outcome = catch_unwind(run);
        // A connection that cannot end its snapshot is closed instead of used again.
        if control("ROLLBACK").is_ok() {
            self.idle().push(connection);
        }
        outcome.map_or_else(
            |_| Err(StoreError::Panicked.into()),
            |it| it.map_err(TxError::Rule),
        )
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
