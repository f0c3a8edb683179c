//! Every kernel against multiplication byte by byte.

use proptest::prelude::*;

use super::*;
use crate::field::mul;

fn byte_by_byte(rows: &[Vec<u8>], sources: &[&[u8]], bytes: usize) -> Vec<Vec<u8>> {
    let sum = |row: &[u8], at: usize| {
        row.iter()
            .zip(sources)
            .fold(0, |sum, (weight, source)| sum ^ mul(*weight, source[at]))
    };
    rows.iter()
        .map(|row| (0..bytes).map(|at| sum(row, at)).collect())
        .collect()
}

fn check(rows: &[Vec<u8>], sources: &[&[u8]], bytes: usize) {
    let expected = byte_by_byte(rows, sources, bytes);
    for kernel in Kernel::available() {
        let mut found = vec![vec![0xaa; bytes]; rows.len()];
        let mut outs: Vec<&mut [u8]> = found.iter_mut().map(Vec::as_mut_slice).collect();
        kernel.combine(rows, sources, &mut outs);
        assert!(
            found == expected,
            "{kernel:?}, {} rows, {bytes} bytes",
            rows.len()
        );
    }
}

#[test]
fn every_kernel_multiplies_every_pair() {
    let all: Vec<u8> = (0..=255).collect();
    for weight in 0..=255 {
        check(&[vec![weight]], &[&all], 256);
    }
}

proptest! {
    #[test]
    fn every_kernel_sums_alike(
        seed in any::<[u8; 32]>(),
        rows in 0_usize..40,
        sources in 1_usize..24,
        blocks in 1_usize..12,
        over_a_column in any::<bool>(),
        skew in 0_usize..64,
    ) {
        let bytes = blocks * 64 + if over_a_column { COLUMN_BYTES } else { 0 };
        let byte = |at: usize| seed[at % 32].wrapping_mul(at.to_le_bytes()[0] | 1) ^ at.to_le_bytes()[1];
        let shards: Vec<Vec<u8>> =
            (0..sources).map(|s| (0..bytes + skew).map(|at| byte(at * 7 + s * 131)).collect()).collect();
        let shards: Vec<&[u8]> = shards.iter().map(|shard| &shard[skew..]).collect();
        let rows: Vec<Vec<u8>> =
            (0..rows).map(|r| (0..sources).map(|s| byte(r * 67 + s * 3 + 1)).collect()).collect();
        check(&rows, &shards, bytes);
    }
}
