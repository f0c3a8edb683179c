//! Storing a batch so that an interruption costs little.
//!
//! Batches of [`JOURNAL_BYTES_MIN`] and more keep a journal. A later `put` that comes to a batch
//! of the very same files finds it by them, whatever their destination, and goes on. Where a file
//! changed, where the Bridge forgot the upload or where anything does not fit, the batch is
//! started over under new ids and secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::formats::journal::{JournalBlob, JournalStart, SourceIdentity};
use model::formats::shape::Class;
use model::units::{UnixMs, UploadId};

use super::batch::Batch;
use super::{Put, PutError, StoredBatch};
use crate::drive::home::HomeError;
use crate::drive::journals::{JournalFile, Journals, Left, LeftJournal};
use crate::drive::open::Drive;
use crate::upload::{LogError, Logged, LoggedSegment, StagedUpload, StoreRequest, Uploader};

/// Uploads of fewer bytes keep no journal: they are repeated.
const JOURNAL_BYTES_MIN: u64 = 32_000_000;

impl Drive {
    /// Stores the blobs of a batch at Hosts.
    pub(super) async fn store(&self, mut batch: Batch, put: &Put) -> Result<StoredBatch, PutError> {
        if batch.blobs.is_empty() {
            return Ok(StoredBatch::of(batch, None, None));
        }
        let worth_it = batch.blob_bytes() >= JOURNAL_BYTES_MIN;
        let Some(blobs) = worth_it.then(|| batch.journal_blobs()).flatten() else {
            let request = self.request(&batch, put);
            let upload = self.uploader().store(request, &put.tally.transfer).await?;
            return Ok(StoredBatch::of(batch, Some(upload), None));
        };
        if let Some(left) = self.left_of(blobs, put.class).await? {
            batch.adopt(&left.start().blobs);
            if let Some((upload, journal)) = self.go_on(left, &batch, put).await? {
                return Ok(StoredBatch::of(batch, Some(upload), Some(journal)));
            }
            batch.redraw(&*self.environment);
        }
        self.begin(batch, put).await
    }

    fn uploader(&self) -> Uploader {
        Uploader::new(self.transfer.clone())
    }

    fn request(&self, batch: &Batch, put: &Put) -> StoreRequest {
        StoreRequest {
            volume: self.settings.volume,
            class: put.class,
            blobs: batch.sources(&self.keys.volume),
        }
    }

    /// Stores a batch from its beginning, with a journal.
    async fn begin(&self, batch: Batch, put: &Put) -> Result<StoredBatch, PutError> {
        let (uploader, request) = (self.uploader(), self.request(&batch, put));
        let payer = uploader.fresh_payer();
        let plan = uploader.plan(&request, payer).await?;
        let start = JournalStart {
            expires: plan.expires,
            payer,
            class_asked: put.class,
            class: plan.class,
            blobs: batch.journal_blobs().unwrap_or_default(),
        };
        let (journals, upload) = (self.journals()?, plan.upload);
        let begun = tasks::spawn_blocking(move || journals.begin(upload, &start)).await;
        let journal = match begun.map_err(|_| PutError::Interrupted)? {
            Ok(journal) => Some(Arc::new(journal)),
            // Names beyond all bounds: it goes without.
            Err(LogError::Record(_)) => None,
            Err(error) => {
                uploader.abandon(&upload).await;
                return Err(crate::upload::UploadError::from(error).into());
            }
        };
        let logged = journal.clone().map(|log| Logged {
            log,
            known: BTreeMap::new(),
        });
        let progress = &put.tally.transfer;
        match uploader
            .store_planned(request, plan, logged, progress)
            .await
        {
            Ok(upload) => Ok(StoredBatch::of(batch, Some(upload), journal)),
            Err(error) => {
                if let Some(journal) = journal.filter(|_| !error.may_go_on()) {
                    journal.remove();
                }
                Err(error.into())
            }
        }
    }

