//! Multiplication without tables or special instructions: each bit of a source byte selects the
//! weight's multiple by a power of two. Bytes do not depend on each other, so compilers turn the
//! loop into whatever vectors the machine has (SSE2, NEON, WebAssembly's simd128).

use crate::field::double;

/// Sets `outs[r]` to the sum over j of `rows[r][j] · sources[j]`; see `Kernel::combine`.
pub(super) fn combine(rows: &[Vec<u8>], sources: &[&[u8]], outs: &mut [&mut [u8]]) {
    for (row, out) in rows.iter().zip(outs) {
        out.fill(0);
        for (weight, source) in row.iter().zip(sources) {
            add_product(out, *weight, source);
        }
    }
}

fn add_product(out: &mut [u8], weight: u8, source: &[u8]) {
    let mut multiples = [weight; 8];
    for bit in 1..8 {
        multiples[bit] = double(multiples[bit - 1]);
    }
    for (sum, byte) in out.iter_mut().zip(source) {
        for (bit, multiple) in multiples.iter().enumerate() {
            *sum ^= if byte >> bit & 1 == 0 { 0 } else { *multiple };
        }
    }
}
