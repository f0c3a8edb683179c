//! Where verified plaintext goes.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::{fmt, os::unix::fs::FileExt as _};

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
}

/// A file, written in whatever order the pieces come, but one at a time: writers of one file wait
/// for each other in the kernel, and spin there.
#[derive(Debug)]
pub struct FileSink {
    file: Mutex<File>,
    base: u64,
}

impl FileSink {
    /// Writes into `file` from `base` on.
    #[must_use]
    pub const fn new(file: File, base: u64) -> Self {
        Self {
            file: Mutex::new(file),
            base,
        }
    }

    /// The file back.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for FileSink {
    fn in_order(&self) -> bool {
        false
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all_at(bytes, self.base + offset)
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
