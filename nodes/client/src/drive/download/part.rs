//! A file of the tree as a sink: opened at its first byte, named at its last.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::target::{Attributes, PartFile, Target, TargetError};
use crate::download::Sink;

/// Zeros in runs of this length are left out: the file is sparse there.
const HOLE_BYTES: usize = 4_096;

/// Takes the pieces of one file in whatever order.
///
/// A file that cannot be written does not end the download of the blob, which may hold others;
/// its outcome tells.
#[derive(Debug)]
pub(super) struct PartSink {
    target: Arc<Target>,
    below: Vec<Vec<u8>>,
    attributes: Attributes,
    length: u64,
    /// What is written stays when the run is interrupted.
    is_resumable: bool,
    state: Mutex<State>,
    /// Held while writing: writers of one file wait for each other in the kernel, and spin there.
    writing: Mutex<()>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Open {
        part: Arc<PartFile>,
        left: u64,
        /// There was something before, so that zeros must be written as well.
        is_dense: bool,
    },
    /// Until somebody takes it: the bytes of the file, or why it is not there.
    Ended(Option<Result<u64, TargetError>>),
}

impl PartSink {
    pub(super) fn new(
        target: Arc<Target>,
        (below, attributes): (Vec<Vec<u8>>, Attributes),
        length: u64,
    ) -> Self {
        Self {
            target,
            below,
            attributes,
            length,
            is_resumable: false,
            state: Mutex::new(State::Waiting),
            writing: Mutex::default(),
        }
    }

    /// Has what was written of the file stay where the run is interrupted, and opens what an earlier
    /// one left, if it left anything.
    pub(super) fn resume(&mut self) -> Option<Arc<PartFile>> {
        self.is_resumable = true;
        let mut part = self.target.resume(&self.below).ok()?;
        part.keep();
        if part.length() == 0 {
            return None;
        }
        let part = Arc::new(part);
        *self.state() = State::Open {
            part: Arc::clone(&part),
            left: self.length,
            is_dense: true,
        };
        Some(part)
    }

    /// Counts bytes that an earlier run wrote.
    pub(super) fn found(&self, part: Arc<PartFile>, bytes: u64) {
        self.written(part, bytes);
    }

    /// Whether the file is there.
    pub(super) fn is_complete(&self) -> bool {
        matches!(*self.state(), State::Ended(Some(Ok(_))))
    }

    /// How it ended; `None` where bytes are missing.
    pub(super) fn take_outcome(&self) -> Option<Result<u64, TargetError>> {
        match &mut *self.state() {
            State::Ended(outcome) => outcome.take(),
            State::Waiting | State::Open { .. } => None,
        }
    }

    /// The file to write to, and whether zeros must be written; `None` once it failed.
    fn part(&self) -> Option<(Arc<PartFile>, bool)> {
        let mut state = self.state();
        match &*state {
            State::Open { part, is_dense, .. } => return Some((Arc::clone(part), *is_dense)),
            State::Ended(_) => return None,
            State::Waiting => {}
        }
        match self.target.create(&self.below) {
            Ok(mut part) => {
                if self.is_resumable {
                    part.keep();
                }
                let part = Arc::new(part);
                *state = State::Open {
                    part: Arc::clone(&part),
                    left: self.length,
                    is_dense: false,
                };
                Some((part, false))
            }
            Err(error) => {
                *state = State::Ended(Some(Err(error)));
                None
            }
        }
    }

    /// Counts what was written; the last byte ends the file.
    fn written(&self, part: Arc<PartFile>, bytes: u64) {
        let mut state = self.state();
        if let State::Open { left, .. } = &mut *state {
            *left = left.saturating_sub(bytes);
            if *left > 0 {
                // While the lock is held, so that the last writer finds itself alone.
                drop(part);
                return;
            }
            *state = State::Waiting;
            let ended = match Arc::try_unwrap(part) {
                Ok(part) => part
                    .set_length(self.length)
                    .and_then(|()| part.finish(&self.attributes)),
                Err(part) => Err(part.busy()),
            };
            *state = State::Ended(Some(ended.map(|()| self.length)));
        }
    }

