//! Shards of a segment, as they come from Hosts: any of them, whatever bytes they are.

use erasure::Code;

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[Decoder {
    name: "restore",
    run: restore,
    seeds,
}];

/// Shards that are handed in: k, n, one byte that says how long they are, one bit a shard that
/// says whether it is there, then their bytes.
fn restore(bytes: &[u8]) -> bool {
    let Some((&[k, n, size, mask_a, mask_b], rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let Ok(code) = Code::new(u16::from(k), u16::from(n)) else {
        return false;
    };
    let mask = u16::from_le_bytes([mask_a, mask_b]);
    let len = usize::from(size) * 16;
    let mut pieces = rest.chunks(len.max(1));
    let mut shards: Vec<Option<Vec<u8>>> = (0..n)
        .map(|index| {
            let there = mask >> (index % 16) & 1 == 1;
            there.then(|| pieces.next().unwrap_or_default().to_vec())
        })
        .collect();
    let given = shards.clone();
    if code.reconstruct(&mut shards).is_err() {
        assert_eq!(
            shards, given,
            "nothing is changed where nothing is restored"
        );
        return false;
    }
    assert!(shards.iter().all(Option::is_some));
    // What was restored is a whole segment exactly where all that was given fits together; then
    // any k of it restore the others again.
    let k = usize::from(k);
    let mut again: Vec<Option<Vec<u8>>> = shards.clone();
    again
        .iter_mut()
        .filter(|shard| shard.is_some())
        .skip(k)
        .for_each(|shard| *shard = None);
    assert!(code.reconstruct(&mut again).is_ok());
    let given_count = given.iter().flatten().count();
    if given_count == k {
        assert_eq!(again, shards, "any k of n restore the same");
    }
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |k: u8, n: u8, mask: u16| {
        let mut bytes = vec![k, n, 4];
        bytes.extend(mask.to_le_bytes());
        bytes.extend((0..u16::from(n) * 64).map(|at| at.to_le_bytes()[0]));
        bytes
    };
    vec![
        seed(4, 8, 0b1111_0000),
        seed(1, 3, 0b010),
        seed(2, 5, 0b1_0001),
        seed(16, 32, 0xffff),
    ]
}
