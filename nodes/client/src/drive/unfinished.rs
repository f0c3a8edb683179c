//! `uploads`: what interrupted runs of `put` left to be gone on with, and giving it up.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use model::units::{UnixMs, UploadId};

use super::home::HomeError;
use super::journals::{Left, LeftJournal};
use super::open::Drive;
use crate::transfer::FailureKind;
use crate::upload::Uploader;

/// An upload that no run works on now, and that a `put` of the same files goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its id at the Bridge.
    pub upload: UploadId,
    /// Its first file.
    pub first: PathBuf,
    /// Files in it.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that are stored already.
    pub bytes_stored: u64,
    /// When the Bridge forgets it.
    pub expires: UnixMs,
}

/// Unfinished uploads that cannot be told of or given up.
#[derive(Debug, thiserror::Error)]
pub enum UnfinishedError {
    /// The home cannot be used.
    #[error("the home of this device cannot be used")]
    Home(#[from] HomeError),
    /// There is no such upload here, or a run works on it.
    #[error("no upload {upload} waits here to be gone on with")]
    NotHere {
        /// Which.
        upload: UploadId,
    },
    /// The program is ending.
    #[error("the look at the uploads was interrupted")]
    Interrupted,
}

impl UnfinishedError {
    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Home(_) | Self::Interrupted => FailureKind::Local,
            Self::NotHere { .. } => FailureKind::NotFound,
        }
    }
}

impl Drive {
    /// The uploads that wait to be gone on with. What is over, or cannot be believed, is removed.
    ///
    /// # Errors
    /// [`UnfinishedError`].
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, UnfinishedError> {
        let now = self.environment.now();
        let (told, ended) = self.look(move |left| tell(left, now)).await?;
        self.abandon(ended).await;
        Ok(told)
    }

    /// Gives an unfinished upload up: its journal goes, and Hosts are told through the Bridge.
    ///
    /// # Errors
    /// [`UnfinishedError::NotHere`], and others.
    pub async fn drop_unfinished(&self, upload: UploadId) -> Result<(), UnfinishedError> {
        let (dropped, _) = self
            .look(move |left| match left {
                Left::Journal(left) if left.upload() == upload => {
                    left.remove();
                    Ok(upload)
                }
                Left::Journal(_) => Err(None),
                Left::Broken(broken) => Err(Some(broken)),
            })
            .await?;
        if dropped.is_empty() {
            return Err(UnfinishedError::NotHere { upload });
        }
        self.abandon(dropped).await;
        Ok(())
    }

    /// Looks at every journal that no run uses; uploads that come back as errors have ended.
    async fn look<T: Send + 'static>(
        &self,
        mut at: impl FnMut(Left) -> Result<T, Option<UploadId>> + Send + 'static,
    ) -> Result<(Vec<T>, Vec<UploadId>), UnfinishedError> {
        let (home, journals) = (self.home.clone(), self.journals()?);
        let looked = tasks::spawn_blocking(move || {
            let _turn = home.lock_uploads()?;
            let (mut seen, mut ended) = (Vec::new(), Vec::new());
            for left in journals.left()? {
                match at(left) {
                    Ok(value) => seen.push(value),
                    Err(upload) => ended.extend(upload),
                }
            }
            Ok::<_, HomeError>((seen, ended))
        });
        let looked = looked.await.map_err(|_| UnfinishedError::Interrupted)?;
        Ok(looked?)
    }

    async fn abandon(&self, uploads: Vec<UploadId>) {
        let uploader = Uploader::new(self.transfer.clone());
        for upload in uploads {
            uploader.abandon(&upload).await;
        }
    }
}

fn tell(left: Left, now: UnixMs) -> Result<Unfinished, Option<UploadId>> {
    let mut left = match left {
        Left::Journal(left) => left,
        Left::Broken(upload) => return Err(Some(upload)),
    };
    let upload = left.upload();
    let ended = |left: LeftJournal| {
        left.remove();
        Err(Some(upload))
    };
    if left.start().expires <= now {
        return ended(left);
    }
    let Ok((bytes, bytes_stored)) = left.bytes() else {
        return ended(left);
    };
    let mut parts = left.start().blobs.iter().flat_map(|blob| &blob.parts);
    let first = parts.next().map(|part| part.path.clone());
    Ok(Unfinished {
        upload,
        first: PathBuf::from(OsString::from_vec(first.unwrap_or_default())),
        files: 1 + parts.count() as u64,
        bytes,
        bytes_stored,
        expires: left.start().expires,
    })
}
