//! Where the ciphertext of a blob comes from: read in order, piece by piece, never twice.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::{fmt, mem};

use model::crypto::{FileCipher, Secret};
use model::units::{BlobId, OwnerTag};

/// A blob to be stored.
#[derive(Debug)]
pub struct BlobSource {
    /// A fresh random id.
    pub blob: BlobId,
    /// Bytes of ciphertext, at least 1.
    pub length: u64,
    /// Hash of the blob's owner key.
    pub owner_tag: OwnerTag,
    /// Seals the blob's manifest; random, of this blob alone.
    pub secret: Secret,
    /// Its ciphertext.
    pub content: Box<dyn Ciphertext>,
}

/// The ciphertext of one blob, in order. Its methods may block; they are called on threads made
/// for that, one call at a time.
///
/// A key stream must never cover two contents: whoever implements this fails where the plaintext
/// is no longer what it was, and a blob that failed is started over under new secrets.
pub trait Ciphertext: fmt::Debug + Send {
    /// Fills `out` with the next bytes.
    ///
    /// # Errors
    /// [`ReadError`], also where fewer bytes are left.
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError>;

    /// Passes over bytes that are stored already.
    ///
    /// # Errors
    /// [`ReadError`], where that shows already.
    fn skip(&mut self, bytes: u64) -> Result<(), ReadError>;

    /// Whether all bytes read so far are what was announced. Where not, they stand in for what
    /// could not be read, and the upload cannot be gone on with by reading again.
    fn is_sound(&self) -> bool {
        true
    }

    /// Called after the last byte: checks that nothing follows and nothing changed.
    ///
    /// # Errors
    /// [`ReadError`] where it did.
    fn finish(&mut self) -> Result<(), ReadError>;
}

/// Content that cannot be read as announced.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened or read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It changed while it was being read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// More was asked for than was announced: a fault of the caller.
    #[error("content in memory is {length} bytes long, more was asked for")]
    Short {
        /// Its length in bytes.
        length: usize,
    },
}

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
    modified: Option<std::time::SystemTime>,
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

/// Ciphertext that lies in memory already.
pub struct InMemory {
    bytes: Vec<u8>,
    offset: usize,
}

impl InMemory {
    /// `bytes` of ciphertext.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl Ciphertext for InMemory {
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        let end = self.offset.saturating_add(out.len());
        let next = self.bytes.get(self.offset..end);
        out.copy_from_slice(next.ok_or(ReadError::Short {
            length: self.bytes.len(),
        })?);
        self.offset = end;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ReadError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.offset = self.offset.saturating_add(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        self.bytes = Vec::new();
        Ok(())
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory")
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
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
