//! `put -`: standard input, whose length nobody knows. Its ciphertext, never its plaintext, is
//! kept in a nameless file until the end is seen.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::PathBuf;

use model::crypto::{FileCipher, Secret};
use model::units::INLINE_BYTES_MAX;

use super::{Put, PutError, PutReport, PutRequest};
use crate::drive::commit::CommitError;
use crate::drive::file::{NewContent, NewFile, PutFileError};
use crate::drive::open::{Drive, Head};
use crate::upload::{Ciphertext, ReadError};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What came in.
enum Input {
    Tiny(Vec<u8>),
    Spooled { file: File, length: u64 },
}

impl Drive {
    pub(super) async fn put_stdin(
        &self,
        request: &PutRequest,
        put: &Put,
        head: Head,
    ) -> Result<PutReport, PutError> {
        let path = &request.remote.path;
        if request.locals.len() != 1 || request.remote.slash {
            return Err(PutError::Stdin);
        }
        let folders = self.place_of_file(path, &head).await?;
        let secret = self.draw_secret();
        let spool = self.home.spool()?;
        let key = secret.clone();
        let input = tasks::spawn_blocking(move || take(io::stdin().lock(), spool, &key));
        let input = input.await.map_err(|_| PutError::Interrupted)??;
        put.tally.files_found.add(1);
        put.tally.all_found.add(1);
        let (bytes, content) = match input {
            Input::Tiny(bytes) => (bytes.len() as u64, NewContent::Tiny(bytes)),
            Input::Spooled { file, length } => {
                put.tally.bytes_found.add(length);
                let content = Box::new(Spooled(file));
                let content = NewContent::Long {
                    length,
                    secret,
                    content,
                };
                (length, content)
            }
        };
        let file = NewFile {
            path: path.clone(),
            content,
            class: put.class,
        };
        let mut report = PutReport::default();
        let putting = self.put_file_into(head, folders, file, &put.tally.transfer);
        match putting.await {
            Ok(class) => {
                report = PutReport {
                    stored: 1,
                    bytes,
                    class,
                    ..report
                }
            }
            Err(PutFileError::Commit(CommitError::Edit(error))) => report.fail(put, path, &error),
            Err(error) => return Err(error.into()),
        }
        Ok(report)
    }
}

/// Reads to the end, encrypting into `spool` what does not fit the tree.
fn take(mut input: impl Read, mut spool: File, secret: &Secret) -> Result<Input, PutError> {
    let mut head = Vec::new();
    let mut start = (&mut input).take(INLINE_BYTES_MAX as u64 + 1);
    start.read_to_end(&mut head).map_err(PutError::ReadStdin)?;
    if head.len() <= INLINE_BYTES_MAX {
        return Ok(Input::Tiny(head));
    }
    let mut cipher = FileCipher::new(secret);
    let mut length = 0;
    let mut chunk = head;
    while !chunk.is_empty() {
        cipher.apply(length, &mut chunk);
        spool.write_all(&chunk).map_err(PutError::Spool)?;
        length += chunk.len() as u64;
        chunk.clear();
        let mut next = (&mut input).take(CHUNK_BYTES as u64);
        next.read_to_end(&mut chunk).map_err(PutError::ReadStdin)?;
    }
    spool.rewind().map_err(PutError::Spool)?;
    Ok(Input::Spooled {
        file: spool,
        length,
    })
}

/// Ciphertext in a file.
struct Spooled(File);

impl Ciphertext for Spooled {
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        self.0.read_exact(out).map_err(unread)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ReadError> {
        let by = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.0.seek_relative(by).map_err(unread)
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        Ok(())
    }
}

fn unread(source: io::Error) -> ReadError {
    ReadError::Read {
        path: PathBuf::from("the spool"),
        source,
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spooled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_input_is_spooled_as_ciphertext_and_short_input_is_not() {
        let plain: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        for length in [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 3_000_000] {
            let secret = Secret::new([1; 32]);
            let taken = take(&plain[..length], tempfile::tempfile().unwrap(), &secret).unwrap();
            match taken {
                Input::Tiny(bytes) => {
                    assert!(length <= INLINE_BYTES_MAX);
                    assert_eq!(bytes, plain[..length]);
                }
                Input::Spooled {
                    file,
                    length: spooled,
                } => {
                    assert_eq!(spooled, length as u64);
                    let mut read = vec![0; length];
                    Spooled(file).read(&mut read).unwrap();
                    assert_ne!(read, plain[..length]);
                    FileCipher::new(&secret).apply(0, &mut read);
                    assert_eq!(read, plain[..length]);
                }
            }
        }
    }
}
