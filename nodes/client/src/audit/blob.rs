//! The segments of one blob: what they must be from the manifest, whom to ask from the Bridge, a
//! page at a time.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use model::crypto::SigningKey;
use model::formats::shape::Shape;
use model::units::{BlobId, BridgeId, PayerKey, ShardId};
use model::wire::HEALS;
use model::wire::api::{Layout, SegmentLayout, ShardPlace};
use model::wire::limits::SEGMENTS_PER_PAGE_MAX;
use tasks::JoinSet;
use tokio::sync::mpsc;

use super::ask::Question;
use super::{AskedHost, AuditError, Auditor, Failing, SegmentAudit, ShardAudit, Verdict};
use crate::download::{BlobAccess, DownloadError, Downloader, OpenBlob};
use crate::transfer::hosts::Host;

/// Segments of one blob asked for at a time.
const SEGMENTS_AT_A_TIME: usize = 8;

/// A blob that is to be audited.
#[derive(Clone, Debug)]
pub(crate) struct BlobJob {
    /// Names it in events.
    pub(crate) number: usize,
    pub(crate) access: BlobAccess,
    /// The bytes of the blob whose segments are asked for.
    pub(crate) ranges: Vec<Range<u64>>,
    /// Segments that were asked for before.
    pub(crate) known: BTreeSet<u64>,
}

/// What happens while a blob is audited.
#[derive(Debug)]
pub(crate) enum BlobEvent {
    /// How it is cut; comes first.
    Shape(usize, Shape),
    /// A segment was asked for.
    Segment(usize, SegmentAudit),
    /// All were, or it ended early; comes last.
    Done(usize, Result<(), AuditError>),
}

/// A segment that is being asked for.
struct Asking {
    blob: BlobId,
    segment: u64,
    k: u16,
    shards: Vec<(ShardId, Option<Question>, Option<Failing>)>,
}

impl Auditor {
    /// Asks for all shards of a blob's segments; tells as it goes.
    pub(crate) async fn audit(self, job: BlobJob, events: mpsc::Sender<BlobEvent>) {
        let number = job.number;
        let done = self.audit_blob(job, &events).await;
        // Nobody hears when the program is ending.
        let _unheard = events.send(BlobEvent::Done(number, done)).await;
    }

    async fn audit_blob(
        &self,
        job: BlobJob,
        events: &mpsc::Sender<BlobEvent>,
    ) -> Result<(), AuditError> {
        let api = self.transfer.api();
        let (Some(bridge), true) = (api.bridge(), api.speaks(HEALS)) else {
            return Err(AuditError::OldBridge);
        };
        let mut manifest = Downloader::new(self.transfer.clone()).open(&job.access);
        let shape = manifest.shape().await?;
        let heard = events.send(BlobEvent::Shape(job.number, shape)).await;
        heard.map_err(|_| AuditError::Interrupted)?;
        let blob = BlobAudit {
            auditor: self.clone(),
            number: job.number,
            blob: job.access.blob,
            shape,
            bridge,
            payer: Arc::new(self.transfer.environment().fresh_key()),
            events: events.clone(),
        };
        let mut running = JoinSet::new();
        for run in runs(shape, &job)? {
            blob.run(run, &mut manifest, &mut running).await?;
        }
        while let Some(ended) = running.join_next().await {
            ended.map_err(|_| AuditError::Interrupted)?;
        }
        Ok(())
    }
}

struct BlobAudit {
    auditor: Auditor,
    number: usize,
    blob: BlobId,
    shape: Shape,
    bridge: BridgeId,
    payer: Arc<SigningKey>,
    events: mpsc::Sender<BlobEvent>,
}

impl BlobAudit {
    /// Asks for consecutive segments.
    async fn run(
        &self,
        run: Range<u64>,
        manifest: &mut OpenBlob,
        running: &mut JoinSet<()>,
    ) -> Result<(), AuditError> {
        let mut next = run.start;
        while next < run.end {
            let page = self.page(next..run.end).await?;
            for layout in &page.segments {
                if layout.segment != next || next >= run.end {
                    return Err(self.bad(next));
                }
                let ids = manifest.shard_ids(next).await?;
                let asking = self.asking(&page, layout, &ids)?;
                while running.len() >= SEGMENTS_AT_A_TIME {
                    let ended = running.join_next().await;
                    ended.transpose().map_err(|_| AuditError::Interrupted)?;
                }
                self.start(asking, running);
                next += 1;
            }
        }
        Ok(())
    }

    async fn page(&self, segments: Range<u64>) -> Result<Layout, AuditError> {
        let (blob, payer) = (self.blob, PayerKey(self.payer.public()));
        let limit = (segments.end - segments.start).min(SEGMENTS_PER_PAGE_MAX as u64);
        let api = self.auditor.transfer.api();
        let page = api.audit_layout(&blob, segments.start, limit, &payer).await;
        let page = page.map_err(|source| AuditError::Layout { blob, source })?;
        let fits = page.length == self.shape.length() && page.class == self.shape.class();
        if fits && !page.segments.is_empty() {
            Ok(page)
        } else {
            Err(self.bad(segments.start))
        }
    }

