//! Shards in a Host's logs, for tests that bend them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use planet::Stored;

use crate::stage::Stage;

/// All shards of Host `number`, in the order of their logs.
pub(crate) fn shards(stage: &Stage, number: usize) -> Vec<Stored> {
    planet::stored_shards(&stage.planet.layout().hosts()[number].data).unwrap()
}

/// Bends every shard of Host `number` in many places. Returns how many shards.
pub(crate) fn bend(stage: &Stage, number: usize) -> usize {
    let shards = shards(stage, number);
    shards.iter().for_each(|shard| shard.bend(10_007).unwrap());
    shards.len()
}

/// The shard's first bytes as they are on the disk now.
pub(crate) fn beginning(shard: &Stored) -> [u8; 64] {
    let mut bytes = [0; 64];
    let log = File::open(&shard.log).unwrap();
    log.read_exact_at(&mut bytes, shard.at).unwrap();
    bytes
}
