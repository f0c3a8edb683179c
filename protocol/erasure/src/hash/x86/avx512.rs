//! Sixteen leaves side by side: word i of each is lane i of a 512-bit vector.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::{AVX512_LANES as LANES, BLOCK, ROUND_CONSTANTS, State};

/// Takes `blocks` into `states`; all are equally long, in whole blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut [State; LANES], blocks: [&[u8]; LANES]) {
    let bytes = blocks[0].len();
    assert!(bytes.is_multiple_of(BLOCK) && blocks.iter().all(|lane| lane.len() == bytes));
    let mut state: [__m512i; 8] = from_fn(|word| load(from_fn(|lane| states[lane][word])));
    for at in (0..bytes).step_by(BLOCK) {
        // SAFETY: at + 64 ≤ bytes, the length of every lane.
        let row = |lane: usize| unsafe { _mm512_loadu_si512(blocks[lane].as_ptr().add(at).cast()) };
        state = block(state, from_fn(row));
    }
    for (word, vector) in state.into_iter().enumerate() {
        for (state, lane) in states.iter_mut().zip(store(vector)) {
            state[word] = lane;
        }
    }
}

/// Takes one block of each lane into the state.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn block(before: [__m512i; 8], rows: [__m512i; LANES]) -> [__m512i; 8] {
    let mut words = transpose(rows).map(|vector| swap_bytes(vector));
    let mut state = before;
    for sixteen in 0..3 {
        rounds::<true>(&mut state, &mut words, sixteen);
    }
    rounds::<false>(&mut state, &mut words, 3);
    from_fn(|word| add(state[word], before[word]))
}

/// Sixteen rounds; each word is replaced by that of 16 rounds later where there are `MORE`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rounds<const MORE: bool>(state: &mut [__m512i; 8], words: &mut [__m512i; 16], sixteen: usize) {
    let constants: [u32; 16] = from_fn(|i| ROUND_CONSTANTS[16 * sixteen + i]);
    // Written out, so that every index is known when this is compiled.
    macro_rules! rounds {
        ($($i:literal)*) => {$( round::<$i, MORE>(state, words, constants[$i]); )*};
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Round `I` of sixteen. Instead of moving the state's words by one, their names move.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round<const I: usize, const MORE: bool>(
    state: &mut [__m512i; 8],
    words: &mut [__m512i; 16],
    constant: u32,
) {
    let [a, b, c, d, e, f, g, h]: [__m512i; 8] = from_fn(|name| state[(16 + name - I) % 8]);
    let word = _mm512_add_epi32(words[I], _mm512_set1_epi32(constant.cast_signed()));
    let sum_e = xor3(rotate::<6>(e), rotate::<11>(e), rotate::<25>(e));
    let choice = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
    let first = add(add(h, word), add(choice, sum_e));
    let sum_a = xor3(rotate::<2>(a), rotate::<13>(a), rotate::<22>(a));
    let majority = _mm512_ternarylogic_epi32::<0xe8>(a, b, c);
    state[(16 + 3 - I) % 8] = add(d, first);
    state[(16 + 7 - I) % 8] = add(first, add(sum_a, majority));
    if MORE {
        let (near, far) = (words[(I + 1) % 16], words[(I + 14) % 16]);
        let near = xor3(
            rotate::<7>(near),
            rotate::<18>(near),
            _mm512_srli_epi32::<3>(near),
        );
        let far = xor3(
            rotate::<17>(far),
            rotate::<19>(far),
            _mm512_srli_epi32::<10>(far),
        );
        words[I] = add(add(words[I], near), add(words[(I + 9) % 16], far));
    }
}

/// Makes rows columns, in words of 32 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    // Quarter q of fours[4 g + c] is column 4 q + c of rows 4 g to 4 g + 3.
    let mut fours = rows;
    for four in fours.as_chunks_mut::<4>().0 {
        let [a, b, c, d] = *four;
        let (upper_low, lower_low) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        let (upper_high, lower_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        *four = [
            _mm512_unpacklo_epi64(upper_low, lower_low),
            _mm512_unpackhi_epi64(upper_low, lower_low),
            _mm512_unpacklo_epi64(upper_high, lower_high),
            _mm512_unpackhi_epi64(upper_high, lower_high),
        ];
    }
    let mut columns = fours;
    for c in 0..4 {
        let [w, x, y, z] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
        let (even, even_below) = (even_quarters(w, x), even_quarters(y, z));
        let (odd, odd_below) = (odd_quarters(w, x), odd_quarters(y, z));
        columns[c] = even_quarters(even, even_below);
        columns[4 + c] = even_quarters(odd, odd_below);
        columns[8 + c] = odd_quarters(even, even_below);
        columns[12 + c] = odd_quarters(odd, odd_below);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn even_quarters(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i32x4::<0x88>(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn odd_quarters(a: __m512i, b: __m512i) -> __m512i {
    _mm512_shuffle_i32x4::<0xdd>(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swap_bytes(words: __m512i) -> __m512i {
    let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(big_endian))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rotate<const BITS: i32>(a: __m512i) -> __m512i {
    _mm512_ror_epi32::<BITS>(a)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn load(lanes: [u32; LANES]) -> __m512i {
    // SAFETY: sixteen words are as large as the vector.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn store(vector: __m512i) -> [u32; LANES] {
    let mut lanes = [0; LANES];
    // SAFETY: sixteen words are as large as the vector.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}
