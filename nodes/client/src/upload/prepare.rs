//! One segment from ciphertext to shards: read, pad, code, hash. Blocking; never on the reactor.

use std::sync::Arc;

use bytes::Bytes;
use erasure::{Code, hash_shards};
use model::formats::shape::{Class, Segment};
use model::units::{BlobId, ShardId};

use super::UploadError;
use super::source::Ciphertext;
use crate::transfer::buffers::{Buffer, Buffers, Room};

/// A segment that is ready to be sent.
#[derive(Debug)]
pub(super) struct PreparedSegment {
    pub(super) blob: BlobId,
    pub(super) index: u64,
    /// Bytes of ciphertext in it.
    pub(super) length: u32,
    pub(super) class: Class,
    /// One per shard; one for all mirrors.
    pub(super) ids: Vec<ShardId>,
    /// Some of it may be at Hosts already.
    pub(super) sent_before: bool,
    shards: Vec<Bytes>,
}

impl PreparedSegment {
    /// Shard `index` of n, with its id.
    pub(super) fn shard(&self, index: u16) -> Option<(ShardId, Bytes)> {
        let at = match self.class {
            Class::Mirrors { .. } => 0,
            Class::Coded { .. } => usize::from(index),
        };
        Some((*self.ids.get(at)?, self.shards.get(at)?.clone()))
    }
}

/// What a segment is made of.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) blob: BlobId,
    pub(super) class: Class,
    pub(super) segment: Segment,
    /// Whether it is the last one of its blob.
    pub(super) is_last: bool,
    /// The ids it had when some of it was sent before; with others nothing more may be sent.
    pub(super) known_ids: Option<Vec<ShardId>>,
}

impl Cut {
    /// Bytes that its different shards take in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        u64::from(self.class.ids()) * u64::from(self.segment.shard_size.bytes())
    }
}

/// Reads the next segment from `content` and makes its shards.
pub(super) fn prepare(
    cut: &Cut,
    content: &mut dyn Ciphertext,
    buffers: &Buffers,
    room: &Arc<Room>,
) -> Result<PreparedSegment, UploadError> {
    let size = cut.segment.shard_size.as_usize();
    let mut shards: Vec<Buffer> = (0..cut.class.ids())
        .map(|_| buffers.take(size, room))
        .collect();
    read(cut, content, &mut shards)?;
    encode(cut, &mut shards)?;
    let slices: Vec<&[u8]> = shards.iter().map(|shard| &shard[..]).collect();
    let ids = hash_shards(&slices);
    if cut.known_ids.as_ref().is_some_and(|known| *known != ids) {
        return Err(UploadError::OtherIds {
            blob: cut.blob,
            segment: cut.segment.index,
        });
    }
    Ok(PreparedSegment {
        blob: cut.blob,
        index: cut.segment.index,
        length: cut.segment.length,
        class: cut.class,
        ids,
        sent_before: cut.known_ids.is_some(),
        shards: shards.into_iter().map(Buffer::share).collect(),
    })
}

/// Fills the first k shards with ciphertext and the zeros behind it.
fn read(cut: &Cut, content: &mut dyn Ciphertext, shards: &mut [Buffer]) -> Result<(), UploadError> {
    let failed = |source| UploadError::Read {
        blob: cut.blob,
        source,
    };
    let mut left = cut.segment.length as usize;
    for shard in shards.iter_mut().take(usize::from(cut.class.k())) {
        let length = left.min(shard.len());
        let (data, padding) = shard.split_at_mut(length);
        if !data.is_empty() {
            content.read(data).map_err(failed)?;
        }
        padding.fill(0);
        left -= data.len();
    }
    if cut.is_last {
        content.finish().map_err(failed)
    } else {
        Ok(())
    }
}

