//! Verified plaintext into a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use super::sink::Sink;

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