    fn asking(
        &self,
        page: &Layout,
        layout: &SegmentLayout,
        ids: &[ShardId],
    ) -> Result<Asking, AuditError> {
        let (class, number) = (self.shape.class(), layout.segment);
        let segment = self.shape.segment(number);
        let shard_bytes = segment.ok_or_else(|| self.bad(number))?.shard_size.bytes();
        if layout.shards.len() != usize::from(class.n()) {
            return Err(self.bad(number));
        }
        let mut shards = Vec::with_capacity(layout.shards.len());
        for (at, place) in layout.shards.iter().enumerate() {
            // Mirrors share one id.
            let id = if ids.len() == 1 {
                ids.first()
            } else {
                ids.get(at)
            };
            let id = *id.ok_or_else(|| self.bad(number))?;
            let failing = (place.id != id).then_some(Failing::OtherShard);
            let question = self.question(page, place, (id, shard_bytes));
            shards.push((id, question, failing));
        }
        Ok(Asking {
            blob: self.blob,
            segment: number,
            k: class.k(),
            shards,
        })
    }

    /// What is asked of whom; `None` where no Host has the shard.
    fn question(
        &self,
        page: &Layout,
        place: &ShardPlace,
        (shard, shard_bytes): (ShardId, u32),
    ) -> Option<Question> {
        let address = page.hosts.get(usize::from(place.host?))?;
        Some(Question {
            bridge: self.bridge,
            host: Host::new(address),
            shard,
            shard_bytes,
            ticket: place.ticket.as_ref()?.0.clone(),
        })
    }

    fn start(&self, asking: Asking, running: &mut JoinSet<()>) {
        let (auditor, payer) = (self.auditor.clone(), Arc::clone(&self.payer));
        let (number, events) = (self.number, self.events.clone());
        running.spawn(async move {
            let audit = asking.ask(&auditor, &payer).await;
            let _unheard = events.send(BlobEvent::Segment(number, audit)).await;
        });
    }

    const fn bad(&self, segment: u64) -> AuditError {
        AuditError::BadLayout {
            blob: self.blob,
            segment,
        }
    }
}

impl Asking {
    async fn ask(self, auditor: &Auditor, payer: &SigningKey) -> SegmentAudit {
        let asked = (0_u16..).zip(self.shards).map(async |(index, shard)| {
            let (shard, question, failing) = shard;
            let host = question.as_ref().map(|question| AskedHost {
                id: question.host.id,
                name: question.host.name.clone(),
            });
            let verdict = match (failing, &question) {
                (Some(failing), _) => Verdict::Failed(failing),
                (None, None) => Verdict::Nowhere,
                (None, Some(question)) => auditor.ask(question, payer).await,
            };
            ShardAudit {
                index,
                shard,
                host,
                verdict,
            }
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut audit = SegmentAudit {
            blob: self.blob,
            segment: self.segment,
            k: self.k,
            proved: 0,
            unproved: Vec::new(),
        };
        while let Some(shard) = asked.next().await {
            if shard.verdict == Verdict::Proved {
                audit.proved += 1;
            } else {
                audit.unproved.push(shard);
            }
        }
        audit.unproved.sort_by_key(|shard| shard.index);
        audit
    }
}

/// The segments that hold any of the job's bytes and are not known yet, in runs.
fn runs(shape: Shape, job: &BlobJob) -> Result<Vec<Range<u64>>, AuditError> {
    let blob = job.access.blob;
    let mut wanted = Vec::with_capacity(job.ranges.len());
    for range in &job.ranges {
        let segments = shape.segments_of_range(range.clone());
        wanted.push(segments.map_err(|source| DownloadError::Range {
            blob,
            range: range.clone(),
            source,
        })?);
    }
    wanted.sort_unstable_by_key(|run| run.start);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for run in wanted {
        let from = runs.last().map_or(0, |last| last.end);
        for segment in run.start.max(from)..run.end {
            if job.known.contains(&segment) {
                continue;
            }
            match runs.last_mut() {
                Some(last) if last.end == segment => last.end += 1,
                _ => runs.push(segment..segment + 1),
            }
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::crypto::Secret;
    use model::formats::shape::Class;
    use model::units::NodeHash;

    #[test]
    fn each_segment_is_asked_for_once() {
        let access = BlobAccess {
            blob: BlobId([1; 16]),
            secret: Secret::new([2; 32]),
            manifest: NodeHash::default(),
        };
        let full = 4 * 1_966_080;
        let job = |ranges, known: &[u64]| BlobJob {
            number: 0,
            access: access.clone(),
            ranges,
            known: known.iter().copied().collect(),
        };
        let shape = Shape::new(10 * full, Class::Coded { k: 4, n: 8 }).unwrap();
        let files = vec![
            5 * full..6 * full + 1,
            0..9,
            8..full + 1,
            3 * full..3 * full,
        ];
        let asked = runs(shape, &job(files.clone(), &[])).unwrap();
        assert_eq!(asked, [0..2, 5..7]);
        let asked = runs(shape, &job(files, &[0, 6])).unwrap();
        assert_eq!(asked, [1..2, 5..6]);
        let beyond = vec![0..1, 0..10 * full + 1];
        assert!(runs(shape, &job(beyond, &[])).is_err());
    }
}
