//! Every kernel against the ids that `model` makes.

use model::units::SHARD_BYTES_MAX;
use proptest::prelude::*;

use super::*;

fn shard(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| (at * 31 + seed * 7 + at / 251 + at / 65_537).to_le_bytes()[0])
        .collect()
}

fn check(shards: &[&[u8]]) {
    let expected: Vec<ShardId> = shards
        .iter()
        .map(|s| model::crypto::hash_shard(s))
        .collect();
    for kernel in HashKernel::available() {
        let sizes = || shards.iter().map(|shard| shard.len()).collect::<Vec<_>>();
        assert!(
            kernel.hash_shards(shards) == expected,
            "{kernel:?}, {:?}",
            sizes()
        );
    }
    assert_eq!(hash_shards(shards), expected);
}

#[test]
fn every_size_around_every_leaf_border() {
    let longest = shard(SHARD_BYTES_MAX as usize + 70, 1);
    for leaves in 0..=30 {
        for around in 0..140 {
            // Every distance once per shard size would take long: a seventh of them will do.
            if leaves > 2 && (around + leaves) % 7 != 0 && around != 70 {
                continue;
            }
            let Some(bytes) = (leaves * LEAF_BYTES + around).checked_sub(70) else {
                continue;
            };
            let shard = &longest[..bytes];
            assert_eq!(
                hash_shard(shard),
                model::crypto::hash_shard(shard),
                "{bytes} bytes"
            );
        }
    }
}

#[test]
fn every_size_of_a_small_shard() {
    let longest = shard(400, 2);
    for bytes in 0..=longest.len() {
        check(&[&longest[..bytes]]);
    }
}

#[test]
fn every_number_of_lanes() {
    let shards: Vec<Vec<u8>> = (0..40).map(|seed| shard(1_000 + seed % 2, seed)).collect();
    let shards: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
    for count in 0..=shards.len() {
        check(&shards[..count]);
    }
}

#[test]
fn shards_of_a_segment_together() {
    let shards: Vec<Vec<u8>> = (0..8)
        .map(|seed| shard(3 * LEAF_BYTES + 64, seed))
        .collect();
    check(&shards.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn a_buffer_that_grows_hashes_to_the_same() {
    let whole = shard(SHARD_BYTES_MAX as usize - 64, 3);
    for kernel in HashKernel::available() {
        for step in [1_000, LEAF_BYTES, 300_000, whole.len()] {
            let mut hasher = StreamHasher::with(kernel);
            (0..whole.len())
                .step_by(step)
                .for_each(|upto| hasher.advance(&whole[..upto]));
            hasher.advance(&whole);
            let left = whole.len() / LEAF_BYTES - hasher.hashes.len();
            assert!(left < kernel.lanes(), "{kernel:?} has hashed all it could");
            assert_eq!(hasher.finish(&whole), model::crypto::hash_shard(&whole));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn shards_of_any_sizes(
        sizes in prop::collection::vec(
            prop_oneof![0..200_usize, 65_000..66_000_usize, 0..600_000_usize], 0..12),
        skew in 0..64_usize,
    ) {
        let shards: Vec<Vec<u8>> =
            (0..).zip(&sizes).map(|(seed, bytes)| shard(bytes + skew, seed)).collect();
        check(&shards.iter().map(|shard| &shard[skew..]).collect::<Vec<_>>());
    }
}
