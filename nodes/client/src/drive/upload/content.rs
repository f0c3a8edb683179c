//! The ciphertext of a blob made of local files: one large file, or a pack of small ones.
//!
//! Files are opened one after the other, when their first byte is wanted. One that cannot be read
//! as announced does not spoil the blob: its place is filled up, its keys are given up with it,
//! and its [`Outcome`] says why it must not be entered in the tree.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use model::crypto::{FileCipher, Secret};

use super::walk::{Stamp, open_regular};
use crate::upload::{Ciphertext, ReadError};

/// A local file's place in a blob.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The file.
    pub(super) path: PathBuf,
    /// What it was when it was found.
    pub(super) stamp: Stamp,
    /// Its key, made for this content alone.
    pub(super) secret: Secret,
    /// Where its ciphertext begins in the blob.
    pub(super) offset: u64,
    /// How it went.
    pub(super) outcome: Outcome,
}

/// How reading a file went: nothing until it failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome(Arc<OnceLock<PartError>>);

/// A file that was not read as announced.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// It cannot be opened or read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Its size or time changed since it was found.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// The parts of a blob, one after the other.
pub(super) struct Parts {
    /// What is still to come, last part first.
    rest: Vec<Part>,
    now: Option<Reading>,
    /// Bytes to pass over before the next one is read.
    to_skip: u64,
    /// A part failed, and zeros stand in for it.
    is_spoiled: bool,
}

struct Reading {
    part: Part,
    cipher: FileCipher,
    /// `None` once the part failed.
    file: Option<File>,
    done: u64,
}

impl Outcome {
    /// Why the file must not be entered in the tree; `None` where all went well.
    pub(super) fn failure(&self) -> Option<&PartError> {
        self.0.get()
    }

    fn fail(&self, error: PartError) {
        // The first failure is the one that is told.
        let _later = self.0.set(error);
    }
}

impl Parts {
    /// A blob of `parts`, whose offsets follow each other from 0.
    pub(super) fn new(mut parts: Vec<Part>) -> Self {
        parts.reverse();
        Self {
            rest: parts,
            now: None,
            to_skip: 0,
            is_spoiled: false,
        }
    }

    fn reading(&mut self) -> Option<&mut Reading> {
        let ended = self.now.as_ref().is_none_or(Reading::is_done);
        if ended {
            self.now = Some(Reading::start(self.rest.pop()?));
        }
        self.now.as_mut()
    }

    /// Passes over what is to be skipped. Files that are skipped whole are not opened.
    fn pass_over(&mut self) {
        while self.to_skip > 0 {
            let between = self.now.as_ref().is_none_or(Reading::is_done);
            match self.rest.last().map(|part| part.stamp.size) {
                Some(whole) if between && whole <= self.to_skip => {
                    self.rest.pop();
                    self.to_skip -= whole;
                    continue;
                }
                // Too far; reading on finds nothing.
                None if between => self.to_skip = 0,
                _ => {}
            }
            let bytes = self.to_skip;
            if let Some(reading) = self.reading() {
                let now = reading.left().min(bytes);
                reading.skip(now);
                self.to_skip -= now;
            }
        }
    }
}

