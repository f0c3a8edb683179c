//! The one writer: a thread that commits many rules together (group commit).
//!
//! A commit costs one wait for the disk, whatever it holds. The writer therefore takes all rules
//! that wait, runs each in a savepoint of its own (one that fails rolls back alone), commits once
//! and only then answers. Having all writes on one connection also means that nothing inside the
//! program ever waits for a lock of the database; other programs are waited for at `BEGIN`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::open::open_writer;
use super::{SqliteTx, engine};
use crate::{OpenError, StoreError, Tx, TxError};

/// Rules that one commit makes durable at most.
const RULES_PER_COMMIT_MAX: usize = 100;
/// Rules that wait at most; further callers wait before they are queued.
const RULES_QUEUED_MAX: usize = 256;
/// How long the writer waits for as many rules as the last commit had.
const GATHER_TIMEOUT: Duration = Duration::from_millis(2);

/// Hands rules to the writer thread. Dropping it waits for the rules already queued.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the database and starts the thread.
    pub(crate) fn start(path: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        let connection = open_writer(path, cache_bytes)?;
        let clock = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let clock = clock.map_err(|source| OpenError::Thread { source })?;
        let (queue, mut jobs) = mpsc::channel(RULES_QUEUED_MAX);
        let work = move || {
            let mut size = 1;
            loop {
                let batch = clock.block_on(gather(&mut jobs, size));
                if batch.is_empty() {
                    return;
                }
                size = batch.len();
                commit_batch(&connection, batch);
            }
        };
        let thread = thread::Builder::new()
            .name("metastore-writer".to_owned())
            .spawn(work);
        let thread = thread.map_err(|source| OpenError::Thread { source })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Runs a rule; returns after it is durable.
    pub(crate) async fn run<T, E>(
        &self,
        rule: impl FnOnce(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, TxError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Write {
            rule: Some(rule),
            outcome: None,
            reply,
        };
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue
            .send(Box::new(job))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.take();
        // The last handle may be dropped by a rule, which runs on the thread itself.
        let other = thread.filter(|thread| thread.thread().id() != thread::current().id());
        if other.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("metastore writer panicked");
        }
    }
}

/// Takes what waits, and waits a moment for as many rules as came together last time: those
/// callers were just answered and are about to come back.
async fn gather(jobs: &mut mpsc::Receiver<Box<dyn Job>>, expected: usize) -> Vec<Box<dyn Job>> {
    let mut batch = Vec::with_capacity(RULES_PER_COMMIT_MAX);
    jobs.recv_many(&mut batch, RULES_PER_COMMIT_MAX).await;
    let deadline = Instant::now() + GATHER_TIMEOUT;
    while !batch.is_empty() && batch.len() < expected {
        let room = RULES_PER_COMMIT_MAX - batch.len();
        match timeout_at(deadline, jobs.recv_many(&mut batch, room)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    batch
}

/// Runs the rules, makes those that succeeded durable, and then answers all.
fn commit_batch(connection: &Connection, mut batch: Vec<Box<dyn Job>>) {
    let done = run_batch(connection, &mut batch);
    if done.is_err() && !connection.is_autocommit() {
        // The rules are answered with the error; where even this fails, the next BEGIN says so.
        drop(connection.execute_batch("ROLLBACK"));
    }
    for job in batch {
        job.answer(done.clone());
    }
}

fn run_batch(connection: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let control = |sql| {
        connection
            .prepare_cached(sql)
            .and_then(|mut it| it.execute([]))
    };
    control("BEGIN IMMEDIATE").map_err(engine("begin a transaction"))?;
    for job in batch {
        control("SAVEPOINT rule").map_err(engine("begin a savepoint"))?;
        let succeeded = job.run(&mut SqliteTx { connection });
        if connection.is_autocommit() {
            // A full disk or a failed write makes SQLite roll back everything at once.
            return Err(lost("the database rolled the transaction back"));
        }
        if !succeeded {
            control("ROLLBACK TO rule").map_err(engine("roll back a savepoint"))?;
        }
        control("RELEASE rule").map_err(engine("end a savepoint"))?;
    }
    control("COMMIT").map(|_| ()).map_err(lost)
}

fn lost(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Commit {
        source: Arc::from(reason.into()),
    }
}

/// A rule that waits for the writer, whatever its result.
trait Job: Send {
    /// Runs it; returns whether its changes stay.
    fn run(&mut self, tx: &mut dyn Tx) -> bool;

    /// Answers the caller, after the commit of its batch.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

impl std::fmt::Debug for dyn Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

struct Write<T, E, R> {
    rule: Option<R>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, TxError<E>>>,
}

impl<T, E, R> Job for Write<T, E, R>
where
    T: Send,
    E: Send,
    R: FnOnce(&mut dyn Tx) -> Result<T, E> + Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> bool {
        // What a panicking rule has half done is in the database only, and rolled back there.
        let rule = self.rule.take();
        let run = || rule.map(|rule| rule(tx));
        self.outcome = catch_unwind(AssertUnwindSafe(run)).ok().flatten();
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Err(error), _) => Err(TxError::Store(error)),
            (Ok(()), None) => Err(TxError::Store(StoreError::Panicked)),
            (Ok(()), Some(outcome)) => outcome.map_err(TxError::Rule),
        };
        // A caller that went away does not want the answer; the rule stands all the same.
        drop(self.reply.send(outcome));
    }
}
