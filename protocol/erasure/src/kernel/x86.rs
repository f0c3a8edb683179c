//! Kernels of x86-64: GF(2^8) products by affine transformations (GFNI) or byte shuffles (AVX2).
//!
//! Sums stay in registers while every source passes by once, so memory is read once and written
//! once. All `unsafe` here is of two kinds: calling a function whose instructions were detected,
//! and reading or writing one vector within a slice whose length was checked.
#![expect(unsafe_code, reason = "vector loads, stores and detected instructions")]

use std::arch::x86_64::*;

use super::Kernel;
use crate::field::{AFFINE, NIBBLES};

/// The kernels of this machine, fastest first.
pub(super) fn available() -> impl Iterator<Item = Kernel> {
    let avx2 = is_x86_feature_detected!("avx2");
    let gfni = is_x86_feature_detected!("gfni");
    let gfni512 = gfni && is_x86_feature_detected!("avx512f");
    let kernels = [
        (gfni512, Kernel::Gfni512),
        (gfni && avx2, Kernel::Gfni256),
        (avx2, Kernel::Avx2),
    ];
    kernels
        .into_iter()
        .filter_map(|(runs, kernel)| runs.then_some(kernel))
}

/// Sets `outs[r]` to the sum over j of `rows[r][j] · sources[j]`; see `Kernel::combine`.
pub(super) fn combine(kernel: Kernel, rows: &[Vec<u8>], sources: &[&[u8]], outs: &mut [&mut [u8]]) {
    assert!(
        available().any(|runs| runs == kernel),
        "this machine runs the kernel"
    );
    match rows.len() {
        1 => rows_of::<1>(kernel, rows, sources, outs),
        2 => rows_of::<2>(kernel, rows, sources, outs),
        3 => rows_of::<3>(kernel, rows, sources, outs),
        4 => rows_of::<4>(kernel, rows, sources, outs),
        5 => rows_of::<5>(kernel, rows, sources, outs),
        6 => rows_of::<6>(kernel, rows, sources, outs),
        7 => rows_of::<7>(kernel, rows, sources, outs),
        _ => rows_of::<8>(kernel, rows, sources, outs),
    }
}

fn rows_of<const R: usize>(
    kernel: Kernel,
    rows: &[Vec<u8>],
    sources: &[&[u8]],
    outs: &mut [&mut [u8]],
) {
    assert!(rows.len() == R && outs.len() == R, "R rows into R outputs");
    let bytes = outs[0].len();
    assert!(bytes.is_multiple_of(64) && sources.iter().all(|source| source.len() == bytes));
    assert!(outs.iter().all(|out| out.len() == bytes));
    let outs: [*mut u8; R] = std::array::from_fn(|r| outs[r].as_mut_ptr());
    let weights = |j: usize| -> [u8; R] { std::array::from_fn(|r| rows[r][j]) };
    let affine = || -> Vec<[i64; R]> {
        let matrices = |j| weights(j).map(|weight| AFFINE[usize::from(weight)].cast_signed());
        (0..sources.len()).map(matrices).collect()
    };
    let nibbles = || -> Vec<[&[u8; 32]; R]> {
        let tables = |j| weights(j).map(|weight| &NIBBLES[usize::from(weight)]);
        (0..sources.len()).map(tables).collect()
    };
    // SAFETY: `combine` saw that the machine has the kernel's instructions; all slices are
    // `bytes` long, a multiple of every vector's size.
    unsafe {
        match kernel {
            Kernel::Gfni512 => gfni512(&affine(), sources, outs, bytes),
            Kernel::Gfni256 => gfni256(&affine(), sources, outs, bytes),
            Kernel::Avx2 => avx2(&nibbles(), sources, outs, bytes),
            Kernel::Portable => {}
        }
    }
}

/// # Safety
/// Every source and output spans `bytes` bytes, a multiple of 64.
#[target_feature(enable = "avx512f,gfni")]
unsafe fn gfni512<const R: usize>(
    matrices: &[[i64; R]],
    sources: &[&[u8]],
    outs: [*mut u8; R],
    bytes: usize,
) {
    for at in (0..bytes).step_by(64) {
        let mut sums = [_mm512_setzero_si512(); R];
        for (row, source) in matrices.iter().zip(sources) {
            // SAFETY: at + 64 ≤ bytes, the length of every source.
            let vector = unsafe { _mm512_loadu_si512(source.as_ptr().add(at).cast()) };
            for (sum, matrix) in sums.iter_mut().zip(row) {
                let matrix = _mm512_set1_epi64(*matrix);
                let product = _mm512_gf2p8affine_epi64_epi8::<0>(vector, matrix);
                *sum = _mm512_xor_si512(*sum, product);
            }
        }
        for (out, sum) in outs.iter().zip(sums) {
            // SAFETY: at + 64 ≤ bytes, the length of every output.
            unsafe { _mm512_storeu_si512(out.add(at).cast(), sum) };
        }
    }
}

/// # Safety
/// Every source and output spans `bytes` bytes, a multiple of 32.
#[target_feature(enable = "avx2,gfni")]
unsafe fn gfni256<const R: usize>(
    matrices: &[[i64; R]],
    sources: &[&[u8]],
    outs: [*mut u8; R],
    bytes: usize,
) {
    for at in (0..bytes).step_by(32) {
        let mut sums = [_mm256_setzero_si256(); R];
        for (row, source) in matrices.iter().zip(sources) {
            // SAFETY: at + 32 ≤ bytes, the length of every source.
            let vector = unsafe { _mm256_loadu_si256(source.as_ptr().add(at).cast()) };
            for (sum, matrix) in sums.iter_mut().zip(row) {
                let matrix = _mm256_set1_epi64x(*matrix);
                let product = _mm256_gf2p8affine_epi64_epi8::<0>(vector, matrix);
                *sum = _mm256_xor_si256(*sum, product);
            }
        }
        for (out, sum) in outs.iter().zip(sums) {
            // SAFETY: at + 32 ≤ bytes, the length of every output.
            unsafe { _mm256_storeu_si256(out.add(at).cast(), sum) };
        }
    }
}

/// # Safety
/// Every source and output spans `bytes` bytes, a multiple of 32.
#[target_feature(enable = "avx2")]
unsafe fn avx2<const R: usize>(
    tables: &[[&[u8; 32]; R]],
    sources: &[&[u8]],
    outs: [*mut u8; R],
    bytes: usize,
) {
    let nibble = _mm256_set1_epi8(0x0f);
    for at in (0..bytes).step_by(32) {
        let mut sums = [_mm256_setzero_si256(); R];
        for (row, source) in tables.iter().zip(sources) {
            // SAFETY: at + 32 ≤ bytes, the length of every source.
            let vector = unsafe { _mm256_loadu_si256(source.as_ptr().add(at).cast()) };
            let low = _mm256_and_si256(vector, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi64::<4>(vector), nibble);
            for (sum, table) in sums.iter_mut().zip(row) {
                // SAFETY: a table has two halves of 16 bytes.
                let (lows, highs) = unsafe {
                    let lows = table.as_ptr().cast();
                    (_mm_loadu_si128(lows), _mm_loadu_si128(lows.add(1)))
                };
                let lows = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(lows), low);
                let highs = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(highs), high);
                *sum = _mm256_xor_si256(*sum, _mm256_xor_si256(lows, highs));
            }
        }
        for (out, sum) in outs.iter().zip(sums) {
            // SAFETY: at + 32 ≤ bytes, the length of every output.
            unsafe { _mm256_storeu_si256(out.add(at).cast(), sum) };
        }
    }
}