impl Ciphertext for Parts {
    fn read(&mut self, mut out: &mut [u8]) -> Result<(), ReadError> {
        self.pass_over();
        while !out.is_empty() {
            let length = out.len();
            let Some(reading) = self.reading() else {
                return Err(ReadError::Short { length });
            };
            let now = reading.left().min(length as u64);
            let (head, tail) = out.split_at_mut(usize::try_from(now).unwrap_or(length));
            reading.read(head);
            let has_failed = reading.part.outcome.failure().is_some();
            self.is_spoiled |= has_failed;
            out = tail;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ReadError> {
        self.to_skip = self.to_skip.saturating_add(bytes);
        Ok(())
    }

    fn is_sound(&self) -> bool {
        !self.is_spoiled
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        self.pass_over();
        let unread: u64 = self.rest.iter().map(|part| part.stamp.size).sum();
        let unread = unread + self.now.as_ref().map_or(0, Reading::left);
        match usize::try_from(unread).unwrap_or(usize::MAX) {
            0 => Ok(()),
            length => Err(ReadError::Short { length }),
        }
    }
}

impl Reading {
    fn start(part: Part) -> Self {
        let cipher = FileCipher::new(&part.secret);
        let file = match open_regular(&part.path) {
            Ok((file, stamp)) if stamp == part.stamp => Some(file),
            Ok(_) => {
                part.outcome.fail(PartError::Changed {
                    path: part.path.clone(),
                });
                None
            }
            Err(source) => {
                part.outcome.fail(PartError::Read {
                    path: part.path.clone(),
                    source,
                });
                None
            }
        };
        Self {
            part,
            cipher,
            file,
            done: 0,
        }
    }

    const fn left(&self) -> u64 {
        self.part.stamp.size - self.done
    }

    const fn is_done(&self) -> bool {
        self.left() == 0
    }

    fn skip(&mut self, bytes: u64) {
        self.done += bytes;
        let to = SeekFrom::Start(self.done);
        if let Some(Err(source)) = self.file.as_mut().map(|file| file.seek(to)) {
            self.fail(source);
        }
    }

    fn read(&mut self, out: &mut [u8]) {
        let read = self.file.as_mut().map(|file| file.read_exact(out));
        match read {
            Some(Ok(())) => {}
            Some(Err(source)) => {
                self.fail(source);
                out.fill(0);
            }
            None => out.fill(0),
        }
        self.cipher.apply(self.done, out);
        self.done += out.len() as u64;
        if self.is_done() {
            self.check_unchanged();
        }
    }

    fn check_unchanged(&mut self) {
        let Some(mut file) = self.file.take() else {
            return;
        };
        let more = file.read(&mut [0]);
        let stamp = file.metadata().map(|metadata| Stamp::of(&metadata));
        match (more, stamp) {
            (Ok(0), Ok(stamp)) if stamp == self.part.stamp => {}
            (Ok(_), Ok(_)) => {
                self.part.outcome.fail(PartError::Changed {
                    path: self.part.path.clone(),
                });
            }
            (Err(source), _) | (_, Err(source)) => self.fail(source),
        }
    }

    fn fail(&mut self, source: io::Error) {
        self.file = None;
        let path = self.part.path.clone();
        self.part.outcome.fail(match source.kind() {
            io::ErrorKind::UnexpectedEof => PartError::Changed { path },
            _ => PartError::Read { path, source },
        });
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("left", &self.rest.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn create(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = folder.join(name);
        File::create(&path).unwrap().write_all(content).unwrap();
        path
    }

    fn part(path: PathBuf, offset: u64, key: u8) -> Part {
        let (_, stamp) = open_regular(&path).unwrap();
        let (secret, outcome) = (Secret::new([key; 32]), Outcome::default());
        Part {
            path,
            stamp,
            secret,
            offset,
            outcome,
        }
    }

    fn decrypt(part: &Part, blob: &[u8]) -> Vec<u8> {
        let start = usize::try_from(part.offset).unwrap();
        let mut plain = blob[start..start + usize::try_from(part.stamp.size).unwrap()].to_vec();
        FileCipher::new(&part.secret).apply(0, &mut plain);
        plain
    }

    #[test]
    fn every_file_of_a_pack_opens_with_its_own_key() {
        let folder = tempfile::tempdir().unwrap();
        let first = part(create(folder.path(), "a", b"first"), 0, 1);
        let second = part(create(folder.path(), "b", b"the second"), 5, 2);
        let mut parts = Parts::new(vec![first.clone(), second.clone()]);
        let mut blob = vec![0; 15];
        let (head, tail) = blob.split_at_mut(7);

        parts.read(head).unwrap();
        parts.read(tail).unwrap();
        parts.finish().unwrap();

        assert_eq!(decrypt(&first, &blob), b"first");
        assert_eq!(decrypt(&second, &blob), b"the second");
        assert!(first.outcome.failure().is_none() && second.outcome.failure().is_none());
    }

    #[test]
    fn what_is_skipped_leaves_the_rest_as_it_would_have_been() {
        let folder = tempfile::tempdir().unwrap();
        let parts = vec![
            part(create(folder.path(), "a", b"first"), 0, 1),
            part(create(folder.path(), "b", b"the second"), 5, 2),
            part(create(folder.path(), "c", b"third"), 15, 3),
        ];
        let mut whole = vec![0; 20];
        Parts::new(parts.clone()).read(&mut whole).unwrap();
        for skipped in 0..=20 {
            for again in 0..=(20 - skipped) {
                let mut rest = Parts::new(parts.clone());
                rest.skip(skipped as u64).unwrap();
                let mut read = vec![0; again];
                rest.read(&mut read).unwrap();
                assert_eq!(read, whole[skipped..skipped + again]);
                rest.skip((20 - skipped - again) as u64).unwrap();
                rest.finish().unwrap();
                assert!(rest.is_sound());
            }
        }
        let mut rest = Parts::new(parts);
        rest.skip(21).unwrap();
        assert!(
            rest.read(&mut [0]).is_err(),
            "beyond the end there is nothing"
        );
    }

    #[test]
    fn stand_ins_are_told_from_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = create(folder.path(), "a", b"first");
        let mut parts = Parts::new(vec![part(path, 0, 1)]);
        assert!(parts.is_sound());
        create(folder.path(), "a", b"longer");
        parts.read(&mut [0; 2]).unwrap();
        assert!(!parts.is_sound());
    }

    #[test]
    fn a_file_that_changes_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        for change in [b"shrt".as_slice(), b"longer than before"] {
            let path = create(folder.path(), "a", b"first");
            let (gone, kept) = (
                part(path.clone(), 0, 1),
                part(create(folder.path(), "b", b"kept"), 5, 2),
            );
            let mut parts = Parts::new(vec![gone.clone(), kept.clone()]);
            create(folder.path(), "a", change);
            let mut blob = vec![0; 9];

            parts.read(&mut blob).unwrap();
            parts.finish().unwrap();

            assert!(matches!(
                gone.outcome.failure(),
                Some(PartError::Changed { .. })
            ));
            assert!(kept.outcome.failure().is_none());
            assert_eq!(decrypt(&kept, &blob), b"kept");
        }
    }

    #[test]
    fn a_file_that_is_touched_half_way_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = create(folder.path(), "a", b"content");
        let touched = part(path.clone(), 0, 1);
        let mut parts = Parts::new(vec![touched.clone()]);
        parts.read(&mut [0; 3]).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all(b"CONTENT!")
            .unwrap();
        parts.read(&mut [0; 4]).unwrap();
        assert!(matches!(
            touched.outcome.failure(),
            Some(PartError::Changed { .. })
        ));
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = create(folder.path(), "a", b"content");
        let missing = part(path.clone(), 0, 1);
        std::fs::remove_file(&path).unwrap();
        Parts::new(vec![missing.clone()]).read(&mut [0; 7]).unwrap();
        let failure = missing.outcome.failure().unwrap().to_string();
        assert_eq!(failure, format!("{} cannot be read", path.display()));
    }

    #[test]
    fn asking_for_more_or_less_than_there_is_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = Parts::new(vec![part(create(folder.path(), "a", b"content"), 0, 1)]);
        parts.read(&mut [0; 4]).unwrap();
        assert!(parts.finish().is_err());
        assert!(parts.read(&mut [0; 4]).is_err());
    }
}
