//! Any k of the n shards restore all others; anything else is a typed error.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use erasure::{Code, EncodeError, ReconstructError, SizeError};
use proptest::prelude::*;

const BYTES: usize = 64;

/// All n shards of a segment whose bytes follow from `seed`.
fn segment(code: Code, bytes: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let mut shards: Vec<Vec<u8>> = (0..code.n())
        .map(|_| (0..bytes).map(|_| byte()).collect())
        .collect();
    let (data, parity) = shards.split_at_mut(usize::from(code.k()));
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    code.encode(&data, &mut parity).unwrap();
    shards
}

/// Loses every shard but those of `kept` and restores them all.
fn check(code: Code, shards: &[Vec<u8>], kept: impl Fn(usize) -> bool) {
    let left: Vec<Option<Vec<u8>>> = shards
        .iter()
        .enumerate()
        .map(|(i, shard)| kept(i).then(|| shard.clone()))
        .collect();

    let mut restored = left.clone();
    code.reconstruct(&mut restored).unwrap();
    assert!(
        restored
            .iter()
            .map(Option::as_ref)
            .eq(shards.iter().map(Some)),
        "{code:?} {left:?}"
    );

    let (mut only_data, k) = (left.clone(), usize::from(code.k()));
    code.reconstruct_data(&mut only_data).unwrap();
    assert_eq!(only_data[..k], restored[..k], "the data is restored");
    assert_eq!(only_data[k..], left[k..], "parity is left alone");
}

#[test]
fn every_choice_of_k_shards_restores_small_codes() {
    for n in 1..=9_u16 {
        for k in 1..=n {
            let code = Code::new(k, n).unwrap();
            let shards = segment(code, BYTES, u64::from(n * 16 + k));
            for kept in (0_u32..1 << n).filter(|kept| kept.count_ones() == u32::from(k)) {
                check(code, &shards, |i| kept >> i & 1 == 1);
            }
        }
    }
}

