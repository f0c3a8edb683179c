//! A local file as ciphertext, encrypted while it is read.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::{fmt, mem};

use model::crypto::{FileCipher, Secret};
use tasks::time::SystemTime;

use super::source::{Ciphertext, ReadError};

/// A file, encrypted as it is read.
pub struct EncryptedFile {
    path: PathBuf,
    cipher: FileCipher,
    length: u64,
    state: State,
}

enum State {
    /// Opened when the first byte is asked for, so that a thousand blobs need few open files.
    Waiting {
        offset: u64,
    },
    Open {
        file: File,
        version: Version,
        offset: u64,
    },
    Done,
}

/// What tells one version of a file from another.
#[derive(Clone, PartialEq, Eq)]
struct Version {
    length: u64,
    modified: Option<SystemTime>,
}

impl EncryptedFile {
    /// The file at `path`, which was `length` bytes long, under a FileSecret made for it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, length: u64, file_secret: &Secret) -> Self {
        let cipher = FileCipher::new(file_secret);
        Self {
            path: path.into(),
            cipher,
            length,
            state: State::Waiting { offset: 0 },
        }
    }

    fn changed(&self) -> ReadError {
        ReadError::Changed {
            path: self.path.clone(),
        }
    }

    fn open(&mut self, offset: u64) -> Result<(), ReadError> {
        let unreadable = |source| ReadError::Read {
            path: self.path.clone(),
            source,
        };
        let mut file = File::open(&self.path).map_err(unreadable)?;
        let version = Version::of(&file).map_err(unreadable)?;
        if version.length != self.length {
            return Err(self.changed());
        }
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        self.state = State::Open {
            file,
            version,
            offset,
        };
        Ok(())
    }
}

impl Ciphertext for EncryptedFile {
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        if let State::Waiting { offset } = self.state {
            self.open(offset)?;
        }
        let State::Open { file, offset, .. } = &mut self.state else {
            return Err(self.changed());
        };
        file.read_exact(out)
            .map_err(|source| read_error(&self.path, source))?;
        self.cipher.apply(*offset, out);
        *offset += out.len() as u64;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ReadError> {
        match &mut self.state {
            State::Waiting { offset } => *offset += bytes,
            State::Open { file, offset, .. } => {
                *offset += bytes;
                file.seek(SeekFrom::Start(*offset))
                    .map_err(|source| read_error(&self.path, source))?;
            }
            State::Done => return Err(self.changed()),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        let State::Open {
            mut file,
            version,
            offset,
        } = mem::replace(&mut self.state, State::Done)
        else {
            return Err(self.changed());
        };
        let more = file
            .read(&mut [0])
            .map_err(|source| read_error(&self.path, source))?;
        let now = Version::of(&file).map_err(|source| read_error(&self.path, source))?;
        if more > 0 || offset != self.length || now != version {
            return Err(self.changed());
        }
        Ok(())
    }
}

impl fmt::Debug for EncryptedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedFile")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        let now = file.metadata()?;
        Ok(Self {
            length: now.len(),
            modified: now.modified().ok(),
        })
    }
}

fn read_error(path: &Path, source: io::Error) -> ReadError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Changed {
            path: path.to_owned(),
        },
        _ => ReadError::Read {
            path: path.to_owned(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn file_of(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_file_is_encrypted_as_it_is_read() {
        let plain: Vec<u8> = (0..1_000_u32).flat_map(u32::to_le_bytes).collect();
        let file = file_of(&plain);
        let secret = Secret::new(SECRET);
        let mut source = EncryptedFile::new(file.path(), 4_000, &secret);
        let mut read = vec![0; 4_000];
        let (head, tail) = read.split_at_mut(1_234);
        source.read(head).unwrap();
        source.read(tail).unwrap();
        source.finish().unwrap();
        assert_ne!(read, plain);
        FileCipher::new(&secret).apply(0, &mut read);
        assert_eq!(read, plain);
    }

    #[test]
    fn a_file_of_another_length_is_refused_before_a_byte_is_encrypted() {
        for length in [3, 5] {
            let file = file_of(b"four");
            let mut source = EncryptedFile::new(file.path(), length, &Secret::new(SECRET));
            assert!(matches!(
                source.read(&mut [0; 3]),
                Err(ReadError::Changed { .. })
            ));
        }
    }

    #[test]
    fn a_file_that_grows_shrinks_or_is_touched_meanwhile_is_refused() {
        let changes: [fn(&mut File); 3] = [
            |file| file.write_all(b"more").unwrap(),
            |file| file.set_len(2).unwrap(),
            |file| file.set_modified(std::time::UNIX_EPOCH).unwrap(),
        ];
        for change in changes {
            let mut file = file_of(b"four");
            let mut source = EncryptedFile::new(file.path(), 4, &Secret::new(SECRET));
            source.read(&mut [0; 2]).unwrap();
            change(file.as_file_mut());
            let read = source.read(&mut [0; 2]);
            let outcome = read.and_then(|()| source.finish());
            assert!(
                matches!(outcome, Err(ReadError::Changed { .. })),
                "{outcome:?}"
            );
        }
    }
}
