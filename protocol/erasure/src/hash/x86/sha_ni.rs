//! Interleaved streams of SHA instructions: while one waits for its last round, others run.

use std::arch::x86_64::*;

use super::{BLOCK, ROUND_CONSTANTS, State};

/// One stream: the state's words as the instructions want them, and 16 words of message.
#[derive(Clone, Copy)]
struct Stream {
    abef: __m128i,
    cdgh: __m128i,
    words: [__m128i; 4],
}

/// Takes `blocks` into `states`; all are equally long, in whole blocks.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn compress<const N: usize>(states: &mut [State; N], blocks: [&[u8]; N]) {
    let bytes = blocks[0].len();
    assert!(bytes.is_multiple_of(BLOCK) && blocks.iter().all(|lane| lane.len() == bytes));
    let mut streams = states.map(|state| load(&state));
    for at in (0..bytes).step_by(BLOCK) {
        let before = streams;
        for (stream, lane) in streams.iter_mut().zip(blocks) {
            // SAFETY: at + 64 ≤ bytes, the length of every lane.
            stream.words = unsafe { load_words(lane.as_ptr().add(at)) };
        }
        for sixteen in 0..3 {
            four::<0, true, N>(&mut streams, sixteen);
            four::<1, true, N>(&mut streams, sixteen);
            four::<2, true, N>(&mut streams, sixteen);
            four::<3, true, N>(&mut streams, sixteen);
        }
        four::<0, false, N>(&mut streams, 3);
        four::<1, false, N>(&mut streams, 3);
        four::<2, false, N>(&mut streams, 3);
        four::<3, false, N>(&mut streams, 3);
        for (stream, before) in streams.iter_mut().zip(before) {
            stream.abef = _mm_add_epi32(stream.abef, before.abef);
            stream.cdgh = _mm_add_epi32(stream.cdgh, before.cdgh);
        }
    }
    for (state, stream) in states.iter_mut().zip(streams) {
        *state = store(stream);
    }
}

/// Four rounds of every stream with the words at `W`, which are replaced by those of 16 rounds
/// later where there are `MORE`.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn four<const W: usize, const MORE: bool, const N: usize>(
    streams: &mut [Stream; N],
    sixteen: usize,
) {
    let at = 16 * sixteen + 4 * W;
    let constants: &[u32] = &ROUND_CONSTANTS[at..at + 4];
    // SAFETY: four words were just cut out.
    let constants = unsafe { _mm_loadu_si128(constants.as_ptr().cast()) };
    for Stream { abef, cdgh, words } in streams {
        let now = _mm_add_epi32(words[W], constants);
        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, now);
        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32::<0x0e>(now));
        if MORE {
            let [_, second, third, last] = [W, (W + 1) % 4, (W + 2) % 4, (W + 3) % 4];
            let next = _mm_sha256msg1_epu32(words[W], words[second]);
            let next = _mm_add_epi32(next, _mm_alignr_epi8::<4>(words[last], words[third]));
            words[W] = _mm_sha256msg2_epu32(next, words[last]);
        }
    }
}

/// # Safety
/// 64 bytes can be read at `block`.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
unsafe fn load_words(block: *const u8) -> [__m128i; 4] {
    let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    std::array::from_fn(|quarter| {
        // SAFETY: the caller's promise; quarter is below 4.
        let words = unsafe { _mm_loadu_si128(block.cast::<__m128i>().add(quarter)) };
        _mm_shuffle_epi8(words, big_endian)
    })
}

#[target_feature(enable = "sha,sse4.1")]
fn load(state: &State) -> Stream {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    Stream {
        abef: _mm_set_epi32(a, b, e, f),
        cdgh: _mm_set_epi32(c, d, g, h),
        words: [_mm_setzero_si128(); 4],
    }
}

#[target_feature(enable = "sha,sse4.1")]
fn store(stream: Stream) -> State {
    let [f, e, b, a] = words(stream.abef);
    let [h, g, d, c] = words(stream.cdgh);
    [a, b, c, d, e, f, g, h]
}

#[target_feature(enable = "sha,sse4.1")]
fn words(vector: __m128i) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: four words are as large as the vector.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), vector) };
    words
}
