//! Where verified plaintext goes.

use std::fmt;
use std::future;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;

/// Takes plaintext that was verified. Its methods may block; they are called on threads made for
/// that, several at a time where the order does not matter.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Whether pieces must come one after the other, from offset 0.
    fn in_order(&self) -> bool;

    /// Takes `bytes`, which lie at `offset` of what was asked for.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Waits until there is room for more. Asked before bytes that come in order, so that a slow
    /// reader holds no thread.
    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(future::ready(()))
    }
}

/// A stream, written in order: standard output, a socket, memory.
pub struct StreamSink<W>(Mutex<W>);

impl<W: Write + Send> StreamSink<W> {
    /// Writes into `stream`.
    #[must_use]
    pub const fn new(stream: W) -> Self {
        Self(Mutex::new(stream))
    }

    /// The stream back.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + Send> Sink for StreamSink<W> {
    fn in_order(&self) -> bool {
        true
    }

    fn write_at(&self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(bytes)
    }
}

impl<W> fmt::Debug for StreamSink<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamSink")
    }
}
