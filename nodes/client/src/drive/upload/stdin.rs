//! `put -`: standard input, whose length nobody knows. Its ciphertext, never its plaintext, is
//! kept in a nameless file until the end is seen.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::PathBuf;

use model::crypto::{FileCipher, Secret};
use model::formats::tree::{BlobSlice, Change, Content, FileVersion, Meta};
use model::units::{BlobId, INLINE_BYTES_MAX};

use super::sources::{folders_above, occupant};
use super::{Put, PutError, PutReport, PutRequest};
use crate::drive::commit::{Intent, Outcome, Wanted, mtime};
use crate::drive::open::{Drive, Head};
use crate::drive::read::Snapshot;
use crate::drive::slash::Occupant;
use crate::upload::{BlobSource, Ciphertext, ReadError, StagedUpload, StoreRequest, Uploader};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// What a file is given that comes without permissions.
const MODE: u32 = 0o644;

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
        let snapshot = Snapshot::new(head.tree.clone(), std::sync::Arc::clone(&self.pages));
        let path = &request.remote.path;
        if request.locals.len() != 1 || request.remote.slash {
            return Err(PutError::Stdin);
        }
        if occupant(&snapshot, path).await? == Occupant::Folder {
            return Err(PutError::Stdin);
        }
        let mut intents = folders_above(&snapshot, path, false).await?;
        let secret = self.draw_secret();
        let spool = self.home.spool()?;
        let key = secret.clone();
        let input = tasks::spawn_blocking(move || take(io::stdin().lock(), spool, &key));
        let input = input.await.map_err(|_| PutError::Interrupted)??;
        put.tally.files_found.add(1);
        put.tally.all_found.add(1);
        let mut report = PutReport {
            stored: 1,
            ..PutReport::default()
        };
        let (content, upload) = match input {
            Input::Tiny(bytes) => {
                report.bytes = bytes.len() as u64;
                (Content::Inline(bytes), None)
            }
            Input::Spooled { file, length } => {
                report.bytes = length;
                let (slice, upload) = self.store_spool(file, length, secret, put).await?;
                report.class = Some(upload.class);
                (Content::Blob(slice), Some(upload))
            }
        };
        let meta = Meta {
            mode: MODE,
            mtime: mtime(self.environment.now()),
            ..Meta::default()
        };
        let file = FileVersion {
            sha256: None,
            content,
        };
        intents.push(Intent::Put(Change::PutFile {
            path: path.clone(),
            meta,
            file,
        }));
        let wanted = Wanted { intents, upload };
        let Outcome { refused, .. } = self.committer(head).commit(wanted).await?;
        report.stored -= u64::from(!refused.is_empty());
        report.refuse(put, refused);
        Ok(report)
    }

    async fn store_spool(
        &self,
        file: File,
        length: u64,
        file_secret: Secret,
        put: &Put,
    ) -> Result<(BlobSlice, StagedUpload), PutError> {
        put.tally.bytes_found.add(length);
        let (blob, blob_secret) = (self.draw_blob(), self.draw_secret());
        let source = BlobSource {
            blob,
            length,
            owner_tag: self.keys.volume.owner_tag(&blob),
            secret: blob_secret.clone(),
            content: Box::new(Spooled(file)),
        };
        let (volume, class) = (self.settings.volume, put.class);
        let request = StoreRequest {
            volume,
            class,
            blobs: vec![source],
        };
        let uploader = Uploader::new(self.transfer.clone());
        let upload = uploader.store(request, &put.tally.transfer).await?;
        let manifest = upload
            .blobs
            .first()
            .map(|stored| stored.manifest)
            .unwrap_or_default();
        let slice = BlobSlice {
            blob,
            offset: 0,
            length,
            file_secret,
            blob_secret,
            manifest,
        };
        Ok((slice, upload))
    }

    fn draw_blob(&self) -> BlobId {
        let mut bytes = [0; 16];
        self.environment.random(&mut bytes);
        BlobId(bytes)
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