#[test]
fn mirrors_are_equal() {
    let shards = segment(Code::new(1, 5).unwrap(), 192, 3);
    assert!(shards.iter().all(|shard| *shard == shards[0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_choice_restores_large_codes(
        (k, n) in prop_oneof![Just((4_u16, 8_u16)), Just((10, 20)), Just((16, 32)), Just((33, 64))],
        order in Just((0..64_usize).collect::<Vec<_>>()).prop_shuffle(),
        more in 0_usize..4,
        seed in any::<u64>(),
    ) {
        let code = Code::new(k, n).unwrap();
        let kept: Vec<usize> = order
            .into_iter()
            .filter(|i| *i < usize::from(n))
            .take(usize::from(k) + more)
            .collect();
        check(code, &segment(code, BYTES, seed), |i| kept.contains(&i));
    }

    #[test]
    fn one_shard_is_restored_from_any_k_in_any_order(
        order in Just((0..20_u16).collect::<Vec<_>>()).prop_shuffle(),
        seed in any::<u64>(),
    ) {
        let code = Code::new(10, 20).unwrap();
        let shards = segment(code, 128, seed);
        let present: Vec<(u16, &[u8])> =
            order.iter().take(10).map(|i| (*i, shards[usize::from(*i)].as_slice())).collect();
        for (wanted, shard) in (0..).zip(&shards) {
            let mut out = vec![0xee; 128];
            code.restore(&present, wanted, &mut out).unwrap();
            prop_assert_eq!(&out, shard, "shard {}", wanted);
        }
    }
}

#[test]
fn a_column_of_the_shards_is_coded_like_the_whole() {
    let code = Code::new(4, 8).unwrap();
    let shards = segment(code, 1_024, 9);
    let column = 256..640;
    let present: Vec<(u16, &[u8])> = (4..8)
        .map(|i| (i, &shards[usize::from(i)][column.clone()]))
        .collect();
    let mut out = vec![0; column.len()];
    code.restore(&present, 2, &mut out).unwrap();
    assert_eq!(out, shards[2][column]);
}

#[test]
fn wrong_counts_and_sizes_do_not_encode() {
    let code = Code::new(2, 3).unwrap();
    let (short, long) = ([0; 64], [0; 128]);
    let encode = |data: &[&[u8]], parity: &mut [&mut [u8]]| code.encode(data, parity).unwrap_err();
    assert_eq!(
        encode(&[&short], &mut [&mut [0; 64]]),
        EncodeError::DataShards {
            expected: 2,
            found: 1
        }
    );
    assert_eq!(
        encode(&[&short, &short], &mut []),
        EncodeError::ParityShards {
            expected: 1,
            found: 0
        }
    );
    let unequal = EncodeError::Size(SizeError::Unequal {
        expected: 64,
        found: 128,
    });
    assert_eq!(encode(&[&short, &long], &mut [&mut [0; 64]]), unequal);
    assert_eq!(encode(&[&short, &short], &mut [&mut [0; 128]]), unequal);
    let unfit = EncodeError::Size(SizeError::Unfit { bytes: 63 });
    assert_eq!(
        encode(&[&short[1..], &short[1..]], &mut [&mut [0; 63]]),
        unfit
    );
}

#[test]
fn wrong_counts_indices_and_sizes_do_not_restore() {
    let code = Code::new(2, 3).unwrap();
    let (short, long) = ([0; 64], [0; 128]);
    let restore = |present: &[(u16, &[u8])], wanted, bytes: usize| {
        code.restore(present, wanted, &mut vec![0; bytes])
            .unwrap_err()
    };
    let index = ReconstructError::Index { index: 3, n: 3 };
    assert_eq!(restore(&[(0, &short), (3, &short)], 2, 64), index);
    assert_eq!(restore(&[(0, &short), (1, &short)], 3, 64), index);
    let too_few = ReconstructError::TooFew { present: 1, k: 2 };
    assert_eq!(restore(&[(0, &short)], 2, 64), too_few);
    let repeated = ReconstructError::Repeated { index: 1 };
    assert_eq!(
        restore(&[(1, &short), (0, &short), (1, &short)], 2, 64),
        repeated
    );
    let unequal = ReconstructError::Size(SizeError::Unequal {
        expected: 64,
        found: 128,
    });
    assert_eq!(restore(&[(0, &short), (1, &long)], 2, 64), unequal);
    assert_eq!(restore(&[(0, &short), (1, &short)], 2, 128), unequal);
    let slots = ReconstructError::Slots {
        expected: 3,
        found: 2,
    };
    assert_eq!(code.reconstruct(&mut [None, None]), Err(slots));
    let none = ReconstructError::TooFew { present: 0, k: 2 };
    assert_eq!(code.reconstruct(&mut [None, None, None]), Err(none));
    let buffers = ReconstructError::Buffers {
        wanted: 1,
        found: 0,
    };
    assert_eq!(
        code.restore_each(&[(0, &short), (1, &short)], &[2], &mut []),
        Err(buffers)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_k_of_any_shape_restore_the_rest_and_a_bent_byte_bends_its_column_alone(
        (k, n) in (1..=64_u16).prop_flat_map(|n| (1..=n, Just(n))),
        order in Just((0..64_usize).collect::<Vec<_>>()).prop_shuffle(),
        lines in 1..=3_usize,
        (bent, at, flip) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8),
        seed in any::<u64>(),
    ) {
        let code = Code::new(k, n).unwrap();
        let shards = segment(code, lines * BYTES, seed);
        let kept: Vec<usize> = order.into_iter().filter(|i| *i < usize::from(n)).take(usize::from(k)).collect();
        check(code, &shards, |i| kept.contains(&i));

        // A Host that lies about one byte is not noticed here, but by the shards' hashes: every
        // restored shard differs from the true one, in that column.
        let (bent, at) = (kept[bent.index(kept.len())], at.index(lines * BYTES));
        let mut given: Vec<Option<Vec<u8>>> = (0..usize::from(n))
            .map(|i| kept.contains(&i).then(|| shards[i].clone()))
            .collect();
        if let Some(shard) = &mut given[bent] {
            shard[at] ^= flip;
        }
        code.reconstruct(&mut given).unwrap();
        for (i, (found, truth)) in given.iter().flatten().zip(&shards).enumerate() {
            let differs: Vec<usize> = (0..truth.len()).filter(|j| found[*j] != truth[*j]).collect();
            let expected = if kept.contains(&i) && i != bent { vec![] } else { vec![at] };
            prop_assert_eq!(differs, expected, "shard {}", i);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused_and_left_as_it_was(
        (k, n) in (2..=16_u16).prop_flat_map(|n| (2..=n, Just(n))),
        sizes in prop::collection::vec(prop::option::of(0..4_usize), 16),
        odd in 0..64_usize,
    ) {
        let code = Code::new(k, n).unwrap();
        let shards: Vec<Option<Vec<u8>>> = sizes
            .iter()
            .take(usize::from(n))
            .map(|lines| lines.map(|lines| vec![7; lines * BYTES + odd]))
            .collect();
        let mut restored = shards.clone();
        let used: Vec<usize> = shards.iter().flatten().take(usize::from(k)).map(Vec::len).collect();
        let fits = used.len() == usize::from(k) && odd == 0 && used[0] > 0 && used.iter().all(|len| *len == used[0]);
        match code.reconstruct(&mut restored) {
            Ok(()) => prop_assert!(fits && restored.iter().all(Option::is_some)),
            Err(_) => prop_assert!(!fits && restored == shards),
        }
    }
}
