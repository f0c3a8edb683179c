//! Data shards that did not come, restored from others and checked like those that did.

use std::collections::BTreeMap;

use erasure::{Code, hash_shards};
use model::formats::shape::Class;

use super::DownloadError;
use super::segment::{FetchedSegment, Road, Wanted};
use crate::transfer::Transfer;
use crate::transfer::buffers::Buffer;

/// The wanted data shards, those that did not come restored from the others and checked.
pub(super) async fn restore(
    road: &Road,
    wanted: Wanted,
    mut good: BTreeMap<u16, Buffer>,
) -> Result<FetchedSegment, DownloadError> {
    let segment = wanted.segment;
    if let Class::Mirrors { .. } = wanted.class {
        let shards = good
            .pop_first()
            .map(|(_, buffer)| (0, buffer))
            .into_iter()
            .collect();
        return Ok(FetchedSegment { segment, shards });
    }
    if wanted
        .shards
        .clone()
        .any(|index| !good.contains_key(&index))
    {
        road.progress.segments_degraded.add(1);
        let transfer = road.transfer.clone();
        let restored = tasks::spawn_blocking(move || decode(&transfer, &wanted, good));
        good = restored.await.map_err(|_| DownloadError::Interrupted)??;
    }
    Ok(FetchedSegment {
        segment,
        shards: good,
    })
}

fn decode(
    transfer: &Transfer,
    wanted: &Wanted,
    mut good: BTreeMap<u16, Buffer>,
) -> Result<BTreeMap<u16, Buffer>, DownloadError> {
    let (blob, segment) = (wanted.blob, wanted.segment.index);
    let size = wanted.segment.shard_size.as_usize();
    let missing: Vec<u16> = wanted
        .shards
        .clone()
        .filter(|i| !good.contains_key(i))
        .collect();
    let mut restored: Vec<Buffer> = missing
        .iter()
        .map(|_| transfer.buffers().take(size, &wanted.room))
        .collect();
    let present: Vec<(u16, &[u8])> = good
        .iter()
        .map(|(index, shard)| (*index, &**shard))
        .collect();
    let mut outs: Vec<&mut [u8]> = restored.iter_mut().map(|shard| &mut **shard).collect();
    let code = Code::new(wanted.class.k(), wanted.class.n());
    // k good shards of one size are here, so this cannot fail but by a fault of ours.
    let decoded = code.map(|code| code.restore_each(&present, &missing, &mut outs).is_ok());
    if decoded != Ok(true) {
        return Err(DownloadError::Interrupted);
    }
    let slices: Vec<&[u8]> = restored.iter().map(|shard| &**shard).collect();
    for (index, id) in missing.iter().zip(hash_shards(&slices)) {
        let shard = wanted.id(usize::from(*index));
        if id != shard {
            return Err(DownloadError::Inconsistent {
                blob,
                segment,
                shard,
            });
        }
    }
    good.extend(missing.into_iter().zip(restored));
    Ok(good)
}