    /// Goes on with the upload of `left`, whose ids and secrets the batch has. `None` where that
    /// cannot be: the journal is gone then, and the upload given up.
    async fn go_on(
        &self,
        left: LeftJournal,
        batch: &Batch,
        put: &Put,
    ) -> Result<Option<(StagedUpload, Arc<JournalFile>)>, PutError> {
        let (uploader, upload) = (self.uploader(), left.upload());
        let resumed = tasks::spawn_blocking(move || left.resume()).await;
        let (journal, file) = match resumed.map_err(|_| PutError::Interrupted)? {
            Ok(resumed) => resumed,
            Err(error) => {
                tracing::warn!(%error, "an upload cannot be gone on with");
                self.journals()?.remove(upload);
                uploader.abandon(&upload).await;
                return Ok(None);
            }
        };
        let (file, request) = (Arc::new(file), self.request(batch, put));
        let start = journal.start();
        let plan = match uploader.plan(&request, start.payer).await {
            Ok(plan) if plan.upload == upload && plan.class == start.class => plan,
            Err(error) if error.may_go_on() => return Err(error.into()),
            other => {
                tracing::debug!("the bridge does not know the upload any more");
                file.remove();
                let planned = other.map_or(upload, |plan| plan.upload);
                uploader.abandon(&planned).await;
                return Ok(None);
            }
        };
        let blobs: Vec<_> = start.blobs.iter().map(|blob| blob.blob).collect();
        let known = journal.into_segments().into_iter();
        let known = known.filter_map(|(place, segment)| {
            let at: LoggedSegment = (*blobs.get(usize::from(place.blob))?, place.segment);
            Some((at, segment))
        });
        let logged = Logged {
            log: file.clone(),
            known: known.collect(),
        };
        let progress = &put.tally.transfer;
        let stored = uploader.store_planned(request, plan, Some(logged), progress);
        match stored.await {
            Ok(upload) => Ok(Some((upload, file))),
            Err(error) if error.may_go_on() => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "an upload is started over");
                file.remove();
                Ok(None)
            }
        }
    }

    /// The journal of an upload of these very files. Sweeps what is over, and what is of a file
    /// that has changed since.
    async fn left_of(
        &self,
        blobs: Vec<JournalBlob>,
        class: Option<Class>,
    ) -> Result<Option<LeftJournal>, PutError> {
        let (home, journals, now) = (self.home.clone(), self.journals()?, self.environment.now());
        let swept = tasks::spawn_blocking(move || {
            let _turn = home.lock_uploads()?;
            sweep(&journals, now, &blobs, class)
        });
        let (found, ended) = swept.await.map_err(|_| PutError::Interrupted)??;
        for upload in ended {
            self.uploader().abandon(&upload).await;
        }
        Ok(found)
    }

    pub(in crate::drive) fn journals(&self) -> Result<Journals, HomeError> {
        let folder = self.home.uploads_dir()?;
        let (account, volume) = (self.settings.account, self.settings.volume);
        Ok(Journals::new(
            folder,
            self.keys.device.seed(),
            account,
            volume,
        ))
    }
}

/// Looks through what earlier runs left. Blocking.
fn sweep(
    journals: &Journals,
    now: UnixMs,
    blobs: &[JournalBlob],
    class: Option<Class>,
) -> Result<(Option<LeftJournal>, Vec<UploadId>), HomeError> {
    let (mut found, mut ended) = (None, Vec::new());
    for left in journals.left()? {
        let left = match left {
            Left::Broken(upload) => {
                ended.push(upload);
                continue;
            }
            Left::Journal(left) => left,
        };
        if left.start().expires <= now || has_changed(left.start(), blobs) {
            ended.push(left.upload());
            left.remove();
        } else if found.is_none() && is_of(left.start(), blobs, class) {
            found = Some(left);
        }
    }
    Ok((found, ended))
}

/// Whether a journal is of an upload of these very files, unchanged, in the same order.
fn is_of(start: &JournalStart, blobs: &[JournalBlob], class: Option<Class>) -> bool {
    let same_blob = |(known, wanted): (&JournalBlob, &JournalBlob)| {
        let mut parts = known.parts.iter().zip(&wanted.parts);
        known.parts.len() == wanted.parts.len()
            && parts
                .all(|(known, wanted)| (&known.path, known.source) == (&wanted.path, wanted.source))
    };
    start.class_asked == class
        && start.blobs.len() == blobs.len()
        && start.blobs.iter().zip(blobs).all(same_blob)
}

/// Whether one of these files was another when the journal was begun.
fn has_changed(start: &JournalStart, blobs: &[JournalBlob]) -> bool {
    let parts = blobs.iter().flat_map(|blob| &blob.parts);
    let wanted: BTreeMap<&[u8], SourceIdentity> =
        parts.map(|part| (&part.path[..], part.source)).collect();
    let mut known = start.blobs.iter().flat_map(|blob| &blob.parts);
    known.any(|part| {
        let now = wanted.get(&part.path[..]);
        now.is_some_and(|now| *now != part.source)
    })
}
