//! What an interrupted `get` left of a large file, and so what is still missing.
//!
//! No record says what is there: every segment that lies in the temporary file is encrypted again
//! and its shards are hashed. Only where these are the manifest's it is kept. So nothing is claimed
//! that is not there, whatever happened to the file, and of another version nothing is taken.

use std::ops::Range;
use std::sync::Arc;

use erasure::hash_shard;
use model::crypto::{FileCipher, Secret};
use model::formats::shape::{Segment, Shape};
use model::formats::tree::BlobSlice;
use model::units::ShardId;
use tasks::{JoinError, JoinSet};

use super::target::PartFile;
use crate::download::{DownloadError, OpenBlob};

/// What was left of smaller files is not worth a look.
pub(super) const RESUME_BYTES_MIN: u64 = 8 << 20;
/// Segments that are looked at at a time: each keeps a core busy.
const CHECKED_AT_A_TIME: usize = 2;

/// Whether what is left of such a file is kept when its `get` is interrupted.
pub(super) const fn is_resumable(slice: &BlobSlice) -> bool {
    slice.offset == 0 && slice.length >= RESUME_BYTES_MIN
}

/// The ranges of the file that `part` does not hold, rising.
pub(super) async fn missing(
    blob: &mut OpenBlob,
    slice: &BlobSlice,
    part: &Arc<PartFile>,
) -> Result<Vec<Range<u64>>, DownloadError> {
    let (shape, there) = (blob.shape().await?, part.length());
    let whole = std::iter::once(0..slice.length).collect();
    if shape.length() != slice.length || there == 0 {
        return Ok(whole);
    }
    let mut absent = Absent::default();
    let mut checks: JoinSet<(Range<u64>, bool)> = JoinSet::new();
    for index in 0..shape.segments() {
        let segment = shape.segment(index).ok_or(DownloadError::Interrupted)?;
        let range = segment.offset..segment.offset + u64::from(segment.length);
        if range.end > there {
            absent.add(range, false);
            continue;
        }
        while checks.len() >= CHECKED_AT_A_TIME {
            absent.note(checks.join_next().await)?;
        }
        let claim = Claim {
            segment,
            shape,
            ids: blob.shard_ids(index).await?,
            secret: slice.file_secret.clone(),
            part: Arc::clone(part),
        };
        checks.spawn_blocking(move || (range, claim.holds()));
    }
    while !checks.is_empty() {
        absent.note(checks.join_next().await)?;
    }
    Ok(absent.runs())
}

/// That a segment lies in a temporary file.
struct Claim {
    segment: Segment,
    shape: Shape,
    ids: Vec<ShardId>,
    secret: Secret,
    part: Arc<PartFile>,
}

impl Claim {
    /// Whether every data shard of it is the manifest's.
    fn holds(&self) -> bool {
        let size = self.segment.shard_size.as_usize();
        let cipher = &mut FileCipher::new(&self.secret);
        let end = self.segment.offset + u64::from(self.segment.length);
        let mut shard = vec![0; size];
        let data = self.ids.iter().take(usize::from(self.shape.class().k()));
        let starts = (self.segment.offset..).step_by(size);
        data.zip(starts).all(|(id, start)| {
            let length = usize::try_from(end.saturating_sub(start)).unwrap_or(size);
            let (content, padding) = shard.split_at_mut(length.min(size));
            padding.fill(0);
            let read = self.part.read_at(content, start);
            cipher.apply(start, content);
            read.is_ok() && hash_shard(&shard) == *id
        })
    }
}

/// What is not there, as it is found.
#[derive(Default)]
struct Absent(Vec<Range<u64>>);

impl Absent {
    fn add(&mut self, range: Range<u64>, holds: bool) {
        if !holds {
            self.0.push(range);
        }
    }

    fn note(
        &mut self,
        checked: Option<Result<(Range<u64>, bool), JoinError>>,
    ) -> Result<(), DownloadError> {
        if let Some(checked) = checked {
            let (range, holds) = checked.map_err(|_| DownloadError::Interrupted)?;
            self.add(range, holds);
        }
        Ok(())
    }

    /// In order, neighbours joined.
    fn runs(mut self) -> Vec<Range<u64>> {
        self.0.sort_unstable_by_key(|range| range.start);
        self.0.dedup_by(|next, last| {
            let joins = last.end == next.start;
            if joins {
                last.end = next.end;
            }
            joins
        });
        self.0
    }
}