/// Fills the shards behind the first k with parity.
fn encode(cut: &Cut, shards: &mut [Buffer]) -> Result<(), UploadError> {
    let Class::Coded { k, n } = cut.class else {
        return Ok(());
    };
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| UploadError::Code {
        blob: cut.blob,
        segment: cut.segment.index,
        class: cut.class,
        source,
    };
    let code = Code::new(k, n).map_err(|error| failed(error.into()))?;
    let (data, parity) = shards.split_at_mut(usize::from(k));
    let data: Vec<&[u8]> = data.iter().map(|shard| &shard[..]).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(|shard| &mut shard[..]).collect();
    code.encode(&data, &mut parity)
        .map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use model::crypto::hash_shard;
    use model::formats::shape::Shape;

    use super::super::source::InMemory;
    use super::*;

    async fn prepared(class: &str, ciphertext: &[u8]) -> PreparedSegment {
        let class = class.parse().unwrap();
        let shape = Shape::new(ciphertext.len() as u64, class).unwrap();
        let segment = shape.segment(0).unwrap();
        let cut = Cut {
            blob: BlobId::default(),
            class,
            segment,
            is_last: true,
            known_ids: None,
        };
        let buffers = Buffers::new(1 << 20);
        let room = buffers.room(cut.memory_bytes()).await;
        // Buffers that are used again are full of other bytes.
        buffers
            .take(segment.shard_size.as_usize(), &room)
            .fill(0xff);
        let mut content = InMemory::new(ciphertext.to_vec());
        prepare(&cut, &mut content, &buffers, &room).unwrap()
    }

    #[tokio::test]
    async fn the_first_shards_are_the_ciphertext_and_any_k_restore_it() {
        let ciphertext: Vec<u8> = (0..=u8::MAX).cycle().take(1_000).collect();
        let segment = prepared("coded:4/8", &ciphertext).await;
        let shards: Vec<_> = (0..8).map(|index| segment.shard(index).unwrap()).collect();
        let data: Vec<u8> = shards
            .iter()
            .take(4)
            .flat_map(|(_, shard)| shard.to_vec())
            .collect();
        assert_eq!(data[..1_000], ciphertext);
        assert!(
            data[1_000..].iter().all(|byte| *byte == 0),
            "padded by zeros"
        );
        assert!(shards.iter().all(|(id, shard)| *id == hash_shard(shard)));

        let parity: Vec<(u16, &[u8])> = (4..).zip(&shards[4..]).map(|(i, s)| (i, &*s.1)).collect();
        let mut restored = vec![0; shards[2].1.len()];
        Code::new(4, 8)
            .unwrap()
            .restore(&parity, 2, &mut restored)
            .unwrap();
        assert_eq!(restored, shards[2].1);
    }

    #[tokio::test]
    async fn other_content_under_the_same_key_is_never_handed_on() {
        let class = "coded:4/8".parse().unwrap();
        let segment = Shape::new(1_000, class).unwrap().segment(0).unwrap();
        let known = prepared("coded:4/8", &[7; 1_000]).await.ids;
        for (ciphertext, is_same) in [([7; 1_000], true), ([8; 1_000], false)] {
            let cut = Cut {
                blob: BlobId::default(),
                class,
                segment,
                is_last: true,
                known_ids: Some(known.clone()),
            };
            let buffers = Buffers::new(1 << 20);
            let room = buffers.room(cut.memory_bytes()).await;
            let mut content = InMemory::new(ciphertext.to_vec());
            match prepare(&cut, &mut content, &buffers, &room) {
                Ok(segment) => assert!(is_same && segment.sent_before),
                Err(error) => {
                    assert!(
                        !is_same && matches!(error, UploadError::OtherIds { .. }),
                        "{error}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn mirrors_are_one_shard_however_many() {
        let segment = prepared("mirrors:3", &[7; 64]).await;
        assert_eq!(segment.ids.len(), 1);
        for index in 0..3 {
            assert_eq!(
                segment.shard(index).unwrap(),
                (hash_shard(&[7; 64]), vec![7; 64].into())
            );
        }
    }
}
