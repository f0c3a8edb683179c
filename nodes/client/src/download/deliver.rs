//! From verified ciphertext to plaintext in a sink. Blocking; never on the reactor.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use model::crypto::{FileCipher, Secret};
use model::formats::shape::{Segment, Shape};

use super::block::Block;
use super::segment::FetchedBlock;
use super::sink::Sink;

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

    /// Where the last of them ends in the blob.
    pub(super) fn end(&self) -> u64 {
        self.iter().map(|piece| piece.range.end).max().unwrap_or(0)
    }

    pub(super) fn in_order(&self) -> bool {
        self.iter().any(|piece| piece.sink.in_order())
    }

    /// Waits until every sink has room for more.
    pub(super) async fn room(&self) {
        for piece in self.iter() {
            piece.sink.room().await;
        }
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

    /// What of `segment` has to be fetched, in the order of the blob.
    pub(super) fn blocks(&self, segment: Segment) -> Vec<Block> {
        let here = segment.offset..segment.offset + u64::from(segment.length);
        let ranges = self.within(&here).map(|piece| piece.range.clone());
        Block::of(segment, ranges)
    }

    /// Decrypts what is wanted of a block and hands it to the sinks; returns how many bytes.
    pub(super) fn deliver(&self, fetched: FetchedBlock) -> io::Result<u64> {
        let FetchedBlock {
            block,
            mut shards,
            skipped,
        } = fetched;
        let mut delivered = 0;
        for index in block.shards.clone() {
            let here = block.range_in_blob(index);
            let Some(shard) = shards.get_mut(&index) else {
                continue;
            };
            // Whole shards came instead of the leaves that were asked for.
            let bytes = shard.get_mut(skipped..).unwrap_or_default();
            for piece in self.within(&here) {
                if let Some(part) = overlap(&piece.range, &here) {
                    self.deliver_part(piece, &part, bytes, here.start)?;
                    delivered += part.end - part.start;
                }
            }
        }
        Ok(delivered)
    }

    /// The pieces that may hold any of `here`.
    fn within(&self, here: &Range<u64>) -> impl Iterator<Item = &Piece> {
        let end = self
            .pieces
            .partition_point(|piece| piece.range.start < here.end);
        let start = if self.overlap {
            0
        } else {
            self.pieces
                .partition_point(|piece| piece.range.end <= here.start)
        };
        self.pieces.get(start..end).unwrap_or_default().iter()
    }

    /// Decrypts bytes `part` of the blob where they lie and hands them on.
    fn deliver_part(
        &self,
        piece: &Piece,
        part: &Range<u64>,
        block: &mut [u8],
        block_start: u64,
    ) -> io::Result<()> {
        let at =
            |blob_offset: u64| usize::try_from(blob_offset - block_start).unwrap_or(usize::MAX);
        let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let bytes = block
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

/// What `a` and `b` have in common.
pub(super) fn overlap(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (both.start < both.end).then_some(both)
}
