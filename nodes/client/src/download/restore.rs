//! Data shards that did not come, restored from others and checked like those that did.

use std::collections::BTreeMap;

use erasure::{Code, hash_shards};
use model::formats::shape::Class;

use super::DownloadError;
use super::segment::{FetchedBlock, Good, Road, Wanted};
use crate::transfer::Transfer;
use crate::transfer::buffers::Buffer;

/// The data shards of the block, those that did not come restored from the others and checked.
pub(super) async fn restore(
    road: &Road,
    wanted: Wanted,
    good: Good,
) -> Result<FetchedBlock, DownloadError> {
    let (block, Good { mut shards, leaves }) = (wanted.block.clone(), good);
    let skipped = (block.leaves.bytes().start - leaves.bytes().start) as usize;
    if let Class::Mirrors { .. } = wanted.class {
        let any = shards.pop_first();
        shards = any.map(|(_, buffer)| (0, buffer)).into_iter().collect();
    } else if missing(&wanted, &shards).next().is_some() {
        road.progress.segments_degraded.add(1);
        let transfer = road.transfer.clone();
        let restored = tasks::spawn_blocking(move || decode(&transfer, &wanted, shards));
        shards = restored.await.map_err(|_| DownloadError::Interrupted)??;
    }
    Ok(FetchedBlock {
        block,
        shards,
        skipped,
    })
}

/// The shards of the block that are not there.
fn missing(wanted: &Wanted, there: &BTreeMap<u16, Buffer>) -> impl Iterator<Item = u16> {
    let shards = wanted.block.shards.clone();
    shards.filter(|index| !there.contains_key(index))
}

fn decode(
    transfer: &Transfer,
    wanted: &Wanted,
    mut good: BTreeMap<u16, Buffer>,
) -> Result<BTreeMap<u16, Buffer>, DownloadError> {
    let (blob, segment) = (wanted.blob, wanted.block.segment.index);
    let size = wanted.block.segment.shard_size.as_usize();
    let missing: Vec<u16> = missing(wanted, &good).collect();
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