    fn fail(&self, error: TargetError) {
        *self.state() = State::Ended(Some(Err(error)));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for PartSink {
    fn in_order(&self) -> bool {
        false
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some((part, is_dense)) = self.part() else {
            return Ok(());
        };
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = if is_dense {
            part.write_at(bytes, offset)
        } else {
            write_sparse(&part, offset, bytes)
        };
        drop(writing);
        match written {
            Ok(()) => self.written(part, bytes.len() as u64),
            Err(error) => self.fail(error),
        }
        Ok(())
    }
}

/// Takes a part of the file, which begins at `base`.
#[derive(Debug)]
pub(super) struct Shifted {
    pub(super) sink: Arc<PartSink>,
    pub(super) base: u64,
}

impl Sink for Shifted {
    fn in_order(&self) -> bool {
        false
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_at(self.base + offset, bytes)
    }
}

fn write_sparse(part: &PartFile, offset: u64, bytes: &[u8]) -> Result<(), TargetError> {
    let mut written = 0;
    let mut from = 0;
    // Runs of content are written in one go, holes between them not at all.
    for chunk in bytes.chunks(HOLE_BYTES) {
        let end = written + chunk.len();
        if chunk.len() == HOLE_BYTES && is_zero(chunk) {
            part.write_at(
                bytes.get(from..written).unwrap_or_default(),
                offset + from as u64,
            )?;
            from = end;
        }
        written = end;
    }
    part.write_at(bytes.get(from..).unwrap_or_default(), offset + from as u64)
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    // The first word settles it for nearly all content.
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn sink(folder: &tempfile::TempDir, length: u64) -> PartSink {
        let target = Arc::new(Target::open(folder.path().to_owned()).unwrap());
        let attributes = Attributes {
            mode: 0o600,
            ..Attributes::default()
        };
        PartSink::new(target, (vec![b"f".to_vec()], attributes), length)
    }

    #[test]
    fn the_last_byte_in_any_order_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(&folder, 10);
        sink.write_at(6, b"rest").unwrap();
        assert!(!folder.path().join("f").exists() && !sink.is_complete());
        sink.write_at(0, b"first ").unwrap();
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"first rest");
        assert!(sink.is_complete());
        assert_eq!(sink.take_outcome().unwrap().unwrap(), 10);
    }

    #[test]
    fn a_file_that_misses_bytes_is_never_there() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = sink(&folder, 10);
        unfinished.write_at(0, b"first").unwrap();
        assert!(unfinished.take_outcome().is_none());
        drop(unfinished);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_resumable_stays_and_is_written_over_zeros_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = sink(&folder, 8_192);
        assert!(first.resume().is_none());
        first.write_at(0, &[7; 8_000]).unwrap();
        drop(first);
        assert!(!folder.path().join("f").exists());

        let mut second = sink(&folder, 8_192);
        let part = second.resume().unwrap();
        assert_eq!(part.length(), 8_000);
        second.found(part, 4_096);
        second.write_at(4_096, &[0; 4_096]).unwrap();
        assert_eq!(second.take_outcome().unwrap().unwrap(), 8_192);
        let content = fs::read(folder.path().join("f")).unwrap();
        assert_eq!(content, [[7; 4_096], [0; 4_096]].concat());
    }

    #[test]
    fn another_run_starts_from_nothing_where_it_does_not_resume() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = sink(&folder, 10);
        assert!(first.resume().is_none());
        first.write_at(0, b"old").unwrap();
        drop(first);
        sink(&folder, 4).write_at(0, &[0; 4]).unwrap();
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), [0; 4]);
    }

    #[test]
    fn zeros_become_holes() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = vec![0; 1 << 20];
        content[500_000] = 7;
        sink(&folder, 1 << 20).write_at(0, &content).unwrap();
        let path = folder.path().join("f");
        assert_eq!(fs::read(&path).unwrap(), content);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 19);
    }

    #[test]
    fn a_file_that_cannot_be_written_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("f")).unwrap();
        let sink = sink(&folder, 4);
        sink.write_at(0, b"four").unwrap();
        assert!(matches!(
            sink.take_outcome(),
            Some(Err(TargetError::FolderThere { .. }))
        ));
    }
}
