//! Everything the fuzzer kept, and what the encoders write, goes through every decoder on every
//! run of the tests: without a panic, within the memory a decoder may take.

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cap::Cap;
use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;

/// Most memory a decoder may hold.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// Counts, and refuses more than the limit, which ends the test.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, MEMORY_BYTES_MAX);

fn replay(decoder: decoders::Decoder, input: &[u8]) -> bool {
    let done = catch_unwind(AssertUnwindSafe(|| (decoder.run)(input)));
    let text = BASE64URL_NOPAD.encode(input);
    assert!(done.is_ok(), "{} panics on {text}", decoder.name);
    done.is_ok_and(|accepted| accepted)
}

#[test]
fn seeds_and_corpora_are_decoded_within_bounds() {
    for decoder in decoders::all() {
        for input in (decoder.seeds)() {
            assert!(replay(decoder, &input), "{} refuses a seed", decoder.name);
        }
        for input in decoders::corpus::read(decoder.name).unwrap() {
            replay(decoder, &input);
        }
    }
    assert!(MEMORY.allocated() < MEMORY_BYTES_MAX);
}

#[test]
fn seeds_are_cut_and_bent_without_a_panic() {
    for decoder in decoders::all() {
        for seed in (decoder.seeds)() {
            for at in (0..seed.len()).step_by(seed.len() / 64 + 1) {
                replay(decoder, &seed[..at]);
                let mut bent = seed.clone();
                bent[at] ^= 0x81;
                replay(decoder, &bent);
            }
        }
    }
}

#[test]
fn corpora_are_small_and_of_decoders() {
    let mut bytes = 0;
    for file in std::fs::read_dir(decoders::corpus::path("x").parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        bytes += path.metadata().unwrap().len();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(decoders::find(&name).is_some(), "{name} is no decoder");
        let inputs = decoders::corpus::read(&name).unwrap().len();
        assert!(inputs <= decoders::corpus::INPUTS_MAX, "{name}: {inputs}");
    }
    assert!(bytes <= decoders::corpus::BYTES_MAX, "{bytes} bytes in all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_that_nobody_wrote_are_decoded_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        (version, rest) in (0..4_u8, any::<prop::sample::Index>()),
    ) {
        for decoder in decoders::all() {
            replay(decoder, &bytes);
            let versioned = [&[version], &bytes[rest.index(bytes.len() + 1)..]].concat();
            replay(decoder, &versioned);
        }
    }
}
