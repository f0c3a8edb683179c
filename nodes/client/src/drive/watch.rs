//! What a flow tells while it runs: counters to be read, and what happened to single files.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::transfer::{Counter, Progress};

/// Counters of one flow over many files. Any thread reads them at any time.
#[derive(Debug, Default)]
pub struct Tally {
    /// Counters of the transfer below it.
    pub transfer: Arc<Progress>,
    /// Files found so far.
    pub files_found: Counter,
    /// Bytes in them.
    pub bytes_found: Counter,
    /// 1 once everything was found, so that the two above are the whole.
    pub all_found: Counter,
    /// Files that are done.
    pub files_done: Counter,
    /// Bytes that an interrupted run had left, verified again.
    pub bytes_resumed: Counter,
    /// Bytes that were done without a transfer: unchanged, or kept in the tree itself.
    pub bytes_untransferred: Counter,
}

/// Hears of single files while a flow runs.
pub trait Watcher: fmt::Debug + Send + Sync {
    /// This file, folder or symlink was not done; the others go on.
    fn failed(&self, path: &[u8], error: &(dyn Error + 'static));

    /// Something was left out that does not make the file fail.
    fn warned(&self, path: &[u8], remark: &str);
}
