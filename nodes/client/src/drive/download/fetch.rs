//! The files of one blob, all in one go; and a part of one file.

use std::ops::Range;
use std::sync::Arc;

use model::formats::tree::{BlobSlice, Content, Entry, FileVersion, Kind, TreePath};
use model::units::INLINE_BYTES_MAX;

use super::part::{PartSink, Shifted};
use super::target::{PartFile, Target};
use super::{GetError, GetReport, Wanted, attributes, resume};
use crate::download::{DownloadError, Downloader, OpenBlob, Piece, Sink};
use crate::drive::open::Drive;
use crate::drive::range::ByteRange;
use crate::drive::stream::{access_of, piece_of};
use crate::drive::watch::Tally;

/// A blob's files that were fetched, or not.
pub(super) struct Fetched {
    pub(super) files: Vec<(Wanted, Arc<PartSink>)>,
    pub(super) outcome: Result<(), DownloadError>,
}

/// Fetches files of one blob, each as far as it is not there yet.
pub(super) async fn fetch(
    downloader: Downloader,
    target: Arc<Target>,
    files: Vec<Wanted>,
    tally: Arc<Tally>,
) -> Fetched {
    let mut blob = None;
    let mut pieces = Vec::with_capacity(files.len());
    let mut sinks = Vec::with_capacity(files.len());
    let mut outcome = Ok(());
    for wanted in files {
        let Some(slice) = wanted.entry.blob() else {
            continue;
        };
        let blob = blob.get_or_insert_with(|| downloader.open(&access_of(slice)));
        let place = (wanted.below.clone(), attributes(&wanted.entry));
        let mut sink = PartSink::new(Arc::clone(&target), place, slice.length);
        let left = if resume::is_resumable(slice) {
            sink.resume()
        } else {
            None
        };
        let sink = Arc::new(sink);
        match left {
            Some(part) => match resumed(blob, slice, (&sink, part), &tally).await {
                Ok(missing) => pieces.extend(missing),
                Err(error) => outcome = Err(error),
            },
            None => {
                let to = Arc::clone(&sink) as Arc<dyn Sink>;
                pieces.push(piece_of(slice, 0..slice.length, to));
            }
        }
        sinks.push((wanted, sink));
    }
    if let (Some(mut blob), Ok(())) = (blob, &outcome) {
        outcome = blob.fetch(pieces, &tally.transfer).await;
    }
    Fetched {
        files: sinks,
        outcome,
    }
}

/// What is missing of a file of which an earlier run left something.
async fn resumed(
    blob: &mut OpenBlob,
    slice: &BlobSlice,
    (sink, part): (&Arc<PartSink>, Arc<PartFile>),
    tally: &Tally,
) -> Result<Vec<Piece>, DownloadError> {
    let missing = resume::missing(blob, slice, &part).await?;
    let bytes: u64 = missing.iter().map(|range| range.end - range.start).sum();
    let found = slice.length.saturating_sub(bytes);
    if found > 0 {
        tracing::info!(found, missing = bytes, "goes on where an earlier get ended");
        tally.bytes_untransferred.add(found);
        tally.bytes_resumed.add(found);
        sink.found(part, found);
    }
    let piece = |range: Range<u64>| {
        let (sink, base) = (Arc::clone(sink), range.start);
        piece_of(slice, range, Arc::new(Shifted { sink, base }))
    };
    Ok(missing.into_iter().map(piece).collect())
}

impl Drive {
    /// Gets a part of one file into a file of its own.
    pub(super) async fn get_range(
        &self,
        range: ByteRange,
        path: &TreePath,
        (entry, target, below): (&Arc<Entry>, Arc<Target>, Vec<Vec<u8>>),
        tally: &Arc<Tally>,
    ) -> Result<GetReport, GetError> {
        let file = self.open_entry(path, entry)?;
        let wanted = file.place(range)?;
        let bytes = wanted.end - wanted.start;
        tally.files_found.add(1);
        tally.bytes_found.add(bytes);
        let sink = PartSink::new(target, (below, attributes(entry)), bytes);
        let sink = Arc::new(sink);
        match &entry.kind {
            Kind::File(FileVersion {
                content: Content::Blob(slice),
                ..
            }) => {
                let piece = piece_of(slice, wanted, Arc::clone(&sink) as Arc<dyn Sink>);
                let downloader = Downloader::new(self.transfer.clone());
                let mut blob = downloader.open(&access_of(slice));
                let fetched = blob.fetch(vec![piece], &tally.transfer);
                fetched.await.map_err(|source| GetError::Fetch {
                    path: path.clone(),
                    source: Box::new(source),
                })?;
            }
            _ => {
                let held = file.read_at(wanted.start, INLINE_BYTES_MAX).await?;
                let held = held.slice(..held.len().min(usize::try_from(bytes).unwrap_or(0)));
                let written = tasks::spawn_blocking({
                    let sink = Arc::clone(&sink);
                    move || sink.write_at(0, &held)
                });
                written
                    .await
                    .map_err(|_| GetError::Interrupted)?
                    .map_err(|_| GetError::Interrupted)?;
            }
        }
        match sink.take_outcome() {
            Some(written) => written?,
            None => return Err(GetError::Interrupted),
        };
        tally.files_done.add(1);
        Ok(GetReport {
            written: 1,
            bytes,
            ..GetReport::default()
        })
    }
}
