//! From verified ciphertext to plaintext in a sink. Blocking; never on the reactor.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use model::crypto::{FileCipher, Secret};
use model::formats::shape::{Segment, Shape};
use model::units::ShardSize;

use super::segment::FetchedSegment;
use super::sink::Sink;
use crate::transfer::buffers::Buffer;

/// A run of a blob that is one file version, or a part of one, and where it goes.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it lies in the blob, in bytes.
    pub range: Range<u64>,
    /// The FileSecret of the file version.
    pub file_secret: Secret,
    /// Where the piece begins in the file version: where the key stream stands at its first byte.
    pub file_offset: u64,
    /// Takes the plaintext; the first byte of the piece has offset 0.
    pub sink: Arc<dyn Sink>,
}

/// The pieces of a download, in the order in which they lie in the blob.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    /// Some bytes belong to several pieces.
    overlap: bool,
}

impl Pieces {
    pub(super) fn new(mut pieces: Vec<Piece>) -> Self {
        pieces.retain(|piece| piece.range.start != piece.range.end);
        pieces.sort_by_key(|piece| piece.range.start);
        let overlap = pieces
            .windows(2)
            .any(|two| two[0].range.end > two[1].range.start);
        Self { pieces, overlap }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.iter()
            .map(|piece| piece.range.end.saturating_sub(piece.range.start))
            .sum()
    }

    pub(super) fn in_order(&self) -> bool {
        self.iter().any(|piece| piece.sink.in_order())
    }

    /// The segments that hold any of it, rising, each once.
    pub(super) fn segments(&self, shape: Shape) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for run in self
            .iter()
            .filter_map(|piece| shape.segments_of_range(piece.range.clone()).ok())
        {
            match runs.last_mut() {
                Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
                _ => runs.push(run),
            }
        }
        runs
    }

    /// The data shards of `segment` that hold any of it, from the first to the last.
    pub(super) fn shards(&self, segment: &Segment) -> Range<u16> {
        let size = u64::from(segment.shard_size.bytes());
        let here = segment.offset..segment.offset + u64::from(segment.length);
        let shard = |at: u64| u16::try_from((at - here.start) / size).unwrap_or(u16::MAX);
        let parts = self.iter().filter_map(|piece| overlap(&piece.range, &here));
        let first_last = parts.map(|part| (shard(part.start), shard(part.end - 1)));
        first_last
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            .map_or(0..0, |(a, b)| a..b + 1)
    }

    /// Decrypts what is wanted of a segment and hands it to the sinks; returns how many bytes.
    pub(super) fn deliver(&self, fetched: FetchedSegment) -> io::Result<u64> {
        let mut delivered = 0;
        let mut shards: BTreeMap<u16, Buffer> = fetched.shards;
        for (index, shard) in &mut shards {
            let here = shard_range(&fetched.segment, *index);
            for piece in &self.pieces {
                if let Some(part) = overlap(&piece.range, &here) {
                    self.deliver_part(piece, &part, shard, here.start)?;
                    delivered += part.end - part.start;
                }
            }
        }
        Ok(delivered)
    }

    /// Decrypts bytes `part` of the blob where they lie and hands them on.
    fn deliver_part(
        &self,
        piece: &Piece,
        part: &Range<u64>,
        shard: &mut Buffer,
        shard_start: u64,
    ) -> io::Result<()> {
        let at =
            |blob_offset: u64| usize::try_from(blob_offset - shard_start).unwrap_or(usize::MAX);
        let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let bytes = shard
            .get_mut(at(part.start)..at(part.end))
            .ok_or_else(outside)?;
        let offset = part.start - piece.range.start;
        let mut cipher = FileCipher::new(&piece.file_secret);
        cipher.apply(piece.file_offset + offset, bytes);
        piece.sink.write_at(offset, bytes)?;
        if self.overlap {
            // Encrypts again: another piece wants these bytes as they came.
            cipher.apply(piece.file_offset + offset, bytes);
        }
        Ok(())
    }
}

/// Where data shard `index` lies in the blob, without padding.
fn shard_range(segment: &Segment, index: u16) -> Range<u64> {
    let size = u64::from(ShardSize::bytes(segment.shard_size));
    let end = segment.offset + u64::from(segment.length);
    let start = (segment.offset + u64::from(index) * size).min(end);
    start..(start + size).min(end)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (both.start < both.end).then_some(both)
}
