//! SHA-256 of several equally long leaves in lockstep, on x86-64 (FIPS 180-4).
//!
//! All `unsafe` here is of two kinds: calling a function whose instructions were detected, and
//! reading or writing one vector within a slice whose length was checked.
#![expect(unsafe_code, reason = "vector loads, stores and detected instructions")]

mod avx512;
mod sha_ni;

use super::{Hash, HashKernel};

/// Shortest leaf that is hashed here: the first block is the prefix of a leaf and 63 bytes.
pub(super) const LEAF_MIN: usize = BLOCK - 1;
const BLOCK: usize = 64;
const AVX512_LANES: usize = 16;
/// From so many leaves on, as the last of the largest shard are, it pays to leave lanes idle.
const AVX512_WORTH: usize = 14;

/// The eight words between two blocks.
type State = [u32; 8];

const START: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[rustfmt::skip]
const ROUND_CONSTANTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The kernels of this machine, fastest first.
pub(super) fn available() -> impl Iterator<Item = HashKernel> {
    let sha_ni = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    let kernels = [
        (sha_ni && avx512, HashKernel::Avx512),
        (sha_ni, HashKernel::ShaNi),
    ];
    kernels
        .into_iter()
        .filter_map(|(runs, kernel)| runs.then_some(kernel))
}

/// The hash of each leaf; all are equally long and no shorter than [`LEAF_MIN`].
pub(super) fn hash_equal(kernel: HashKernel, leaves: &[&[u8]]) -> Vec<Hash> {
    assert!(
        available().any(|runs| runs == kernel),
        "this machine runs the kernel"
    );
    let mut hashes = Vec::with_capacity(leaves.len());
    let mut rest = leaves;
    while let Some(last) = rest.last() {
        let lanes = rest.len();
        let now = match lanes {
            AVX512_WORTH.. if kernel == HashKernel::Avx512 => {
                let idle_repeat_the_last = |lane| *rest.get(lane).unwrap_or(last);
                let leaves: [&[u8]; AVX512_LANES] = std::array::from_fn(idle_repeat_the_last);
                // SAFETY: the assertion saw that the machine has the instructions.
                hashes.extend(lockstep(leaves, |states, blocks| unsafe {
                    avx512::compress(states, blocks);
                }));
                AVX512_LANES
            }
            4.. => sha_ni::<4>(rest, &mut hashes),
            2.. => sha_ni::<2>(rest, &mut hashes),
            _ => sha_ni::<1>(rest, &mut hashes),
        };
        rest = rest.get(now..).unwrap_or_default();
    }
    hashes.truncate(leaves.len());
    hashes
}

/// Hashes the first `N` leaves.
fn sha_ni<const N: usize>(leaves: &[&[u8]], hashes: &mut Vec<Hash>) -> usize {
    let leaves: [&[u8]; N] = std::array::from_fn(|lane| leaves[lane]);
    // SAFETY: `hash_equal` saw that the machine has the instructions, which both kernels need.
    hashes.extend(lockstep(leaves, |states, blocks| unsafe {
        sha_ni::compress(states, blocks);
    }));
    N
}

/// Hashes `N` equally long leaves, each behind the prefix byte 0 that makes it a leaf. `compress`
/// takes whole blocks of each into its state.
fn lockstep<const N: usize>(
    leaves: [&[u8]; N],
    compress: impl Fn(&mut [State; N], [&[u8]; N]),
) -> [Hash; N] {
    let bytes = leaves[0].len();
    assert!(
        leaves
            .iter()
            .all(|leaf| leaf.len() == bytes && bytes >= LEAF_MIN)
    );
    let mut states = [START; N];

    let firsts: [[u8; BLOCK]; N] = leaves.map(|leaf| {
        let mut first = [0; BLOCK];
        first[1..].copy_from_slice(&leaf[..LEAF_MIN]);
        first
    });
    compress(&mut states, firsts.each_ref().map(<[u8; BLOCK]>::as_slice));

    let rest = (bytes - LEAF_MIN) % BLOCK;
    compress(
        &mut states,
        leaves.map(|leaf| &leaf[LEAF_MIN..bytes - rest]),
    );

    // What is left over, a one bit, zeros and the length in bits up to the end of a block.
    let padded = if rest + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
    let lasts: [[u8; 2 * BLOCK]; N] = leaves.map(|leaf| {
        let mut last = [0; 2 * BLOCK];
        last[..rest].copy_from_slice(&leaf[bytes - rest..]);
        last[rest] = 0x80;
        last[padded - 8..padded].copy_from_slice(&(8 * (1 + bytes as u64)).to_be_bytes());
        last
    });
    compress(&mut states, lasts.each_ref().map(|last| &last[..padded]));
    states.map(to_bytes)
}

fn to_bytes(state: State) -> Hash {
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    hash
}
