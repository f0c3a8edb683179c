//! One file into the tree, from wherever its content comes: standard input, a browser, a gateway.

use std::sync::Arc;

use model::crypto::Secret;
use model::formats::shape::Class;
use model::formats::tree::{BlobSlice, Change, Content, FileVersion, Kind, Meta, TreePath};
use model::units::{BlobId, INLINE_BYTES_MAX};

use super::commit::{CommitError, Intent, Outcome, Wanted, mtime};
use super::open::{Drive, Head, OpenError};
use super::read::{ReadError, Snapshot};
use super::slash::Occupant;
use crate::transfer::{FailureKind, Progress};
use crate::upload::{BlobSource, Ciphertext, StagedUpload, StoreRequest, UploadError, Uploader};

/// What a file is given that comes without permissions.
const MODE: u32 = 0o644;

/// A file to be put.
#[derive(Debug)]
pub struct NewFile {
    /// Where it goes; folders above are made.
    pub path: TreePath,
    /// What is in it.
    pub content: NewContent,
    /// How it is spread; else the Bridge decides.
    pub class: Option<Class>,
}

/// What is in a file that is to be put.
#[derive(Debug)]
pub enum NewContent {
    /// At most [`INLINE_BYTES_MAX`] bytes, kept in the sealed tree itself.
    Tiny(Vec<u8>),
    /// More, encrypted from its first byte on under a FileSecret made for it alone.
    Long {
        /// Bytes, at least 1.
        length: u64,
        /// The FileSecret.
        secret: Secret,
        /// The ciphertext.
        content: Box<dyn Ciphertext>,
    },
}

/// A file that was not put.
#[derive(Debug, thiserror::Error)]
pub enum PutFileError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is a folder where the file would go.
    #[error("`{path}` is a folder in the cloud")]
    IsFolder {
        /// Where.
        path: TreePath,
    },
    /// Something above it is a file.
    #[error("`{path}` is a file in the cloud, and this needs a folder")]
    FolderNeeded {
        /// Which.
        path: TreePath,
    },
    /// Content that is to be in the tree and is too long for it.
    #[error("{bytes} bytes do not fit the tree, at most {INLINE_BYTES_MAX} do")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The content could not be stored.
    #[error("the file could not be stored")]
    Store(#[from] UploadError),
    /// The change could not be committed.
    #[error("the tree could not be changed")]
    Commit(#[from] CommitError),
}

impl PutFileError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::IsFolder { .. } | Self::FolderNeeded { .. } => FailureKind::Conflict,
            Self::TooLong { .. } => FailureKind::Refused,
            Self::Store(source) => source.kind(),
            Self::Commit(source) => source.kind(),
        }
    }
}

impl Drive {
    /// Puts one file; returns the class under which it was stored at Hosts, if it was.
    ///
    /// # Errors
    /// [`PutFileError`]; nothing was changed then.
    pub async fn put_file(
        &self,
        file: NewFile,
        progress: &Arc<Progress>,
    ) -> Result<Option<Class>, PutFileError> {
        let head = self.head().await?;
        let folders = self.place_of_file(&file.path, &head).await?;
        self.put_file_into(head, folders, file, progress).await
    }

    /// What must be there before a file can be put at `path`.
    pub(super) async fn place_of_file(
        &self,
        path: &TreePath,
        head: &Head,
    ) -> Result<Vec<Intent>, PutFileError> {
        let snapshot = Snapshot::new(head.tree.clone(), Arc::clone(&self.pages));
        if occupant(&snapshot, path).await? == Occupant::Folder {
            return Err(PutFileError::IsFolder { path: path.clone() });
        }
        folders_above(&snapshot, path, false).await
    }

    /// Stores a file and commits it on `head`, with `folders` above it.
    pub(super) async fn put_file_into(
        &self,
        head: Head,
        folders: Vec<Intent>,
        file: NewFile,
        progress: &Arc<Progress>,
    ) -> Result<Option<Class>, PutFileError> {
        let (content, upload) = match file.content {
            NewContent::Tiny(bytes) if bytes.len() > INLINE_BYTES_MAX => {
                return Err(PutFileError::TooLong { bytes: bytes.len() });
            }
            NewContent::Tiny(bytes) => (Content::Inline(bytes), None),
            NewContent::Long {
                length,
                secret,
                content,
            } => {
                let source = self.blob_of(length, content);
                let (slice, upload) = self
                    .store_file(source, secret, file.class, progress)
                    .await?;
                (Content::Blob(slice), Some(upload))
            }
        };
        let class = upload.as_ref().map(|upload| upload.class);
        let mut intents = folders;
        intents.push(Intent::Put(Change::PutFile {
            path: file.path,
            meta: Meta {
                mode: MODE,
                mtime: mtime(self.environment.now()),
                ..Meta::default()
            },
            file: FileVersion {
                sha256: None,
                content,
            },
        }));
        let wanted = Wanted { intents, upload };
        let Outcome { refused, .. } = self.committer(head).commit(wanted).await?;
        match refused.into_iter().next() {
            None => Ok(class),
            Some(refused) => Err(CommitError::Edit(refused.error).into()),
        }
    }

    /// A blob with nothing but one file in it.
    fn blob_of(&self, length: u64, content: Box<dyn Ciphertext>) -> BlobSource {
        let mut blob = [0; 16];
        self.environment.random(&mut blob);
        let blob = BlobId(blob);
        BlobSource {
            blob,
            length,
            owner_tag: self.keys.volume.owner_tag(&blob),
            secret: self.draw_secret(),
            content,
        }
    }

    async fn store_file(
        &self,
        source: BlobSource,
        file_secret: Secret,
        class: Option<Class>,
        progress: &Arc<Progress>,
    ) -> Result<(BlobSlice, StagedUpload), UploadError> {
        let (blob, length, blob_secret) = (source.blob, source.length, source.secret.clone());
        let request = StoreRequest {
            volume: self.settings.volume,
            class,
            blobs: vec![source],
        };
        let uploader = Uploader::new(self.transfer.clone());
        let upload = uploader.store(request, progress).await?;
        let stored = upload.blobs.first();
        let manifest = stored.map(|stored| stored.manifest).unwrap_or_default();
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
}

/// What stands at `path`.
pub(super) async fn occupant(
    snapshot: &Snapshot,
    path: &TreePath,
) -> Result<Occupant, PutFileError> {
    Ok(
        match snapshot
            .find(path)
            .await?
            .as_deref()
            .map(|entry| &entry.kind)
        {
            None => Occupant::Nothing,
            Some(Kind::Folder(_)) => Occupant::Folder,
            Some(Kind::File(_) | Kind::Symlink(_)) => Occupant::File,
        },
    )
}

/// Intents for the folders above `path` that are missing, and for itself where it is needed.
pub(super) async fn folders_above(
    snapshot: &Snapshot,
    path: &TreePath,
    itself: bool,
) -> Result<Vec<Intent>, PutFileError> {
    let first = if itself {
        Some(path.clone())
    } else {
        path.parent()
    };
    let mut missing = Vec::new();
    for path in std::iter::successors(first, TreePath::parent) {
        match occupant(snapshot, &path).await? {
            Occupant::Nothing => missing.push(Intent::Folder { path, meta: None }),
            Occupant::File => return Err(PutFileError::FolderNeeded { path }),
            Occupant::Folder => break,
        }
    }
    missing.reverse();
    Ok(missing)
}
