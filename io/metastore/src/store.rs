//! A store: runs rules as transactions on one of the engines.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use crate::mem::Mem;
use crate::sqlite::{Readers, Writer};
use crate::{OpenError, StoreError, Tx, TxError};

/// How a database file is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// Memory for cached pages, in bytes, of the writer and of each of the four readers.
    pub cache_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A handle on a database; clones share it.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    Mem(Arc<RwLock<Mem>>),
    Sqlite {
        writer: Arc<Writer>,
        readers: Arc<Readers>,
    },
}

impl Store {
    /// A database in memory, gone with its last handle.
    #[must_use]
    pub fn mem() -> Self {
        Self {
            engine: Engine::Mem(Arc::default()),
        }
    }

    /// A database in memory that begins as this one is now, and goes its own way from then on: what
    /// a backup would hold. `None` where this one is a file.
    #[must_use]
    pub fn backup(&self) -> Option<Self> {
        let Engine::Mem(mem) = &self.engine else {
            return None;
        };
        let copy = mem.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(Self {
            engine: Engine::Mem(Arc::new(RwLock::new(copy))),
        })
    }

    /// Opens or makes a database file and brings its schema up to date. The caller sees to it that
    /// one program at a time does so. Blocks: dropping the last handle waits for the rules queued.
    ///
    /// # Errors
    /// [`OpenError`] where the file is no database of ours or cannot be written.
    pub fn open(path: &Path, config: StoreConfig) -> Result<Self, OpenError> {
        let writer = Arc::new(Writer::start(path, config.cache_bytes)?);
        let readers = Arc::new(Readers::new(path.to_path_buf(), config.cache_bytes));
        Ok(Self {
            engine: Engine::Sqlite { writer, readers },
        })
    }

    /// Runs a rule that may change rows. Returns after its changes are durable; where the rule
    /// returns an error, nothing of it is kept.
    ///
    /// # Errors
    /// [`TxError::Rule`] with the rule's own error; [`TxError::Store`] where the database failed.
    pub async fn write<T, E>(
        &self,
        rule: impl FnOnce(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TxError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        match &self.engine {
            Engine::Mem(mem) => write_mem(mem, rule),
            Engine::Sqlite { writer, .. } => writer.run(rule).await,
        }
    }

    /// Runs a rule that only reads, on a consistent snapshot that holds every acknowledged write.
    ///
    /// # Errors
    /// [`TxError::Rule`] with the rule's own error; [`TxError::Store`] where the database failed.
    pub async fn read<T, E>(
        &self,
        rule: impl FnOnce(&dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TxError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        match &self.engine {
            Engine::Mem(mem) => read_mem(mem, rule),
            Engine::Sqlite { readers, .. } => readers.run(rule).await,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.engine {
            Engine::Mem(_) => "Store(mem)",
            Engine::Sqlite { .. } => "Store(sqlite)",
        })
    }
}

fn write_mem<T, E>(
    mem: &RwLock<Mem>,
    rule: impl FnOnce(&mut dyn Tx) -> Result<T, E>,
) -> Result<T, TxError<E>> {
    let mut mem = mem.write().unwrap_or_else(PoisonError::into_inner);
    answer(mem.transaction(rule))
}

fn read_mem<T, E>(
    mem: &RwLock<Mem>,
    rule: impl FnOnce(&dyn Tx) -> Result<T, E>,
) -> Result<T, TxError<E>> {
    let mem = mem.read().unwrap_or_else(PoisonError::into_inner);
    answer(catch_unwind(AssertUnwindSafe(|| rule(&*mem))))
}

fn answer<T, E>(outcome: std::thread::Result<Result<T, E>>) -> Result<T, TxError<E>> {
    outcome.map_or_else(
        |_| Err(StoreError::Panicked.into()),
        |it| it.map_err(TxError::Rule),
    )
}
